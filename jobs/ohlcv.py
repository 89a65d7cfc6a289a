"""The main job: Kafka topic → 1-second bars (`bars_1s`) and the archive of trades (`trades`, `rejected_trades`)."""

from __future__ import annotations

import sys

from bars import run, session

OPTIONS = (
    "kafka_bootstrap",
    "kafka_topic",
    "output_dir",
    "checkpoint_dir",
    "bar_format",
    "queries",
    "watermark_delay",
    "future_tolerance",
    "trigger_interval",
    "archive_interval",
    "max_offsets_per_trigger",
    "spark_max_poll_records",
)


def main() -> int:
    parser = session.parser(__doc__, OPTIONS)
    parser.add_argument("--available-now", action="store_true", help="process what the topic holds, then exit 0")
    arguments = parser.parse_args()
    stop = run.Stop().listen()
    return session.main(
        arguments,
        OPTIONS,
        lambda spark, settings: run.run(spark, settings, stop, available_now=arguments.available_now),
        name="ohlcv",
    )


if __name__ == "__main__":
    sys.exit(main())
