"""The page's routes, which OpenAPI does not tell, asked with anything: its files, and what its stream may be asked."""

from __future__ import annotations

import http.client
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest
from hypothesis import strategies

from market.trade import EXCHANGES
from market.widths import WIDTHS
from tests.redis_servers import OwnRedis
from tests.serve.binance.made import START_MS, trades_at
from tests.serve.binance.stand import Stand
from tests.serve.fuzzing import CASES, SIGNS, Line, Request, each_once, headers, texts

OF_STREAMS = 100
"""Each is a connection of its own, which lasts until it is closed."""
SYMBOL, POSITION = "[A-Za-z0-9][A-Za-z0-9_-]{0,23}", "[0-9a-f]{8}([.][0-9]{1,15}){3}"
KNOWN = ("symbol", "exchange", "interval", "after")
FILES = ("index.html", "app.js", "style.css", "icon.svg", "licence.txt", "notice.txt")

queries = strategies.dictionaries(texts, texts, max_size=3).map(urlencode)
Pairs = list[tuple[str, str]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, redis_server: OwnRedis) -> Iterator[Stand]:
    """With a few seconds of one symbol, some of them open."""
    stand = Stand(tmp_path_factory.mktemp("fuzz"), redis_server.emptied())
    trades = trades_at([START_MS + 500 * number for number in range(20)])
    stand.told(trades)
    stand.finished(trades[:14])
    stand.stop_clock(START_MS + 10_500)
    with stand.serving():
        yield stand


@pytest.mark.parametrize(("path", "kind"), [("/", "text/html; charset=utf-8"), ("/favicon.ico", "image/svg+xml")])
def test_the_page_opens_whatever_its_address_says(served: Stand, path: str, kind: str) -> None:
    """What the address asks for is read by the page itself, in the browser; 304 is for whoever has it already."""
    requests = [_get(f"{path}?{query}") for query in each_once(queries)]
    with Line(served.port) as line:
        body, etag = line.answer(_get(path)).body, line.answer(_get(path)).headers["etag"]
        for number, request in enumerate(requests):
            answer = line.answer(request._replace(headers={"If-None-Match": etag}) if number % 3 == 0 else request)
            if number % 3:
                assert (answer.status, answer.headers["content-type"], answer.body) == (200, kind, body), request
            else:
                assert (answer.status, answer.body) == (304, b""), request


def test_no_file_is_had_but_those_of_the_page(served: Stand) -> None:
    """Names, and what leads elsewhere on a disk: 404 as JSON, which says so."""
    parts = texts.filter(bool) | strategies.sampled_from(["..", ".", "static", "/", "\\", "\0", "C:", "~", *FILES])
    names = strategies.lists(parts, min_size=1, max_size=4).map("/".join).map(lambda name: quote(name, safe="/"))
    requests = each_once(strategies.builds(lambda name, sent: _get(f"/page/{name}", sent), names, headers), key=target)
    statuses = Counter[int]()
    with Line(served.port) as line:
        for request in requests:
            answer = line.answer(request)
            name = unquote(request.target.removeprefix("/page/"))
            statuses[answer.status] += 1
            if answer.status == 307:
                assert name.endswith("/"), request
            else:
                assert answer.status == (200 if name in FILES else 404), (request, answer)
            if answer.status == 404:
                assert answer.json["error"].startswith(("the page has no file ", "there is nothing at /"))
    assert statuses[404] > CASES // 2


def target(request: Request) -> str:
    return request.target


def _get(target: str, sent: Any = None) -> Request:
    return Request("GET", target, sent or {})


_symbols = strategies.sampled_from(["BTCUSDT", "btc-usdt"]) | strategies.from_regex("[A-Za-z0-9]{2,20}", fullmatch=True)
_keys = strategies.tuples(_symbols, strategies.sampled_from(EXCHANGES)).map(
    lambda key: [("symbol", key[0]), ("exchange", key[1])]
)


def some(name: str, values: Any) -> Any:
    """A parameter, or none of it."""
    return strategies.just([]) | values.map(lambda value: [(name, value)])


allowed = strategies.tuples(
    strategies.just([]) | _keys,
    some("interval", strategies.sampled_from(list(WIDTHS))),
    some("after", strategies.from_regex(POSITION, fullmatch=True)),
).map(lambda parts: [pair for part in parts for pair in part])


def none_of(pattern: str) -> Any:
    """Texts that a pattern does not allow. A line break at its end passes some readers of patterns."""
    return (texts | strategies.from_regex(pattern, fullmatch=True).map(lambda text: text + "\n")).filter(
        lambda text: not re.fullmatch(pattern, text)
    )


def not_among(names: Any) -> Any:
    """Texts that are none of these."""
    return (texts | strategies.sampled_from([f"{name} " for name in names])).filter(lambda text: text not in names)


@strategies.composite
def wrong(draw: Any) -> tuple[Pairs, str]:
    """What is allowed with one thing wrong in it, and how the refusal begins."""
    pairs: Pairs = draw(allowed)
    kinds = {"symbol": none_of(SYMBOL), "exchange": not_among(EXCHANGES)}
    kinds |= {"interval": not_among(WIDTHS), "after": none_of(POSITION)}
    name = draw(strategies.sampled_from([*KNOWN, "unknown", "twice", "alone"]))
    if name in kinds:
        value = draw(kinds[name])
        return [pair for pair in pairs if pair[0] != name] + [(name, value)], f"{name}={value[:100]} is not allowed: "
    if name == "twice" and pairs:
        return [*pairs, draw(strategies.sampled_from(pairs))], ""
    if name == "alone":
        key = draw(_keys)[draw(strategies.integers(0, 1))]
        return [*(pair for pair in pairs if pair[0] not in ("symbol", "exchange")), key], "exchange and symbol belong "
    other = draw(texts.filter(lambda text: text not in KNOWN))
    pairs.insert(draw(strategies.integers(0, len(pairs))), (other, draw(texts)))
    return pairs, f"there is no parameter {other!r}: it may be exchange, symbol, interval, after"


def test_a_stream_that_cannot_be_told_is_refused(served: Stand) -> None:
    """400, with the parameter that was wrong and what it may be."""
    with Line(served.port) as line:
        for pairs, said in each_once(wrong(), key=lambda case: urlencode(case[0])):
            answer = line.answer(_get(f"/page/stream?{urlencode(pairs)}"))
            error = answer.json["error"]
            assert answer.status == 400, pairs
            if said:
                assert said in error, pairs
            else:
                assert error == f"{pairs[-1][0]} is given more than once", pairs


def test_a_stream_that_can_be_told_is_told(served: Stand) -> None:
    """Whatever position a page or its browser has kept: of a symbol that there is, bars come."""
    positions = strategies.text(SIGNS, max_size=40) | strategies.from_regex(POSITION, fullmatch=True)
    for pairs, position in each_once(strategies.tuples(allowed, positions), OF_STREAMS):
        has_bars = {("symbol", "BTCUSDT"), ("exchange", "sim-binance")} <= set(pairs)
        with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)) as connection:
            connection.request("GET", f"/page/stream?{urlencode(pairs)}", headers={"Last-Event-ID": position})
            with closing(connection.getresponse()) as response:
                assert response.status == 200, pairs
                wanted = b"event: bars\n" if has_bars else b"event: state\n"
                assert wanted in iter(response.readline, b""), (pairs, position)
