"""From Kafka records to 1-second bars, on Spark DataFrames: source → parse → aggregate → sink."""
