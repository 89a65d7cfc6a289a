"""The main job: Kafka topic → 1-second bars (`bars_1s`) and the archive of trades (`trades`, `rejected_trades`)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bars import session
from bars.stop import Stop
from market.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

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
    "amend_interval",
    "upkeep_interval",
    "upkeep_keep",
    "fold_after_days",
    "archive_days",
    "max_offsets_per_trigger",
    "spark_max_poll_records",
)


def main() -> int:
    parser = session.parser(__doc__, OPTIONS)
    parser.add_argument("--available-now", action="store_true", help="process what the topic holds, then exit 0")
    parser.add_argument("--rebuild", action="store_true", help="start over: says what that costs, keeps the old aside")
    parser.add_argument("--standby", action="store_true", help="get warm, and take over when the run under way ends")
    parser.add_argument(
        "--take-over", action="store_true", help="end the run that holds the checkpoint (SIGKILL) first"
    )
    arguments = parser.parse_args()
    stop = Stop().listen()

    def work(spark: SparkSession, settings: Settings) -> int:
        from bars.program import ohlcv  # when the packages that it imports are there (`session.MEANWHILE`)

        return ohlcv(spark, settings, stop, arguments)

    return session.main(arguments, OPTIONS, work, name="ohlcv")


if __name__ == "__main__":
    sys.exit(main())
