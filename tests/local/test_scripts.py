"""The scripts say how they are used to whoever mistypes."""

from __future__ import annotations

import re
import subprocess

import pytest

from market.settings import ROOT

MEASUREMENTS = {file.stem for file in (ROOT / "bench").glob("*.py") if '__name__ == "__main__"' in file.read_text()} - {
    "load"
}


@pytest.mark.parametrize("command", ["check --wrong", "test --wrong", "bench", "bench --wrong", "bench nothing"])
def test_a_mistyped_command_is_answered_by_its_usage(command: str) -> None:
    """With exit code 2, before anything is set up or run."""
    script, *words = command.split()
    done = subprocess.run([ROOT / "scripts" / script, *words], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"usage: scripts/{script}")


def test_every_measurement_can_be_asked_for() -> None:
    """The usage names each, and nothing else."""
    usage = re.search("usage: scripts/bench ([a-z_|]+) ", (ROOT / "scripts" / "bench").read_text())
    assert usage
    assert set(usage[1].split("|")) == MEASUREMENTS
