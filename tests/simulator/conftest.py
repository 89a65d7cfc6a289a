from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession

from simulator.clock import Clock, parse_us
from simulator.server import Simulator, serve
from tests.simulator.clients import START_US, Answer, answer_to

Scenario = Callable[[Simulator], Awaitable[None]]


@pytest.fixture
def against() -> Callable[..., None]:
    """Run a scenario against a simulator on a free port: `against(scenario, rate=…, clock=…, limits=…)`."""

    def run(scenario: Scenario, **options: Any) -> None:
        async def main() -> None:
            clock = Clock(start_us=parse_us("2024-01-01T00:00:00Z"))
            async with asyncio.timeout(30), serve(**{"rate": 6000.0, "clock": clock, **options}) as simulator:
                await scenario(simulator)

        asyncio.run(main())

    return run


@pytest.fixture
def get(against: Any) -> Callable[..., list[Answer]]:
    """`get(path, …)`: the answers to some requests, each as (status, headers, JSON with exact decimals)."""

    def run(*paths: str, headers: dict[str, str] | None = None, **options: Any) -> list[Answer]:
        answers: list[Answer] = []

        async def scenario(simulator: Simulator) -> None:
            async with ClientSession(simulator.http, headers=headers) as session:
                answers.extend([await answer_to(session, path) for path in paths])

        against(scenario, **{"clock": Clock(start_us=START_US, speed=0.001), "rate": 200.0, **options})
        return answers

    return run
