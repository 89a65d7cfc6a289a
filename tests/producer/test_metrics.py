"""The metrics, as Prometheus reads them."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from producer import metrics
from producer.metrics import Sample, sample
from tests.support import free_ports


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
        yield sample("producer_published_total", next(published))
        yield sample("producer_in_hand_trades", 3, where="waiting")
        yield sample("producer_in_hand_trades", 4, where="spill")

    (port,) = free_ports(1)
    with metrics.served(port, samples) as taken:
        assert taken == port
        assert scraped(port) == {
            ("producer_published_total", ()): 5,
            ("producer_in_hand_trades", (("where", "waiting"),)): 3,
            ("producer_in_hand_trades", (("where", "spill"),)): 4,
        }
        assert scraped(port)["producer_published_total", ()] == 9


def test_a_taken_port_gives_way_to_the_next() -> None:
    """Two producers beside each other both have metrics."""
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)), metrics.served(port, list) as taken:
        assert port < taken < port + 10


def test_port_zero_serves_nothing() -> None:
    """METRICS_PORT=0 switches metrics off."""
    with metrics.served(0, list) as taken:
        assert taken == 0


def test_the_number_of_series_is_bounded() -> None:
    """Symbols come from outside: a name has a bounded number of them."""

    def samples() -> Iterator[Sample]:
        for number in range(5_000):
            yield sample("producer_last_trade_timestamp_seconds", 1, exchange="binance", symbol=f"S{number}")

    (port,) = free_ports(1)
    with metrics.served(port, samples):
        assert len(scraped(port)) == 2_000
