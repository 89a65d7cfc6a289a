"""Latest prices: a Kafka consumer group that keeps the newest trade of each symbol in Redis."""
