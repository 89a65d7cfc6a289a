"""Holds what the tables hold to what the oracle says: pure; what is wrong comes as sentences, none if nothing is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as compute

from chaos.job.oracle import BarKey, Position, Refused
from market.bar import Bar
from market.trade import CONFLICT

SHOWN = 10
"""Examples of a kind that are told; all are counted."""

_PLACE = [("offset", "ascending"), ("index", "ascending")]


@dataclass
class Verdict:
    """What is wrong in a table, and what is worth telling though nothing is wrong."""

    failures: list[str] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)

    def find(self, kind: str, examples: Sequence[object]) -> None:
        """Counts a kind of failure, which may have no example."""
        self.figures[kind] = self.figures.get(kind, 0) + len(examples)
        if examples:
            shown = "; ".join(map(str, examples[:SHOWN])) + (" …" if len(examples) > SHOWN else "")
            self.failures.append(f"{len(examples)} {kind.replace('_', ' ')}: {shown}")


def judge_bars(rows: Iterable[Bar], expected: Mapping[BarKey, Bar]) -> Verdict:
    """The rows of `bars_1s`, all revisions of them."""
    verdict = Verdict()
    count, newest, seen = 0, dict[BarKey, Bar](), Counter[tuple[BarKey, int]]()
    for bar in rows:
        key = bar.exchange, bar.symbol, bar.timestamp
        count += 1
        seen[key, bar.revision] += 1
        if key not in newest or bar.revision > newest[key].revision:
            newest[key] = bar
    verdict.find("bars_doubled", [place for place, times in seen.items() if times > 1])
    # A bar that the stream did not write at all begins with revision 1: 0 is the stream's own.
    holes = [
        (key, bar.revision)
        for key, bar in newest.items()
        if bar.revision > 1 and any((key, revision) not in seen for revision in range(1, bar.revision))
    ]
    verdict.find("bars_with_a_revision_missing", holes)
    verdict.find("bars_lost", sorted(expected.keys() - newest.keys()))
    verdict.find("bars_too_many", sorted(newest.keys() - expected.keys()))
    wrong = [
        f"{replace(newest[key], revision=0)} should be {bar}"
        for key, bar in sorted(expected.items())
        if key in newest and replace(newest[key], revision=0) != bar
    ]
    verdict.find("bars_wrong", wrong)
    verdict.figures |= {
        "bars": len(expected),
        "bar_rows": count,
        "bars_amended": sum(bar.revision > 0 for bar in newest.values()),
    }
    return verdict


def judge_archive(partition: int, rows: pa.Table, expected: pa.Table) -> Verdict:
    """The rows of `trades` of one partition; both as `oracle.ARCHIVED`, the expected ones in order."""
    verdict = Verdict()
    rows = rows.sort_by(_PLACE).combine_chunks()
    expected = expected.combine_chunks()
    if rows.equals(expected):
        for kind in ("rows_doubled", "rows_lost", "rows_too_many", "rows_wrong"):
            verdict.find(kind, [])
        return verdict
    there, told = _places(partition, rows), _places(partition, expected)
    times = Counter(there)
    verdict.find("rows_doubled", sorted(place for place, number in times.items() if number > 1))
    verdict.find("rows_lost", sorted(set(told) - times.keys()))
    verdict.find("rows_too_many", sorted(times.keys() - set(told)))
    contents: dict[Position, Any] = dict(zip(there, rows.to_pylist(), strict=True))
    wrong = [
        f"{contents[place]} should be {row}"
        for place, row in zip(told, expected.to_pylist(), strict=True)
        if place in contents and contents[place] != row
    ]
    verdict.find("rows_wrong", wrong)
    return verdict


def _places(partition: int, rows: pa.Table) -> list[Position]:
    offsets, indices = rows["offset"].to_pylist(), rows["index"].to_pylist()
    return [(partition, offset, index) for offset, index in zip(offsets, indices, strict=True)]


def judge_rejected(
    rows: Iterable[tuple[Position, Refused]],
    expected: Mapping[Position, Refused],
    conflicts: Mapping[Position, BarKey],
) -> Verdict:
    """The rows of `rejected_trades`. A conflict is a row too, once and without its bytes, however late it came."""
    verdict = Verdict()
    invalid: dict[Position, Refused] = {}
    found: Counter[tuple[Position, bool]] = Counter()
    wrong = []
    for place, refused in rows:
        is_conflict = refused.reason == CONFLICT
        found[place, is_conflict] += 1
        if not is_conflict:
            invalid[place] = refused
        elif place not in conflicts or refused.raw is not None:
            wrong.append(f"{place} is told as a conflict")
    verdict.find("rejected_doubled", sorted(place for (place, _), times in found.items() if times > 1))
    verdict.find("rejected_lost", sorted(expected.keys() - invalid.keys()))
    verdict.find("rejected_too_many", sorted(invalid.keys() - expected.keys()))
    wrong += [
        f"{place}: {invalid[place]} should be {refused}"
        for place, refused in sorted(expected.items())
        if place in invalid and invalid[place] != refused
    ]
    verdict.find("rejected_wrong", wrong)
    verdict.find("conflicts_lost", sorted(place for place in conflicts if (place, True) not in found))
    verdict.figures["conflicts"] = len(conflicts)
    return verdict


def as_archived(rows: pa.Table) -> pa.Table:
    """Rows of `trades`, as a Delta reader gives them, in the form in which they are compared."""
    time_ms = compute.divide(rows["timestamp"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()), 1000)
    return rows.set_column(rows.schema.get_field_index("timestamp"), "timestamp", time_ms)
