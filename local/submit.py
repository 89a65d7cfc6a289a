"""Submits a job: brings up the local stack where it is wanted, runs spark-submit, and ends what it has started.

`./spark-submit.sh` runs this in the virtual environment. The job's standard output is passed through untouched; all
that is said here goes to standard error.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from local import launcher, parts, processes, stack, state
from local.arguments import Arguments, UsageError, find_script, settings_in, split
from local.install import ROOT
from local.java import JavaError, find_java
from local.runs import live_runs, registered, spark_folder
from market.settings import Settings, SettingsError, described, load

USAGE = """\
usage: ./spark-submit.sh [spark-submit options] jobs/<job>.py [job options]

Sets up once (scripts/setup), starts the local stack (Kafka, simulator, producer, Redis, prices, serve) if
KAFKA_BOOTSTRAP is not set, and submits the job to Spark. Settings come from the environment or from .env: see
.env.example.

  ./spark-submit.sh jobs/ohlcv.py                      bars from the simulated exchanges, until Ctrl-C
  ./spark-submit.sh jobs/ohlcv.py --available-now      process what the topic holds, then exit
  ./spark-submit.sh jobs/reconcile.py --check          prove the bars against the topic
  KAFKA_BOOTSTRAP=host:9092 ./spark-submit.sh …        with a Kafka of your own; starts nothing else

Job options, among them one for each setting of the job: ./spark-submit.sh jobs/ohlcv.py --help
The local stack alone: .venv/bin/python -m local up|down|status

Options of spark-submit:
"""

JOB_STOP_S, END_S = 8.0, 14.5
"""After Ctrl-C or SIGTERM: what the job gets to end its batch, and when everything has ended, in seconds."""
REFUSED = 2
"""A job's exit code when it has done nothing, because something is set wrongly or does not belong together."""
OUT_OF_MEMORY = 3
"""The JVM's exit code under -XX:+ExitOnOutOfMemoryError."""


def main(words: Sequence[str]) -> int:
    try:
        arguments = split(words)
        if arguments.help == "ours":
            return _help()
        if not arguments.script:
            return _without_script(arguments)
        arguments = arguments.with_script(find_script(arguments.script, caller=Path.cwd(), root=ROOT))
        if arguments.help == "job":
            return subprocess.run([sys.executable, arguments.script, *arguments.job], env=_python_path()).returncode
        given = settings_in(arguments.job, described())
        settings = load(options=given)
        return Submission(arguments, settings, {**os.environ, **given}).run()
    except (UsageError, SettingsError) as error:
        _say(f"spark-submit.sh: {error}")
        return 2
    except (stack.StackError, JavaError) as error:
        _say(f"spark-submit.sh: {error}")
        return 1


