"""The metrics of prices, by name."""

from __future__ import annotations

MEANINGS = {
    "prices_records_total": "Records of the topic whose trades are in Redis",
    "prices_trades_total": "Trades, by outcome: new, seen (they had come before), late (too old for the streams)",
    "prices_rejected_total": "Elements of records that are no valid trade, by reason",
    "prices_heartbeats_total": "Heartbeats of exchanges, which are no trades",
    "prices_redis_up": "Whether Redis answered the last time (1) or not (0)",
    "prices_redis_failures_total": "Calls that Redis did not answer in time, or refused",
    "prices_writes_total": "Writes to Redis",
    "prices_write_seconds_total": "Time that they took",
    "prices_begun_anew_total": "Partitions that were read again because Redis lacked them, by cause",
    "prices_deleted_records_total": "Records that Kafka had deleted before they were read",
    "prices_lag_records": "Records that are not in Redis yet, by partition that this member has",
    "prices_newest_record_timestamp_seconds": "Kafka time of the newest record that is in Redis",
    "prices_kafka_sessions_total": "Connections to Kafka made",
    "prices_failed_commits_total": "Commits of offsets that failed; the next one makes up for it",
}
"""Every metric and what it means; docs/operations.md says what to do about each."""
