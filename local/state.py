"""What is known of a running stack, in run/local.json: written by the supervisor alone, whole or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from local.processes import ProcessId, is_alive

STARTING, RUNNING, STOPPING, FAILED = "starting", "running", "stopping", "failed"
MISSING = "missing"
"""Of a part without which the others do."""


@dataclass
class PartState:
    """One part, as `python -m local status` shows it."""

    name: str
    state: str
    """waiting, starting, running, restarting, done (it has nothing more to do), missing, stopped."""
    address: str
    log: str
    process: ProcessId | None = None
    since: float = 0.0
    """When it became what `state` says, in seconds since the epoch."""
    took_s: float = 0.0
    """How long its first start took."""
    restarts: int = 0
    why: str = ""
    """Why it is missing."""


@dataclass
class StackState:
    """The stack: its supervisor, and the parts in the order in which they start."""

    supervisor: ProcessId
    started_by: str
    """`local up` (it stays until `local down`) or `spark-submit` (it ends with the last job that uses it)."""
    state: str = STARTING
    error: str = ""
    parts: list[PartState] = field(default_factory=list)

    @property
    def is_alive(self) -> bool:
        return is_alive(self.supervisor)


def read(folder: Path) -> StackState | None:
    """The last state written, whether its supervisor still lives or not; None where there is none."""
    try:
        content: dict[str, Any] = json.loads(_file(folder).read_text())
    except FileNotFoundError:
        return None
    parts = [PartState(**{**part, "process": _process(part["process"])}) for part in content.pop("parts")]
    return StackState(**{**content, "supervisor": ProcessId(*content["supervisor"]), "parts": parts})


def write(folder: Path, state: StackState) -> None:
    aside = folder / "local.json.new"
    aside.write_text(json.dumps(asdict(state), indent=1))
    aside.replace(_file(folder))


def remove(folder: Path) -> None:
    _file(folder).unlink(missing_ok=True)


def _process(value: list[Any] | None) -> ProcessId | None:
    return ProcessId(*value) if value else None


def _file(folder: Path) -> Path:
    return folder / "local.json"
