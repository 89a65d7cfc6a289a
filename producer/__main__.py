"""`python -m producer`: wiring only."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from market.gap import TOPIC_SUFFIX
from market.metrics import Collected, served
from market.settings import Settings, SettingsError, load
from market.trade import EXCHANGES
from producer import ProducerError
from producer.completeness import resume
from producer.completeness.resume import Tail
from producer.exchanges.venues import venues_of
from producer.gaps import tell_refused
from producer.ledger import Ledger
from producer.live import Live
from producer.metrics import MEANINGS
from producer.publishing import topics
from producer.publishing.apart import apart
from producer.publishing.connect import connect
from producer.publishing.publish import Publisher
from producer.publishing.spill import Spill
from producer.replay import replay
from producer.running import first_of, stop_on_signals
from producer.status import Status

log = logging.getLogger("producer")

INTERRUPTED = 130
"""Exit code of a replay that was stopped before its end: what comes after it should not count on it."""
_FLUSH_S = 4.0


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
            print(
                *topics.create(settings.bootstrap, settings.kafka_topic, partitions=settings.kafka_partitions), sep="\n"
            )
            return 0
        return asyncio.run(_run(settings, sources, arguments))
    except ProducerError as error:
        log.error("%s", error)
        return 1


async def _run(settings: Settings, sources: tuple[str, ...], arguments: argparse.Namespace) -> int:
    stop = stop_on_signals()
    topic, gaps_topic = settings.kafka_topic, settings.kafka_topic + TOPIC_SUFFIX
    linger_ms = settings.linger_ms if settings.batch_size == 1 else 0  # a batch has lingered already
    to_kafka = partial(connect, settings.bootstrap, topic, gaps_topic, linger_ms=linger_ms)
    spill = None
    if settings.spill_limit_mb and not arguments.replay:  # a replay waits for Kafka, its trades are on disk already
        spill = Spill(settings.spill, topic, limit_bytes=settings.spill_limit_mb * 2**20)
    session = await first_of(stop, to_kafka())
    if session is None:
        return 0
    publisher = Publisher(
        to_kafka,
        session,
        topic,
        batch_size=settings.batch_size,
        linger_ms=settings.linger_ms,
        records_in_flight=settings.records_in_flight,
        spill=spill,
        stall_s=settings.spill_after / 1000,
        on_refused=lambda trades: tell_refused(publisher, trades),
    )
    ledger = Ledger()
    status = Status(ledger, publisher, spill)
    interrupted = False
    try:
        if arguments.replay:
            work = _replay(settings, arguments, publisher, ledger)
        else:
            simulator = f"{settings.simulator_host}:{settings.simulator_port}"
            venues = [venue for source in sources for venue in venues_of(source, simulator=simulator)]
            tail = await first_of(stop, _tail(settings, gaps_topic, [venue.exchange for venue in venues]))
            if tail is None:
                return 0
            live = Live(venues, settings, publisher, ledger, tail)
            status = Status(ledger, publisher, spill, live)
            work = live.run(spill.leftovers() if spill else (), spill.forget if spill else None)
        metrics = Collected(status.from_another_thread(), MEANINGS)
        with served(settings.metrics_port, metrics, setting="METRICS_PORT"):
            await first_of(stop, work, publisher.watch(), status.tell())
        interrupted = bool(arguments.replay) and stop.is_set()
    finally:
        try:
            await publisher.close(_FLUSH_S)
        finally:
            log.info("%s", status.last_line())
    return INTERRUPTED if interrupted else 0


async def _tail(settings: Settings, gaps_topic: str, exchanges: Sequence[str]) -> Tail:
    """What the topic holds already. Reading it blocks, so a thread of its own does."""
    return await apart(
        partial(
            resume.tail,
            settings.bootstrap,
            settings.kafka_topic,
            gaps_topic,
            window_ms=settings.resume_window,
            records=settings.resume_records,
            exchanges=exchanges,
        )
    )


def _replay(
    settings: Settings, arguments: argparse.Namespace, publisher: Publisher, ledger: Ledger
) -> Coroutine[Any, Any, None]:
    return replay(
        arguments.replay,
        publisher=publisher,
        ledger=ledger,
        speed=settings.replay_speed,
        close=arguments.close,
        exchange=arguments.venue,
        symbol=arguments.symbol,
    )


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
