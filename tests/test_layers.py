"""The architecture, held by the imports: who may know whom, and who may touch Spark's streams."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

from market.settings import ROOT

ALLOWED = {
    "market": set[str](),
    "producer": {"market"},
    "consumer": {"market"},
    "prices": {"market"},
    "serve": {"market"},
    "bars": {"market"},
    "simulator": {"market.settings"},
    "local": {"market"},
    "jobs": {"bars", "market"},
    "chaos": {"local", "market", "simulator"},
}
"""The arrows: each package's own modules, and these of the others. Parts meet in data, not in code."""

FOREIGN = {
    "market": {"dotenv", "prometheus_client"},
    "simulator": {"aiohttp", "numpy"},
    "local": set[str](),
    "consumer": {"kafka"},
    "prices": {"kafka", "redis"},
    "chaos": {"bench", "deltalake", "kafka", "pyarrow"},  # of bench, the form of a result
    "serve": {
        "deltalake",
        "fastapi",
        "msgspec",
        "numpy",
        "prometheus_client",
        "pyarrow",
        "redis",
        "starlette",
        "uvicorn",
    },
    "producer": {"aiohttp", "crc32c", "kafka", "msgspec", "rich", "websockets"},
}
"""Packages of others that these may import, beside the standard library: only `bars` and `jobs` know Spark."""

BEFORE_INSTALL = ("install", "jars", "java", "processes")
"""Modules of `local` that run before any package is installed."""


def modules(package: str) -> list[Path]:
    """The package's source files."""
    return sorted((ROOT / package).rglob("*.py"))


def imported(file: Path) -> set[str]:
    """The full names of the modules that a file imports; of `from a import b`, also a.b, for b may be a module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively, line {node.lineno}"
            modules = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {str(node.module)} if is_module(str(node.module)) or not has_module(modules) else modules
    return names


def is_module(name: str) -> bool:
    """Whether a name is a module file of ours."""
    return (ROOT / f"{name.replace('.', '/')}.py").is_file()


def has_module(names: set[str]) -> bool:
    """Whether one of the names is."""
    return any(is_module(name) for name in names)


def top(name: str) -> str:
    """The package of a module."""
    return name.partition(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_of_ours_follow_the_arrows(package: str) -> None:
    """A package imports itself and what its arrow points to, nothing else of ours."""
    for file in modules(package):
        ours = {name for name in imported(file) if top(name) in ALLOWED and top(name) != package}
        wrong = {name for name in ours if not {name, top(name)} & ALLOWED[package]}
        assert wrong == set(), file.relative_to(ROOT)


@pytest.mark.parametrize("package", ALLOWED)
def test_no_arrow_within_a_package_turns_back(package: str) -> None:
    """A package's modules, and the folders in it as a whole, have an order in which each knows earlier ones alone."""
    arrows = {
        (room(package, name_of(file)), room(package, name))
        for file in modules(package)
        for name in imported(file)
        if top(name) == package
    }
    known: dict[str, set[str]] = {}
    for one, other in arrows:
        if one != other:
            known.setdefault(one, set()).add(other)
    graphlib.TopologicalSorter(known).prepare()  # raises CycleError, which names the circle


def name_of(file: Path) -> str:
    """The full name of a module file of ours."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def room(package: str, name: str) -> str:
    """Of a module's full name, the folder in the package or the module that is in none."""
    return ".".join(name.split(".")[: package.count(".") + 2])


@pytest.mark.parametrize("package", FOREIGN)
def test_imports_of_others_are_the_few_that_are_meant(package: str) -> None:
    """The words need no Spark and no Kafka, the simulator no client of either, the local stack nothing at all."""
    for file in modules(package):
        others = {top(name) for name in imported(file)} - sys.stdlib_module_names - ALLOWED.keys()
        assert others <= FOREIGN[package], file.relative_to(ROOT)


@pytest.mark.parametrize("module", BEFORE_INSTALL)
def test_setup_needs_nothing_that_it_installs(module: str) -> None:
    """What runs before the packages are there imports the standard library and its own kind."""
    names = imported(ROOT / "local" / f"{module}.py")
    others = {name for name in names if top(name) not in sys.stdlib_module_names}
    assert others <= {f"local.{name}" for name in BEFORE_INSTALL}


def uses(pattern: str) -> set[str]:
    """The source files in which a pattern occurs."""
    files = [file for package in ALLOWED for file in modules(package)]
    return {str(file.relative_to(ROOT)) for file in files if re.search(pattern, file.read_text())}


def test_one_module_reads_streams_and_one_writes_them() -> None:
    """Everything between source and sink is a function of DataFrames, the same in batch and in a stream."""
    assert uses(r"\.readStream\b") == {"bars/source.py"}
    assert uses(r"""\.format\(["']kafka["']\)""") == {"bars/source.py"}
    assert uses(r"\.writeStream\b") == {"bars/sink.py"}


def test_no_python_of_ours_runs_on_executors() -> None:
    """No user-defined function of any kind: executors get built-in functions alone, and nothing has to be shipped."""
    assert uses(r"\b(udf|pandas_udf|mapInPandas|mapInArrow|applyInPandas|transformWithState|rdd)\b") == set()


def test_no_job_shadows_a_module() -> None:
    """spark-submit puts jobs/ first on the path: a file there named like another module would be imported instead."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = {re.split("[^A-Za-z0-9_-]", name)[0].replace("-", "_") for name in project["dependencies"]}
    imports = {top(name) for package in ALLOWED for file in modules(package) for name in imported(file)}
    taken = sys.stdlib_module_names | ALLOWED.keys() | packages | imports
    assert {file.stem for file in modules("jobs")} & taken == set()


def test_every_package_of_ours_has_its_arrows() -> None:
    """A new package has to say what it may import."""
    folders = {file.parent.name for file in ROOT.glob("*/*.py")} - {"tests", "bench"}
    assert folders == ALLOWED.keys()


def test_no_file_is_too_long_to_be_seen_at_once() -> None:
    """About 300 lines: a longer one holds two things."""
    files = [*(file for package in ALLOWED for file in modules(package)), *(ROOT / "tests").rglob("*.py")]
    assert [str(file) for file in files if len(file.read_text().splitlines()) > 300] == []
