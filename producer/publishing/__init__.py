"""PUBLISHING: trades as Kafka records, each watched until Kafka has it, or kept on disk until it can."""
