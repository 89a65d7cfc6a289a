"""`python -m producer`: wiring only."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from market.settings import Settings, SettingsError, load
from market.trade import EXCHANGES
from producer import ProducerError, live
from producer.exchanges.venues import venues_of
from producer.ledger import Ledger
from producer.publishing import topics
from producer.publishing.connect import connect
from producer.publishing.publish import Publisher
from producer.replay import replay
from producer.running import first_of, stop_on_signals

log = logging.getLogger("producer")

_REPORT_S = 10.0
INTERRUPTED = 130
"""Exit code of a replay that was stopped before its end: what comes after it should not count on it."""
_FLUSH_S = 6.0


def main() -> int:
    """Exit code: 0 done or stopped, 1 something failed or was lost, 2 wrong settings or arguments."""
    arguments = _arguments()
    try:
        settings = load(options={"replay_speed": arguments.speed})
        sources = () if arguments.replay or arguments.create_topics else settings.sources
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what it logs, we are told, and say in our words
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        if arguments.create_topics:
            print(topics.create(settings.bootstrap, settings.kafka_topic, partitions=settings.kafka_partitions))
            return 0
        return asyncio.run(_run(settings, sources, arguments))
    except ProducerError as error:
        log.error("%s", error)
        return 1


async def _run(settings: Settings, sources: tuple[str, ...], arguments: argparse.Namespace) -> int:
    stop = stop_on_signals()
    linger_ms = settings.linger_ms if settings.batch_size == 1 else 0  # a batch has lingered already
    connected = await first_of(stop, connect(settings.bootstrap, settings.kafka_topic, linger_ms=linger_ms))
    if connected is None:
        return 0
    publisher = Publisher(connected, settings.kafka_topic, batch_size=settings.batch_size, linger_ms=settings.linger_ms)
    ledger = Ledger()
    work = _work(settings, sources, arguments, publisher, ledger)
    interrupted = False
    try:
        await first_of(stop, work, publisher.watch(), _report(ledger, publisher))
        interrupted = bool(arguments.replay) and stop.is_set()
    finally:
        try:
            await publisher.close(_FLUSH_S)
        finally:
            log.info("%s; %s", ledger.report(publisher.published, publisher.unacknowledged), ledger.details())
    return INTERRUPTED if interrupted else 0


def _work(
    settings: Settings, sources: tuple[str, ...], arguments: argparse.Namespace, publisher: Publisher, ledger: Ledger
) -> Coroutine[Any, Any, None]:
    if arguments.replay:
        return replay(
            arguments.replay,
            publisher=publisher,
            ledger=ledger,
            speed=settings.replay_speed,
            close=arguments.close,
            exchange=arguments.venue,
            symbol=arguments.symbol,
        )
    simulator = f"{settings.simulator_host}:{settings.simulator_port}"
    return live.run(
        [venue for source in sources for venue in venues_of(source, simulator=simulator)],
        symbols=settings.symbols,
        publisher=publisher,
        ledger=ledger,
        tolerance_ms=settings.future_tolerance,
    )


async def _report(ledger: Ledger, publisher: Publisher) -> None:
    while True:
        await asyncio.sleep(_REPORT_S)
        log.info("%s", ledger.report(publisher.published, publisher.unacknowledged))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m producer",
        description="Publishes the trades of exchanges, or of recordings, to Kafka. Settings come from the environment "
        "and .env: KAFKA_BOOTSTRAP, KAFKA_TOPIC, SOURCE, SYMBOLS, BATCH_SIZE, LINGER_MS and others (see .env.example).",
    )
    option = parser.add_argument
    option("--create-topics", action="store_true", help="create the topic, or check the one that is there, and exit")
    files = (
        "recordings to publish: raw frames of Binance or Coinbase, gz or not, or Binance trades archives (CSV or zip)"
    )
    option("--replay", nargs="+", type=Path, metavar="FILE", help=files)
    option("--speed", metavar="N|max", help="1 keeps the recorded pace, max has no pauses; default: REPLAY_SPEED")
    option("--close", action="store_true", help="end with a heartbeat 60 s ahead, so that every bar closes")
    option("--venue", choices=EXCHANGES, help="exchange of the recordings; default: told by their content")
    option("--symbol", help="symbol of trades archives; default: told by the file's name")
    arguments = parser.parse_args()
    if not arguments.replay and (arguments.speed or arguments.close or arguments.venue or arguments.symbol):
        parser.error("--speed, --close, --venue and --symbol belong to --replay FILE…")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