class Submission:
    """One run of a job, from its start to the end of all that was started for it."""

    def __init__(self, arguments: Arguments, settings: Settings, environment: Mapping[str, str]) -> None:
        self._arguments, self._settings, self._environment = arguments, settings, environment
        self._job = Path(arguments.script).name
        self._signals: list[int] = []
        self._signalled = threading.Event()
        self._signalled_at = 0.0
        self._started_stack = False
        self._restarts: dict[str, int] = {}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def run(self) -> int:
        """The job's exit code; 130 or 143 when a signal ended it and it did not end cleanly itself."""
        with registered() as run, spark_folder() as scratch:
            launch = self._launch_stack()
            # The bars job waits for its topic by itself; the others read what is there.
            if launch and self._job != "ohlcv.py":
                self._until_up(launch)
            if self._signals:
                return self._ended(128 + self._signals[0], run)
            pid_file = run.with_suffix(".pid")
            command, environment = self._spark_submit(pid_file, scratch)
            job = processes.start(command, environment=environment, signal_on_our_death=signal.SIGTERM)
            try:
                code = self._watch(job, launch, pid_file)
            except stack.StackError:
                _end_group(job, within_s=2)
                raise
            finally:
                pid_file.unlink(missing_ok=True)
            return self._ended(code, run)

    def _launch_stack(self) -> stack.Launch | None:
        if not self._settings.local:
            _say(f"Kafka: {self._settings.kafka_bootstrap} (KAFKA_BOOTSTRAP is set, so no local stack is started).")
            return None
        live = self._job == "ohlcv.py" and "--available-now" not in self._arguments.job
        only = parts.NAMES if live else ("kafka",)
        names = "Kafka, simulator, producer, Redis, prices, serve" if live else "Kafka alone"
        _say(
            f"KAFKA_BOOTSTRAP is not set: using the local stack ({names}; Kafka on {self._settings.bootstrap}).\n"
            f"For a cluster of your own: KAFKA_BOOTSTRAP=host:9092 SOURCE=binance ./spark-submit.sh …"
        )
        launch = stack.launch(self._environment, say=_say, only=only, started_by=stack.BY_SUBMIT)
        self._started_stack = launch.is_ours
        return launch

    def _until_up(self, launch: stack.Launch) -> None:
        while not launch.poll() and not self._signalled.wait(0.05):
            pass

    def _spark_submit(self, pid_file: Path, scratch: Path) -> tuple[list[str], dict[str, str]]:
        spark_home, java, given = _spark_home(), find_java(), self._arguments
        jars = [str(jar) for jar in sorted((ROOT / "jars" / "spark").glob("*.jar"))]
        options = ["--conf", f"spark.sql.shuffle.partitions={self._settings.state_partitions}"]
        if given.is_one_process and not given.has_properties_file:  # which may name a class path of its own
            # On the class path they need not be copied at each start, and come from the class-data archive.
            options += ["--driver-class-path", os.pathsep.join([*jars, *given.driver_class_path])]
            options += given.flat(but=["--driver-class-path"])
        else:
            options += ["--jars", ",".join([*jars, *given.jars]), *given.flat(but=["--jars"])]
        environment = _python_path(self._environment) | {
            "SPARK_HOME": str(spark_home),
            "SPARK_CONF_DIR": str(ROOT / "conf"),
            "SPARK_LOCAL_DIRS": str(scratch),
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_DRIVER_PYTHON": sys.executable,
            "JAVA_HOME": str(java),
            "PYTHONHASHSEED": "0",  # as bin/spark-submit sets it
            "SPARK_SCALA_VERSION": "2.13",  # as bin/load-spark-env.sh does: who starts executors asks for it
            "TZ": "UTC",
            "BARS_PID_FILE": str(pid_file),
        }
        if self._arguments.is_local:
            environment.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        environment.pop("BARS_TERMINAL", None)
        if sys.stdout.isatty():
            environment["BARS_TERMINAL"] = str(shutil.get_terminal_size().columns)
        words = [given.script, *given.job]
        return launcher.command(
            options, words, environment, java=java, is_one_process=given.is_one_process
        ), environment

    def _watch(self, job: subprocess.Popen[bytes], launch: stack.Launch | None, pid_file: Path) -> int:
        """Until the job has ended; a signal asks the driver to end, and later ends it."""
        asked = up = False
        while (code := job.poll()) is None:
            if self._signals and not asked:
                asked = True
                _say("Stopping: the job ends its batch (Ctrl-C again: at once) …")
                _signal(_driver(pid_file) or job.pid, signal.SIGTERM)
            if len(self._signals) > 1 or (asked and time.monotonic() - self._signalled_at > JOB_STOP_S):
                _end_group(job, within_s=0.0 if len(self._signals) > 1 else 1.0)
            elif asked:
                time.sleep(0.05)
            else:
                if launch and not up and (up := launch.poll()):
                    _tell_address(launch)
                if up:
                    self._tell_restarts()
                self._signalled.wait(0.1)
        # The driver is a child of the JVM, and of no use without it.
        processes.signal_group(job.pid, signal.SIGKILL)
        return 128 + self._signals[0] if self._signals and code != 0 else code if code >= 0 else 128 - code

    def _tell_restarts(self) -> None:
        """Says which part of the stack has ended and was started again: its log knows why."""
        shown = state.read(stack.FOLDER)
        for part in shown.parts if shown else ():
            if part.restarts > self._restarts.setdefault(part.name, part.restarts):
                self._restarts[part.name] = part.restarts
                _say(f"{part.name} ended and is started again ({part.restarts} times so far). Its log: {part.log}")

    def _ended(self, code: int, run: Path) -> int:
        """Stops the stack, unless somebody else needs it, and returns the exit code."""
        shown = state.read(stack.FOLDER) if self._settings.local else None
        if shown is None or shown.started_by != stack.BY_SUBMIT:
            return code
        if not self._signals and (code > 128 or code == OUT_OF_MEMORY):
            _say(
                f"The job was killed (exit code {code}); the local stack goes on, so that no trade is missed.\n"
                "Run the same command again to recover, or stop the stack: .venv/bin/python -m local down"
            )
        elif code == REFUSED and not self._started_stack:
            _say("The local stack goes on, as before this run.")
        elif others := [other for other in live_runs() if other != run]:
            _say(f"The local stack goes on: another job uses it (pid {others[0].stem}).")
        else:
            spent_s = time.monotonic() - self._signalled_at if self._signals else 0.0
            stack.stop(say=_say, within_s=max(1.0, END_S - spent_s) if len(self._signals) < 2 else 1.0)
        return code

    def _on_signal(self, number: int, _: object) -> None:
        self._signalled_at = self._signalled_at or time.monotonic()
        self._signals.append(number)
        self._signalled.set()


def _tell_address(launch: stack.Launch) -> None:
    """Where the page, prices and bars are, if they are."""
    if address := launch.address_of("serve"):
        _say(f"Page, prices and bars: {address}")


def _driver(pid_file: Path) -> int | None:
    """The pid that the job has written, if it has come so far."""
    text = pid_file.read_text().strip() if pid_file.is_file() else ""
    return int(text) if text.isdigit() else None


def _end_group(job: subprocess.Popen[bytes], *, within_s: float) -> None:
    processes.signal_group(job.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        job.wait(timeout=within_s)
    processes.signal_group(job.pid, signal.SIGKILL)
    job.wait()


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _python_path(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    environment = os.environ if environment is None else environment
    rest = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(ROOT)]
    return {**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), *rest])}


def _spark_home() -> Path:
    return next((ROOT / ".venv").glob("lib/python*/site-packages/pyspark"))


def _plain(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """spark-submit as it comes, for what concerns no job."""
    environment = {**os.environ, "SPARK_HOME": str(_spark_home()), "JAVA_HOME": str(find_java())}
    command = [str(_spark_home() / "bin" / "spark-submit"), *words]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _help() -> int:
    text = _plain(["--help"]).stdout
    print(USAGE + text[text.find("  --master") :].rstrip())
    return 0


def _without_script(arguments: Arguments) -> int:
    """--version, --kill and --status want no script; anything else does."""
    if not {"--version", "--kill", "--status"} & {option[0] for option in arguments.options}:
        raise UsageError("which job? For example: ./spark-submit.sh jobs/ohlcv.py (see --help)")
    done = _plain(arguments.flat())
    print(done.stdout, end="")
    return done.returncode


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
