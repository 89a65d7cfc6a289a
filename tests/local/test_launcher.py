"""The command that starts a job's JVM is the one that Spark's own script would run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local import launcher
from local.install import ROOT, Layout
from local.java import find_java
from local.submit import _spark_home

# A `java` that answers the launcher's question, as the real one does, and prints what it is then asked to run.
JAVA = """#!{python}
import json, os, sys
if "org.apache.spark.launcher.Main" in sys.argv:
    os.execv("{java}", ["{java}", *sys.argv[1:]])
print(json.dumps(sys.argv[1:]))
"""
OPTIONS = [
    ["--conf", "spark.sql.shuffle.partitions=2"],
    ["--driver-memory", "2g", "--conf", "some.thing=a b", "--driver-class-path", "/x.jar:/y.jar", "--verbose"],
    ["--master", "local[4]", "--driver-java-options", "-Da=b -Dc='d e'", "--name", "mine", "--jars", "/z.jar"],
]


def environment(java: Path) -> dict[str, str]:
    """What a job's JVM is started with, as far as the command depends on it."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
    home = {"SPARK_HOME": str(_spark_home()), "JAVA_HOME": str(java)}
    return given | home | {"SPARK_CONF_DIR": str(ROOT / "conf"), "SPARK_SCALA_VERSION": "2.13"}


@pytest.mark.parametrize("options", OPTIONS)
def test_the_command_is_that_of_spark_submit(
    tmp_path: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same options, defaults and environment, Java gets the same arguments; the second time too."""
    monkeypatch.setattr(launcher, "_kept", lambda: tmp_path / "kept")
    java = tmp_path / "bin/java"
    java.parent.mkdir()
    java.write_text(JAVA.format(python=sys.executable, java=find_java() / "bin/java"))
    java.chmod(0o755)
    known, words = environment(tmp_path), ["job.py", "--from", "a b"]
    script = [str(_spark_home() / "bin/spark-submit"), *options, *words]
    told = json.loads(subprocess.run(script, env=known, capture_output=True, text=True, check=True).stdout)
    for _ in range(2):
        command = launcher.command(options, words, known, java=tmp_path, is_one_process=False)
        assert command == [str(java), *told]


def test_what_the_launcher_refuses_is_left_to_spark_submit() -> None:
    """Options that it does not understand are given to the script, which says what is wrong."""
    java = find_java()
    command = launcher.command(["--no-such-option"], ["job.py"], environment(java), java=java, is_one_process=True)
    assert command == [str(_spark_home() / "bin/spark-submit"), "--no-such-option", "job.py"]


def test_an_archive_wants_a_class_path_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made with files alone on the class path, and fits where the folders follow these."""
    java, made = find_java(), tmp_path / "a.jsa"
    made.touch()
    monkeypatch.setattr(Layout, "class_archive", lambda _layout, _java: made)
    known = environment(java)
    making = launcher.command([], ["job.py"], known | {launcher.ARCHIVE_TO: "/b.jsa"}, java=java, is_one_process=True)
    using = launcher.command([], ["job.py"], known, java=java, is_one_process=True)
    assert "-XX:ArchiveClassesAtExit=/b.jsa" in making
    assert f"-XX:SharedArchiveFile={made}" in using
    files, path = (command[command.index("-cp") + 1].split(os.pathsep) for command in (making, using))
    assert path == [*files, f"{ROOT / 'conf'}/"]
    assert all(Path(entry).is_file() for entry in files)
    assert {Path(entry).name for entry in files} == {jar.name for jar in (_spark_home() / "jars").glob("*.jar")}
