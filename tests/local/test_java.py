"""Java is found where it is said to be, and a wrong one is refused before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.java import JavaError, find_java


def fake_java(home: Path, *, release: str = "", prints: str = "") -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").write_text(f"#!/bin/sh\necho '{prints}' >&2\n")
    (home / "bin" / "java").chmod(0o755)
    if release:
        (home / "release").write_text(f'IMPLEMENTOR="somebody"\nJAVA_VERSION="{release}"\n')
    return home


@pytest.mark.parametrize("version", ["17.0.15", "21", "21.0.7+6"])
def test_a_supported_java_is_found_by_its_release_file(tmp_path: Path, version: str) -> None:
    """JAVA_HOME with Java 17 or 21 is the answer, without starting a JVM."""
    home = fake_java(tmp_path / "jdk", release=version)
    assert find_java({"JAVA_HOME": str(home)}) == home


def test_a_java_without_a_release_file_is_asked(tmp_path: Path) -> None:
    """Then what `java -version` prints counts, and the home of the one on the PATH is found through its link."""
    home = fake_java(tmp_path / "jdk", prints='openjdk version "17.0.1" 2021-10-19')
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(home / "bin" / "java")
    assert find_java({"PATH": str(tmp_path / "bin")}) == home


@pytest.mark.parametrize(
    ("release", "prints", "seen"),
    [
        ("11.0.2", "", "is Java 11"),
        ("", 'java version "1.8.0_392"', "is Java 8"),
        ("25.0.1", "", "is Java 25"),
        ("", "no", "is no working Java"),
    ],
)
def test_another_java_is_refused(tmp_path: Path, release: str, prints: str, seen: str) -> None:
    """The message says what was found, what is needed and a command that installs it."""
    home = fake_java(tmp_path / "jdk", release=release, prints=prints)
    with pytest.raises(JavaError) as raised:
        find_java({"JAVA_HOME": str(home)})
    message = str(raised.value)
    assert message.startswith(
        f"JAVA_HOME={home} {seen}. Java 17 or 21 is needed. Install it, or set JAVA_HOME to one:\n  "
    )
    assert "install" in message.splitlines()[1]


def test_no_java_at_all_is_said(tmp_path: Path) -> None:
    """An empty PATH and a JAVA_HOME without a java have their own words."""
    with pytest.raises(JavaError, match="Java is missing: JAVA_HOME is not set, and there is no java on the PATH"):
        find_java({"PATH": str(tmp_path)})
    with pytest.raises(JavaError, match=f"JAVA_HOME={tmp_path} has no bin/java"):
        find_java({"JAVA_HOME": str(tmp_path)})
