"""Bars beside klines, interval by interval: what is a difference, and what only looks like one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import pytest

from bars.audit.intervals import Judge, KlineProof
from market.bar import Bar, bars_of
from market.gap import Gap
from market.klines import Kline, Klines
from market.trade import Trade

MINUTE = 60_000
START = 1_762_000_020_000
NINE = (
    *("open", "high", "low", "close", "volume", "quote_volume"),
    *("trade_count", "taker_buy_volume", "taker_buy_quote_volume"),
)
FIVE = NINE[:5]


def minute(number: int, trades: int = 3) -> Bar:
    """A minute's bar, with ids that follow those of the minute before."""
    (bar,) = bars_of(
        [
            Trade(
                "binance",
                "BTCUSDT",
                f"{100 + each}",
                "0.5",
                START + number * MINUTE + each,
                number * 10 + each,
                each == 0,
            )
            for each in range(trades)
        ],
        MINUTE,
    )
    return bar


def kline(number: int, **changes: object) -> Kline:
    """What the exchange says of that minute when it agrees."""
    bar = minute(number)
    return Kline(bar.timestamp, **({name: getattr(bar, name) for name in NINE} | changes))  # type: ignore[arg-type]


def quiet(number: int) -> Kline:
    return Kline(START + number * MINUTE, *[Decimal(102)] * 4, Decimal(0), Decimal(0), 0, Decimal(0), Decimal(0))


def judged(
    klines: Sequence[Kline],
    bars: Sequence[Bar],
    *,
    family: str = "binance",
    fields: tuple[str, ...] = NINE,
    covered: tuple[int, int] = (-10, 100),
    watermark: int = 100,
    newest_may_run: bool = False,
    outer: tuple[int | None, int | None] = (None, None),
    gaps: Sequence[Gap] = (),
    asked: tuple[int | None, int | None] = (None, None),
) -> KlineProof:
    """The minutes 0 to 9, held against each other; times in minutes."""
    proof = KlineProof("FILE", "binance", "BTCUSDT", MINUTE, fields)
    since, until, closed = (START + number * MINUTE for number in (*covered, watermark))
    judge = Judge(
        proof,
        Klines(family, MINUTE, fields, newest_may_run, iter(())),
        since,
        until,
        closed,
        *(None if time is None else START + time * MINUTE for time in asked),
        gaps,
    )
    there: dict[int, Any] = {bar.timestamp: asdict(bar) for bar in bars}
    judge.judge(klines, there, START, START + 10 * MINUTE, lambda: outer, is_last=True)
    return proof


def counts(proof: KlineProof) -> dict[str, int]:
    names = ("equal", "quiet", "absent", "known_gaps", "edges", "outside", "open", "off_grid", "different")
    return {name: getattr(proof, name) for name in names if getattr(proof, name)}


def test_equal_minutes() -> None:
    """Klines that say what the bars say."""
    proof = judged([kline(number) for number in range(10)], [minute(number) for number in range(10)])
    assert (counts(proof), proof.holds) == ({"equal": 10}, True)
    assert proof.text() == (
        "klines of binance BTCUSDT, 60 s each, from FILE\n"
        "compared: open, high, low, close, volume, quote_volume, trade_count, taker_buy_volume, "
        "taker_buy_quote_volume\n"
        "intervals: 10 equal, 0 quiet on both sides, 0 different, 0 lacking trades that gap records account for\n"
        "not compared: 0 outside of the table's range, 0 still open, 0 cut by an edge, 0 that the exchange "
        "has no row for, 0 off the grid\n"
        "the bars equal the klines"
    )


@pytest.mark.parametrize("name", NINE)
def test_each_field_counts(name: str) -> None:
    """One field that is off by the smallest step makes the minute different, and is told alone."""
    wrong = getattr(kline(4), name) + (1 if name == "trade_count" else Decimal("1e-8"))
    klines = [kline(number, **({name: wrong} if number == 4 else {})) for number in range(10)]
    proof = judged(klines, [minute(number) for number in range(10)])
    assert (counts(proof), proof.holds) == ({"equal": 9, "different": 1}, False)
    (difference,) = proof.differences
    assert difference.startswith(f"2025-11-01 12:31:00: {name} ")
    assert ";" not in difference
    assert proof.verdict == "THE BARS DO NOT EQUAL THE KLINES"


def test_quiet_minutes_and_halts() -> None:
    """A kline of zero trades agrees with no bar; where there is neither, nobody says anything."""
    proof = judged([quiet(0), kline(1), quiet(2), kline(9)], [minute(1), minute(9)])
    assert (counts(proof), proof.holds) == ({"equal": 2, "quiet": 2, "absent": 6}, True)


def test_what_one_side_lacks_differs() -> None:
    """Trades in a bar without a kline, in a kline without a bar, and in a bar where the kline says none."""
    proof = judged([kline(0), kline(1), quiet(2), kline(9)], [minute(0), minute(2), minute(5), minute(9)])
    assert counts(proof) == {"equal": 2, "absent": 5, "different": 3}
    assert proof.differences == [
        "2025-11-01 12:28:00: no bar, 3 trades with a volume of 1.5 in the kline",
        "2025-11-01 12:29:00: open 100, theirs 102; low 100, theirs 102; volume 1.5, theirs 0; quote_volume 151.5, "
        "theirs 0; trade_count 3, theirs 0; taker_buy_volume 1, theirs 0; taker_buy_quote_volume 101.5, theirs 0",
        "2025-11-01 12:32:00: no kline, 3 trades in the bars",
    ]


