"""What each job starts with: its settings, its logging, its Spark session."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession

from bars.recovery.identity import PairingError
from market import settings as market_settings
from market.settings import Settings, SettingsError

REFUSED = 2
"""Exit code where nothing was done, because something is set wrongly or does not belong together."""

MEANWHILE = ("deltalake", "pyarrow.parquet", "pyarrow.compute", "kafka", "rich.live")
"""Packages of others that jobs use, imported while the JVM makes its session: a second that nobody waits for."""


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
        threading.Thread(target=_import, args=(MEANWHILE,), daemon=True).start()
        spark = SparkSession.builder.appName(name).getOrCreate()
        try:
            return work(spark, settings)
        finally:
            spark.stop()
    except _refusals() as error:
        print(f"{name}: {error}", file=sys.stderr)
        return REFUSED


def _refusals() -> tuple[type[Exception], ...]:
    from bars.recovery.checkpoint import CheckpointError

    return SettingsError, PairingError, CheckpointError


def _import(names: Sequence[str]) -> None:
    for name in names:
        with suppress(ImportError):  # whoever uses it will be told
            importlib.import_module(name)
