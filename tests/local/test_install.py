"""Set-up believes only what it has finished. The real commands are replaced by small ones here."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local import install
from local.install import ROOT, Layout, SetupError, Steps, jars_are_ready, venv_is_ready
from local.jars import JarError
from local.java import JavaError
from tests.support import eventually

JAR = b"a jar"
SET_UP = "import sys; from pathlib import Path; from local.install import *; set_up(Layout(Path(sys.argv[1])))"

# A `java` that is asked to fetch jars: writes one where Ivy would, after the file `go` has appeared beside it.
FETCH = """#!{python}
import pathlib, sys, threading, time
here = pathlib.Path(__file__).parent
(here / "asked").touch()
deadline = time.monotonic() + 60
while not (here / "go").exists():
    if time.monotonic() > deadline:
        sys.exit("nobody said go within 60 s")
    threading.Event().wait(0.02)
pattern = sys.argv[sys.argv.index("-retrieve") + 1]
target = pathlib.Path(pattern.replace("[conf]/[artifact]-[revision].[ext]", "spark/a.jar"))
target.parent.mkdir(parents=True)
target.write_bytes({content!r})
"""


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project whose environment is ready and whose one jar is not there yet."""
    layout = Layout(tmp_path / "project")
    shutil.copytree(ROOT / "conf", layout.root / "conf")
    shutil.copy(ROOT / "pyproject.toml", layout.root)
    layout.listing.write_text(f"{hashlib.sha256(JAR).hexdigest()}  spark/a.jar\n")
    (layout.venv / "bin").mkdir(parents=True)
    layout.python.symlink_to(sys.executable)
    ivy = layout.venv / "lib/python3/site-packages/pyspark/jars/ivy-1.jar"
    ivy.parent.mkdir(parents=True)
    ivy.touch()
    (layout.venv / "ready").write_text(layout.venv_key())
    java(tmp_path / "jdk", JAR)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    return layout


def java(home: Path, content: bytes, *, go: bool = True) -> None:
    shutil.rmtree(home, ignore_errors=True)
    (home / "bin").mkdir(parents=True)
    (home / "release").write_text('JAVA_VERSION="17.0.1"\n')
    (home / "bin" / "java").write_text(FETCH.format(python=sys.executable, content=content))
    (home / "bin" / "java").chmod(0o755)
    if go:
        (home / "bin" / "go").touch()


def start_set_up(layout: Layout) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SET_UP, layout.root], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_it_makes_what_is_missing_once(layout: Layout, capfd: pytest.CaptureFixture[str]) -> None:
    """The first start fetches the jars and says so; the second does nothing and says nothing."""
    install.set_up(layout)
    assert (layout.jars / "spark" / "a.jar").read_bytes() == JAR
    assert "1 jars" in capfd.readouterr().err
    (layout.root.parent / "jdk" / "bin" / "asked").unlink()
    install.set_up(layout)
    assert capfd.readouterr().err == ""
    assert not (layout.root.parent / "jdk" / "bin" / "asked").exists()


def test_an_environment_is_ready_only_as_it_was_made(layout: Layout) -> None:
    """Another path, other pins, a Python that is gone or no stamp: each makes it anew."""
    assert venv_is_ready(layout)
    moved = Layout(layout.root.rename(layout.root.with_name("moved")))
    assert not venv_is_ready(moved)
    (moved.venv / "ready").write_text(moved.venv_key())
    assert venv_is_ready(moved)
    (moved.root / "conf" / "constraints.txt").write_text("numpy==1\n")
    assert not venv_is_ready(moved)
    (moved.venv / "ready").write_text(moved.venv_key())
    moved.python.unlink()
    moved.python.symlink_to("/nowhere/python")
    assert not venv_is_ready(moved)
    (moved.venv / "ready").unlink()
    assert not venv_is_ready(moved)


def test_jars_are_ready_only_as_they_were_listed(layout: Layout) -> None:
    """A jar that is gone, or another list, makes them anew."""
    install.set_up(layout)
    assert jars_are_ready(layout)
    (layout.jars / "spark" / "a.jar").unlink()
    assert not jars_are_ready(layout)
    install.set_up(layout)
    layout.listing.write_text(layout.listing.read_text() * 2)
    assert not jars_are_ready(layout)


def test_a_jar_with_another_hash_never_comes_into_place(layout: Layout) -> None:
    """Neither the folder nor the stamp appears, and the next start tries again."""
    java(layout.root.parent / "jdk", b"another jar")
    with pytest.raises(JarError, match=r"spark/a.jar: SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}"):
        install.set_up(layout)
    assert not layout.jars.exists()
    java(layout.root.parent / "jdk", JAR)
    install.set_up(layout)
    assert jars_are_ready(layout)


