"""How an exchange is spoken to: everything about it that is not an address. Each mapper file ends with its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from producer.exchanges.fast import ShortWay
from producer.exchanges.history import History
from producer.exchanges.outcome import Mapper, Outcome, read


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a feed waits for what."""

    silence_s: float = 60.0
    """An open connection that says nothing for so long is given up."""
    connect_s: float = 10.0
    first_delay_s: float = 0.5
    longest_delay_s: float = 60.0
    """Backing off doubles the delay up to here."""
    session_s: float = 30.0
    """A session shorter than this did not heal anything: the next delay is longer, not the first one again."""


class Clock(NamedTuple):
    """A path that answers with the exchange's time, and the reader of the answer, in ms."""

    path: str
    time_ms_of: Callable[[Any], int]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How an exchange is spoken to. Paths follow the bases of a `Venue`."""

    outcome_of: Mapper
    stream_path: str
    listing_path: str
    products_of: Callable[[Any], Iterable[str]]
    """The products in the listing's answer. Raises LookupError or TypeError where it is none."""
    subscriptions: Callable[[Sequence[str]], list[str]]
    products_per_connection: int
    greeting_interval_s: float
    """Seconds between two messages to the exchange."""
    patience: Patience
    history: History
    life_s: float | None = None
    """How old a connection may get before another takes over; None where the exchange sets no end."""
    clock: Clock | None = None
    """Where the exchange tells its time; None where its frames do."""
    alias_of: Callable[[str], str | None] = lambda product: None
    """Another name under which a product may be asked for, though it is streamed under its own; None: there is none."""
    short_way: ShortWay | None = None
    """Reads the frames that come most, and no others, as the mapper does, but faster; None: there is none."""

    def read(self, frame: str | bytes, *, exchange: str, latest_ms: int) -> Outcome:
        """The outcome of one frame of `exchange`; `latest_ms` is the latest time that a trade may bear."""
        outcome = self.short_way(frame, exchange, latest_ms) if self.short_way else None
        return outcome or read(frame, self.outcome_of, exchange=exchange, latest_ms=latest_ms)
