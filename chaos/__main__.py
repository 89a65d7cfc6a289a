"""`scripts/chaos --producer`: kill, cut and spoil whatever can be, and hold the topic to the simulator's ledger.

Each run starts a broker, a simulator and the producer, does to them what the schedule of its seed says, and then
compares the topic with what the exchanges have made: trade for trade, in all fields, in order. Exit code 0: all runs
were exact; 1: one was not, and its logs lie in the folder that is named; 2: wrong options.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from chaos import report
from chaos.programs import ProgramError
from chaos.run import Form, Result, run
from chaos.schedule import KINDS, LEAD_S, REST_S
from market.settings import ROOT

FOLDER = ROOT / "run" / "chaos"
LONG = Form(seed=1, seconds=900.0, kills=50, restarts=10, faults=225, heal_s=180.0)
"""A fault each four seconds: with the kills, as many holes as the exchanges' request limits let one fill."""


def main() -> int:
    """The exit code."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the programs of the run end too
    form = _form(options)
    results = []
    for number in range(options.runs):
        result = _one(replace(form, seed=form.seed + number))
        results.append(result)
        _say(report.table([result]) + "\n")
    if len(results) > 1:
        _say(report.table(results))
    if options.report:
        _say(f"report: {report.write(options.report, form, results)}")
    return 1 if any(result.failures for result in results) else 0


def _one(form: Form) -> Result:
    """A run in a folder of its own, which stays when the run fails."""
    folder = FOLDER / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-seed-{form.seed}"
    folder.mkdir(parents=True)
    try:
        result = run(form, folder, _say)
    except ProgramError as error:
        result = Result(form.seed, [str(error)])
    if result.failures:
        (folder / "failures.txt").write_text(f"{form}\n\n" + "\n".join(result.failures) + "\n")
        _say(f"the logs of seed {form.seed}: {folder}")
    else:
        shutil.rmtree(folder)
    return result


def _form(options: argparse.Namespace) -> Form:
    form = LONG if options.all else Form(seed=1)
    given = {
        "seed": options.seed,
        "seconds": options.seconds,
        "kills": options.kills,
        "restarts": options.restarts,
        "rate": options.rate,
        "hole_wait": options.hole_wait,
        "batch_size": options.batch_size,
        "spill_after": options.spill_after,
        "resume_records": options.resume_records,
        "faults": options.faults,
        "kinds": options.kinds,
        "heal_s": options.heal,
    }
    return replace(form, **{name: value for name, value in given.items() if value is not None})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("--producer", action="store_true", required=True, help="what is tested")
    option("--seed", type=_whole(0), help="of the first run; the following ones have the next seeds (default: 1)")
    option("--runs", type=_whole(1), default=1, help="how many (default: 1)")
    option("--seconds", type=_seconds, help="until the faults end (default: 60)")
    option("--kills", type=_whole(0), help="SIGKILLs of the producer (default: 5)")
    option("--restarts", type=_whole(0), help="hard restarts of the broker (default: 3)")
    option("--faults", type=_whole(0), help="faults of the exchanges (default: each kind once)")
    option("--kinds", type=_kinds, help=f"some of {','.join(KINDS)} (default: all)")
    option("--rate", type=float, help="trades per second of the exchanges, at least (default: 2000)")
    option("--hole-wait", help="the producer's HOLE_WAIT (default: 120s)")
    option("--batch-size", type=_whole(1), help="the producer's BATCH_SIZE (default: 1)")
    option("--spill-after", help="the producer's SPILL_AFTER (default: 2s)")
    option("--resume-records", type=_whole(1), help="the producer's RESUME_RECORDS (default: 200000)")
    option("--heal", type=float, metavar="S", help="seconds for the topic to catch up afterwards (default: 150)")
    option(
        "--all",
        action="store_true",
        help=f"the long form: {LONG.seconds:g} s, {LONG.kills} kills, {LONG.restarts} restarts, {LONG.faults} faults, "
        "and a report under bench/results/",
    )
    option(
        "--report", nargs="?", const="chaos-producer", metavar="NAME", help="write a report (default name: %(const)s)"
    )
    options = parser.parse_args()
    if options.all and not options.report:
        options.report = "chaos-producer"
    return options


def _whole(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least} on")
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not LEAD_S + REST_S < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not a number above {LEAD_S + REST_S:g} and up to 86400")
    return seconds


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(name for name in text.split(",") if name)
    if not set(kinds) <= set(KINDS):
        raise argparse.ArgumentTypeError(f"{text} must be some of {', '.join(KINDS)}, separated by commas")
    return kinds


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
