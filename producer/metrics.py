"""The producer's metrics for Prometheus: read from its parts when somebody asks, so that they cost a trade nothing."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_PORTS = 10
"""Ports tried, from the setting's on: two producers beside each other both have metrics."""


class Sample(NamedTuple):
    """One number that a part tells. A name that ends in `_total` is a counter, which only grows."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


def sample(name: str, value: float, **labels: str) -> Sample:
    """A number with its labels."""
    return Sample(name, value, tuple(labels.items()))


MEANINGS = {
    "producer_received_total": "Elements received: a trade is one, a frame or row without trades is one",
    "producer_published_total": "Trades that Kafka has acknowledged",
    "producer_duplicates_total": "Trades that had come before",
    "producer_rejected_total": "Elements that should be trades and are none, by reason",
    "producer_passed_over_total": "Elements that are no trades, by kind",
    "producer_in_hand_trades": "Trades received and not acknowledged yet, by where they are",
    "producer_unaccounted_elements": "received - published - in hand - rejected - passed over - duplicates: always 0",
    "producer_frames_waiting": "Frames read and not mapped yet (bound: FRAME_QUEUE)",
    "producer_reading_paused_total": "Times that reading paused because that queue was full",
    "producer_records_in_flight": "Records sent to Kafka and not acknowledged (bound: RECORDS_IN_FLIGHT)",
    "producer_kafka_sessions_total": "Times that a connection to Kafka was given up and made anew",
    "producer_dropped_heartbeats_total": "Heartbeats not sent because Kafka was away",
    "producer_oversized_trades_total": "Trades in records that Kafka refused for their size",
    "producer_spill_bytes": "Size of what waits on disk for Kafka (bound: SPILL_LIMIT_MB)",
    "producer_spill_trades": "Trades that wait on disk for Kafka",
    "producer_spill_age_seconds": "How long the oldest of them has waited",
    "producer_spill_unreadable_trades_total": "Trades that the disk has not given back: they are back-filled",
    "producer_spill_write_errors_total": "Writes to the disk that failed; each is tried again",
    "producer_connected": "Whether every connection to the exchange is up (1) or not (0)",
    "producer_connects_total": "Connections made",
    "producer_renewals_total": "Connections replaced before they ended",
    "producer_disconnects_total": "Connections that ended, and attempts that failed, by cause",
    "producer_last_frame_age_seconds": "Seconds since the last frame of a connection",
    "producer_last_trade_timestamp_seconds": "Trade time of the newest trade of a symbol",
    "producer_holes": "Ranges of trade ids that are missing now",
    "producer_missing_trades": "Trades that are missing now",
    "producer_backfilled_total": "Trades that came over REST and were missing",
    "producer_gaps_total": "Gap records published, by status",
    "producer_lost_trades_total": "Trades that the exchange does not serve any more: they are in no topic",
    "producer_rest_requests_total": "Requests to the exchange's REST interface",
    "producer_rest_errors_total": "Requests that failed, by kind",
    "producer_rest_banned_seconds": "How long the exchange's REST interface is still closed to us",
    "producer_clock_offset_seconds": "The exchange's clock less ours",
}
"""Every metric and what it means; docs/operations.md says what to do about each."""

_MOST_LABELS = 2_000
"""Series of one name, at most: a symbol is a label, and there may be many."""


@contextmanager
def served(port: int, samples: Callable[[], Iterable[Sample]]) -> Iterator[int]:
    """Serve the metrics at http://127.0.0.1:<port>/metrics; the port taken, 0 where there is none.

    The next free port is taken where `port` is not free. No port at all is told, and is no reason to stop.
    """
    if not port:
        yield 0
        return
    registry = CollectorRegistry()
    registry.register(_Collector(samples))
    for candidate in range(port, port + _PORTS):
        try:
            server, thread = start_http_server(candidate, HOST, registry)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                log.warning("no metrics: port %d cannot be opened (%s)", candidate, error.strerror)
                break
            continue
        log.info("metrics at http://%s:%d/metrics", HOST, candidate)
        try:
            yield candidate
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        return
    else:
        log.warning("no metrics: ports %d to %d are all taken; METRICS_PORT names another", port, port + _PORTS - 1)
    yield 0


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
            names = [label for label, _ in labels]
            if name not in families:
                family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                families[name] = family(name, MEANINGS[name], labels=names)
            if len(families[name].samples) < _MOST_LABELS:
                families[name].add_metric([text for _, text in labels], value)
        return families.values()
