"""What ties tables and checkpoint together: `identity.json`, the same beside both, written at the first start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from market.settings import Settings

IDENTITY = "identity.json"
START_OVER = (
    "start over from what the topic still holds, keeping the old aside: run jobs/ohlcv.py once with --rebuild, which "
    "says first what that costs"
)
"""The way out that every refusal names which nothing else mends."""


class PairingError(RuntimeError):
    """Checkpoint, tables, topic or settings do not belong together. The message says what was found and the way out."""


def checkpoints_of(settings: Settings) -> Path:
    """The folder of the job's checkpoints."""
    return settings.checkpoints / "ohlcv"


def checkpoint_of(settings: Settings, query: str) -> Path:
    """The folder of a query's checkpoint."""
    return checkpoints_of(settings) / query


def tie(settings: Settings, identity: Mapping[str, str]) -> None:
    """Writes the identity beside the tables and beside the checkpoint, in this order."""
    for folder in (settings.tables, checkpoints_of(settings)):
        _write(folder / IDENTITY, identity)


def check_identity(settings: Settings) -> None:
    """Holds the tables to the checkpoint: whoever judges or rearranges the one goes by the other.

    Raises `PairingError` where they are not of one start.
    """
    if identity_in(checkpoints_of(settings)) != identity_in(settings.tables):
        raise PairingError(apart(settings))


def tied_to(settings: Settings) -> dict[str, str]:
    """What the checkpoint is tied to, by name; empty where there is none yet."""
    return identity_in(checkpoints_of(settings)) or {}


def apart(settings: Settings) -> str:
    """What is said of two that are not of one start."""
    return (
        f"the checkpoint {checkpoints_of(settings)} (CHECKPOINT_DIR) and the tables {settings.tables} (OUTPUT_DIR) are "
        f"not of one start ({IDENTITY} differs or is missing). Name two that belong together, or: {START_OVER}"
    )


def identity_in(folder: Path) -> dict[str, str] | None:
    """What is written in a folder of tables or checkpoints; None where nothing is. Raises `PairingError`."""
    file = folder / IDENTITY
    try:
        return dict(json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PairingError(
            f"{file} is damaged ({error}); restore it from its twin beside the tables or checkpoint"
        ) from None


def _write(file: Path, content: Mapping[str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(dict(content), indent=2) + "\n")
    partial.replace(file)
