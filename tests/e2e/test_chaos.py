"""The producer under kills, broker restarts, faults of the exchanges and toxics on the wire: not one trade is lost.

A failing run is repeated with `scripts/chaos --producer --seed …`, which keeps its logs.
"""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from chaos.background import Wire, proxied
from chaos.programs import asked
from chaos.run import Form, Result, run
from chaos.scene import Ports, judge, now_us, scene
from chaos.schedule import KINDS
from chaos.toxics import Bandwidth, Down, Latency, LimitData, ResetPeer, Slicer, Timeout, Toxic
from tests.support import eventually

pytestmark = pytest.mark.e2e

LEAST_RATE = 2000


def check(form: Form, folder: Path) -> Result:
    """Run it; everything must be exact, and everything that was planned must have been done."""
    result = run(form, folder, print)
    assert result.failures == []
    figures = result.figures
    assert figures["trades_verified"] >= form.seconds * form.rate
    assert (figures["missing"], figures["order_violations"], figures["exit_code"]) == (0, 0, 0)
    assert (figures["kills"], figures["broker_restarts"]) == (form.kills, form.restarts)
    assert figures["markets"] >= 20
    return result


def test_every_trade_is_in_the_topic_after_kills_restarts_and_faults(tmp_path: Path) -> None:
    """Two kills, a hard restart of the broker and each kind of socket fault in 30 s: the topic equals the exchanges.

    At half the rate of the long form, and without faults of REST, so that a busy machine of two cores has time for it.
    """
    kinds = [kind for kind in KINDS if not kind.startswith("rest_")]
    form = Form(seed=3, seconds=30, kills=2, restarts=1, rate=LEAST_RATE / 2, kinds=kinds, heal_s=240)
    check(form, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 5))
def test_every_trade_is_in_the_topic_after_a_minute_of_it(tmp_path: Path, seed: int) -> None:
    """Five kills and three hard restarts of the broker within a minute."""
    check(Form(seed=seed, seconds=60, kills=5, restarts=3, rate=LEAST_RATE), tmp_path)


TOXICS: tuple[Toxic, ...] = (
    Latency(0.3, jitter_s=0.2),
    Bandwidth(100_000),
    Slicer(9, pause_s=0.0002),
    Timeout(),
    ResetPeer(after_s=0.05),
    LimitData(2_000),
    Down(),
)
TOXIC_S = 1.0
"""How long each toxic stays, at least."""
SOCKETS, REST = rb"^GET /(ws|stream|advanced| )", rb"^GET /(api|products|time)"


@pytest.mark.long
@pytest.mark.parametrize("wire", ["websocket", "rest", "kafka"])
def test_toxics_on_the_wire_lose_nothing(wire: str, tmp_path: Path) -> None:
    """Delay, small pieces, silence, resets and refusals between the producer and its peers: late, and still exact.

    For REST each toxic comes with a cut of the streams, so that there is something to ask for.
    """
    ports = Ports.free()
    with proxied("127.0.0.1", ports.broker, seed=1) as kafka, proxied("127.0.0.1", ports.simulator, seed=1) as exchange:
        settings = {
            "KAFKA_BOOTSTRAP": f"127.0.0.1:{kafka.port}",
            "SIMULATOR_PORT": str(exchange.port),
            "HOLE_WAIT": "30s",
        }
        advertised = kafka.port
        with scene(
            tmp_path, ports, seed=2, rate=300, seconds=20, settings=settings, advertised_port=advertised
        ) as running:
            running.begin()
            eventually(lambda: exchange.accepted >= 3 and kafka.accepted >= 2)
            for toxic in TOXICS:
                strike(kafka if wire == "kafka" else exchange, toxic, wire, ports.simulator)
            judgement = judge(running, now_us(), heal_s=60)
            assert judgement.failures == []
            assert judgement.trades.trades > 300 * len(TOXICS) * TOXIC_S


def strike(proxy: Wire, toxic: Toxic, wire: str, simulator_port: int) -> None:
    """Let a toxic harm what passes for a while, and see to it that it does."""
    proxy.set(toxic, only={"websocket": SOCKETS, "rest": REST, "kafka": b""}[wire] if toxic != Down() else b"")
    if wire == "rest":
        asked(simulator_port, "POST", "/faults", [{"kind": "cut"}])
    Event().wait(TOXIC_S)
    eventually(lambda: proxy.struck[type(toxic).__name__] > 0)
    proxy.clear()
