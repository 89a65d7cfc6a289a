"""What each job starts with: its settings, its logging, its Spark session."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession

from bars.checkpoint import CheckpointError
from bars.pairing import PairingError
from market import settings as market_settings
from market.settings import Settings, SettingsError

REFUSED = 2
"""Exit code where nothing was done, because something is set wrongly or does not belong together."""


def parser(description: str, options: Sequence[str]) -> argparse.ArgumentParser:
    """A parser with one option for each of these settings (`max_offsets_per_trigger` → `--max-offsets-per-trigger`)."""
    described = market_settings.described()
    result = argparse.ArgumentParser(description=description, allow_abbrev=False)
    group = result.add_argument_group("settings (each also in the environment or .env, under its name in capitals)")
    for name in options:
        default, meaning = described[name.upper()]
        option = f"--{name.replace('_', '-')}"
        group.add_argument(option, metavar="VALUE", help=f"{meaning}; default {default or 'none'}")
    return result


def main(
    arguments: argparse.Namespace, options: Sequence[str], work: Callable[[SparkSession, Settings], int], *, name: str
) -> int:
    """Runs a job's work with its settings and a Spark session called `name`; returns the exit code.

    The engine's settings belong to conf/spark-defaults.conf and the command line; none is set here.
    """
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    try:
        settings = market_settings.load(options={option: getattr(arguments, option) for option in options})
        logging.getLogger().setLevel(settings.log_level)
        logging.getLogger("kafka").setLevel(logging.ERROR)
        logging.getLogger("py4j").setLevel(logging.ERROR)
        # Spark's Python side prints each error as a page of JSON, beside raising it.
        PySparkLogger.getLogger("DataFrameQueryContextLogger").setLevel(logging.CRITICAL)
        PySparkLogger.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
        spark = SparkSession.builder.appName(name).getOrCreate()
        try:
            return work(spark, settings)
        finally:
            spark.stop()
    except (SettingsError, PairingError, CheckpointError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return REFUSED
