"""One run: a broker, a load and the job, which is killed by the schedule; it heals, and its tables are judged."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kafka.admin import KafkaAdminClient, NewTopic

from chaos.job import tables
from chaos.job.judge import Verdict, judge_archive, judge_bars, judge_rejected
from chaos.job.load import HORIZON_MS, PARTITIONS
from chaos.job.oracle import BarKey, Oracle, Position, Refused
from chaos.job.schedule import KINDS, plan
from chaos.job.supervisor import Say, Supervisor
from chaos.programs import START_S, Program, ProgramError, broker_program, free_ports, python
from chaos.run import Result
from chaos.topic import Reader
from local.broker import Broker
from market.bar import Bar
from market.settings import ROOT, load

TOPIC = "crypto-trades"
HEAL_S = 1800.0
"""What the last run may take to process all that is left, and the audit to look at it."""
READ_S = 1800.0
WORKING_SHARE = 0.8
"""Of the kills that do not hit a start, so many must have had new bars since the one before."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a run goes. The same form and seed make the same kills, and the same trades until the load is ended."""

    seed: int
    kills: int = 8
    kinds: tuple[str, ...] = tuple(KINDS)
    rate: float = 3000.0
    """Trades per second."""
    trades: int = 0
    """The load goes on until it has made so many, at least."""
    audits: bool = True
    """Whether `jobs/reconcile.py --check` is run at the end too."""


class Scene(NamedTuple):
    """What runs beside the job."""

    folder: Path
    broker: Program
    kafka: Broker
    load: Program
    told: Path

    @property
    def environment(self) -> dict[str, str]:
        """The job's settings."""
        return {
            "KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "KAFKA_TOPIC": TOPIC,
            "OUTPUT_DIR": str(self.folder / "data"),
            "CHECKPOINT_DIR": str(self.folder / "checkpoints"),
            "UPKEEP_INTERVAL": "20s",  # so that a job has passes of upkeep in its short life
        }

    def published(self) -> dict[str, int]:
        """What the load says of itself."""
        return dict(json.loads(self.told.read_text())) if self.told.exists() else {}


def run(form: Form, folder: Path, say: Say) -> Result:
    """Do it, in a folder that then holds the logs. Raises `ProgramError` where it could not be done."""
    kills = plan(form.seed, kills=form.kills, kinds=form.kinds)
    with _scene(form, folder) as scene, _executors_swept():
        job = Supervisor(
            scene.broker,
            scene.kafka.is_ready,
            scene.environment,
            folder,
            folder / "data",
            folder / "checkpoints",
            (scene.broker, scene.load),
            say,
        )
        try:
            job.do(kills, goes_on=form.trades > 0)
            _until_published(scene, job, form.trades)
            say(f"{job.now_s:6.1f} s  the kills are done; the load ends, and the job gets {HEAL_S:g} s for the rest")
            code, _ = scene.load.end(within_s=HEAL_S)
            if code != 0:
                raise ProgramError(f"the load ended with exit code {code}; its log: {scene.load.log}")
            job.must_live = (scene.broker,)
            job.end()
            _run_to_its_end(job, "jobs/ohlcv.py", "--available-now")
            say(f"{job.now_s:6.1f} s  all is processed; the judge reads the topic")
            verdicts, counts = judged(scene.kafka.bootstrap, folder / "data", load(scene.environment).future_tolerance)
            if form.audits:
                say(f"{job.now_s:6.1f} s  the judge has read it; the audit")
                _run_to_its_end(job, "jobs/reconcile.py", "--check")
        finally:
            job.end()
        return _result(form, job, scene.published(), verdicts, counts)


@contextmanager
def _scene(form: Form, folder: Path) -> Iterator[Scene]:
    """Broker and load run. Both end with the block."""
    port, controller_port = free_ports(2)
    kafka = Broker(folder=folder / "kafka", port=port, controller_port=controller_port)
    broker = broker_program(kafka)
    told = folder / "published.json"
    words = ("--bootstrap", kafka.bootstrap, "--topic", TOPIC, "--seed", str(form.seed), "--rate", str(form.rate))
    publish = python("load", "chaos.job.publish", *words, "--told", str(told), environment={}, folder=folder)
    try:
        broker.start()
        broker.wait_until(kafka.is_ready, within_s=2 * START_S)
        _create_topic(kafka.bootstrap)
        publish.start()
        yield Scene(folder, broker, kafka, publish, told)
    finally:
        publish.kill()
        broker.kill()


def _create_topic(bootstrap: str) -> None:
    """As the producer makes its own."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        time = {"message.timestamp.type": "LogAppendTime"}
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1, topic_configs=time)])
    finally:
        admin.close()


@contextmanager
def _executors_swept() -> Iterator[None]:
    """Spark's local cluster leaves a copy of all jars for each executor, in its own folder."""
    work = next((ROOT / ".venv").glob("lib/python*/site-packages/pyspark")) / "work"
    before = set(work.glob("app-*"))
    try:
        yield
    finally:
        for left in set(work.glob("app-*")) - before:
            shutil.rmtree(left, ignore_errors=True)


