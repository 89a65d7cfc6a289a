"""Binance's request weights, counted per client and minute for the header that tells them; none is refused by weight.

(binance-spot-api-docs, "IP Limits": every response has X-MBX-USED-WEIGHT-1M.) Pure, with the clock as an argument.
"""

from __future__ import annotations

from serve.limits import ADDRESSES, ByAddress

HEADER = "X-MBX-USED-WEIGHT-1M"
_MINUTE_MS = 60_000


class Weights:
    """What each client has used up in this minute."""

    def __init__(self, clients: int = ADDRESSES) -> None:
        self._used: ByAddress[tuple[int, int]] = ByAddress(clients)

    def add(self, client: str, weight: int, now_ms: int) -> int:
        """The weight of a client's requests in this minute of the clock, this one included."""
        minute = now_ms // _MINUTE_MS
        began, used = self._used.get(client, (minute, 0))
        used = weight + (used if began == minute else 0)
        self._used.put(client, (minute, used))
        return used
