"""`python -m consumer`: prints the trades of the topic as they come, like `tail -f`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka.errors import KafkaError

from consumer import show
from market.settings import Settings, SettingsError, load
from market.trade import Rejected, Trade, read_record

log = logging.getLogger("consumer")

GROUP = "raw-trades"
_WAIT_S = 2.0
_POLL_MS = 500


def main() -> int:
    """Exit code: 0 told to stop, or nobody reads what is printed any more; 2 wrong settings or arguments."""
    arguments = _arguments()
    try:
        settings = load()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # its retries are told below, in our words
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    shown = rejected = 0
    try:
        for element in _elements(settings, arguments, stop):
            if isinstance(element, Trade):
                shown += 1
                print(show.line(element) if arguments.json else show.block(element, shown), flush=True)
            elif isinstance(element, Rejected):
                rejected += 1
                log.warning("not a trade: %s", element.reason)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
    log.info("%d trades shown, %d elements that are none", shown, rejected)
    return 0


def _elements(settings: Settings, arguments: argparse.Namespace, stop: threading.Event) -> Iterator[Any]:
    """The elements of every record, until told to stop. Waits for the broker and for the topic, and says so."""
    consumer = _connected(settings, arguments, stop)
    if consumer is None:
        return
    try:
        while not stop.is_set():
            for records in consumer.poll(timeout_ms=_POLL_MS).values():
                for record in records:
                    yield from read_record(record.value, record.timestamp, settings.future_tolerance)
                    if stop.is_set():
                        return
    finally:
        consumer.close()


def _connected(settings: Settings, arguments: argparse.Namespace, stop: threading.Event) -> KafkaConsumer | None:
    while not stop.is_set():
        consumer = None
        try:
            consumer = KafkaConsumer(
                bootstrap_servers=settings.bootstrap.split(","),
                group_id=arguments.group,
                auto_offset_reset="earliest" if arguments.from_beginning else "latest",
                max_poll_records=settings.max_poll_records,
                allow_auto_create_topics=False,
                bootstrap_timeout_ms=5_000,
            )
            topics = consumer.topics()
        except KafkaError as error:
            log.warning("Kafka does not answer at %s (%s); trying again", settings.bootstrap, error)
            if consumer is not None:
                consumer.close()
            stop.wait(_WAIT_S)
            continue
        if settings.kafka_topic not in topics:
            log.warning("there is no topic %s at %s; waiting for it", settings.kafka_topic, settings.bootstrap)
            consumer.close()
            stop.wait(_WAIT_S)
            continue
        consumer.subscribe([settings.kafka_topic], listener=_Start(consumer, arguments.from_beginning))
        log.info("%s at %s, as group %s", settings.kafka_topic, settings.bootstrap, arguments.group)
        return consumer
    return None


class _Start(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Where to begin: at the end or the beginning of each partition, wherever the group stopped the last time.

    Only for a member that is alone in its group, which it is when it gets all partitions as it comes. One that joins
    others goes on where they have come to: it would else leave out what none of them has shown.
    """

    def __init__(self, consumer: KafkaConsumer, from_beginning: bool) -> None:
        self._consumer = consumer
        self._from_beginning = from_beginning
        self._begun = False

    def on_partitions_revoked(self, revoked: Any) -> None:
        """Nothing is kept; and others are asked for."""
        # kafka-python 3.0.12 lets go of a join that it began because the topic has other partitions than it knew, when
        # a poll ends before the join does, and the group gives its member nothing more. Not where it is asked to join.
        self._consumer._coordinator.request_rejoin()

    def on_partitions_assigned(self, assigned: Any) -> None:
        """Only at the first assignment, be it an empty one: later ones take over from another member."""
        if self._begun:
            return
        self._begun = True
        topics = {partition.topic for partition in assigned}
        partitions = sum(len(self._consumer.partitions_for_topic(topic) or ()) for topic in topics)
        if assigned and len(assigned) == partitions:
            seek = self._consumer.seek_to_beginning if self._from_beginning else self._consumer.seek_to_end
            seek(*assigned)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m consumer",
        description="Prints the trades of the topic as they come, until Ctrl-C. Settings come from the environment and "
        ".env: KAFKA_BOOTSTRAP, KAFKA_TOPIC, MAX_POLL_RECORDS (see .env.example).",
    )
    option = parser.add_argument
    option("--json", action="store_true", help="one line of JSON per trade")
    option("--group", default=GROUP, help=f"Kafka consumer group; members of one group share the trades ({GROUP})")
    option("--from-beginning", action="store_true", help="begin with the oldest record of the topic")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
