"""A broker, a simulator and a producer on ports of their own, and the judgement over what the topic then holds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from chaos.programs import START_S, Program, ProgramError, broker_program, free_ports, python, serves
from chaos.topic import Reader
from chaos.truth import Truth, rate_for
from chaos.verify import Gaps, Range, Verifier
from local.broker import Broker
from simulator.tape import SECOND_US

TOPIC = "crypto-trades"
EXIT_S = 10.0
"""What the producer may take to end, when it is asked to."""
_READ_S = 300.0
_PRESENT_US = 5 * SECOND_US
"""A topic that has caught up holds all that is older: what is missing later would be missing for the end alone."""
_CLOSING_S = 30.0
"""That a gap is filled may be told so much later than its trades are in the topic."""
_SLACK = 1.05
"""The producer starts a little after the rate was chosen, and the tape is unequal."""
_MINUTE_US = 60 * SECOND_US
_AT_ONCE = 80_000
"""Trades that a start may have to back-fill."""


class Ports(NamedTuple):
    """Where broker and simulator listen."""

    broker: int
    controller: int
    simulator: int

    @classmethod
    def free(cls) -> Ports:
        """Some that nobody uses."""
        return cls(*free_ports(3))


@dataclass
class Scene:
    """What runs, and what is known of it."""

    folder: Path
    ports: Ports
    kafka: Broker
    broker: Program
    simulator: Program
    producer: Program
    truth: Truth
    rate: float
    begin_us: int = 0
    """When the producer is to be started."""
    began_us: int = 0
    """When it was."""
    topic: str = TOPIC

    @property
    def bootstrap(self) -> str:
        """The broker, without a proxy."""
        return self.kafka.bootstrap

    def broker_is_ready(self) -> bool:
        """Whether it serves, after a restart too."""
        return self.kafka.is_ready()

    def begin(self) -> None:
        """Start the producer for the first time, when the time for that has come."""
        time.sleep(max(self.begin_us - now_us(), 0) / SECOND_US)
        self.began_us = now_us()
        self.producer.start()


@dataclass(frozen=True)
class Judgement:
    """What came of a run."""

    trades: Verifier
    gaps: Gaps
    catch_up_s: float | None
    """From the moment that was to be caught up with until all trades before it were in the topic; None: they never
    were."""
    exit_code: int | None
    """Of the producer when it was asked to end; None when it had to be killed."""
    exit_s: float
    told: list[Range]
    """What the producer told as open when it was stopped, all of it younger than what was to be there."""
    failures: list[str]
    """Everything that is wrong, in sentences."""


@contextmanager
def scene(
    folder: Path,
    ports: Ports,
    *,
    seed: int,
    rate: float,
    seconds: float,
    settings: Mapping[str, str],
    advertised_port: int | None = None,
) -> Iterator[Scene]:
    """Broker and simulator run, the topics are there, and the producer can begin. All end with the block.

    The markets make at least `rate` trades a second in the next `seconds`. `settings` are the producer's, beside those
    that lead it to the broker and the simulator, which they may replace (to lead it to a proxy). Raises `ProgramError`.
    """
    kafka = Broker(folder=folder / "kafka", port=ports.broker, controller_port=ports.controller)
    broker = broker_program(kafka, advertised_port=advertised_port)
    programs = [broker]
    try:
        broker.start()
        broker.wait_until(kafka.is_ready)
        begin_us = _young(now_us(), rate)
        rate = rate_for(rate * _SLACK, seed=seed, start_us=begin_us, seconds=seconds)
        words = ("--port", str(ports.simulator), "--seed", str(seed), "--rate", str(rate))
        simulator = python("simulator", "simulator", *words, environment={}, folder=folder)
        programs.append(simulator)
        simulator.start()
        environment = {
            "KAFKA_BOOTSTRAP": kafka.bootstrap,
            "KAFKA_TOPIC": TOPIC,
            "SOURCE": "simulator",
            "SIMULATOR_HOST": "127.0.0.1",
            "SIMULATOR_PORT": str(ports.simulator),
            "SPILL_DIR": str(folder / "spill"),
            "METRICS_PORT": "0",
            "BATCH_SIZE": "1",
            "LOG_LEVEL": "INFO",
            **settings,
        }
        simulator.wait_until(lambda: serves(ports.simulator))
        topics = python("topics", "producer", "--create-topics", environment=environment, folder=folder)
        programs.append(topics)
        topics.start()
        if (code := topics.wait(START_S)) != 0:
            raise ProgramError(f"the topics were not created (exit code {code}); its log: {topics.log}")
        producer = python("producer", "producer", environment=environment, folder=folder)
        programs.append(producer)
        yield Scene(folder, ports, kafka, broker, simulator, producer, Truth(seed=seed, rate=rate), rate, begin_us)
    finally:
        for program in reversed(programs):
            program.kill()


def judge(scene: Scene, settled_us: int, *, heal_s: float) -> Judgement:
    """Read the topic until all trades before `settled_us` are there, end the producer, and hold all to the truth.

    Time for what is missing is given until `heal_s` after `settled_us`.
    """
    since = scene.truth.ids_before(scene.began_us - scene.began_us % _MINUTE_US)
    trades = Verifier(scene.truth, since=since, settled=scene.truth.ids_before(settled_us))
    gaps = Gaps(since)
    failures = []
    with (
        Reader(scene.bootstrap, scene.topic, trades.take) as reader,
        Reader(scene.bootstrap, f"{scene.topic}-gaps", lambda *record: gaps.take(record[-1])) as gaps_reader,
    ):
        reached_us = settled_us  # the reader may be behind: what counts is how far it has come
        while not (trades.is_settled and trades.reaches(scene.truth.ids_before(reached_us - _PRESENT_US))):
            if scene.producer.code is not None:
                failures.append(f"the producer ended with exit code {scene.producer.code} before it was asked to")
                break
            reader.poll()
            reached_us = reader.reached_ms() * 1000
            if reached_us > settled_us + heal_s * SECOND_US:
                failures.append(f"the topic has not caught up within {heal_s:g} s")
                break
        settled = trades.is_settled
        gaps_reader.read_to_end(within_s=_READ_S)
        deadline_us = now_us() + _CLOSING_S * SECOND_US
        while settled and not gaps.are_closed and now_us() < deadline_us:
            gaps_reader.poll()
        young = scene.truth.ids_before(max(settled_us, now_us() - _PRESENT_US))
        exit_code, exit_s = scene.producer.end(within_s=EXIT_S)
        if exit_code is None:
            failures.append(f"the producer did not end within {EXIT_S:g} s of SIGTERM and was killed")
        elif exit_code != 0:
            failures.append(f"the producer ended with exit code {exit_code} after SIGTERM")
        reader.read_to_end(within_s=_READ_S)
        gaps_reader.read_to_end(within_s=_READ_S)
    catch_up_s = max(0.0, trades.settled_ms / 1000 - settled_us / SECOND_US) if settled else None
    # What was being fetched just then, the producer tells as open when it is stopped: the next start fetches it.
    told = gaps.open_from(young)
    failures += trades.failures(told) + gaps.failures(told)
    return Judgement(trades, gaps, catch_up_s, exit_code, exit_s, told, failures)


def _young(time_us: int, rate: float) -> int:
    """This time, or the next minute where this one has too many trades already.

    The producer back-fills its first minute from the beginning, as fast as the exchanges' request limits allow: with
    more trades than these it takes longer than newer ones wait.
    """
    past_us = time_us % _MINUTE_US
    return time_us if rate * past_us / SECOND_US <= _AT_ONCE else time_us - past_us + _MINUTE_US


def now_us() -> int:
    """The exchanges' time, which is the wall clock's, in microseconds."""
    return time.time_ns() // 1000
