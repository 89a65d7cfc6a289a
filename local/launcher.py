"""The command that starts a job's JVM: the one that bin/spark-submit would run, without the JVM that it asks for it.

Spark's launcher (`org.apache.spark.launcher.Main`) turns options, environment and conf/spark-defaults.conf into a Java
command. It is asked once for each of these, and its answer kept; so every option means what it means to spark-submit.
Two things are then done to the class path of a local master, so that the JVM can take its classes from an archive
(class-data sharing, `local/archive.py`): `jars/*` is written out, and the folder conf/ comes last, for an archive is
made without folders and fits a path that begins as its own did. (No jar has a file that one finds in conf/.) The
archive is a matter of speed alone: the JVM checks it, and does without one that does not fit.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from local.install import Layout

MAIN = "org.apache.spark.deploy.SparkSubmit"
ARCHIVE_TO = "BARS_ARCHIVE_TO"
"""In the environment, where the JVM is to write an archive of the classes it has loaded, when it ends."""
_QUIET = "-Xlog:cds=off,cds+dynamic=off,class+path=off"
"""An archive that does not fit is no warning for anybody."""
_CONCERNS = ("SPARK_", "HADOOP_", "YARN_", "JAVA_", "JDK_", "_JAVA")
_VARIES = ("SPARK_LOCAL_DIRS",)


def command(
    options: Sequence[str], words: Sequence[str], environment: Mapping[str, str], *, java: Path, is_one_process: bool
) -> list[str]:
    """What to run for `spark-submit <options> <words>`; `words` are the script and what belongs to the job."""
    spark = Path(environment["SPARK_HOME"])
    if (Path(environment["SPARK_CONF_DIR"]) / "spark-env.sh").exists():
        return [str(spark / "bin" / "spark-submit"), *options, *words]  # a shell has to read it
    prefix = _asked(options, environment, java, spark)
    if is_one_process:
        prefix = _with_archive(prefix, environment, java)
    return [*prefix, *words]


def _kept() -> Path:
    return Layout().jars / "start"


def _asked(options: Sequence[str], environment: Mapping[str, str], java: Path, spark: Path) -> list[str]:
    """The launcher's command up to the script; from what was kept, where nothing has changed that it depends on."""
    concerns = {
        name: value for name, value in environment.items() if name.startswith(_CONCERNS) and name not in _VARIES
    }
    files = [Path(environment["SPARK_CONF_DIR"], "spark-defaults.conf")]
    files += [Path(value) for option, value in pairwise(options) if option == "--properties-file"]
    texts = [file.read_text() if file.is_file() else "" for file in files]
    key = hashlib.sha256(json.dumps([list(options), sorted(concerns.items()), texts, str(java)]).encode()).hexdigest()
    kept = _kept() / f"command-{key[:16]}.json"
    with suppress(OSError, ValueError):
        return [str(word) for word in json.loads(kept.read_text())]
    asked: list[str | Path] = [
        java / "bin" / "java",
        "-Xmx128m",
        "-cp",
        f"{spark}/jars/*",
        "org.apache.spark.launcher.Main",
        MAIN,
    ]
    done = subprocess.run(
        [*asked, *options, "SCRIPT"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    said: list[str] = done.stdout.rpartition("\0\n")[2].split("\0")[:-1]  # a NUL on its own line begins the command
    if done.returncode != 0 or said[-1:] != ["SCRIPT"]:
        return [str(spark / "bin" / "spark-submit"), *options]  # which will say what is wrong
    with suppress(OSError):
        _write(kept, json.dumps(said[:-1]).encode())
    return said[:-1]


def _with_archive(prefix: list[str], environment: Mapping[str, str], java: Path) -> list[str]:
    """The command with the class-data archive, if there is one, or with the wish to make one."""
    to, made = environment.get(ARCHIVE_TO), Layout().class_archive(java)
    if "-cp" not in prefix or not (to or made.is_file()):
        return prefix
    at = prefix.index("-cp") + 1
    entries = [path for entry in prefix[at].split(os.pathsep) for path in _flat(entry)]
    files = list(dict.fromkeys(path for path in entries if not Path(path).is_dir()))
    folders = [] if to else [path for path in entries if Path(path).is_dir()]
    sharing = f"-XX:ArchiveClassesAtExit={to}" if to else f"-XX:SharedArchiveFile={made}"
    return [*prefix[:at], os.pathsep.join([*files, *folders]), sharing, _QUIET, *prefix[at + 1 :]]


def _flat(entry: str) -> list[str]:
    """An entry of a class path, with the wildcard written out."""
    return [str(jar) for jar in sorted(Path(entry[:-2]).glob("*.jar"))] if entry.endswith("/*") else [entry]


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(file)
