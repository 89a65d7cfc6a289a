"""Recomputes bars from the trades, amends those that differ, and prints the proof; exit 1 where it does not hold."""

from __future__ import annotations

import sys

from bars import session
from bars.audit import program as audit

OPTIONS = (
    "kafka_bootstrap",
    "kafka_topic",
    "output_dir",
    "checkpoint_dir",
    "bar_format",
    "future_tolerance",
    "spark_max_poll_records",
)


def main() -> int:
    parser = session.parser(__doc__, OPTIONS)
    audit.add_options(parser)
    arguments = parser.parse_args()
    return session.main(
        arguments, OPTIONS, lambda spark, settings: audit.audit(spark, settings, arguments), name="reconcile"
    )


if __name__ == "__main__":
    sys.exit(main())
