"""Binance's WebSocket streams, told anything: each message is answered, with an error where it is wrong, and the
connection goes on; and each address is accepted, whatever streams it names."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import strategies as st
from websockets.sync.client import ClientConnection, connect

from serve.binance.sockets import Limits
from serve.binance.symbols import VENUES
from tests.redis_servers import OwnRedis
from tests.serve.binance.stand import Stand
from tests.serve.fuzzing import CASES, each_once, texts

WITHIN_S = 20
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
NOT_JSON, INVALID, UNKNOWN_PROPERTY, NOT_BOOLEAN = 3, 2, 0, 1
"""Binance's codes ("Error Messages" of its WebSocket streams)."""
DEEP = 20_000
"""Arrays within arrays: more than any reader follows."""
Message = tuple[str | bytes, int | None, Any]
"""What is sent; the code of the error, None where there is none; the id that comes back."""


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, redis_server: OwnRedis) -> Iterator[Stand]:
    """With no limit to how often it is told something, or connected to."""
    made = Stand(tmp_path_factory.mktemp("fuzz"), redis_server.emptied())
    made.limits = Limits(messages_per_s=10**6, attempts=10**6)
    with made.serving():
        yield made


def is_json(text: str) -> bool:
    """Whether Python reads it."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
)
ids = st.none() | st.integers(-(2**63), 2**63 - 1) | st.from_regex("[A-Za-z0-9_-]{1,36}", fullmatch=True)
no_ids = (
    st.integers(min_value=2**63)
    | st.integers(max_value=-(2**63) - 1)
    | st.floats()
    | st.booleans()
    | st.from_regex("[A-Za-z0-9_-]{37,60}", fullmatch=True)
    | st.text(st.characters(exclude_categories=["Lu", "Ll", "Nd"], exclude_characters="-_"), max_size=20)
    | st.lists(scalars, max_size=3)
    | st.dictionaries(st.text(max_size=5), scalars, max_size=3)
)
streams = st.lists(
    st.sampled_from(["btcusdt@trade", "!miniTicker@arr", "nope@depth"]) | st.text(max_size=9), max_size=4
)


def told(request: dict[str, Any], code: int | None, id_: Any = None) -> Message:
    """A message of this request; an error that knows no id has none."""
    return json.dumps(request), code, id_


def with_id(requests: Any, code: int | None) -> Any:
    """Messages whose id comes back."""
    return st.builds(lambda request, id_: told({**request, "id": id_}, code, id_), requests, ids)


def requests(methods: Any, params: Any) -> Any:
    """Requests of these methods, with these parameters."""
    return st.builds(lambda method, given: {"method": method, "params": given}, methods, params)


def any_of(*names: str) -> Any:
    """One of these."""
    return st.sampled_from(names)


no_method = anything.filter(lambda value: value not in METHODS)
not_a_list = anything.filter(lambda value: not isinstance(value, list))
not_names = st.lists(anything, min_size=1, max_size=3).filter(lambda names: not all(isinstance(n, str) for n in names))
others = st.text(max_size=9).filter(lambda name: name != "combined")
no_boolean = anything.filter(lambda value: not isinstance(value, bool))
three = st.lists(anything, min_size=3, max_size=5)

messages = st.one_of(
    texts.filter(lambda text: not is_json(text)).map(lambda text: (text, NOT_JSON, None)),
    st.binary(min_size=1, max_size=40).map(lambda sent: (b"\xff" + sent, NOT_JSON, None)),
    st.integers(5_000, 9_000).map(lambda digits: (f'{{"id":{"9" * digits}}}', NOT_JSON, None)),
    st.integers(2_000, DEEP).map(lambda depth: ("[" * depth + "]" * depth, NOT_JSON, None)),
    st.integers(2_000, DEEP // 4).map(lambda depth: ('{"params":' * depth + "0" + "}" * depth, NOT_JSON, None)),
    anything.filter(lambda value: not isinstance(value, dict)).map(lambda value: (json.dumps(value), INVALID, None)),
    st.builds(lambda method, id_: told({"method": method, "id": id_}, INVALID), any_of(*METHODS), no_ids),
    with_id(st.just({}), INVALID),
    with_id(requests(no_method, streams), INVALID),
    with_id(requests(any_of("SUBSCRIBE", "UNSUBSCRIBE", "SET_PROPERTY", "GET_PROPERTY"), not_a_list), INVALID),
    with_id(requests(any_of("SUBSCRIBE", "UNSUBSCRIBE"), not_names), INVALID),
    with_id(requests(any_of("SET_PROPERTY", "GET_PROPERTY"), st.just([]) | three), INVALID),
    with_id(requests(any_of("GET_PROPERTY"), others.map(lambda name: [name])), UNKNOWN_PROPERTY),
    with_id(requests(any_of("SET_PROPERTY"), no_boolean.map(lambda value: ["combined", value])), NOT_BOOLEAN),
    with_id(requests(any_of("SUBSCRIBE", "UNSUBSCRIBE"), streams), None),
    with_id(requests(any_of("LIST_SUBSCRIPTIONS"), anything), None),
    with_id(requests(any_of("SET_PROPERTY"), st.booleans().map(lambda value: ["combined", value])), None),
)


def reply(socket: ClientConnection, sent: str | bytes) -> Any:
    """What a message is answered with; events of streams are passed by."""
    socket.send(sent)
    while True:
        frame = json.loads(socket.recv(timeout=WITHIN_S))
        if "result" in frame or "error" in frame:
            return frame


def test_every_message_is_answered_and_none_ends_the_connection(stand: Stand) -> None:
    """An error has the code of what was wrong, words, and the id, where the message could be read so far."""
    told = each_once(messages, key=lambda message: message[0])
    addresses = [f"{stand.ws}{venue}/{way}" for venue in VENUES for way in ("ws", "stream")]
    codes: Counter[int | None] = Counter()
    with ExitStack() as stack:
        sockets = [stack.enter_context(connect(address)) for address in addresses]
        for number, (sent, code, id_) in enumerate(told):
            answer = reply(sockets[number % len(sockets)], sent)
            assert answer.get("error", {}).get("code") == code, (sent, answer)
            assert answer.get("id") == id_, (sent, answer)
            assert code is None or answer["error"]["msg"], (sent, answer)
            codes[code] += 1
        for socket in sockets:
            assert "result" in reply(socket, '{"method":"LIST_SUBSCRIPTIONS","id":1}')
    assert codes.keys() == {NOT_JSON, INVALID, UNKNOWN_PROPERTY, NOT_BOOLEAN, None}
    assert codes.total() - codes[None] > CASES // 2


def test_every_address_is_accepted_and_its_streams_are_asked_for(stand: Stand) -> None:
    """Names of streams as they are, each once, in their order; unknown ones are silent."""
    lines = texts.filter(lambda text: "\n" not in text)  # a path that has one is no route's
    names = st.lists(lines.map(lambda text: text.replace(" ", "+")), max_size=5).map("/".join)
    ways = st.sampled_from([f"{venue}{way}" for venue in VENUES for way in ("/ws/{}", "/stream?streams={}")])
    for way, named in each_once(st.tuples(ways, names)):
        with connect(f"{stand.ws}{way.format(quote(named, safe='/'))}") as socket:
            wanted = list(dict.fromkeys(name for name in named.split("/") if name))
            assert reply(socket, '{"method":"LIST_SUBSCRIPTIONS","id":1}') == {"result": wanted, "id": 1}, (way, named)
