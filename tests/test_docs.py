"""The documentation is true: its commands, settings, folders, links and files are those of the project."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from local.arguments import split
from market.settings import ROOT, described, load
from prices import metrics as prices
from producer import metrics as producer
from serve import meters as serve

README = (ROOT / "README.md").read_text()
DECISIONS = (ROOT / "docs/decisions.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

OUTSIDE = {"kill", "pgrep", "head", "docker", "redis-cli", "curl"}
"""Programs that the README uses and that are not ours."""

LOGGED = {f"log.{level}" for level in ("warning", "error", "exception", "critical")}

PROGRAMS = {
    "jobs/ohlcv.py": ("jobs/ohlcv.py",),
    "jobs/reconcile.py": ("jobs/reconcile.py",),
    "producer": ("-m", "producer"),
    "consumer": ("-m", "consumer"),
    "prices": ("-m", "prices"),
    "simulator": ("-m", "simulator"),
    "serve": ("-m", "serve"),
    "bars.upkeep": ("-m", "bars.upkeep"),
    "local up": ("-m", "local", "up"),
    "local down": ("-m", "local", "down"),
    "local status": ("-m", "local", "status"),
}


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every command line of the README."""
    return [line.strip() for block in blocks(README, "sh") for line in block.splitlines() if line.strip()]


