"""`scripts/chaos --producer|--job`: harm on purpose to the producer or the bars job, and the proof that none was done.

Each has options of its own: scripts/chaos --producer --help, scripts/chaos --job --help.
"""

from __future__ import annotations

import shutil
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from chaos import command, report
from chaos.job import command as job_command
from chaos.options import Wanted, parser_of
from chaos.programs import ProgramError
from chaos.run import Result
from market.settings import ROOT

FOLDER = ROOT / "run" / "chaos"
COMMANDS = {"--producer": command.asked, "--job": job_command.asked}


def main() -> int:
    """The exit code: 0 all runs were exact, 1 one was not, 2 wrong options."""
    test = _asked(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the programs of the run end too
    results = []
    for number in range(test.runs):
        result = _one(test, replace(test.form, seed=test.form.seed + number))
        results.append(result)
        _say(report.table([result], test.columns) + "\n")
    if len(results) > 1:
        _say(report.table(results, test.columns))
    if test.report:
        sums = test.totals(results)
        _say(f"report: {report.write(test.report, test.form, results, columns=test.columns, sums=sums)}")
    return 1 if any(result.failures for result in results) else 0


def _asked(words: list[str]) -> Wanted:
    wanted = [option for option in COMMANDS if option in words]
    if len(wanted) == 1:
        return COMMANDS[wanted[0]](words)
    parser = parser_of(__doc__)
    one = parser.add_mutually_exclusive_group(required=True)
    for option in COMMANDS:
        one.add_argument(option, action="store_true")
    parser.parse_args(words)  # none of them, or both: this ends here
    raise AssertionError(words)


def _one(test: Wanted, form: Any) -> Result:
    """A run in a folder of its own, which stays when the run fails."""
    folder = FOLDER / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-seed-{form.seed}"
    folder.mkdir(parents=True)
    try:
        result = test.run(form, folder, _say)
    except ProgramError as error:
        result = Result(form.seed, [str(error)])
    if result.failures:
        (folder / "failures.txt").write_text(f"{form}\n\n" + "\n".join(result.failures) + "\n")
        _say(f"the logs of seed {form.seed}: {folder}")
    else:
        shutil.rmtree(folder)
    return result


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
