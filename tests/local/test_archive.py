"""The class-data archive is a matter of speed: set-up tries once to make it, and goes on without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from local import archive, install
from local.archive import TrainingError
from local.install import Layout
from local.java import find_java


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the archive would lie, in a folder of the test's own."""
    wanted = tmp_path / "start/classes.jsa"
    monkeypatch.setattr(Layout, "class_archive", lambda _layout, _java: wanted)
    return wanted


def test_a_run_that_fails_is_said(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What went wrong is said and kept, with how to try again; it is no failure of set-up."""

    def fail(folder: Path, to: Path) -> None:
        to.write_text("half of it")
        raise TrainingError("Kafka did not start")

    monkeypatch.setattr(archive, "_train", fail)
    assert archive.main() == 0
    assert capsys.readouterr().err == (
        "  No class archive could be made, so starts of the job take some seconds longer: Kafka did not start\n"
        "  To try again: .venv/bin/python -m local.archive\n"
    )
    assert {file.name for file in made.parent.iterdir()} == {"classes.failed", "lock"}


@pytest.mark.parametrize("left", ["classes.jsa", "classes.failed"])
def test_it_is_tried_once(made: Path, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    """Where it was made, or could not be made, set-up does not try again."""
    made.parent.mkdir()
    (made.parent / left).touch()
    monkeypatch.setattr(install.subprocess, "run", pytest.fail)
    install.make_archive(Layout())


def test_it_belongs_to_one_java(tmp_path: Path) -> None:
    """Another Java has an archive of its own."""
    (tmp_path / "release").write_text('JAVA_VERSION="21.0.1"\n')
    layout = Layout()
    assert layout.class_archive(tmp_path) != layout.class_archive(find_java())
    assert layout.class_archive(tmp_path).parent == layout.jars / "start"
