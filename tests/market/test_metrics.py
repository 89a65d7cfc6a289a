"""The metrics, as Prometheus reads them."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from market import metrics
from market.metrics import Collected, Sample, sample
from tests.support import free_ports

MEANINGS = {
    "parcels_sent_total": "Parcels sent",
    "parcels_waiting": "Parcels that wait, by where they are",
    "parcels_newest_timestamp_seconds": "Time of the newest, by symbol",
}


def served(port: int, samples: Callable[[], Iterable[Sample]]) -> AbstractContextManager[int]:
    """The metrics of a part, at a port that `PARCELS_PORT` names."""
    return metrics.served(port, Collected(samples, MEANINGS), setting="PARCELS_PORT")


def scraped(port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every series at a port: by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_samples_are_served_as_they_are_when_asked() -> None:
    """Counters and gauges with their labels, read anew at each request."""
    published = iter((5.0, 9.0))

    def samples() -> Iterator[Sample]:
        yield sample("parcels_sent_total", next(published))
        yield sample("parcels_waiting", 3, where="waiting")
        yield sample("parcels_waiting", 4, where="spill")

    (port,) = free_ports(1)
    with served(port, samples) as taken:
        assert taken == port
        assert scraped(port) == {
            ("parcels_sent_total", ()): 5,
            ("parcels_waiting", (("where", "waiting"),)): 3,
            ("parcels_waiting", (("where", "spill"),)): 4,
        }
        assert scraped(port)["parcels_sent_total", ()] == 9


def test_a_taken_port_gives_way_to_the_next() -> None:
    """Programs of a kind beside one another all have metrics."""
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)), served(port, list) as taken:
        assert port < taken < port + 10


def test_port_zero_serves_nothing() -> None:
    """It switches metrics off."""
    with served(0, list) as taken:
        assert taken == 0


def test_no_port_at_all_is_told_and_no_reason_to_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the setting is named by which there would be one."""
    monkeypatch.setattr(metrics, "_PORTS", 1)
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)), served(port, list) as taken:
        assert taken == 0
    assert caplog.messages == [f"no metrics: ports {port} to {port} are all taken; PARCELS_PORT names another"]


def test_the_number_of_series_is_bounded() -> None:
    """Symbols come from outside: a name has a bounded number of them."""

    def samples() -> Iterator[Sample]:
        for number in range(5_000):
            yield sample("parcels_newest_timestamp_seconds", 1, exchange="binance", symbol=f"S{number}")

    (port,) = free_ports(1)
    with served(port, samples):
        assert len(scraped(port)) == 2_000
