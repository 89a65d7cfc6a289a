"""The main job as a program: what its options do, around `bars.run`."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from pyspark.sql import SparkSession

from bars import run, standby
from bars.recovery import pairing, rebuild
from bars.stop import Stop
from market.settings import Settings


def ohlcv(spark: SparkSession, settings: Settings, stop: Stop, options: argparse.Namespace) -> int:
    """Runs the job as it is asked to (`jobs/ohlcv.py`); the exit code."""

    def before(topic_id: str) -> None:
        if options.rebuild:
            rebuild.rebuild(settings, topic_id, _say)

    lock = pairing.lock_of(settings)
    rehearse = partial(standby.rehearse, spark, settings, lock, stop)
    turn = standby.Turn(lock, stop, _say, rehearse, standby=options.standby, take_over=options.take_over)
    try:
        return run.run(spark, settings, stop, available_now=options.available_now, waiting=turn, before=before)
    except standby.StoppedError:
        return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
