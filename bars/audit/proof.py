"""What the audit has found, for a person to read and for a machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bars.audit.gaps import Missing

SHOWN = 20
"""Differences, or missing ids, that are told one by one to a person."""

Key = tuple[str, str]
"""Exchange and symbol; both empty for elements that have none."""


@dataclass
class Account:
    """One exchange and symbol: elements that were consumed, and where they are."""

    consumed: int = 0
    """Trades, copies among them, and rejected elements."""
    in_bars: int = 0
    """The trade counts of the current bars in the table, added up."""
    duplicates: int = 0
    """Elements whose identity another one bears that came before."""
    rejected: int = 0
    open: int = 0
    """Trades of seconds that the watermark has not closed."""
    conflicts: int = 0
    """Identities of which copies differ; the copies are among the duplicates."""
    bars: int = 0
    """Current bars in the table, of closed seconds."""
    equal: int = 0
    """Of these, those that are what the trades say. Those amended now are not among them."""
    amended_now: int = 0
    amended_before: int = 0
    """Of the equal ones, those with a revision above 0."""
    different: int = 0
    """Bars that differ still, or that stand in the table without a trade, or are not there at all."""

    @property
    def unaccounted(self) -> int:
        """Elements that are nowhere (above 0), or counted too often (below)."""
        return self.consumed - self.in_bars - self.duplicates - self.rejected - self.open

    def __add__(self, other: Account) -> Account:
        return Account(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


@dataclass
class Proof:
    """What the audit found."""

    source: str
    """What the bars were recomputed from."""
    why: str
    """Why from there."""
    batch: int
    watermark_ms: int
    from_ms: int | None = None
    to_ms: int | None = None
    notes: list[str] = field(default_factory=list)
    accounts: dict[Key, Account] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    """The differences that are left, each in words; `Account.different` counts all, these may be fewer."""
    amendments: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    places_left_out: bool = False
    """Whether ids are missing in more places than were looked at."""
    sampled: int = 0
    sample_differences: list[str] = field(default_factory=list)

    @property
    def total(self) -> Account:
        """All accounts together."""
        return sum(self.accounts.values(), Account())

    @property
    def equals(self) -> bool:
        """Whether the table is what the trades say."""
        balanced = not any(account.unaccounted for account in self.accounts.values())
        return balanced and not self.total.different and not self.sample_differences

    @property
    def unexplained(self) -> list[Missing]:
        """Missing ids that nobody accounts for."""
        return [item for item in self.missing if not item.is_explained]

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to judge: no element, and no bar."""
        return not self.total.consumed and not self.total.bars and not self.total.different

    @property
    def holds(self) -> bool:
        """Whether something was judged, and nothing is left unexplained."""
        return not self.is_empty and self.equals and not self.unexplained and not self.places_left_out

    @property
    def verdict(self) -> str:
        """The last line."""
        if self.is_empty:
            return "NOTHING WAS JUDGED: no element and no bar is of that time"
        if self.equals and not self.total.bars:
            return "no bar to judge yet: every element is rejected, or of a second that is still open"
        amended = f"{self.total.amended_now:,} bars amended: " if self.total.amended_now else ""
        ids = "; IDS ARE MISSING THAT NO GAP RECORD EXPLAINS" if self.unexplained or self.places_left_out else ""
        return (f"{amended}the table equals the trades" if self.equals else "THE TABLE DOES NOT EQUAL THE TRADES") + ids

    def text(self) -> str:
        """The proof for a person to read."""
        missing = self.missing
        explained = sum(item.ids.number for item in missing if item.is_explained)
        unexplained = sum(item.ids.number for item in self.unexplained)
        lines = [
            f"recomputed from {self.source}: {self.why}",
            f"up to batch {self.batch} of the bars query, watermark {time_text(self.watermark_ms)}"
            + _range_text(self.from_ms, self.to_ms),
            *self.notes,
            "",
            *_table([_HEAD, *(_row(key, account) for key, account in self._rows())]),
            "",
            *listed("amended", self.amendments),
            *listed("different", self.differences, self.total.different),
            f"missing ids: {explained:,} explained, {unexplained:,} unexplained",
            *listed("ids", [_missing_text(item) for item in missing]),
            *([_TOO_MANY] if self.places_left_out else []),
            f"sample: {self.sampled:,} bars recomputed in plain Python, {len(self.sample_differences):,} different",
            *listed("sample", self.sample_differences),
            self.verdict,
        ]
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """The same for a machine."""
        return {
            "holds": self.holds,
            "verdict": self.verdict,
            "source": self.source,
            "why": self.why,
            "batch": self.batch,
            "watermark_ms": self.watermark_ms,
            "from_ms": self.from_ms,
            "to_ms": self.to_ms,
            "notes": self.notes,
            "total": _fields(self.total),
            "accounts": [
                {"exchange": key[0], "symbol": key[1]} | _fields(account)
                for key, account in sorted(self.accounts.items())
            ],
            "amendments": self.amendments,
            "differences": self.differences,
            "missing": [item.ids._asdict() | {"status": item.status, "cause": item.cause} for item in self.missing],
            "places_left_out": self.places_left_out,
            "sampled": self.sampled,
            "sample_differences": self.sample_differences,
        }

    def _rows(self) -> Iterable[tuple[Key, Account]]:
        yield from sorted(self.accounts.items())
        if len(self.accounts) != 1:
            yield ("all", ""), self.total


