"""Upkeep beside the job: a process of its own, of low priority, that starts at an interval and ends by itself.

A thread would do as well for the disk, but Python's threads take turns, and a pass would hold up the batches.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path

from bars.upkeep.passes import OPTIONS, REPORT
from market.settings import ROOT, Settings

log = logging.getLogger(__name__)

WARM_UP_S = 60
"""After a start, batches first catch up."""
END_S = 10


class Background:
    """Starts a pass when it is time. It counts on from the last pass, also of an earlier run or by hand."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None
        self._interval_s = settings.upkeep_interval / 1000
        self._due = time.monotonic() + max(min(WARM_UP_S, self._interval_s), self._interval_s - self._since_last_s())

    def _since_last_s(self) -> float:
        file = self._settings.tables / REPORT
        return max(time.time() - file.stat().st_mtime, 0) if file.exists() else self._interval_s

    def tend(self) -> None:
        """Starts a pass if one is due, and says what one had to say that has ended. Called every now and then."""
        if self._process is None:
            if self._interval_s and time.monotonic() >= self._due:
                self._process = subprocess.Popen(
                    command(self._settings), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
                )
        elif self._process.poll() is not None:
            output, _ = self._process.communicate()
            if self._process.returncode:
                # Not the job's failure: nothing is lost, and the next pass does what this one has not.
                log.warning("upkeep has failed (exit code %d): %s", self._process.returncode, output.strip()[-500:])
            else:
                log.info("upkeep: %s", "; ".join(line.strip() for line in output.splitlines()))
            self._process, self._due = None, time.monotonic() + self._interval_s

    def close(self) -> None:
        """Ends a pass under way: cut off at any point, it leaves every row as it was."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.communicate(timeout=END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.communicate()
            self._process = None


def command(settings: Settings) -> list[str]:
    """A pass with these settings, whatever the environment says."""
    values: dict[str, str | int | Path] = {name: getattr(settings, name) for name in OPTIONS}
    values["upkeep_keep"] = f"{settings.upkeep_keep}ms"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    return [sys.executable, "-m", "bars.upkeep", *options]
