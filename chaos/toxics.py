"""What a proxy can do to a connection: the toxics of toxiproxy (github.com/Shopify/toxiproxy), by their names there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Latency:
    """Every chunk arrives later, and none overtakes another."""

    delay_s: float
    jitter_s: float = 0.0
    """Added or taken away, evenly."""


@dataclass(frozen=True)
class Bandwidth:
    """No more than this many bytes a second, of each connection."""

    bytes_per_s: int


@dataclass(frozen=True)
class Slicer:
    """Small pieces, each in a packet of its own: from half of `size` to one and a half of it."""

    size: int
    pause_s: float = 0.0


@dataclass(frozen=True)
class Timeout:
    """Nothing passes, and the connection stays. What has come in waits until the toxic is gone."""


@dataclass(frozen=True)
class ResetPeer:
    """Both ends get a RST, so long after their connection or the toxic came, whichever is later."""

    after_s: float = 0.0


@dataclass(frozen=True)
class SlowClose:
    """The end of a connection is passed on later."""

    delay_s: float


@dataclass(frozen=True)
class LimitData:
    """The connection is closed after this many bytes."""

    limit: int


@dataclass(frozen=True)
class Down:
    """Nobody listens, and nothing is connected."""


Toxic = Latency | Bandwidth | Slicer | Timeout | ResetPeer | SlowClose | LimitData | Down
