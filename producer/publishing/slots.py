"""The folders of the spill: one slot per running producer, each with a lock that ends with its process.

SPILL_DIR/crypto-trades/1/lock
SPILL_DIR/crypto-trades/1/00000007.records
SPILL_DIR/crypto-trades/2/…                    a second producer of this topic on the machine
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from producer.publishing.record import CORRUPT, TORN, Scan, scan

log = logging.getLogger(__name__)

SUFFIX = ".records"


class Slot:
    """A folder that this process alone uses."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock = lock

    def files(self) -> list[Path]:
        """Its files of records, oldest first."""
        return sorted(self.folder.glob(f"*{SUFFIX}"))

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._lock)


def claim(folder: Path) -> list[Slot]:
    """Our slot, and behind it those that ended producers have left records in. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
    slots: list[Slot] = []
    number = 0
    while not slots or number < max(numbers, default=0):
        number += 1
        slot = _claimed(folder / str(number))
        if slot is None:
            continue
        if slots and not slot.files():
            slot.release()
        else:
            slots.append(slot)
    return slots


def _claimed(folder: Path) -> Slot | None:
    folder.mkdir(exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return Slot(folder, lock)


def recovered(path: Path, *, is_last: bool) -> Scan:
    """The records of a file that an earlier run left. What cannot be read is cut off, or set aside, and told.

    Only the last file can have been cut short by the end of its process. Raises `OSError`.
    """
    data = path.read_bytes()
    found = scan(data)
    if found.fault == TORN and is_last:
        log.warning(
            "%s ends in a record that was not written to its end: %d bytes cut off", path, len(data) - found.end
        )
        os.truncate(path, found.end)
    elif found.fault:
        found = found._replace(fault=CORRUPT)
        aside = set_aside(path, data[found.end :])
        log.error(
            "%s is damaged behind its first %d records: %d bytes set aside as %s; their trades have to be had from the "
            "exchange again",
            path,
            len(found.records),
            len(data) - found.end,
            aside.name,
        )
        os.truncate(path, found.end)
    return found


def set_aside(path: Path, data: bytes) -> Path:
    """Keep bytes that are no records beside the file they were in."""
    aside = path.with_suffix(".damaged")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_suffix(f".damaged-{number}")
    aside.write_bytes(data)
    return aside


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
