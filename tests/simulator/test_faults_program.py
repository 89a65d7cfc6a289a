from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from simulator.faults import KINDS, SOCKET_KINDS
from tests.simulator.test_program import free_port, program, started


def shown(*options: str) -> Any:
    """What GET /faults answers of a program with these options."""
    port = free_port()
    with program("--port", str(port), *options) as process:
        started(process)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/faults", timeout=10) as response:
            return json.load(response)


def refused(*options: str) -> tuple[int, str]:
    """Exit code and last line of a program that does not start."""
    with program(*options) as process:
        _, errors = process.communicate(timeout=20)
    return process.returncode, errors.splitlines()[-1]


def test_a_script_is_read_from_a_file(tmp_path: Path) -> None:
    """A list and lines alike; times count from the start."""
    faults = [{"kind": "cut", "at_s": 900}, {"kind": "rest_451", "venue": "coinbase", "at_s": 950}]
    expected = [{**fault, "number": number, "state": "coming", "struck": 0} for number, fault in enumerate(faults, 1)]
    for text in (json.dumps(faults), "\n".join(map(json.dumps, faults))):
        (tmp_path / "faults").write_text(text)
        assert shown("--faults", str(tmp_path / "faults")) == expected


def test_chaos_is_the_same_in_each_run() -> None:
    """One seed, one schedule; other kinds, another one."""
    first = shown("--chaos", "7", "--chaos-kinds", "swap")
    assert first == shown("--chaos", "7", "--chaos-kinds", "swap")
    assert first[-1]["kind"] == "swap"
    assert first != shown("--chaos", "7")


def test_a_wrong_script_ends_the_program(tmp_path: Path) -> None:
    """Exit code 2 and one message: the file, the fault, what was seen, what is allowed."""
    file = tmp_path / "faults"
    assert refused("--faults", str(file)) == (2, f"simulator: {file}: No such file or directory")
    file.write_text('{"kind":"cut"}\n{"kind":"cutt"}\n')
    assert refused("--faults", str(file)) == (
        2,
        f'simulator: {file}: fault 2: kind is "cutt"; allowed: {", ".join(KINDS)}',
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--chaos", "x"), "argument --chaos: invalid int value: 'x'"),
        (("--chaos-kinds", "cut"), "argument --chaos-kinds: needs --chaos SEED"),
        (
            ("--chaos", "1", "--chaos-kinds", "cut,prune"),
            f'argument --chaos-kinds: "prune" is no kind of chaos; allowed: {", ".join(SOCKET_KINDS)}',
        ),
    ],
)
def test_wrong_chaos_ends_the_program(options: tuple[str, ...], message: str) -> None:
    """Exit code 2 and what is wrong."""
    assert refused(*options) == (2, f"python -m simulator: error: {message}")
