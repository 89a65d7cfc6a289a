"""`scripts/chaos --job`: kill the bars job and its broker in every way, and hold its tables to the topic.

Each run starts a broker, a load and the job with all its queries, kills what the schedule of its seed says, starts the
job again at once, lets it process the rest, and then compares the tables with a plain reading of the topic: every bar
in all columns, every row of the archive and of the rejected trades, once each; and runs the audit. Exit code 0: all
runs were exact; 1: one was not, and its logs lie in the folder that is named; 2: wrong options.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chaos.job.run import Form, run
from chaos.job.schedule import KINDS
from chaos.options import Wanted, kinds_of, parser_of, whole
from chaos.run import Result

LONG = Form(seed=1, kills=104, rate=5000.0, trades=5_000_000)

COLUMNS = (
    ("seed", "seed"),
    ("trades", "trades"),
    ("copies", "copies"),
    ("rejected", "rejected"),
    ("bars", "bars"),
    ("bars_amended", "amended"),
    ("kills", "kills"),
    ("lost", "lost"),
    ("doubled", "doubled"),
    ("wrong", "wrong"),
    ("seconds", "s"),
    ("verdict", "verdict"),
)
NAME = "chaos-job"


def asked(words: Sequence[str]) -> Wanted:
    """What these options ask for. Ends the program with 2 where they are wrong."""
    options = _options(words)
    names = ("seed", "kills", "kinds", "rate", "trades")
    told = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    form = replace(LONG if options.all else Form(seed=1), audits=not options.no_audit, **told)
    return Wanted(form, run, options.runs, options.report or (NAME if options.all else None), COLUMNS, totals)


def totals(results: Sequence[Result]) -> dict[str, Any]:
    """The sums over all runs."""
    names = ("trades", "copies", "rejected", "bars", "bars_amended", "kills", "lost", "doubled", "wrong")
    passed = sum(not result.failures for result in results)
    sums = {name: sum(result.figures.get(name) or 0 for result in results) for name in names}
    return {"runs_passed": passed, "runs_failed": len(results) - passed, **sums}


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(__doc__)
    option = parser.add_argument
    option("--job", action="store_true", required=True, help="what is tested")
    option("--seed", type=whole(0), help="of the first run; the following ones have the next seeds (default: 1)")
    option("--runs", type=whole(1), default=1, help="how many (default: 1)")
    option("--kills", type=whole(1), help=f"how many (default: {Form.kills})")
    option("--kinds", type=kinds_of(tuple(KINDS)), help=f"some of {','.join(KINDS)} (default: all)")
    option("--rate", type=_rate, help=f"trades per second (default: {Form.rate:g})")
    option("--trades", type=whole(0), help=f"in all, at least (default: {Form.trades})")
    option("--no-audit", action="store_true", help="leave out jobs/reconcile.py --check")
    option(
        "--all",
        action="store_true",
        help=f"the long form: {LONG.kills} kills, {LONG.trades:,} trades at {LONG.rate:g}/s, and a report under "
        "bench/results/",
    )
    option("--report", nargs="?", const=NAME, metavar="NAME", help="write a report (default name: %(const)s)")
    return parser.parse_args(words)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 1 <= rate <= 100_000:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 100000")
    return rate