def test_edges_of_the_record() -> None:
    """A first or last minute that the table covers in part is no difference, unless it is equal all the same; what
    lies farther out is not compared."""
    proof = judged(
        [kline(number) for number in range(10)],
        [minute(2, trades=1), *map(minute, range(3, 7)), minute(7, trades=2)],
        covered=(2, 7),
    )
    assert counts(proof) == {"equal": 4, "edges": 1, "outside": 5}
    within = judged(
        [kline(number) for number in range(10)],
        [minute(2, trades=1), *map(minute, range(3, 7)), minute(7)],
        covered=(2, 8),
    )
    assert counts(within) == {"equal": 5, "edges": 1, "outside": 4}
    inside_its_last_second = judged([kline(7)], [minute(7, trades=2)], covered=(2, 8))
    assert counts(inside_its_last_second) == {"edges": 1, "absent": 9}


def test_open_minutes_and_those_that_nobody_asked_for() -> None:
    """What the watermark has not closed waits, and --from and --to leave minutes out that are not wholly inside."""
    klines, bars = [kline(number) for number in range(10)], [minute(number) for number in range(8)]
    assert counts(judged(klines, bars, watermark=8)) == {"equal": 8, "open": 2}
    assert counts(judged(klines[:8], bars, asked=(2, 5))) == {"equal": 3, "outside": 5, "absent": 2}


def test_the_newest_kline_of_an_answer_may_have_been_running() -> None:
    """More trades in the bar than in the newest kline are no difference there, and one elsewhere; fewer always are."""
    fewer = {"trade_count": 1, "volume": Decimal("0.5")}
    bars = [minute(number) for number in range(10)]
    running = [*map(kline, range(9)), kline(9, **fewer)]
    assert counts(judged(running, bars, newest_may_run=True)) == {"equal": 9, "edges": 1}
    assert counts(judged(running, bars)) == {"equal": 9, "different": 1}
    more = [*map(kline, range(9)), kline(9, volume=Decimal(9))]
    assert counts(judged(more, bars, newest_may_run=True)) == {"equal": 9, "different": 1}


def test_klines_off_the_grid_are_counted_apart() -> None:
    """A kline that begins within a minute says nothing of either minute that it touches."""
    klines = [kline(0), kline(1)._replace(start_ms=START + MINUTE + 1_000), *map(kline, range(3, 10))]
    assert counts(judged(klines, [minute(number) for number in range(10)])) == {"equal": 8, "off_grid": 1}


def test_candles_agree_to_the_eighth_decimal() -> None:
    """Coinbase's numbers have been doubles: a volume of 1.4999999999999998 is 1.5. Binance's are text, and exact."""
    nearly = [Kline(*kline(number)[:5], Decimal("1.4999999999999998")) for number in range(10)]
    bars = [minute(number) for number in range(10)]
    assert counts(judged(nearly, bars, family="coinbase", fields=FIVE)) == {"equal": 10}
    assert counts(judged(nearly, bars, fields=FIVE)) == {"different": 10}


def gap(first: int, last: int, status: str = "lost") -> Gap:
    return Gap("binance", "BTCUSDT", first, last, status, "because", 0)


def test_differences_by_trades_that_gap_records_account_for() -> None:
    """Known losses explain a kline that has more trades than the bar, or a minute without a bar; nothing else."""

    def contiguous(number: int, trades: int) -> Bar:
        return Bar(
            **(
                asdict(minute(number, trades))
                | {"first_trade_id": number * 3, "last_trade_id": number * 3 + trades - 1}
            )
        )

    klines = [kline(number) for number in range(10)]
    bars = [contiguous(number, 2 if number == 4 else 3) for number in range(10) if number != 6]
    assert counts(judged(klines, bars)) == {"equal": 8, "different": 2}
    both = [gap(14, 14), gap(18, 20, "open")]
    assert counts(judged(klines, bars, gaps=both)) == {"equal": 8, "known_gaps": 2}
    assert counts(judged(klines, bars, gaps=[*both, gap(18, 20, "filled")])) == {
        "equal": 8,
        "known_gaps": 1,
        "different": 1,
    }
    assert counts(judged(klines, bars, gaps=[gap(18, 19)])) == {"equal": 8, "different": 2}
    assert counts(judged(klines[1:], bars[1:], gaps=[gap(0, 2)], outer=(None, None)))["different"] == 2


def test_a_gap_at_the_edge_of_what_is_compared_at_once() -> None:
    """The ids before and behind come from the table then."""
    bars = [Bar(**(asdict(minute(9, 2)) | {"first_trade_id": 28, "last_trade_id": 29}))]
    klines = [kline(9)]
    assert counts(judged(klines, bars, gaps=[gap(27, 27)], outer=(26, None))) == {"different": 1, "absent": 9}
    assert counts(judged(klines, bars, gaps=[gap(27, 27)], outer=(26, 30))) == {"known_gaps": 1, "absent": 9}


def test_nothing_compared_is_no_proof() -> None:
    """Klines of another time than the table's do not pass for equal."""
    proof = judged([kline(number) for number in range(10)], [], covered=(20, 30))
    assert (counts(proof), proof.holds) == ({"outside": 10}, False)
    assert proof.verdict == "NOTHING WAS COMPARED: no kline lies within the table's range"
