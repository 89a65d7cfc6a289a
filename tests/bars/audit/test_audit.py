"""The options of the audit, and what its program prints and returns."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from bars.audit import program as audit
from tests.bars.audit.audited import SOME, START_MS, WATERMARK_MS, Scene


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    audit.add_options(parser)
    return parser.parse_args(words)


def test_times() -> None:
    """ISO 8601 with a zone or in UTC, a day, or ms since the epoch; whole seconds."""
    texts = ("2025-11-01", "2025-11-01T12:26:40", "2025-11-01T13:26:40+01:00", "2025-11-01T12:26:40Z", "1762000000000")
    midnight = START_MS - (12 * 60 + 26) * 60_000 - 40_000
    assert [audit.moment(text) for text in texts] == [midnight, *[START_MS] * 4]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ("--from", "yesterday"),
            "argument --from: 'yesterday' is not a time of whole seconds, such as 2025-11-01, 2025-11-01T12:00:00 "
            "(UTC), 2025-11-01T12:00:00+01:00 or 1761998400000 (ms since the epoch)",
        ),
        (
            ("--from", "20251101120000"),
            "argument --from: '20251101120000' is not a time of whole seconds, such as 2025-11-01, 2025-11-01T12:00:00 "
            "(UTC), 2025-11-01T12:00:00+01:00 or 1761998400000 (ms since the epoch)",
        ),
        (
            ("--to", "1762000000001"),
            "argument --to: '1762000000001' is not a time of whole seconds, such as 2025-11-01, 2025-11-01T12:00:00 "
            "(UTC), 2025-11-01T12:00:00+01:00 or 1761998400000 (ms since the epoch)",
        ),
        (("--sample", "-1"), "argument --sample: '-1' is not a whole number from 0 to 999999999"),
        (("--symbol", "B"), "argument --symbol: 'B' is not a symbol, such as BTCUSDT or BTC-USD"),
        (("--interval", "1M"), "argument --interval: '1M' is not an interval, such as 1s, 1m, 1h or 1d"),
    ],
)
def test_wrong_options_are_told(words: tuple[str, ...], problem: str) -> None:
    """With what was given and what is expected."""
    with pytest.raises(argparse.ArgumentError) as caught:
        parsed(*words)
    assert str(caught.value) == problem


@pytest.mark.spark
@pytest.mark.long
def test_the_program(
    spark: SparkSession, kafka: str, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 where it cannot judge, 1 on a difference, 0 when all is right; --json is one document; klines likewise."""
    scene = Scene(spark, kafka, topic, tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = audit.audit(spark, scene.settings, parsed(*words))
        return code, *capsys.readouterr()

    assert run("--from", "2025-11-02", "--to", "2025-11-01") == (
        2,
        "",
        "reconcile: --from is not before --to: there is no second to judge\n",
    )
    code, _, said = run("--check")
    assert (code, said.startswith("reconcile: no batch of the bars query is finished in ")) == (2, True)

    scene.publish(*SOME)
    scene.write(SOME[:-1])
    scene.finish(WATERMARK_MS)
    code, said, _ = run("--json")
    found = json.loads(said)
    assert (code, found["holds"], found["total"]["amended_now"]) == (0, True, 1)
    code, said, _ = run("--check", "--sample", "2", "--seed", "1")
    assert (code, said.splitlines()[-1]) == (0, "the table equals the trades")

    # The seconds 0 to 7, of two trades each; the file tells the fifth wrongly.
    rows = []
    for second in range(8):
        prices = [float(trade.price) for trade in SOME[2 * second : 2 * second + 2]]
        start = START_MS + second * 1_000
        volume = 3 if second == 4 else 2
        cells = (
            start,
            prices[0],
            max(prices),
            min(prices),
            prices[1],
            volume,
            start + 999,
            sum(prices),
            2,
            1,
            prices[1],
            0,
        )
        rows.append(",".join(map(str, cells)))
    file = tmp_path / "BTCUSDT-1s-2025-11-01.csv"
    file.write_text("\n".join(rows))
    code, said, _ = run("--klines", str(file))
    assert code == 1
    assert said.splitlines()[-2:] == [
        "  different: 2025-11-01 12:26:44: volume 2, theirs 3",
        "THE BARS DO NOT EQUAL THE KLINES",
    ]
    file.write_text("\n".join(rows).replace(",3,", ",2,"))
    code, said, _ = run("--klines", str(file), "--klines", str(file), "--json")
    assert (code, [proof["equal"] for proof in json.loads(said)["klines"]]) == (0, [8, 8])
    assert run("--klines", str(tmp_path / "klines.csv")) == (
        2,
        "",
        f"reconcile: {tmp_path}/klines.csv does not tell by its name of which symbol its klines are. "
        "Say it with --symbol\n",
    )
