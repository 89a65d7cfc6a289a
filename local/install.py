"""Set-up: the virtual environment, the packages and the jars, each once. `scripts/setup` runs it.

Standard library only, since it runs before anything is installed. Each half (environment, jars) bears a stamp that is
written last and holds everything it was made from: a half without its stamp, or with another's, is made anew. So an
interruption at any moment costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from local.jars import JarError, check, listed
from local.java import JavaError, find_java, ways
from local.processes import signal_group, start

ROOT = Path(__file__).resolve().parent.parent
TAIL_LINES = 12
FOR_A_JOB = "--for-a-job"
"""Given by spark-submit.sh: a job waits, so that what only makes later starts quicker is left out."""


class SetupError(RuntimeError):
    """Set-up cannot go on. The message says why and what to do."""


@dataclass(frozen=True)
class Layout:
    """Where everything lies; tests give another root."""

    root: Path = ROOT
    venv: Path = field(init=False)
    jars: Path = field(init=False)
    work: Path = field(init=False)
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        for name, path in (("venv", ".venv"), ("jars", "jars"), ("work", "run/setup"), ("log", "run/logs/setup.log")):
            object.__setattr__(self, name, self.root / path)

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def listing(self) -> Path:
        return self.root / "conf" / "jars.sha256"

    def digest(self, *names: str) -> str:
        """One hash of some of the project's files."""
        return hashlib.sha256(b"\0".join((self.root / name).read_bytes() for name in names)).hexdigest()

    def dependencies(self) -> list[str]:
        project = tomllib.loads((self.root / "pyproject.toml").read_text())["project"]
        return [str(dependency) for dependency in project["dependencies"]]

    def venv_key(self) -> str:
        """What the environment is made from. Its path belongs to it: a virtual environment cannot be moved."""
        version = ".".join(map(str, sys.version_info[:2]))
        parts = f"python {version} at {self.root}", *self.dependencies(), self.digest("conf/constraints.txt"), ""
        return "\n".join(parts)

    def class_archive(self, java: Path) -> Path:
        """Where the archive of the classes that the job loads lies, for this Java and these jars."""
        release = java / "release"
        made_from = (release.read_text() if release.is_file() else str(java), self.venv_key(), self.jars_key())
        return self.jars / "start" / f"classes-{hashlib.sha256(repr(made_from).encode()).hexdigest()[:12]}.jsa"

    def jars_key(self) -> str:
        return self.digest("conf/ivy.xml", "conf/ivysettings.xml", "conf/jars.sha256") + "\n"


def main(arguments: Sequence[str]) -> int:
    if arguments not in ([], [FOR_A_JOB]):
        print("usage: scripts/setup (it takes no arguments; PYTHON and JAVA_HOME choose the Python and the Java)")
        return 0 if arguments[0] in ("-h", "--help") else 2
    try:
        set_up(Layout())
        if FOR_A_JOB not in arguments:
            make_archive(Layout())
    except (SetupError, JarError, JavaError) as error:
        print(f"Set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nSet-up was interrupted; the next start resumes it.", file=sys.stderr)
        return 130
    return 0


def set_up(layout: Layout) -> None:
    """Makes what is missing; raises `SetupError`, `JarError` or `JavaError` when it cannot."""
    java = find_java()
    if venv_is_ready(layout) and jars_are_ready(layout):
        return
    _require_venv_module()
    with _alone(layout) as lock:
        steps = Steps(layout, lock)
        if not venv_is_ready(layout):
            make_venv(layout, steps)
        if not jars_are_ready(layout):
            fetch_jars(layout, steps, java)
        steps.done()


def venv_is_ready(layout: Layout) -> bool:
    """Whether the environment is complete and its Python runs (the one it was made from may have been removed)."""
    if _read(layout.venv / "ready") != layout.venv_key():
        return False
    try:
        return subprocess.run([layout.python, "-I", "-S", "-c", ""], capture_output=True).returncode == 0
    except OSError:
        return False


def jars_are_ready(layout: Layout) -> bool:
    """Whether every listed jar is there. Their hashes were checked before the stamp was written."""
    if _read(layout.jars / "ready") != layout.jars_key():
        return False
    return all((layout.jars / name).is_file() for name in listed(layout.listing))


def make_venv(layout: Layout, steps: Steps) -> None:
    """A new environment with the pinned packages of pyproject.toml."""
    _require_no_link(layout.venv)
    (layout.venv / "ready").unlink(missing_ok=True)
    # Not sys.executable: that may be the very environment that is about to be cleared.
    python = getattr(sys, "_base_executable", sys.executable)
    what = f"virtual environment .venv, Python {sys.version.split()[0]}"
    steps.run(what, [str(python), "-m", "venv", "--clear", layout.venv])
    options = ["--disable-pip-version-check", "install", "--progress-bar", "off"]
    pip: list[str | Path] = [layout.python, "-m", "pip", *options]
    steps.run(
        "Python packages (PySpark alone is 430 MB)",
        [*pip, "--constraint", layout.root / "conf" / "constraints.txt", *layout.dependencies()],
    )
    (layout.venv / "ready").write_text(layout.venv_key())


