"""The jars: fetched by the Ivy that PySpark ships, and believed only where they equal conf/jars.sha256."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path


class JarError(RuntimeError):
    """The jars are not the ones that conf/jars.sha256 lists. The message names each that differs."""


def listed(listing: Path) -> dict[str, str]:
    """Path relative to the jars' folder → SHA-256, from a file as `sha256sum` writes it."""
    lines = listing.read_text().splitlines()
    matches = [re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line) for line in lines]
    wrong = [number for number, match in enumerate(matches, 1) if not match]
    if wrong:
        raise JarError(f"{listing}, line {wrong[0]}: expected a SHA-256, two spaces and a path")
    return {match[2]: match[1] for match in matches if match}


def check(folder: Path, listing: Path) -> None:
    """Raises `JarError` unless the folder holds exactly the listed jars, each with its listed hash."""
    expected = listed(listing)
    seen = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    problems = [f"{name}: missing" for name in sorted(expected.keys() - seen.keys())]
    problems += [f"{name}: not listed; its SHA-256 is {sha256(seen[name])}" for name in sorted(seen.keys() - expected)]
    for name in sorted(expected.keys() & seen.keys()):
        actual = sha256(seen[name])
        if actual != expected[name]:
            problems.append(f"{name}: SHA-256 is {actual}, expected {expected[name]}")
    if problems:
        raise JarError(
            "\n  ".join([f"The jars that were fetched are not those of {listing.name}:", *problems])
            + "\nRun the command again to fetch them anew. If it stays so, whoever serves the jars has changed them: "
            f"trust none that differs.\nIf you changed conf/ivy.xml, write the new hashes to {listing}."
        )


def sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
