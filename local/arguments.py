"""What `./spark-submit.sh` was asked: options for spark-submit, the script, and what belongs to the job."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

# Spark 4.2.0, org.apache.spark.launcher.SparkSubmitOptionParser: every option that takes a value, and the switches.
VALUED = frozenset(
    (
        *("--archives", "--class", "--conf", "-c", "--deploy-mode", "--driver-class-path", "--driver-cores"),
        *("--driver-java-options", "--driver-library-path", "--driver-memory", "--exclude-packages"),
        *("--executor-cores", "--executor-memory", "--files", "--jars", "--keytab", "--kill", "--master", "--name"),
        *("--num-executors", "--packages", "--principal", "--properties-file", "--proxy-user", "--py-files"),
        *("--queue", "--remote", "--repositories", "--status", "--total-executor-cores"),
    )
)
SWITCHES = frozenset(("--help", "-h", "--load-spark-defaults", "--supervise", "--verbose", "-v", "--version"))


class UsageError(ValueError):
    """The command line cannot be understood. The message says what was seen and what was expected."""


@dataclass(frozen=True)
class Arguments:
    """`./spark-submit.sh [options] script [job]`."""

    options: tuple[tuple[str, ...], ...]
    """spark-submit's options in their order: (name, value), or (switch,)."""
    script: str
    """Empty where there is none (`--help`, `--version`, `--kill`, `--status`)."""
    job: tuple[str, ...]

    @property
    def help(self) -> str:
        """Whose help is asked for: `ours`, `job` or empty."""
        if {("--help",), ("-h",)} & set(self.options):
            return "ours"
        return "job" if {"--help", "-h"} & set(self.job) else ""

    @property
    def jars(self) -> list[str]:
        return [jar for option in self.options if option[0] == "--jars" for jar in option[1].split(",") if jar]

    @property
    def has_properties_file(self) -> bool:
        return any(option[0] == "--properties-file" for option in self.options)

    @property
    def driver_class_path(self) -> list[str]:
        """What the last option for it gives, as the launcher has it: --driver-class-path before --conf."""
        given = [option[1] for option in self.options if option[0] == "--driver-class-path"]
        properties = [option[1] for option in self.options if option[0] in ("--conf", "-c")]
        name = "spark.driver.extraClassPath="
        given = given or [text.removeprefix(name) for text in properties if text.startswith(name)]
        return given[-1:]

    @property
    def is_local(self) -> bool:
        """Whether Spark runs on this machine alone, as conf/spark-defaults.conf has it."""
        return self._master.startswith("local")

    @property
    def is_one_process(self) -> bool:
        """Whether there are no executors of their own, which would need jars that lie on the driver's class path."""
        return self._master == "local" or self._master.startswith("local[")

    @property
    def _master(self) -> str:
        masters = [option[1] for option in self.options if option[0] in ("--master", "--remote")]
        properties = [option[1] for option in self.options if option[0] in ("--conf", "-c")]
        masters = masters or [text.partition("=")[2] for text in properties if text.startswith("spark.master=")]
        return masters[-1] if masters else "local"

    def flat(self, *, but: Collection[str] = ()) -> list[str]:
        """spark-submit's options as it wants them, without some."""
        return [word for option in self.options if option[0] not in but for word in option]

    def with_script(self, script: str) -> Arguments:
        return replace(self, script=script)


def split(words: Sequence[str]) -> Arguments:
    """Splits at the script: the first word that is neither an option of spark-submit's nor the value of one."""
    options: list[tuple[str, ...]] = []
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in VALUED and equals:
            options.append((name, value))
        elif name in VALUED:
            if not rest:
                raise UsageError(f"{name} wants a value, and nothing follows it")
            options.append((name, rest.pop(0)))
        elif word in SWITCHES:
            options.append((word,))
        else:
            raise UsageError(f"{word} is no option of spark-submit's (options of the job come after the script)")
    return Arguments(tuple(options), rest[0] if rest else "", tuple(rest[1:]))


def find_script(name: str, *, caller: Path, root: Path) -> str:
    """The script's path: from the caller's folder, else from the project's. What is no local path stays as it is."""
    if "://" in name or name.startswith("local:"):
        return name
    places = [caller / name] + ([] if Path(name).is_absolute() or caller == root else [root / name])
    for place in places:
        if place.is_file():
            return str(place.resolve())
    raise UsageError(f"there is no {name}; looked for " + " and ".join(str(place) for place in places))


def settings_in(job: Sequence[str], names: Collection[str]) -> dict[str, str]:
    """The settings that the job's own options give (`--kafka-topic x` → KAFKA_TOPIC): they hold for the stack too."""
    found: dict[str, str] = {}
    for position, word in enumerate(job):
        option, equals, value = word.partition("=")
        name = option.removeprefix("--").replace("-", "_").upper()
        if option.startswith("--") and name in names:
            if not equals and position + 1 == len(job):
                continue  # the job itself will say what is missing
            found[name] = value if equals else job[position + 1]
    return found
