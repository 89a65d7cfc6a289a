"""What the audit reads: the topic while it holds the range, else the archive; and where it refuses."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from bars.audit.evidence import AuditError, evidence
from bars.audit.proof import Account
from bars.audit.reconcile import finished, reconcile
from bars.recovery.identity import PairingError, checkpoint_of, tie
from bars.tables import BARS, TRADES
from bars.topic import reach
from tests.bars.audit.audited import KEY, SOME, WATERMARK_MS, Scene, audit
from tests.support import eventually

pytestmark = pytest.mark.spark


@pytest.fixture
def scene(spark: SparkSession, kafka: str, topic: str, tmp_path: Path) -> Scene:
    """A topic of its own, no table yet, and no checkpoint."""
    return Scene(spark, kafka, topic, tmp_path)


@pytest.mark.long
def test_it_is_read_when_the_topic_has_deleted_records(scene: Scene) -> None:
    """The proof says so, and is the same as from the topic, rejected elements included; a wrong bar is amended."""
    scene.publish(*SOME, SOME[0], SOME[1]._replace(price="7"), b"no json", b'[{"symbol":"X"},{"heartbeat":1}]')
    scene.publish(json.dumps(SOME[5]._asdict() | {"price": "0"}).encode())
    scene.write(SOME)
    scene.finish(WATERMARK_MS)
    scene.archive()
    from_topic = audit(scene, sample=100)
    scene.forget(3)
    from_archive = audit(scene, sample=100)
    assert from_archive.holds, from_archive.text()
    assert from_archive.accounts == from_topic.accounts
    assert (from_archive.sampled, from_archive.missing) == (8, [])
    assert from_archive.text().startswith(
        f"recomputed from archive {TRADES.path(scene.settings)}: partition 0 of the topic begins at offset 3: what "
        "was before is deleted\n"
    )
    scene.write(SOME[:1], revision=1)
    assert audit(scene, check=False).accounts[KEY].amended_now == 1
    assert audit(scene).holds


@pytest.mark.long
def test_another_topic_of_the_same_name_is_no_evidence(scene: Scene) -> None:
    """A topic that was made again, or another cluster, amends nothing: the archive is read, or the audit refused."""
    scene.publish(*SOME)
    scene.write(SOME[:10])
    scene.finish(WATERMARK_MS)
    tie(scene.settings, {"topic_id": "another", "future_tolerance": "2000ms"})
    with pytest.raises(AuditError) as caught:
        audit(scene, check=False)
    assert str(caught.value).startswith(
        f"the topic {scene.topic} at {scene.settings.bootstrap} is not the one that the bars query has read (its id is "
    )
    assert {bar.revision for bar in scene.rows()} == {0}


def test_a_checkpoint_of_another_table_is_no_evidence(scene: Scene, tmp_path: Path) -> None:
    """What one bars query has read says nothing of another one's table: nothing is judged, and nothing amended."""
    tie(scene.settings, {"id": "one"})
    other = replace(scene.settings, checkpoint_dir=str(tmp_path / "others"))
    tie(replace(other, output_dir=str(tmp_path / "other data")), {"id": "other"})
    with pytest.raises(PairingError) as caught:
        reconcile(scene.spark, other, check=False)
    assert str(caught.value).startswith(
        f"the checkpoint {tmp_path}/others/ohlcv (CHECKPOINT_DIR) and the tables {scene.settings.tables} (OUTPUT_DIR) "
        "are not of one start (identity.json differs or is missing). Name two that belong together, or: "
    )


