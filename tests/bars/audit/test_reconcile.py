"""The audit, on a real topic and a real table: what it finds, what it amends, and what it says."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from bars.audit import reconcile, standing
from bars.audit.evidence import AuditError
from bars.audit.proof import Account, Proof
from bars.locks import amend_lock
from bars.recovery.identity import tie
from bars.tables import BARS
from bars.unique import unique
from market.bar import bars_of, current
from market.gap import Gap
from tests.bars.audit.audited import KEY, OPEN, SOME, START_MS, WATERMARK_MS, Scene, audit, trade
from tests.bars.others import HOLDER, started

pytestmark = pytest.mark.spark


@pytest.fixture
def scene(spark: SparkSession, kafka: str, topic: str, tmp_path: Path) -> Scene:
    """A topic of its own, no table yet, and no checkpoint."""
    return Scene(spark, kafka, topic, tmp_path)


def test_the_proof_of_a_table_that_is_right(scene: Scene) -> None:
    """Copies, rejected elements and open seconds are accounted for, and the text says it all."""
    scene.publish(*SOME, *OPEN, SOME[3], SOME[3], b"no json")
    scene.publish(b'{"exchange":"binance","symbol":"ETHUSD","price":"0"}', partition=1)
    scene.write(SOME)
    scene.finish(WATERMARK_MS)
    proof = audit(scene)
    assert proof.holds
    assert proof.accounts == {
        KEY: Account(consumed=20, in_bars=16, duplicates=2, open=2, bars=8, equal=8),
        ("binance", "ETHUSD"): Account(consumed=1, rejected=1),
        ("", ""): Account(consumed=1, rejected=1),
    }
    assert proof.text() == (
        f"recomputed from topic {scene.topic}: it still holds every record\n"
        "up to batch 1 of the bars query, watermark 2025-11-01 12:26:50\n"
        "\n"
        "exchange       symbol  consumed = in bars + duplicates + rejected + still open bars equal amended before "
        "different conflicts\n"
        "(of no symbol)                1 =       0 +          0 +        1 +          0    0     0       0      0 "
        "        0         0\n"
        "binance        BTCUSDT       20 =      16 +          2 +        0 +          2    8     8       0      0 "
        "        0         0\n"
        "binance        ETHUSD         1 =       0 +          0 +        1 +          0    0     0       0      0 "
        "        0         0\n"
        "all                          22 =      16 +          2 +        2 +          2    8     8       0      0 "
        "        0         0\n"
        "\n"
        "missing ids: 0 explained, 0 unexplained\n"
        "sample: 5 bars recomputed in plain Python, 0 different\n"
        "the table equals the trades"
    )
    assert json.loads(json.dumps(proof.document()))["accounts"][1] == {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "consumed": 20,
        "in_bars": 16,
        "duplicates": 2,
        "rejected": 0,
        "open": 2,
        "conflicts": 0,
        "bars": 8,
        "equal": 8,
        "amended_now": 0,
        "amended_before": 0,
        "different": 0,
        "unaccounted": 0,
    }


@pytest.mark.long
def test_a_trade_that_is_lost_on_the_way_to_a_bar_is_unaccounted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is consumed and what is a copy are counted apart from the bars: so a wrong audit does not add up."""
    scene.publish(*SOME, SOME[3])
    scene.write(SOME[1:])
    scene.finish(WATERMARK_MS)
    monkeypatch.setattr(reconcile, "unique", lambda trades: unique(trades).filter("trade_id > 0"))
    proof = audit(scene, sample=0)
    assert proof.accounts[KEY] == Account(consumed=17, in_bars=15, duplicates=1, bars=8, equal=8)
    assert (proof.accounts[KEY].unaccounted, proof.holds) == (1, False)


def test_check_reports_and_the_audit_amends(scene: Scene) -> None:
    """A trade that a bar lacks, and a bar that is not there, are told by --check and put right without it, once."""
    scene.publish(*SOME)
    scene.write([one for one in SOME if one.trade_id not in (3, 8, 9)])
    scene.finish(WATERMARK_MS)
    proof = audit(scene)
    assert not proof.holds
    assert proof.accounts[KEY] == Account(consumed=16, in_bars=13, bars=7, equal=6, different=2)
    assert proof.differences == [
        "binance BTCUSDT 2025-11-01 12:26:41: low 102.50000000 should be 100.50000000, close 102.50000000 should be "
        "100.50000000, volume 1.00000000 should be 2.00000000, quote_volume 102.50000000 should be 203.00000000, "
        "vwap 102.50000000 should be 101.50000000, trade_count 1 should be 2, taker_buy_volume 0.00000000 should be "
        "1.00000000, taker_buy_quote_volume 0.00000000 should be 100.50000000, last_trade_id 2 should be 3",
        f"binance BTCUSDT 2025-11-01 12:26:44: not in the table, 2 trades in the topic {scene.topic}",
    ]
    assert "WRONG by 3" in proof.text()
    assert proof.verdict == "THE TABLE DOES NOT EQUAL THE TRADES"
    before = scene.rows()

    proof = audit(scene, check=False)
    assert proof.holds, proof.text()
    assert proof.accounts[KEY] == Account(consumed=16, in_bars=16, bars=8, equal=6, amended_now=2)
    assert proof.verdict == "2 bars amended: the table equals the trades"
    assert proof.amendments[1] == "binance BTCUSDT 2025-11-01 12:26:44: revision 1: 2 trades, was not in the table"
    after = scene.rows()
    assert len(after) == len(before) + 2
    assert [bar for bar in after if bar.revision] == [bar for bar in current(after) if bar.revision == 1]

    again = audit(scene, check=False)
    assert again.accounts[KEY] == Account(consumed=16, in_bars=16, bars=8, equal=8, amended_before=2)
    assert scene.rows() == after