def fetch_jars(layout: Layout, steps: Steps, java: Path) -> None:
    """The jars of conf/ivy.xml, into a folder aside, checked, and only then into place."""
    _require_no_link(layout.jars)
    found = sorted(layout.venv.glob("lib/python*/site-packages/pyspark/jars/ivy-*.jar"))
    if not found:
        raise SetupError(f"PySpark in {layout.venv} has no jars/ivy-*.jar. Remove {layout.venv} and start again.")
    aside, cache = layout.work / "jars", layout.work / "ivy"
    shutil.rmtree(aside, ignore_errors=True)
    settings = _environment_path("IVY_SETTINGS") or layout.root / "conf" / "ivysettings.xml"
    options: list[str | Path] = ["-settings", settings, "-ivy", layout.root / "conf" / "ivy.xml", "-cache", cache]
    pattern = f"{aside}/[conf]/[artifact]-[revision].[ext]"
    steps.run(
        f"{len(listed(layout.listing))} jars: Spark's Kafka and Delta connectors, and Kafka itself",
        [java / "bin" / "java", "-jar", found[0], *options, "-retrieve", pattern, "-types", "jar", "bundle"],
    )
    try:
        check(aside, layout.listing)
    finally:
        # What was fetched whole is in place or wrong: in both cases the cache is of no more use.
        shutil.rmtree(cache, ignore_errors=True)
    shutil.rmtree(layout.jars, ignore_errors=True)
    aside.rename(layout.jars)
    (layout.jars / "ready").write_text(layout.jars_key())


def make_archive(layout: Layout) -> None:
    """The class-data archive that makes starts quicker (`local/archive.py`): tried once, and nothing depends on it."""
    made = layout.class_archive(find_java())
    if made.exists() or made.with_suffix(".failed").exists():
        return
    _say("Class archive, for quick starts of the job (a run of it on a Kafka of its own, thrown away) …")
    began = time.monotonic()
    # By the environment's Python, for it runs the job.
    subprocess.run([layout.python, "-m", "local.archive"], cwd=layout.root, stdout=subprocess.DEVNULL)
    _say(f"     done in {time.monotonic() - began:.1f} s")


class Steps:
    """Runs the commands of a set-up one after another and says which, and for how long."""

    def __init__(self, layout: Layout, lock: IO[str]) -> None:
        self._log, self._lock = layout.log, lock
        self._number, self._began = 0, time.monotonic()
        self._live = sys.stderr.isatty()
        layout.log.parent.mkdir(parents=True, exist_ok=True)
        layout.log.write_text("")
        _say(f"Setting up, once (needs the network; about 1.6 GB of disk). Log: {layout.log}")

    def run(self, what: str, command: Sequence[str | Path]) -> None:
        """Raises `SetupError` with the log's last lines when the command fails."""
        self._number += 1
        title, began = f"  {self._number}. {what}", time.monotonic()
        if not self._live:
            _say(f"{title} …")
        with self._log.open("ab") as log:
            # It holds the lock too: where the kernel does not end it when we are killed, the next set-up waits for it.
            process = start(command, environment=os.environ, output=log, pass_fds=[self._lock.fileno()])
            try:
                while (code := _wait(process, seconds=0.5 if self._live else 15)) is None:
                    self._progress(title, time.monotonic() - began)
            finally:
                if process.poll() is None:
                    signal_group(process.pid, signal.SIGTERM)
                    process.wait()
        seconds = time.monotonic() - began
        if code != 0:
            lines = "\n".join(
                f"  | {line}" for line in self._log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
            )
            raise SetupError(
                f"step {self._number} ({what}) failed after {seconds:.0f} s. Last lines of {self._log}:\n{lines}"
            )
        _say(f"{self._clear()}{title} … {seconds:.1f} s" if self._live else f"     done in {seconds:.1f} s")

    def done(self) -> None:
        _say(f"Set up in {time.monotonic() - self._began:.0f} s.")

    def _progress(self, title: str, seconds: float) -> None:
        if not self._live:
            _say(f"     … {seconds:.0f} s")
            return
        width = shutil.get_terminal_size().columns - 1
        doing = _last_line(self._log)
        print(f"{self._clear()}{f'{title} … {seconds:.0f} s  {doing}'[:width]}", end="", file=sys.stderr, flush=True)

    @staticmethod
    def _clear() -> str:
        return "\r\033[K"


@contextlib.contextmanager
def _alone(layout: Layout) -> Iterator[IO[str]]:
    """Holds the set-up's lock; a second set-up waits here and says so."""
    layout.work.mkdir(parents=True, exist_ok=True)
    with (layout.work / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Another set-up is at work here: waiting for it to end …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _require_no_link(folder: Path) -> None:
    """What a link leads to was made for somebody else, and making it anew would clear it."""
    if folder.is_symlink():
        raise SetupError(f"{folder} is a link, and not up to date. Remove the link and start again: rm {folder}")


def _require_venv_module() -> None:
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        version = ".".join(map(str, sys.version_info[:2]))
        mend = ways(
            {"apt-get": f"sudo apt-get install python{version}-venv", "dnf": f"sudo dnf install python{version}"}
        )
        raise SetupError(f"{sys.executable} cannot make virtual environments (venv or ensurepip is missing):\n{mend}")


def _wait(process: subprocess.Popen[bytes], *, seconds: float) -> int | None:
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1].strip() if lines else ""


def _environment_path(name: str) -> Path | None:
    value = os.environ.get(name)
    return Path(value).expanduser().resolve() if value else None


def _read(file: Path) -> str | None:
    try:
        return file.read_text()
    except OSError:
        return None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
