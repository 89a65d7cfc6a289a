"""What the scripted tests of the publisher share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from producer.publishing import delivery
from producer.publishing.spill import Spill


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that has failed is followed by the next one at once."""
    monkeypatch.setattr(delivery, "_PAUSE_S", 0.0)


@pytest.fixture(params=["memory", "spill"])
def new_spill(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Spill | None]:
    """Makes what keeps records while Kafka is away: both backlogs keep the same promises."""
    return lambda: Spill(tmp_path, "topic", limit_bytes=2**20) if request.param == "spill" else None
