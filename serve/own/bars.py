"""`/bars`: finished bars with all their columns, and what they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from market.bar import Bar
from market.widths import SECOND_MS, WIDTHS, next_start, start_of
from serve import marks
from serve.bars import Bars, BarsAway
from serve.marks import Marked
from serve.own import formats
from serve.own.query import (
    SOME_BARS,
    Exchange,
    Fill,
    Form,
    From,
    Interval,
    Limit,
    Symbol,
    To,
    normal,
    only,
    time_ms,
)
from serve.problems import Problem
from serve.tasks import in_turns

router = APIRouter(tags=["bars"])


class Asked:
    """What is asked for, once it is known which exchange that is."""

    def __init__(self, bars: Bars, exchange: str, symbol: str, interval: str, limit: int) -> None:
        self._bars = bars
        self.exchange = exchange
        self.symbol = symbol
        self.interval = interval
        self.width_ms = WIDTHS[interval]
        self.limit = limit

    async def read(self, start_ms: int | None, end_ms: int | None, limit: int) -> list[Bar]:
        """Bars of it."""
        return await self._bars.read(
            self.exchange, self.symbol, self.width_ms, start_ms=start_ms, end_ms=end_ms, limit=limit
        )

    async def traded(self, from_ms: int | None, to_ms: int | None) -> tuple[list[Marked], bool]:
        """Bars that were traded in, and whether there are more behind the last one, or before the first."""
        if from_ms is None:
            # One more than asked for: it is the bar before the first, and tells that there are more.
            bars = await self.read(None, to_ms, self.limit + 1)
            before = bars.pop(0) if len(bars) > self.limit else None
            return marks.marked(bars, before), before is not None
        bars = await self.read(from_ms, to_ms, self.limit + 1)
        more = len(bars) > self.limit
        return marks.marked(bars[: self.limit], await self._before(from_ms)), more

    async def filled(self, from_ms: int | None, to_ms: int | None, known_ms: int) -> tuple[list[Marked], bool]:
        """The same, with a row for each quiet interval too. `known_ms`: every trade until then is known."""
        over_ms = start_of(self._bars.end_ms() or 0, self.width_ms)
        if known_ms < over_ms:
            newest = await self.read(None, over_ms - 1, 1)
            over_ms = max(start_of(known_ms, self.width_ms), newest[0].timestamp + self.width_ms if newest else 0)
        last_ms = over_ms if to_ms is None else min(over_ms, start_of(to_ms, self.width_ms) + self.width_ms)
        if from_ms is None:
            first_ms = max(last_ms - self.limit * self.width_ms, 0)
            end_ms, more = last_ms, True
        else:
            first_ms = next_start(from_ms, self.width_ms)
            end_ms = min(first_ms + self.limit * self.width_ms, last_ms)
            more = end_ms < last_ms
        if first_ms >= end_ms:
            return [], False
        bars = await self.read(first_ms, end_ms - 1, self.limit)
        before = await self._before(first_ms)
        after = await self.read(end_ms, None, 1)
        rows = marks.filled(bars, self.width_ms, first_ms, end_ms, before=before, after=after[0] if after else None)
        # A gap, or the time before the first bar, may be longer than a page: an empty one would look like the end.
        if not rows and from_ms is not None and after and after[0].timestamp < last_ms:
            return await self.filled(after[0].timestamp, to_ms, known_ms)
        if not rows and from_ms is None and before:
            return await self.filled(None, before.timestamp, known_ms)
        return rows, more and (before is not None or from_ms is not None)

    async def _before(self, start_ms: int) -> Bar | None:
        found = await self.read(None, start_ms - 1, 1) if start_ms > 0 else []
        return found[0] if found else None


@router.get(
    "/bars/{symbol}",
    summary="Finished bars of a symbol, from the table",
    response_class=Response,
    dependencies=[Depends(only("exchange", "interval", "from", "to", "limit", "fill", "format"))],
    responses={
        200: {
            "description": "The bars, oldest first. The header Link leads to the next ones, or to those before.",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/BarsOfASymbol"}},
                "text/csv": {"schema": {"type": "string"}},
                "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        404: {"description": "Nobody has bars of this symbol, or not this exchange"},
    },
)
async def bars(
    request: Request,
    symbol: Symbol,
    exchange: Exchange = None,
    interval: Interval = "1m",
    start: From = None,
    end: To = None,
    limit: Limit = SOME_BARS,
    fill: Fill = "none",
    form: Form = "json",
) -> Response:
    """The bars of the table, each in its current revision, rolled up to the interval. Intervals that are not over, and
    those without a trade, have none; `revision` above 0 marks bars that were amended, `missing_trades` and
    `missing_before` tell how many trade ids are missing in a bar and before it."""
    service: Bars = request.app.state.bars
    name = normal(symbol)
    from_ms, to_ms = time_ms("from", start), time_ms("to", end)
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise Problem(400, f"from={start} is later than to={end}")
    asked = Asked(service, venue(service, name, exchange), name, interval, limit)
    if fill == "previous":
        running = await request.app.state.live.running(asked.exchange, asked.symbol, SECOND_MS)
        rows, more = await asked.filled(from_ms, to_ms, running.until_ms)
    else:
        rows, more = await asked.traded(from_ms, to_ms)
    if form == "json":
        body = await _json(rows, asked, service)
    else:
        body = await asyncio.to_thread(formats.OTHERS[form], rows)
    headers = {"Link": _link(request, rows, asked.width_ms, onward=from_ms is not None)} if more and rows else {}
    return Response(body, media_type=formats.MEDIA_TYPES[form], headers=headers)


@router.get(
    "/symbols",
    summary="Which symbols there are bars of, and at which intervals they are served",
    response_class=Response,
    dependencies=[Depends(only())],
    responses={200: {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Symbols"}}}}},
)
async def symbols(request: Request) -> Response:
    """Every symbol of the table, with the exchanges that have it: where none is named, the first one is meant."""
    service: Bars = request.app.state.bars
    if service.follower.state is None:
        raise BarsAway(service.follower.problem)
    found = [{"symbol": symbol, "exchanges": exchanges} for symbol, exchanges in service.symbols().items()]
    return Response(
        msgspec.json.encode({"symbols": found, "intervals": list(WIDTHS)}), media_type=formats.MEDIA_TYPES["json"]
    )


def venue(bars: Bars, symbol: str, exchange: str | None) -> str:
    """The exchange whose bars are meant. Raises `Problem` where there is none, `BarsAway` where that is not known."""
    known = bars.exchanges_of(symbol)
    if exchange is None and known:
        return known[0]
    if exchange is not None and exchange in known:
        return exchange
    if not bars.knows_all:
        raise BarsAway(bars.follower.problem or "the table's past is still being looked through for symbols")
    if known:
        raise Problem(404, f"{exchange} has no bars of {symbol}; {', '.join(known)} have")
    raise Problem(404, f"there are no bars of {symbol}; /symbols tells which there are")


async def _json(rows: Sequence[Marked], asked: Asked, service: Bars) -> bytes:
    """Printed some rows at a time: others are answered meanwhile."""
    # Texts of seconds alone are kept: of wider bars, most come from files, and no two reads give the same object.
    is_narrow = asked.width_ms == SECOND_MS
    printer = service.printer(asked.exchange, asked.symbol, formats.printed) if is_narrow else formats.printed
    objects: list[bytes] = []
    async for some in in_turns(rows):
        objects += formats.json_rows(some, printer)
    return formats.as_json(objects, asked.exchange, asked.symbol, asked.interval)


def _link(request: Request, rows: Sequence[Marked], width_ms: int, *, onward: bool) -> str:
    """The same request for what comes next, or for what was before."""
    asked = dict(request.query_params)
    if onward:
        asked["from"] = str(rows[-1].bar.timestamp + width_ms)
    else:
        asked["to"] = str(rows[0].bar.timestamp - 1)
    return f'<{request.url.path}?{urlencode(asked)}>; rel="{"next" if onward else "prev"}"'
