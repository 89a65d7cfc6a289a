"""Holds the records of the topic to the truth: pure, record by record, in the order of each partition.

What is demanded: every element is a heartbeat or a trade of the truth, equal in every field and type; of each market
no id is missing from the first that the topic holds (the beginning of the minute in which the run began, or an
earlier one) to the last; the first occurrences of the run's ids ascend and lie in one partition. Exact duplicates are
allowed, and counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from chaos.truth import Key, Truth

_SHOWN = 20
"""Problems of a kind that are told in full; all are counted."""


class Range(NamedTuple):
    """Trade ids of a market, both ends included."""

    key: Key
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.key.exchange} {self.key.symbol} {self.first}–{self.last}"


@dataclass
class _Held:
    """What the topic holds of one market."""

    through: int
    """The ids from the beginning of the run up to this one are all there."""
    ids: set[int] = field(default_factory=set)
    newest: int = -1
    partition: int = -1
    settled_ms: int | None = None
    """Kafka time of the record with which the last settled trade and all before it were there."""


class Verifier:
    """Takes every record of the topic, and knows what is wrong with them."""

    def __init__(self, truth: Truth, *, since: Mapping[Key, int], settled: Mapping[Key, int]) -> None:
        """Of each market: `since` is the id of the first trade of the run, `settled` that of the first trade that
        need not be there."""
        self.truth = truth
        self.records = self.heartbeats = self.duplicates = self.disordered = 0
        self.behind_heartbeats = 0
        """First occurrences behind a heartbeat with a later time: their second may have been closed already."""
        self.problems: Counter[str] = Counter()
        self.examples: list[str] = []
        self._since, self._settled = since, settled
        self._held = {key: _Held(since[key] - 1) for key in truth.tapes}
        self._beats: dict[tuple[int, str], int] = {}

    @property
    def trades(self) -> int:
        """Trades that are there, each counted once."""
        return sum(len(held.ids) for held in self._held.values())

    @property
    def is_settled(self) -> bool:
        """Whether every settled trade is there."""
        return self.reaches(self._settled)

    def reaches(self, ids: Mapping[Key, int]) -> bool:
        """Whether every trade of the run below these ids is there."""
        return all(held.through >= ids[key] - 1 for key, held in self._held.items())

    @property
    def settled_ms(self) -> int:
        """Kafka time at which that was so; 0 where nothing had to come."""
        return max((held.settled_ms or 0 for held in self._held.values()), default=0)

    def take(self, partition: int, offset: int, time_ms: int, value: bytes | None) -> None:
        """The next record of a partition; `time_ms` is its Kafka time."""
        self.records += 1
        where = f"partition {partition}, offset {offset}"
        try:
            content = json.loads(value or b"")
        except ValueError:
            self._problem("unreadable", f"{where}: not JSON: {value!r:.200}")
            return
        elements = content if isinstance(content, list) else [content]
        if not elements:
            self._problem("unreadable", f"{where}: an array without elements")
        for element in elements:
            if isinstance(element, dict) and "heartbeat" in element:
                self._take_heartbeat(partition, where, element)
            else:
                self._take_trade(partition, where, time_ms, element)

    def missing(self, reported: Sequence[Range] = ()) -> list[Range]:
        """The ranges that are not there: from the first id to the last, or to the settled one where that is later.

        Without those that lie in one that is `reported`.
        """
        found: list[Range] = []
        for key, held in self._held.items():
            first = min(min(held.ids, default=self._since[key]), self._since[key])
            end = max(held.newest + 1, self._settled[key])
            for before, after in pairwise([first - 1, *sorted(held.ids), end]):
                lack = Range(key, before + 1, after - 1)
                if lack.first <= lack.last and not any(_holds(known, lack) for known in reported):
                    found.append(lack)
        return found

    def failures(self, reported: Sequence[Range] = ()) -> list[str]:
        """Everything that is wrong, in sentences; empty when the topic equals the truth, but for `reported` ranges."""
        missing = self.missing(reported)
        count = sum(last - first + 1 for _, first, last in missing)
        told = [f"{kind}: {number}" for kind, number in self.problems.items()] + self.examples
        if self.disordered:
            told.append(f"{self.disordered} trades follow later ones of their market")
        if missing:
            shown = ", ".join(map(str, missing[:_SHOWN])) + (" …" if len(missing) > _SHOWN else "")
            told.append(f"{count} trades are missing in {len(missing)} ranges: {shown}")
        return told

    def _take_heartbeat(self, partition: int, where: str, element: dict[str, Any]) -> None:
        exchange, time_ms = element.get("exchange"), element["heartbeat"]
        known = {key.exchange for key in self._held}
        if set(element) != {"exchange", "heartbeat"} or exchange not in known or type(time_ms) is not int:
            self._problem("no heartbeat", f"{where}: {element!r:.200} is no heartbeat")
            return
        self.heartbeats += 1
        self._beats[partition, exchange] = max(time_ms, self._beats.get((partition, exchange), 0))

    def _take_trade(self, partition: int, where: str, time_ms: int, element: Any) -> None:
        key = Key(str(element.get("exchange")), str(element.get("symbol"))) if isinstance(element, dict) else None
        number = element.get("trade_id") if isinstance(element, dict) else None
        if key not in self._held or type(number) is not int or number < 0:
            self._problem("no trade", f"{where}: {element!r:.200} is no trade of any market")
            return
        truth = self.truth.trade(key, number)
        if element != truth or any(type(element[name]) is not type(content) for name, content in truth.items()):
            self._problem("altered", f"{where}: {json.dumps(element)} should be {json.dumps(truth)}")
            return
        held = self._held[key]
        if held.partition not in (-1, partition):
            self._problem("two partitions", f"{where}: {key.symbol} is also in partition {held.partition}")
        held.partition = partition
        if number in held.ids:
            self.duplicates += 1
            return
        # What went before the run may follow: a start that knows nothing of a symbol asks for a minute too much.
        if self._since[key] <= number < held.newest:
            self.disordered += 1
            if self.disordered <= _SHOWN:
                self.examples.append(f"{where}: {key.symbol} {number} follows {held.newest}")
        if self._beats.get((partition, key.exchange), 0) > element["timestamp"]:
            self.behind_heartbeats += 1
        held.ids.add(number)
        held.newest = max(held.newest, number)
        while held.through + 1 in held.ids:
            held.through += 1
        if held.settled_ms is None and held.through >= self._settled[key] - 1:
            held.settled_ms = time_ms

    def _problem(self, kind: str, example: str) -> None:
        self.problems[kind] += 1
        if self.problems[kind] <= _SHOWN:
            self.examples.append(example)


def _holds(outer: Range, inner: Range) -> bool:
    return outer.key == inner.key and outer.first <= inner.first and inner.last <= outer.last


class Gaps:
    """What the gaps topic says: ranges reported open, less those filled or lost since."""

    def __init__(self, since: Mapping[Key, int] | None = None) -> None:
        """`since`: of each market the first id of the run. What lies before it is no loss, but marks the edge."""
        self.records = 0
        self._since = since or {}
        self._open: list[Range] = []
        self._lost: list[Range] = []
        self._unreadable: list[str] = []

    @property
    def are_closed(self) -> bool:
        """Whether nothing is open."""
        return not self._open

    def open_from(self, ids: Mapping[Key, int]) -> list[Range]:
        """The ranges that are open and lie wholly at these ids or above."""
        return [left for left in self._open if left.first >= ids[left.key]]

    def take(self, value: bytes | None) -> None:
        """The next record."""
        self.records += 1
        try:
            content = json.loads(value or b"")
            key = Key(str(content["exchange"]), str(content["symbol"]))
            told = Range(key, int(content["first_trade_id"]), int(content["last_trade_id"]))
            if told.last < self._since.get(key, 0):
                return
            {"open": self._open.append, "filled": self._close, "lost": self._lose}[content["status"]](told)
        except (ValueError, LookupError, TypeError):
            self._unreadable.append(repr(value)[:300])

    def failures(self, told: Sequence[Range] = ()) -> list[str]:
        """What is lost, what is still open but for the ranges `told`, and what is no gap record, in sentences."""
        return [
            *(f"reported lost: {lost}" for lost in self._lost),
            *(f"left open: {left}" for left in self._open if left not in told),
            *(f"no gap record: {text}" for text in self._unreadable),
        ]

    def _close(self, told: Range) -> None:
        left = []
        for key, first, last in self._open:
            if key != told.key or last < told.first or first > told.last:
                left.append(Range(key, first, last))
                continue
            if first < told.first:
                left.append(Range(key, first, told.first - 1))
            if last > told.last:
                left.append(Range(key, told.last + 1, last))
        self._open = left

    def _lose(self, told: Range) -> None:
        self._close(told)
        self._lost.append(told)
