"""Another process that holds a lock."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from market.settings import ROOT

HOLDER = """
import sys
from pathlib import Path
from bars.locks import held
with held(Path(sys.argv[1]), patience_s=0):
    print("held", flush=True)
    sys.stdin.read()
"""


@dataclass
class Other:
    """Another process, and what it has said first."""

    process: subprocess.Popen[str]

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def started(program: str, first: str, *words: Path) -> Other:
    command = [sys.executable, "-c", program, *map(str, words)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == f"{first}\n"
    return Other(process)