@pytest.mark.long
def test_a_table_that_took_the_place_of_the_judged_one_is_left_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starting over moves the judged table aside while the audit computes: the new one has bars of its own."""
    scene.publish(*SOME)
    scene.write(SOME[1:])
    scene.finish(WATERMARK_MS)
    tie(scene.settings, {"id": "the first"})
    rows = scene.rows()

    def begun_anew(*frames: DataFrame) -> DataFrame:
        tie(scene.settings, {"id": "the second"})
        return standing.wrong(*frames)

    monkeypatch.setattr(reconcile, "wrong", begun_anew)
    with pytest.raises(AuditError, match="were started over"):
        audit(scene, check=False)
    assert scene.rows() == rows


@pytest.mark.long
def test_a_bar_that_no_trade_backs_stays_and_is_told(scene: Scene) -> None:
    """It cannot be deleted from an append-only table: a difference that amending leaves."""
    scene.publish(*SOME)
    scene.write([*SOME, trade(16, 8), trade(17, 8.5, symbol="ETHUSD")])
    scene.finish(WATERMARK_MS)
    rows = scene.rows()
    proof = audit(scene, check=False)
    assert not proof.holds
    assert proof.differences == [
        f"binance BTCUSDT 2025-11-01 12:26:48: in the table with 1 trades, none of them in the topic {scene.topic}; "
        "the table is append-only, so that it stays",
        f"binance ETHUSD 2025-11-01 12:26:48: in the table with 1 trades, none of them in the topic {scene.topic}; "
        "the table is append-only, so that it stays",
    ]
    assert [account.unaccounted for _, account in sorted(proof.accounts.items())] == [-1, -1]
    assert scene.rows() == rows


@pytest.mark.long
def test_a_revision_that_stands_twice_is_mended_by_the_next(scene: Scene) -> None:
    """Two who amended at once would leave readers two current bars: the audit tells, and appends one that is alone."""
    scene.publish(*SOME)
    scene.write(SOME)
    scene.write(SOME[:4], revision=1)
    scene.write(SOME[:4], revision=1)
    scene.finish(WATERMARK_MS)
    proof = audit(scene)
    assert proof.differences == [
        f"binance BTCUSDT 2025-11-01 12:26:4{second}: 2 rows of revision 1" for second in (0, 1)
    ]
    assert audit(scene, check=False).holds
    assert {bar.revision for bar in current(scene.rows()) if bar.timestamp < START_MS + 2_000} == {2}
    assert audit(scene).accounts[KEY] == Account(consumed=16, in_bars=16, bars=8, equal=8, amended_before=2)


@pytest.mark.long
def test_who_amends_waits_for_who_does(scene: Scene) -> None:
    """While another one holds the table for amending, the audit waits; what that one has amended is left alone."""
    scene.publish(*SOME)
    scene.write(SOME[:-1])
    scene.finish(WATERMARK_MS)
    found: list[Proof] = []
    thread = threading.Thread(target=lambda: found.append(audit(scene, check=False)))
    other = started(HOLDER, "held", amend_lock(BARS.path(scene.settings)))
    try:
        thread.start()
        thread.join(timeout=1)
        scene.write(SOME[-2:], revision=1)
        assert not found
    finally:
        other.end()
    thread.join(timeout=120)
    assert found[0].holds, found[0].text()
    assert [bar.revision for bar in scene.rows() if bar.timestamp == START_MS + 7_000] == [0, 1]


@pytest.mark.long
def test_only_what_the_bars_query_has_finished_is_judged(scene: Scene) -> None:
    """Records behind its offsets, and seconds that its watermark has not closed, are neither missing nor there."""
    scene.publish(*SOME, *OPEN)
    scene.write([*SOME[:15], *OPEN])
    scene.finish(WATERMARK_MS, p0=15)
    proof = audit(scene)
    assert proof.holds, proof.text()
    assert proof.accounts[KEY] == Account(consumed=15, in_bars=15, bars=8, equal=8)


@pytest.mark.long
def test_conflicts_are_counted_and_the_first_wins(scene: Scene) -> None:
    """A copy with other content does not count, even if its time lies in another second."""
    scene.publish(*SOME, SOME[0]._replace(price="7"), SOME[2]._replace(timestamp=SOME[9].timestamp))
    scene.write(SOME)
    scene.finish(WATERMARK_MS)
    for seed in (3, 5, 8):  # the samples hold the copy's second, the first one's, or both
        proof = audit(scene, sample=4, seed=seed)
        assert proof.holds, proof.text()
        assert proof.accounts[KEY] == Account(consumed=18, in_bars=16, duplicates=2, conflicts=2, bars=8, equal=8)


@pytest.mark.long
def test_a_range_of_time(scene: Scene) -> None:
    """Bars outside of --from and --to are neither judged nor amended, and their trades are not counted."""
    scene.publish(*SOME)
    scene.write(SOME[4:12])
    scene.finish(WATERMARK_MS)
    proof = audit(scene, from_ms=START_MS + 2_000, to_ms=START_MS + 6_000)
    assert proof.holds, proof.text()
    assert proof.accounts[KEY] == Account(consumed=8, in_bars=8, bars=4, equal=4)
    assert " from 2025-11-01 12:26:42 to 2025-11-01 12:26:46\n" in proof.text()


def gap(first: int, last: int, status: str, cause: str) -> Gap:
    return Gap(*KEY, first, last, status, cause, START_MS)


@pytest.mark.long
def test_missing_ids_are_explained_by_gap_records(scene: Scene) -> None:
    """Inside of bars and between them; by the last record that covers them, by rejection, or by being on the way."""
    missing = {3, 6, 7, 9, 12}
    scene.publish(*(one for one in SOME if one.trade_id not in missing))
    scene.publish(json.dumps(SOME[12]._asdict() | {"price": "0"}).encode())
    scene.write([one for one in SOME if one.trade_id not in missing])
    scene.finish(WATERMARK_MS)
    scene.publish(SOME[9])
    scene.tell(
        gap(3, 9, "open", "reconnected"),
        gap(6, 6, "lost", "the exchange no longer serves these trades"),
        gap(9, 9, "filled", "back-filled"),
    )
    proof = audit(scene)
    assert proof.holds, proof.text()
    lines = [line for line in proof.text().splitlines() if " ids" in line]
    assert lines == [
        "missing ids: 5 explained, 0 unexplained",
        "  ids: binance BTCUSDT 3 to 3 (1): open, the exchange may still have them: reconnected",
        "  ids: binance BTCUSDT 6 to 6 (1): lost: the exchange no longer serves these trades",
        "  ids: binance BTCUSDT 7 to 7 (1): open, the exchange may still have them: reconnected",
        "  ids: binance BTCUSDT 9 to 9 (1): coming: they are in records that the bars query has not read yet",
        "  ids: binance BTCUSDT 12 to 12 (1): rejected: an element bears them that is no valid trade, "
        "see rejected_trades",
    ]


@pytest.mark.long
def test_missing_ids_that_nobody_explains_fail_the_proof(scene: Scene) -> None:
    """Without a record, or with one that says they were filled: exit 1, although the table equals the trades."""
    scene.publish(*SOME[:5], *SOME[8:10], *SOME[11:])
    scene.write([*SOME[:5], *SOME[8:10], *SOME[11:]])
    scene.finish(WATERMARK_MS)
    scene.tell(gap(6, 7, "filled", "back-filled"))
    proof = audit(scene)
    assert (proof.equals, proof.holds) == (True, False)
    assert proof.verdict == "the table equals the trades; IDS ARE MISSING THAT NO GAP RECORD EXPLAINS"
    assert [line for line in proof.text().splitlines() if " ids" in line] == [
        "missing ids: 0 explained, 4 unexplained",
        "  ids: binance BTCUSDT 5 to 5 (1): NO GAP RECORD EXPLAINS THEM",
        "  ids: binance BTCUSDT 6 to 7 (2): A GAP RECORD SAYS FILLED, AND THEY ARE NOT THERE: back-filled",
        "  ids: binance BTCUSDT 10 to 10 (1): NO GAP RECORD EXPLAINS THEM",
    ]


@pytest.mark.long
def test_an_id_that_stands_in_another_second_is_not_missing(scene: Scene) -> None:
    """Ids and times may cross at a second's edge: the bar's evidence alone would call that a hole."""
    crossed = [*SOME[:5], trade(5, 3.1), trade(6, 2.9), *SOME[7:]]
    scene.publish(*crossed)
    scene.write(crossed)
    scene.finish(WATERMARK_MS)
    assert [bar.missing_trades for bar in bars_of(crossed)][2:4] == [1, 1]
    assert audit(scene).missing == []
