"""`python -m prices`: wiring only."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading

from market.latest import address_of
from market.metrics import Collected, served
from market.settings import SettingsError, load
from prices.counts import Counts
from prices.member import GROUP, Member
from prices.metrics import MEANINGS
from prices.store import Store

log = logging.getLogger("prices")


def main() -> int:
    """Exit code: 0 told to stop; 2 wrong settings or arguments."""
    arguments = _arguments()
    try:
        settings = load()
        store = _store(settings.redis, settings.redis_trades)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for name in ("kafka", "redis"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they log, we are told, and say in our words
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    counts = Counts()
    metrics = Collected(counts.samples, MEANINGS)
    with served(settings.prices_metrics_port, metrics, setting="PRICES_METRICS_PORT"):
        Member(settings, store, counts, stop, group=arguments.group).run()
    store.close()
    log.info("%s", counts.line())
    return 0


def _store(url: str, kept: int) -> Store:
    try:
        return Store(url, kept=kept)
    except ValueError as error:  # an option in the URL, which is for the client to judge
        raise SettingsError(f"REDIS_URL={address_of(url)} is not allowed: {error}") from None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m prices",
        description="Keeps the latest price and the last trades of each symbol in Redis. Started several times, each "
        "takes some of the partitions. Settings come from the environment and .env: KAFKA_BOOTSTRAP, KAFKA_TOPIC, "
        "REDIS_URL, REDIS_TRADES, MAX_POLL_RECORDS and others (see .env.example).",
    )
    parser.add_argument(
        "--group", default=GROUP, help=f"Kafka consumer group; members of one group share the partitions ({GROUP})"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
