"""The service's metrics for Prometheus: what it was asked is counted, the rest is read from its parts at a scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

from market.metrics import Collected, Sample

REQUESTS = "serve_requests_total"
SECONDS = "serve_request_seconds"
REFUSED = "serve_refused_total"
MEANINGS = {
    REQUESTS: "Requests answered, by route, method and status",
    SECONDS: "Time from a request to the end of its answer, by route",
    REFUSED: "Requests refused before a route was reached, by reason",
    "serve_redis_up": "Whether Redis answers (1) or not (0): without it there are no prices and no running bars",
    "serve_table_up": "Whether the table of bars can be followed (1) or not (0)",
    "serve_table_version": "Version of the table that is served",
    "serve_table_end_timestamp_seconds": "Time before which all seconds are finished and served",
    "serve_commits_total": "Commits taken over from the table's log",
    "serve_bars_total": "1-second bars taken over from them",
    "serve_amended_bars_total": "Of them, those that amended an earlier one",
    "serve_table_loads_total": "Times that the table was loaded: at the start, and where its log could not be followed",
    "serve_table_failures_total": "Times that the table could not be followed; each is tried again",
    "serve_recent_bars": "1-second bars in memory",
    "serve_recent_texts": "Of them, those that are kept as JSON too, because somebody has asked for them",
    "serve_pages_bytes": "Size of the pages of the past in memory",
    "serve_reads_waiting": "Pieces of work on the past that are done or wait for a thread",
    "serve_reads_total": "Pieces of work on the past that were done",
    "serve_days_made_total": "Days whose minutes and hours were made of their seconds",
    "serve_days_not_kept_total": "Of them, those that could not be written to ROLLUP_DIR",
    "serve_open_seconds": "Seconds of trades in memory that the table does not have yet, of all symbols together",
    "serve_open_seconds_forgotten_total": "Of them, those that were too many while the table stood still",
    "serve_listeners": "Parts of the service that listen to trades and bars, by stream",
    "serve_listeners_cut_total": "Times that one of them did not keep up and began anew, by stream",
    "serve_failures_total": "Times that a part of the service failed by a defect and was begun anew, by part",
    "serve_kline_texts": "Klines that are kept as Binance writes them",
    "serve_sockets": "Clients that are connected by a WebSocket",
    "serve_sockets_cut_total": "Clients cut off because they did not take what was sent to them",
    "serve_sockets_waiting_characters": "Characters that wait for clients to take them, of all clients together",
    "serve_sockets_lost_trades_total": "Trades of an interruption that @trade did not tell: Redis had lost them",
}
"""Every metric and what it means; docs/operations.md says what to do about each."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class Meters:
    """The metrics of one service."""

    def __init__(self, samples: Callable[[], Iterable[Sample]]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._requests = Counter(REQUESTS, MEANINGS[REQUESTS], ["route", "method", "code"], registry=self._registry)
        self._seconds = Histogram(SECONDS, MEANINGS[SECONDS], ["route"], registry=self._registry, buckets=_BUCKETS)
        self._refused = Counter(REFUSED, MEANINGS[REFUSED], ["reason"], registry=self._registry)
        self._registry.register(Collected(samples, MEANINGS))
        # Looking a series up by its labels takes longer than counting in it.
        self._known_requests: dict[tuple[str, str, int], Counter] = {}
        self._known_seconds: dict[str, Histogram] = {}

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered. `route` is one of ours, with its parameters' names."""
        key = route, method, status
        counter = self._known_requests.get(key)
        if counter is None:
            counter = self._known_requests[key] = self._requests.labels(route, method, str(status))
        counter.inc()
        histogram = self._known_seconds.get(route)
        if histogram is None:
            histogram = self._known_seconds[route] = self._seconds.labels(route)
        histogram.observe(seconds)

    def refused(self, reason: str) -> None:
        """A request was refused before a route was reached."""
        self._refused.labels(reason).inc()

    def text(self) -> bytes:
        """All metrics, as Prometheus reads them."""
        return generate_latest(self._registry)