_HEAD = (
    *("exchange", "symbol", "consumed", "=", "in bars", "+", "duplicates", "+", "rejected", "+", "still open", ""),
    *("bars", "equal", "amended", "before", "different", "conflicts"),
)
_TOO_MANY = "  … and in more places, which were not looked at: so many mean that something is broken at large"


def _row(key: Key, account: Account) -> Sequence[str]:
    wrong = f"WRONG by {account.unaccounted:,}" if account.unaccounted else ""
    left = (
        account.consumed,
        "=",
        account.in_bars,
        "+",
        account.duplicates,
        "+",
        account.rejected,
        "+",
        account.open,
        wrong,
    )
    right = (
        account.bars,
        account.equal,
        account.amended_now,
        account.amended_before,
        account.different,
        account.conflicts,
    )
    name, symbol = key if any(key) else ("(of no symbol)", "")
    return name, symbol, *(f"{value:,}" if isinstance(value, int) else value for value in (*left, *right))


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    words = (
        " ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            if width
        )
        for row in rows
    )
    return [line.rstrip() for line in words]


def listed(word: str, items: Sequence[str], count: int | None = None) -> list[str]:
    """The first of some findings, a line each, and how many more there are; `count` says how many where it is known."""
    count = max(len(items), count or 0)
    more = [f"  … and {count - SHOWN:,} more"] if count > SHOWN else []
    return [*(f"  {word}: {item}" for item in items[:SHOWN]), *more]


def _missing_text(item: Missing) -> str:
    exchange, symbol, first, last = item.ids
    name = f"{exchange} {symbol} {first} to {last} ({item.ids.number:,})"
    if item.status is None:
        return f"{name}: NO GAP RECORD EXPLAINS THEM"
    if item.status == "filled":
        return f"{name}: A GAP RECORD SAYS FILLED, AND THEY ARE NOT THERE: {item.cause}"
    if item.status == "open":
        return f"{name}: open, the exchange may still have them: {item.cause}"
    return f"{name}: {item.status}: {item.cause}"


def _range_text(from_ms: int | None, to_ms: int | None) -> str:
    since = f" from {time_text(from_ms)}" if from_ms is not None else ""
    return since + (f" to {time_text(to_ms)}" if to_ms is not None else "")


def time_text(time_ms: int) -> str:
    """A time in UTC, to the second."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _fields(account: Account) -> dict[str, int]:
    names = account.__dataclass_fields__
    return {name: getattr(account, name) for name in names} | {"unaccounted": account.unaccounted}
