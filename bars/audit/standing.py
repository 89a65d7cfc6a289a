"""The table as the audit sees it: at one version, then as it stands after an amendment, its own or another's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from bars.audit.evidence import AuditError
from bars.compare import KEY, VALUES, amended, keeps_trades, paired
from bars.kept import kept
from bars.locks import amend_lock, held_by_jvm
from bars.recovery.identity import tied_to
from bars.sink import save
from bars.tables import BARS
from market.settings import Settings

APP_ID = "reconcile"
"""Under which Delta knows amendments of the audit; their versions are those of the table that they were made for."""


def read_bars(spark: SparkSession, settings: Settings, version: int | None = None) -> DataFrame:
    """Every row of `bars_1s`, all revisions, as it was at that version of the table, or as it is."""
    reader = spark.read.format(settings.bar_format)
    return (reader if version is None else reader.option("versionAsOf", version)).load(str(BARS.path(settings)))


def standing(rows: DataFrame) -> DataFrame:
    """The current bars: `KEY`, `VALUES`, revision, and copies: how many rows there are of that revision."""
    values = F.struct(*VALUES)
    revisions = rows.groupBy(*KEY, "revision").agg(F.count("*").alias("copies"), F.min(values).alias("values"))
    newest = F.max_by(F.struct("revision", "copies", "values"), F.col("revision")).alias("bar")
    return revisions.groupBy(*KEY).agg(newest).select(*KEY, "bar.revision", "bar.copies", "bar.values.*")


def version_of(settings: Settings) -> int | None:
    """The version of `bars_1s`; None for Parquet, which has none. Raises `AuditError` where there is no table."""
    path = BARS.path(settings)
    if settings.bar_format == "parquet":
        there, version = (path / "_spark_metadata").is_dir(), None
    else:
        there = (path / "_delta_log").is_dir()
        try:
            version = DeltaTable(path).version() if there else None
        except DeltaError as error:
            raise AuditError(f"the table {path} cannot be read: {str(error)[:300]}") from error
    if not there:
        raise AuditError(f"there is no table {path} (OUTPUT_DIR, BAR_FORMAT={settings.bar_format})")
    return version


def wrong(table: DataFrame, expected: DataFrame) -> DataFrame:
    """What `compare.differing` gives, and the bars whose current revision has more than one row, with `copies`."""
    several = table.filter("copies > 1").select(*KEY, "copies")
    pairs = paired(table, expected).join(several, list(KEY), "left")
    return pairs.filter(~F.col("there").eqNullSafe(F.col("told")) | F.col("copies").isNotNull())


@dataclass(frozen=True)
class Scope:
    """What is judged, and what may be done where it differs."""

    judged: Column
    """Which bars are."""
    version: int | None
    """At which version of the table."""
    identity: Mapping[str, str]
    """What the checkpoint was tied to when this version was looked up."""
    check: bool
    """Whether nothing is to be amended."""
    may_shrink: bool
    """Whether an amendment may take trades away, for what it is made from holds them all."""
    patience_s: float
    """How long a job that runs is given to amend, with `check`."""


def put_right(spark: SparkSession, settings: Settings, different: DataFrame, scope: Scope) -> DataFrame:
    """The bars that differed, with how they stand now (`now`, `now_revision`), and whether that is right (`is_right`).

    Amends them, unless `scope.check`; else waits a while for somebody else to do so. Raises `AuditError` where the job
    was started over meanwhile: what was judged has been moved aside then.
    """
    deadline = time.monotonic() + scope.patience_s

    def outcome(version: int | None) -> DataFrame:
        now = standing(read_bars(spark, settings, version).filter(scope.judged).join(different, list(KEY), "left_semi"))
        stands = now.select(
            *KEY,
            F.struct(*VALUES).alias("now"),
            F.col("revision").alias("now_revision"),
            F.col("copies").alias("now_copies"),
        )
        right = F.col("now").eqNullSafe(F.col("told")) & (F.coalesce("now_copies", F.lit(1)) == 1)
        return different.join(stands, list(KEY), "left").withColumn("is_right", right)

    if different.isEmpty():
        return outcome(scope.version)
    if not scope.check:
        with held_by_jvm(spark, amend_lock(BARS.path(settings))):
            if tied_to(settings) != scope.identity:
                raise AuditError(
                    f"the tables {settings.tables} were started over (--rebuild) while this looked at the old ones: "
                    "nothing is amended. Run it again"
                )
            newest = version_of(settings)
            assert newest is not None
            unchanged = F.col("now_revision").eqNullSafe(F.col("revision"))
            backed = F.lit(True) if scope.may_shrink else keeps_trades()
            with kept(amended(outcome(newest).filter(~F.col("is_right") & unchanged & backed))) as rows:
                if rows.count():  # all of them are computed here, so that the write reads no table
                    # By Spark's tasks: where a table was put back from long ago, they are more than the driver holds.
                    save(rows, BARS.path(settings), app_id=APP_ID, version=newest)
        return outcome(version_of(settings))
    while settings.bar_format == "delta":
        newest = version_of(settings)
        if newest != scope.version and outcome(newest).filter("NOT is_right").isEmpty():
            return outcome(newest)
        if time.monotonic() > deadline:
            return outcome(newest)
        time.sleep(0.5)
    return outcome(None)