def _until_published(scene: Scene, job: Supervisor, trades: int) -> None:
    job.keep(lambda: scene.published().get("trades", 0) < trades)


def _run_to_its_end(job: Supervisor, *words: str) -> None:
    code, said = job.run(*words, within_s=HEAL_S)
    if code != 0:
        job.failures.append(f"{' '.join(words)} ended with exit code {code}: {said[-2000:]}")


def judged(bootstrap: str, folder: Path, tolerance_ms: int) -> tuple[list[Verdict], Counter[str]]:
    """The verdicts over the tables in a folder, held to the topic; and what the topic holds."""
    bars: dict[BarKey, Bar] = {}
    rejected: dict[Position, Refused] = {}
    conflicts: dict[Position, BarKey] = {}
    counts: Counter[str] = Counter()
    verdicts = []
    for partition in range(PARTITIONS):  # one after the other, so that a part of the trades is in memory
        oracle = Oracle(partition, tolerance_ms=tolerance_ms, horizon_ms=HORIZON_MS)
        with Reader(bootstrap, TOPIC, _only(oracle), partitions=(partition,)) as reader:
            reader.read_to_end(within_s=READ_S)
        verdicts.append(judge_archive(partition, tables.archive(folder, partition), oracle.finish()))
        bars |= oracle.bars
        rejected |= oracle.rejected
        conflicts |= oracle.conflicts
        for name in ("records", "elements", "trades", "heartbeats"):
            counts[name] += getattr(oracle, name)
    rows = tables.bars(folder)
    verdicts.append(judge_bars(rows, bars))
    verdicts.append(judge_rejected(tables.rejected(folder), rejected, conflicts))
    counts["rejected"] = len(rejected)
    return verdicts, counts


def _only(oracle: Oracle) -> Any:
    return lambda _, offset, time_ms, value: oracle.take(offset, time_ms, value)


def _result(
    form: Form, job: Supervisor, published: Mapping[str, int], verdicts: list[Verdict], counts: Counter[str]
) -> Result:
    failures = [*job.failures, *(failure for verdict in verdicts for failure in verdict.failures)]
    figures: Counter[str] = Counter()
    for verdict in verdicts:
        figures.update(verdict.figures)
    if counts["trades"] != published["trades"]:
        failures.append(f"the load made {published['trades']} trades, and the topic holds {counts['trades']}")
    aimed = [done for done in job.done if not done.at_start]
    idle = [done for done in aimed if not done.bars]
    if len(idle) > (1 - WORKING_SHARE) * len(aimed):
        failures.append(f"{len(idle)} of {len(aimed)} kills hit a job that had made no bars since the one before")
    if form.trades and not figures["bars_amended"]:
        failures.append("no trade came too late for its bar, so that nothing was amended")
    if len(job.done) < form.kills:
        failures.append(f"{len(job.done)} of {form.kills} kills were done")
    return Result(
        form.seed,
        failures,
        {
            "trades": counts["trades"],
            "copies": counts["elements"] - counts["trades"],
            "rejected": counts["rejected"],
            "late": published["late"],
            "records": counts["records"],
            "kills": len(job.done),
            "kills_by_kind": dict(sorted(Counter(done.kind for done in job.done).items())),
            "kills_at_start": sum(done.at_start for done in job.done),
            "kills_in_cluster": sum(done.in_cluster for done in job.done),
            "bars_between_kills": percentiles([float(done.bars) for done in aimed]),
            "recovery_s": percentiles([done.recovery_s for done in job.done if done.recovery_s is not None]),
            "seconds": round(job.now_s),
            "load_behind_s": round(published["behind_ms"] / 1000, 1),
            **dict(sorted(figures.items())),
            **dict(sorted(job.seen.items())),
            "lost": sum(figures[name] for name in ("bars_lost", "rows_lost", "rejected_lost", "conflicts_lost")),
            "doubled": sum(figures[name] for name in ("bars_doubled", "rows_doubled", "rejected_doubled")),
            "wrong": sum(
                figures[name]
                for name in (
                    *("bars_wrong", "bars_too_many", "bars_with_a_revision_missing"),
                    *("rows_wrong", "rows_too_many", "rejected_wrong", "rejected_too_many"),
                )
            ),
            "each_kill": [vars(done) for done in job.done],
        },
    )


def percentiles(values: list[float]) -> dict[str, float]:
    """Least, median, 95th percentile and most; {} of nothing."""
    ordered = sorted(values)
    if not ordered:
        return {}
    at = {"least": 0.0, "p50": 0.5, "p95": 0.95, "most": 1.0}
    return {name: ordered[round(share * (len(ordered) - 1))] for name, share in at.items()}
