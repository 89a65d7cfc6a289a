"""The metrics for Prometheus: read when somebody asks, so that they cost a trade nothing."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Iterator
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
"""Ports tried, from the setting's on: several members beside one another all have metrics."""


class Sample(NamedTuple):
    """One number. A name that ends in `_total` is a counter, which only grows."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


def sample(name: str, value: float, **labels: str) -> Sample:
    """A number with its labels."""
    return Sample(name, value, tuple(labels.items()))


MEANINGS = {
    "prices_records_total": "Records of the topic whose trades are in Redis",
    "prices_trades_total": "Trades, by outcome: new, seen (they had come before), late (too old for the streams)",
    "prices_rejected_total": "Elements of records that are no valid trade, by reason",
    "prices_heartbeats_total": "Heartbeats of exchanges, which are no trades",
    "prices_redis_up": "Whether Redis answered the last time (1) or not (0)",
    "prices_redis_failures_total": "Calls that Redis did not answer in time, or refused",
    "prices_writes_total": "Writes to Redis",
    "prices_write_seconds_total": "Time that they took",
    "prices_begun_anew_total": "Partitions that were read again because Redis lacked them, by cause",
    "prices_deleted_records_total": "Records that Kafka had deleted before they were read",
    "prices_lag_records": "Records that are not in Redis yet, by partition that this member has",
    "prices_newest_record_timestamp_seconds": "Kafka time of the newest record that is in Redis",
    "prices_kafka_sessions_total": "Connections to Kafka made",
    "prices_failed_commits_total": "Commits of offsets that failed; the next one makes up for it",
}
"""Every metric and what it means; docs/operations.md says what to do about each."""


@contextmanager
def served(port: int, samples: Callable[[], Iterable[Sample]]) -> Iterator[int]:
    """Serve the metrics at http://127.0.0.1:<port>/metrics; the port taken, 0 where there is none.

    The next free port is taken where `port` is not free. No port at all is told, and is no reason to stop.
    """
    server = _opened(port, samples) if port else None
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


def _opened(port: int, samples: Callable[[], Iterable[Sample]]) -> tuple[WSGIServer, Thread, int] | None:
    registry = CollectorRegistry()
    registry.register(_Collector(samples))
    for candidate in range(port, port + _PORTS):
        try:
            return *start_http_server(candidate, HOST, registry), candidate
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                log.warning("no metrics: port %d cannot be opened (%s)", candidate, error.strerror)
                return None
    log.warning("no metrics: ports %d to %d are all taken; PRICES_METRICS_PORT names another", port, port + _PORTS - 1)
    return None


class _Collector(Collector):
    def __init__(self, samples: Callable[[], Iterable[Sample]]) -> None:
        self._samples = samples

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Every metric, each with all of its series."""
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for name, value, labels in self._samples():
            if name not in families:
                family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                families[name] = family(name, MEANINGS[name], labels=[label for label, _ in labels])
            families[name].add_metric([text for _, text in labels], value)
        return families.values()
