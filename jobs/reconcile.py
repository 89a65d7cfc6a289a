"""Recomputes the bars from the topic in batch and holds the table to them; exit 1 on any difference."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

from bars import reconcile, session
from market.settings import Settings

OPTIONS = ("kafka_bootstrap", "kafka_topic", "output_dir", "checkpoint_dir", "bar_format", "future_tolerance")


def main() -> int:
    parser = session.parser(__doc__, OPTIONS)
    parser.add_argument("--check", action="store_true", required=True, help="report only; change nothing")
    parser.add_argument(
        "--sample", type=int, default=20, metavar="N", help="seconds recomputed in plain Python; default 20"
    )
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="chooses the sample; default: at random")
    arguments = parser.parse_args()

    def work(spark: SparkSession, settings: Settings) -> int:
        proof = reconcile.reconcile(spark, settings, sample=arguments.sample, seed=arguments.seed)
        print(proof.text())
        return 0 if proof.holds else 1

    return session.main(arguments, OPTIONS, work, name="reconcile")


if __name__ == "__main__":
    sys.exit(main())
