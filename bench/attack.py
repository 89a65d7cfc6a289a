"""Questions to a service that runs: one, or as many a second as are wanted (vegeta), each at its time."""

from __future__ import annotations

import csv
import http.client
import io
import subprocess
from typing import NamedTuple


def attack(port: int, paths: list[str], seconds: int, reads: int) -> list[float]:
    """Asks for the paths in turn; what each answer took, in ms, from its request's time until all of it was there."""
    targets = "".join(f"GET http://127.0.0.1:{port}{path}\n" for path in paths)
    command = ["vegeta", "attack", "-rate", f"{reads}/s", "-duration", f"{seconds}s", "-max-body", "0"]
    answers = subprocess.run(command, input=targets.encode(), stdout=subprocess.PIPE, check=True).stdout
    rows = subprocess.run(["vegeta", "encode", "-to", "csv"], input=answers, stdout=subprocess.PIPE, check=True).stdout
    found = [Answer.of(row) for row in csv.reader(io.StringIO(rows.decode()))]
    bad = sorted({f"{one.status} {one.error}".strip() for one in found if one.status != 200})
    if bad:
        raise SystemExit(f"{sum(one.status != 200 for one in found)} of {len(found)} answers were bad: {bad[:5]}")
    if len(found) < 0.99 * reads * seconds:
        raise SystemExit(f"{len(found)} requests were sent in {seconds} s, and not {reads * seconds}")
    began_ns = min(one.sent_ns - one.number * 1_000_000_000 // reads for one in found)
    return [(one.sent_ns + one.took_ns - began_ns) / 1e6 - one.number * 1_000 / reads for one in found]


class Answer(NamedTuple):
    """One line of `vegeta encode -to csv`: https://github.com/tsenart/vegeta#encode-command"""

    sent_ns: int
    status: int
    took_ns: int
    error: str
    number: int

    @classmethod
    def of(cls, row: list[str]) -> Answer:
        sent_ns, status, took_ns, _, _, error, _, _, number = row[:9]
        return cls(int(sent_ns), int(status), int(took_ns), error, int(number))


def status(port: int, path: str) -> int:
    try:
        return ask(port, path)[0]
    except OSError:
        return 0


def body(port: int, path: str) -> bytes:
    return ask(port, path)[1]


def ask(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
