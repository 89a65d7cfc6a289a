"""`scripts/chaos --producer`: kill, cut and spoil whatever can be, and hold the topic to the simulator's ledger.

Each run starts a broker, a simulator and the producer, does to them what the schedule of its seed says, and then
compares the topic with what the exchanges have made: trade for trade, in all fields, in order. Exit code 0: all runs
were exact; 1: one was not, and its logs lie in the folder that is named; 2: wrong options.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from chaos import report
from chaos.options import Wanted, kinds_of, parser_of, whole
from chaos.run import Form, run
from chaos.schedule import KINDS, LEAD_S, REST_S

LONG = Form(seed=1, seconds=900.0, kills=50, restarts=10, faults=225, heal_s=180.0)
"""A fault each four seconds: with the kills, as many holes as the exchanges' request limits let one fill."""


def asked(words: Sequence[str]) -> Wanted:
    """What these options ask for. Ends the program with 2 where they are wrong."""
    options = _options(words)
    form = _form(options)
    return Wanted(form, run, options.runs, options.report, report.PRODUCER, report.totals)


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


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(__doc__)
    option = parser.add_argument
    option("--producer", action="store_true", required=True, help="what is tested")
    option("--seed", type=whole(0), help="of the first run; the following ones have the next seeds (default: 1)")
    option("--runs", type=whole(1), default=1, help="how many (default: 1)")
    option("--seconds", type=_seconds, help="until the faults end (default: 60)")
    option("--kills", type=whole(0), help="SIGKILLs of the producer (default: 5)")
    option("--restarts", type=whole(0), help="hard restarts of the broker (default: 3)")
    option("--faults", type=whole(0), help="faults of the exchanges (default: each kind once)")
    option("--kinds", type=kinds_of(KINDS, or_none=True), help=f"some of {','.join(KINDS)} (default: all)")
    option("--rate", type=float, help="trades per second of the exchanges, at least (default: 2000)")
    option("--hole-wait", help="the producer's HOLE_WAIT (default: 120s)")
    option("--batch-size", type=whole(1), help="the producer's BATCH_SIZE (default: 1)")
    option("--spill-after", help="the producer's SPILL_AFTER (default: 2s)")
    option("--resume-records", type=whole(1), help="the producer's RESUME_RECORDS (default: 200000)")
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
    options = parser.parse_args(words)
    if options.all and not options.report:
        options.report = "chaos-producer"
    return options


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not LEAD_S + REST_S < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not a number above {LEAD_S + REST_S:g} and up to 86400")
    return seconds
