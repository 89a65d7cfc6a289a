"""How a part's numbers are told to Prometheus: read from it when somebody asks, so that they cost a trade nothing."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import NamedTuple
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_PORTS = 10
"""Ports tried, from the setting's on: several programs of a kind beside one another all have metrics."""
_MOST_SERIES = 2_000
"""Of one name: a symbol may be a label, and there may be many."""


class Sample(NamedTuple):
    """One number that a part tells. A name that ends in `_total` is a counter, which only grows."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


def sample(name: str, value: float, **labels: str) -> Sample:
    """A number with its labels."""
    return Sample(name, value, tuple(labels.items()))


class Collected(Collector):
    """A part's numbers, each with the meaning that its name has."""

    def __init__(self, samples: Callable[[], Iterable[Sample]], meanings: Mapping[str, str]) -> None:
        self._samples, self._meanings = samples, meanings

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Every metric, each with all of its series."""
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for name, value, labels in self._samples():
            if name not in families:
                family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                families[name] = family(name, self._meanings[name], labels=[label for label, _ in labels])
            if len(families[name].samples) < _MOST_SERIES:
                families[name].add_metric([text for _, text in labels], value)
        return families.values()


@contextmanager
def served(port: int, collected: Collected, *, setting: str) -> Iterator[int]:
    """Serve the metrics at http://127.0.0.1:<port>/metrics; the port taken, 0 where there is none.

    The next free port is taken where `port` is not free. No port at all is told, and is no reason to stop.
    """
    server = _opened(port, collected, setting) if port else None
    if server is None:
        yield 0
        return
    http, thread, taken = server
    log.info("metrics at http://%s:%d/metrics", HOST, taken)
    try:
        yield taken
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def _opened(port: int, collected: Collected, setting: str) -> tuple[WSGIServer, Thread, int] | None:
    registry = CollectorRegistry()
    registry.register(collected)
    for candidate in range(port, port + _PORTS):
        try:
            return *start_http_server(candidate, HOST, registry), candidate
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                log.warning("no metrics: port %d cannot be opened (%s)", candidate, error.strerror)
                return None
    log.warning("no metrics: ports %d to %d are all taken; %s names another", port, port + _PORTS - 1, setting)
    return None
