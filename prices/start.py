"""Where in a partition to begin. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """What is known of a partition. Offsets are of the next record."""

    stored: int | None
    """Where Redis has come to; None where it knows nothing of the partition."""
    committed: int | None
    """What the group has committed to Kafka."""
    earliest: int
    """The oldest record that Kafka holds."""
    end: int
    is_replaced: bool = False
    """Whether Redis knows it as one of another topic of this name."""


class Start(NamedTuple):
    """Where to begin."""

    offset: int
    cause: str = ""
    """Why the partition begins anew; empty where it goes on."""


UNKNOWN = "Redis knows nothing of it"
REPLACED = "the topic is another one than Redis knows"


def start_of(known: Known, rebuild: int) -> Start:
    """Go on where both Redis and the group have come to; where Redis is empty, `rebuild` records before the end.

    What neither of the two has is never left out, however far behind it lies: the newest trade of a quiet symbol may
    be in it. What Kafka has deleted meanwhile is asked for all the same: Kafka then goes on with its oldest record, and
    the records between are written, and counted, as deleted.
    """
    committed = known.committed if known.committed is not None and known.committed <= known.end else None
    if known.stored is None or known.is_replaced or known.stored > known.end:
        tail = max(known.earliest, known.end - rebuild)
        offset = tail if committed is None else max(known.earliest, min(tail, committed))
        return Start(offset, UNKNOWN if known.stored is None else REPLACED)
    return Start(known.stored if committed is None else min(known.stored, committed))