@pytest.mark.long
def test_the_topic_is_read_from_where_it_still_holds_every_trade(scene: Scene) -> None:
    """A topic that has lost its head is evidence from the first second of which all trades are there, no earlier."""
    scene.publish(*SOME)
    scene.forget(3)
    since_ms = reach(scene.settings, None).since_ms
    assert since_ms is not None
    from_ms = -(-since_ms // 1_000) * 1_000
    eventually(lambda: time.time() * 1_000 > from_ms)  # else what is sent now would be of the future
    late = [one._replace(timestamp=from_ms + number * 10, trade_id=100 + number) for number, one in enumerate(SOME)]
    scene.publish(*late)
    scene.write(late)
    scene.finish(from_ms + 10_000)
    proof = audit(scene, from_ms=from_ms)
    assert (proof.source, proof.holds) == (f"topic {scene.topic}", True), proof.text()
    assert proof.total == Account(consumed=16, in_bars=16, bars=1, equal=1)
    with pytest.raises(AuditError, match="there is no archive"):
        audit(scene, from_ms=from_ms - 1_000)


@pytest.mark.long
def test_where_the_topic_can_be_judged_from_is_said(scene: Scene) -> None:
    """Without an archive, the way out names the first time that the topic can be audited from."""
    scene.publish(*SOME)
    scene.write(SOME)
    scene.finish(WATERMARK_MS)
    scene.forget(3)
    with pytest.raises(AuditError) as caught:
        audit(scene)
    head = (
        "partition 0 of the topic begins at offset 3: what was before is deleted; and there is no archive "
        f"{TRADES.path(scene.settings)} to read instead (QUERIES without archive). What the topic still holds can "
        "be audited with --from "
    )
    assert str(caught.value)[: len(head)] == head
    proof = audit(scene, from_ms=4_000_000_000_000)
    assert (proof.source, proof.total) == (f"topic {scene.topic}", Account())
    assert (proof.holds, proof.verdict) == (False, "NOTHING WAS JUDGED: no element and no bar is of that time")


@pytest.mark.long
def test_a_bar_is_not_amended_away_by_an_archive_that_lacks_its_trades(scene: Scene) -> None:
    """Where the archive has less than the bar, nobody knows which is right: it is told, and left."""
    scene.publish(*SOME[:15])
    scene.write(SOME)
    scene.finish(WATERMARK_MS)
    scene.archive()
    scene.forget(1)
    rows = scene.rows()
    proof = audit(scene, check=False)
    assert proof.accounts[KEY].different == 1
    assert scene.rows() == rows


@pytest.mark.long
def test_it_must_have_read_what_the_bars_query_has(scene: Scene) -> None:
    """An archive that is behind would call bars wrong that are right: it is waited for, then refused."""
    scene.publish(*SOME)
    scene.write(SOME)
    scene.archive()
    scene.finish(0, 0, "archive", p0=7)
    scene.finish(WATERMARK_MS)
    scene.forget(3)
    with pytest.raises(AuditError) as caught:
        evidence(scene.spark, scene.settings, finished(scene.settings), None, patience_s=0)
    assert str(caught.value) == (
        "partition 0 of the topic begins at offset 3: what was before is deleted; and the archive "
        f"{TRADES.path(scene.settings)} has read partition 0 up to offset 7, the bars query up to 16. "
        "Run jobs/ohlcv.py with QUERIES=bars,archive until it has caught up, then this again"
    )


@pytest.mark.long
def test_older_bars_are_not_judged_where_the_archive_begins_later(scene: Scene) -> None:
    """Its old days may have been deleted: the proof says from when on it holds."""
    day_before = [one._replace(timestamp=one.timestamp - 86_400_000) for one in SOME[:4]]
    scene.publish(*SOME[4:])
    scene.write([*day_before, *SOME[4:]])
    scene.finish(WATERMARK_MS)
    scene.archive()
    scene.forget(1)
    proof = audit(scene)
    assert proof.holds, proof.text()
    assert proof.notes == ["the archive begins at 2025-11-01 00:00:00: older bars are not judged"]


def test_nothing_to_judge_is_refused(scene: Scene) -> None:
    """Before the first batch, without a table, with another topic, and amending Parquet: each with its way out."""
    folder = checkpoint_of(scene.settings, "bars")
    scene.publish(*SOME)
    assert refusal(scene) == f"no batch of the bars query is finished in {folder}: run jobs/ohlcv.py first"
    scene.finish(WATERMARK_MS)
    assert refusal(scene) == f"there is no table {BARS.path(scene.settings)} (OUTPUT_DIR, BAR_FORMAT=delta)"
    other = Scene(scene.spark, scene.kafka, "another-topic", scene.folder)
    assert refusal(other) == (
        f"the bars query of {folder} reads topic {scene.topic}, not another-topic: set KAFKA_TOPIC to it"
    )


def test_parquet_is_not_amended(scene: Scene) -> None:
    """Spark's file sink has one revision; without --check the audit refuses before it looks."""
    parquet = replace(scene.settings, bar_format="parquet")
    with pytest.raises(AuditError) as caught:
        reconcile(scene.spark, parquet, check=False)
    assert str(caught.value) == (
        "BAR_FORMAT=parquet: bars of Spark's file sink cannot be amended, for it has one revision only. "
        "Look at them with --check; to put them right, write them anew"
    )


def refusal(scene: Scene) -> str:
    with pytest.raises(AuditError) as caught:
        audit(scene)
    return str(caught.value)