def test_a_set_up_that_is_killed_is_not_believed(layout: Layout) -> None:
    """After SIGKILL in the middle nothing is ready, and the next set-up does it all."""
    home = layout.root.parent / "jdk"
    java(home, JAR, go=False)
    with start_set_up(layout) as first:
        eventually((home / "bin" / "asked").exists)
        first.kill()
    assert not jars_are_ready(layout)
    (home / "bin" / "go").touch()
    with start_set_up(layout) as second:
        second.communicate(timeout=30)
    assert second.returncode == 0
    assert jars_are_ready(layout)


def test_a_second_set_up_uses_what_the_first_has_made(layout: Layout) -> None:
    """It waits for the lock, looks again, and finds nothing left to do."""
    layout.work.mkdir(parents=True)
    with (layout.work / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = start_set_up(layout)
        assert waiting.stderr
        assert waiting.stderr.readline().startswith("Another set-up is at work")
        (layout.jars / "spark").mkdir(parents=True)
        (layout.jars / "spark" / "a.jar").write_bytes(JAR)
        (layout.jars / "ready").write_text(layout.jars_key())
    waiting.communicate(timeout=30)
    assert waiting.returncode == 0
    assert not (layout.root.parent / "jdk" / "bin" / "asked").exists()


def test_a_wrong_java_stops_it_before_anything_is_made(layout: Layout) -> None:
    """Nothing is created, not even a log."""
    (layout.root.parent / "jdk" / "release").write_text('JAVA_VERSION="11.0.1"\n')
    before = sorted(layout.root.rglob("*"))
    with pytest.raises(JavaError, match="is Java 11"):
        install.set_up(layout)
    assert sorted(layout.root.rglob("*")) == before


@pytest.mark.parametrize("name", ["venv", "jars"])
def test_what_a_link_leads_to_is_left_alone(layout: Layout, name: str) -> None:
    """It was made for another folder. Set-up says so, and clears nothing."""
    link: Path = getattr(layout, name)
    other = layout.root.parent / "of-somebody-else"
    if link.exists():
        shutil.rmtree(link)
    other.mkdir()
    (other / "theirs").touch()
    link.symlink_to(other)
    with pytest.raises(SetupError, match=f"{link.name} is a link.*Remove the link"):
        install.set_up(layout)
    assert link.is_symlink()
    assert list(other.iterdir()) == [other / "theirs"]


def test_a_step_that_fails_names_its_log_and_shows_its_end(layout: Layout, tmp_path: Path) -> None:
    """The message is whole: which step, how long, where the log is, and its last lines."""
    with (tmp_path / "lock").open("w") as lock:
        steps = Steps(layout, lock)
        with pytest.raises(SetupError) as raised:
            steps.run("a thing", ["sh", "-c", "echo first; echo last >&2; exit 3"])
    assert str(raised.value) == f"step 1 (a thing) failed after 0 s. Last lines of {layout.log}:\n  | first\n  | last"


def test_a_machine_without_a_new_python_is_told_how_to_get_one() -> None:
    """scripts/setup ends with a message and exit code 1."""
    done = subprocess.run(
        [ROOT / "scripts" / "setup"], env={**os.environ, "PYTHON": "/bin/false"}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.11 or newer is needed, and none was found (tried: /bin/false).\n")
    assert "install python3" in done.stderr


def test_the_project_itself_starts_quickly(tmp_path: Path) -> None:
    """A set-up with nothing to do takes less than 2 s, from any folder."""
    done = subprocess.run([ROOT / "scripts" / "setup"], cwd=tmp_path, capture_output=True, text=True, timeout=2)
    assert (done.returncode, done.stderr) == (0, "")


def test_signals_reach_the_step(layout: Layout) -> None:
    """Ctrl-C ends the command that runs, and says that the next start resumes."""
    home = layout.root.parent / "jdk"
    java(home, JAR, go=False)
    code = "import sys, local.install as i; made = i.Layout(i.Path(sys.argv[1])); i.Layout = lambda: made; "
    code += "sys.exit(i.main([]))"
    with subprocess.Popen(
        [sys.executable, "-c", code, layout.root], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as run:
        eventually((home / "bin" / "asked").exists)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=30)
    assert run.returncode == 130
    assert said.endswith("Set-up was interrupted; the next start resumes it.\n")
