"""Finds the Java that Spark and Kafka run on. Standard library only: set-up needs it before anything is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

VERSIONS = (17, 21)

_WAYS = {
    "apt-get": "sudo apt-get install openjdk-17-jre-headless",
    "dnf": "sudo dnf install java-21-openjdk-headless",
    "brew": "brew install openjdk@21 && export JAVA_HOME=$(brew --prefix)/opt/openjdk@21",
}


class JavaError(RuntimeError):
    """No usable Java. The message says what was found and which command mends it."""


def find_java(environment: Mapping[str, str] | None = None) -> Path:
    """The home of a Java 17 or 21: JAVA_HOME's where that is set, else that of `java` on the PATH."""
    environment = os.environ if environment is None else environment
    home = environment.get("JAVA_HOME")
    if home:
        java, origin = Path(home, "bin", "java"), f"JAVA_HOME={home}"
        if not os.access(java, os.X_OK):
            raise JavaError(f"{origin} has no bin/java. {_mend()}")
    else:
        found = shutil.which("java", path=environment.get("PATH", os.defpath))
        if not found:
            raise JavaError(f"Java is missing: JAVA_HOME is not set, and there is no java on the PATH. {_mend()}")
        java, origin = Path(found), f"{found} on the PATH"
    version = _version(java)
    if version not in VERSIONS:
        raise JavaError(f"{origin} is {f'Java {version}' if version else 'no working Java'}. {_mend()}")
    return java.resolve().parent.parent if not home else Path(home)


def ways(commands: Mapping[str, str]) -> str:
    """Of some commands by package manager, those this machine has; all of them where it has none we know."""
    here = [command for manager, command in commands.items() if shutil.which(manager)]
    return "\n".join(f"  {command}" for command in here or commands.values())


def _mend() -> str:
    wanted = " or ".join(map(str, VERSIONS))
    return f"Java {wanted} is needed. Install it, or set JAVA_HOME to one:\n{ways(_WAYS)}"


def _version(java: Path) -> int | None:
    """Its major version: from the JDK's `release` file, which saves starting a JVM, else from `java -version`."""
    release = java.resolve().parent.parent / "release"
    text = release.read_text(errors="replace") if release.is_file() else ""
    match = re.search(r'^JAVA_VERSION="([^"]+)"', text, re.MULTILINE)
    if not match:
        try:
            printed = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return None
        match = re.search(r'version "([^"]+)"', printed.stderr + printed.stdout)
    numbers = re.findall(r"\d+", match[1]) if match else []
    if not numbers:
        return None
    return int(numbers[1] if numbers[0] == "1" and len(numbers) > 1 else numbers[0])
