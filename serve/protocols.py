"""uvicorn's HTTP, bounded: how much a request may be, and how long it may take to say what it wants.

Its WebSockets have their bounds in `uvicorn.Config` (`server.py`); what is sent over them waits for a slow client.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_BYTES = 65_536
"""Of a request's line and headers, at most, and of its body, which nobody reads."""
REQUEST_S = 15.0
"""From a connection, or from the first byte of a further request, to the end of its headers."""


class Requests(HttpToolsProtocol):
    """HTTP. The parser would take headers of any size, and wait for their end for any time."""

    _length = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._expect_nothing()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._expect()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """It has said what it wants."""
        self._expect_nothing()
        self._length = 0
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Part of a request, or of several."""
        self._length += len(data)
        if self._length <= REQUEST_BYTES:
            super().data_received(data)
        elif self.cycle is None or self.cycle.response_complete:
            self.send_400_response(f"A request may have {REQUEST_BYTES} bytes.")
        else:
            self.transport.close()  # an answer is under way: there is no room for another one

    def _expect(self) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(REQUEST_S, self._close)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        self.transport.close()
