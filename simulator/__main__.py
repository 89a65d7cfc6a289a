"""`python -m simulator`: serve the simulated exchanges until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import signal
import sys
import time
from pathlib import Path

from market.settings import Settings, SettingsError, load
from simulator.chaos import chaos, kinds_of
from simulator.clock import DEFAULT_START, Clock, iso, parse_us
from simulator.faults import Fault, FaultError, read_faults
from simulator.schedule import Schedule
from simulator.server import HOST, serve
from simulator.tape import EPOCH_S, SECOND_US

log = logging.getLogger("simulator")


def main() -> int:
    """The exit code: 0 when asked to end, 1 when it cannot serve, 2 for wrong options or faults."""
    options = _options()
    try:
        faults = _faults(options.faults)
        settings = load(
            options={
                "simulator_port": options.port,
                "simulator_seed": options.seed,
                "simulator_rate": options.rate,
            }
        )
    except (SettingsError, FaultError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(
        level=settings.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    schedule = Schedule()
    schedule.add(faults, time.monotonic())
    if options.chaos is not None:
        schedule.follow(chaos(options.chaos, options.chaos_kinds), time.monotonic())
    return asyncio.run(_serve(options.host, settings, Clock(start_us=options.start, speed=options.speed), schedule))


async def _serve(host: str, settings: Settings, clock: Clock, schedule: Schedule) -> int:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    port, seed, rate = settings.simulator_port, settings.simulator_seed, settings.simulator_rate
    try:
        async with serve(host=host, port=port, seed=seed, rate=rate, clock=clock, schedule=schedule) as simulator:
            log.info(
                "Binance and Coinbase on %s: seed %d, %g trades/s, speed %g, exchange time %s",
                *(simulator.http, seed, rate, clock.speed, iso(clock.now_us())),
            )
            ending = asyncio.create_task(ended.wait())
            await asyncio.wait({ending, simulator.pushing}, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise
        print(
            f"simulator: cannot listen on {host}:{port}: {os.strerror(error.errno)}; "
            "end what uses the port, or choose another one with --port or SIMULATOR_PORT",
            file=sys.stderr,
        )
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument("--host", default=HOST, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", help="port to listen on (default: SIMULATOR_PORT)")
    parser.add_argument("--seed", help="other seed, other markets (default: SIMULATOR_SEED)")
    parser.add_argument("--rate", help="mean trades per second of all markets together (default: SIMULATOR_RATE)")
    parser.add_argument("--speed", type=_speed, default=1.0, help="how fast the exchange's clock runs (default: 1)")
    parser.add_argument(
        "--start",
        type=_start_us,
        help=f"ISO time at which the clock starts (default: now at speed 1, else {DEFAULT_START})",
    )
    parser.add_argument(
        "--faults", type=Path, metavar="FILE", help="let the faults of this file strike: a JSON list, or one a line"
    )
    parser.add_argument(
        "--chaos", type=int, metavar="SEED", help="let random faults of sockets strike for ever, the same for each seed"
    )
    parser.add_argument("--chaos-kinds", type=_kinds, metavar="KIND,…", help="of these kinds alone (default: all)")
    options = parser.parse_args()
    if options.chaos_kinds and options.chaos is None:
        parser.error("argument --chaos-kinds: needs --chaos SEED")
    return options


def _faults(file: Path | None) -> list[Fault]:
    if file is None:
        return []
    try:
        return read_faults(file.read_text())
    except OSError as error:
        raise FaultError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise FaultError(f"{file}: {error}") from None


def _kinds(text: str) -> tuple[str, ...]:
    try:
        return kinds_of(text)
    except FaultError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.001 <= speed <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0.001 to 1000")
    return speed


def _start_us(text: str) -> int:
    try:
        start_us = parse_us(text)
    except ValueError:
        start_us = 0
    if not EPOCH_S * SECOND_US <= start_us < 2**52:
        raise argparse.ArgumentTypeError(f"{text} is not an ISO time from 2010 on, such as {DEFAULT_START}")
    return start_us


if __name__ == "__main__":
    sys.exit(main())
