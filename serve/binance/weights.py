"""Binance's request weights, counted per client and minute for the header that tells them; none is refused by weight.

(binance-spot-api-docs, "IP Limits": every response has X-MBX-USED-WEIGHT-1M.) Pure, with the clock as an argument.
"""

from __future__ import annotations

from collections import OrderedDict

HEADER = "X-MBX-USED-WEIGHT-1M"
CLIENTS = 10_000
"""How many are remembered; the one that asked longest ago begins anew."""
_MINUTE_MS = 60_000


class Weights:
    """What each client has used up in this minute."""

    def __init__(self, clients: int = CLIENTS) -> None:
        self._clients = clients
        self._used: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def add(self, client: str, weight: int, now_ms: int) -> int:
        """The weight of a client's requests in this minute of the clock, this one included."""
        minute = now_ms // _MINUTE_MS
        began, used = self._used.pop(client, (minute, 0))
        used = weight + (used if began == minute else 0)
        self._used[client] = minute, used
        if len(self._used) > self._clients:
            self._used.popitem(last=False)
        return used
