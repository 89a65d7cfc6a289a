"""The form of every result: what was measured, where, with which versions, by which command."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("pyspark", "delta-spark", "kafka-python", "crc32c", "msgspec", "websockets", "deltalake")


def write(name: str, figures: Mapping[str, Any], *, settings: Mapping[str, Any], module: str | None = None) -> Path:
    """Writes `results/<date>/<name>.json` and returns its path. `module` is what measures, where not called `name`."""
    now = datetime.now(UTC)
    content = {
        "name": name,
        "time": now.isoformat(timespec="seconds"),
        "command": " ".join([".venv/bin/python", "-m", f"bench.{module or name}", *sys.argv[1:]]),
        "commit": _output("git", "rev-parse", "HEAD"),
        "machine": machine(),
        "versions": versions(),
        "settings": dict(settings),
        "figures": dict(figures),
    }
    file = RESULTS / f"{now:%Y-%m-%d}" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")
    return file


def machine() -> dict[str, Any]:
    """Cores, memory, processor and system of this machine."""
    info = Path("/proc/cpuinfo")
    models = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        if info.exists()
        else []
    )
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "processor": models[0] if models else platform.processor(),
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Versions of what is measured."""
    java = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr.splitlines()
    return {"python": platform.python_version(), "java": java[0] if java else "unknown"} | {
        name: version(name) for name in PACKAGES
    }


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, cwd=RESULTS).stdout.strip()