def section(title: str) -> str:
    """The README's section of that name."""
    return re.split(r"^## ", README.split(f"\n## {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


@cache
def options_of(program: str) -> frozenset[str]:
    """The options that a program's own --help lists."""
    done = subprocess.run(
        [sys.executable, *PROGRAMS[program], "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return frozenset(re.findall(r"--[a-z][a-z-]*", done.stdout))


def check_options(program: str, words: list[str]) -> None:
    """Fails unless the program has every option among the words."""
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= options_of(program), program


def without_settings(words: list[str]) -> list[str]:
    """A command without the settings in front of it, each of which must exist and allow its value."""
    words = words[1:] if words[0] == "export" else words
    while words and (match := re.fullmatch("([A-Z_]+)=(.*)", words[0])):
        assert match[1] in described(), match[1]
        load({match[1]: match[2]}, dotenv=None)
        words = words[1:]
    return words


def test_the_readme_has_commands_of_every_kind() -> None:
    """The check below has something to check."""
    text = "\n".join(commands())
    for start in ("./spark-submit.sh", ".venv/bin/python -m", "scripts/", "docker compose"):
        assert start in text


@pytest.mark.parametrize("command", commands())
def test_each_command_of_the_readme_exists_with_its_options(command: str) -> None:
    """Programs, scripts, jobs, settings and options are there as written; nothing is run but --help."""
    words = without_settings(shlex.split(command, comments=True))
    if not words:
        return
    program, *rest = words
    if program == "./spark-submit.sh":
        arguments = split(rest)
        assert (ROOT / arguments.script).is_file()
        check_options(arguments.script, list(arguments.job))
    elif program == ".venv/bin/python":
        assert rest[0] == "-m"
        name = " ".join(rest[1:3]) if rest[1] == "local" else rest[1]
        check_options(name, rest)
    elif program.startswith("scripts/"):
        assert (ROOT / program).is_file()
        text = (ROOT / program).read_text()
        assert all(re.search(rf"\b{word.strip('-')}\b", text) for word in rest)
    else:
        assert program in OUTSIDE


def test_the_readmes_python_can_be_compiled() -> None:
    """The ways to read the bars are Python, and name the table where it lies, or the service."""
    examples = blocks(README, "python")
    assert len(examples) == 5
    for example in examples:
        compile(example, "README.md", "exec")
        assert "data/local/bars_1s" in example or "localhost:3000" in example


def test_the_settings_table_is_the_settings() -> None:
    """Name, default and meaning of each setting, in order."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (?:`(.+?)`)? ?\| (.+?) \|$", section("Settings"), re.MULTILINE)
    assert rows == [(name, default, meaning) for name, (default, meaning) in described().items()]


def test_operations_explain_every_metric() -> None:
    """`docs/operations.md` has a row for each metric of each program, in their order, and for no other."""
    operations = (ROOT / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `((?:producer|prices|serve)_[a-z_]+)` \|", operations, re.MULTILINE)
    assert rows == [*producer.MEANINGS, *prices.MEANINGS, *serve.MEANINGS]


@pytest.mark.parametrize(
    ("package", "shared", "title"),
    [("serve", (), "Running the query service"), ("prices", ("market/metrics.py",), "Running prices")],
)
def test_operations_explain_every_message_that_warns(package: str, shared: tuple[str, ...], title: str) -> None:
    """A row of its program's section has the words of each warning and each error; … stands for what differs."""
    operations = (ROOT / "docs" / "operations.md").read_text()
    own = re.split("^# ", operations.split(f"\n# {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    rows = [max(row.split("…"), key=len) for row in re.findall(r"^\| `([^`]+)` \|", own, re.MULTILINE)]
    files = [*sorted((ROOT / package).rglob("*.py")), *(ROOT / name for name in shared)]
    told = [message for file in files for message in warnings_in(file)]
    source = " ".join(file.read_text() for file in files)
    assert [row for row in rows if max(re.split("[:;(]", row), key=len).strip() not in source] == []
    assert len(told) > 5
    assert [message for message in told if not any(len(row) > 9 and row in message for row in rows)] == []


def warnings_in(file: Path) -> Iterator[str]:
    """What a source file logs as a warning or worse, as far as its words stand there."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in LOGGED:
            assert isinstance(node.args[0], ast.Constant), f"{file}, line {node.lineno}"
            if node.args[0].value != "%s":
                yield node.args[0].value


def test_env_example_is_the_settings() -> None:
    """`.env.example` has each setting with its meaning above it, at its default and commented out."""
    head, *entries = (ROOT / ".env.example").read_text().strip().split("\n\n")
    assert all(line.startswith("# ") for line in head.splitlines())
    expected = [f"# {meaning}\n#{name}={default}" for name, (default, meaning) in described().items()]
    assert entries == expected


def test_the_layout_names_every_folder() -> None:
    """Each folder at the top that is not made by the programs has its line, and each line its folder."""
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line.endswith("/")}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    named = set(re.findall(r"^\| `([a-z]+)/` \|", section("Layout"), re.MULTILINE))
    assert named - {"bench"} == folders - ignored - {"bench"}  # git keeps no empty folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    """Every relative link of every page resolves."""
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    """A path of ours in backquotes is there."""
    tracked = "market|producer|prices|serve|bars|jobs|simulator|local|conf|scripts|tests|docs"
    names = re.findall(rf"`(?:[.]/)?((?:{tracked})/[a-z0-9_./-]+)", page.read_text())
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_each_decision_has_its_four_parts() -> None:
    """Numbered without a gap; each names what was rejected and how it would show to be wrong."""
    paragraphs = re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |^## |\Z)", DECISIONS, re.MULTILINE | re.DOTALL)
    assert [int(number) for number, _ in paragraphs] == list(range(1, len(paragraphs) + 1))
    for number, text in paragraphs:
        assert text.startswith("**"), number
        assert "Rejected:" in " ".join(text.split()), number
        assert "Wrong if:" in " ".join(text.split()), number


def test_the_licence_and_the_changelog_are_of_this_version() -> None:
    """The licence's text is the one that pyproject.toml names, and the changes begin with its version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"]["text"] == "Apache-2.0"
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    versions = re.findall(r"^## ([0-9.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == project["version"]


def test_the_readmes_figures_are_measured() -> None:
    """The figures of the first screen are those of the result that stands beside them."""
    (name,) = re.findall(r"\[(bench/results/[^]]+)\]", README.partition("## ")[0])
    figures = json.loads((ROOT / name).read_text())["figures"]
    first_screen = " ".join(README.partition("## ")[0].split())
    assert (
        f"read {figures['first_bar_after_setup_s']} s after the command, "
        f"or {figures['first_bar_with_nothing_cached_s']} s with nothing installed "
        f"(set-up over the network takes {figures['setup_s']} s); "
        f"{figures['first_bar_later_starts_median_s']} s where `scripts/setup` has made its class archive. "
        f"The driver then takes {figures['driver_resident_mib_max']} MiB"
    ) in first_screen


def test_what_ten_minutes_without_a_broker_take_is_measured() -> None:
    """README and operations.md tell the memory and disk of the result that they name."""
    figures = json.loads((ROOT / "bench/results/2026-11-21/outage.json").read_text())["figures"]
    memory = f"took {figures['peak_memory_mib']} MiB"
    assert memory in " ".join(README.split())
    operations = " ".join((ROOT / "docs/operations.md").read_text().split())
    assert f"{memory} at most, and {figures['peak_spill_mib']} MiB of disk" in operations
    assert f"stays below {figures['memory_bound_mib']} MiB" in operations
    assert figures["failures"] == []
