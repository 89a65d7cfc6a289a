from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from simulator.clock import Clock, parse_us
from simulator.server import Simulator, serve

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
