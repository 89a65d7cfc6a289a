"""`python -m local up|down|status`: the local stack in the background."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time

from local import stack, state
from local.parts import NAMES, parts_of
from local.supervisor import AlreadyRunningError, supervise
from market.settings import SettingsError


def main() -> int:
    arguments = _parser().parse_args()
    try:
        return int({"up": _up, "down": _down, "status": _status, "supervise": _supervise}[arguments.command](arguments))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except (stack.StackError, AlreadyRunningError) as error:
        print(f"The local stack: {error}", file=sys.stderr)
        return 1


def _up(arguments: argparse.Namespace) -> int:
    launch = stack.launch(os.environ, say=_say, only=arguments.only)
    try:
        launch.wait()
    except KeyboardInterrupt:
        if launch.is_ours:
            stack.stop(say=_say)
        return 130
    if launch.is_ours:
        _say("The local stack is up. Its end: .venv/bin/python -m local down")
    return 0


def _down(_: argparse.Namespace) -> int:
    stack.stop(say=_say)
    return 0


def _status(_: argparse.Namespace) -> int:
    shown = state.read(stack.FOLDER)
    if shown is None:
        _say("The local stack is not running. Start it: .venv/bin/python -m local up")
        return 3
    _say(stack.table(shown, time.time()))
    if not shown.is_alive:
        _say(f"Its supervisor (pid {shown.supervisor.pid}) is dead: `local down` or the next start clears up.")
        return 3
    _say(f"Supervisor: pid {shown.supervisor.pid}, {shown.state}, started by {shown.started_by}.")
    return 0


def _supervise(arguments: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    parts = parts_of(stack.settings_of(os.environ), stack.FOLDER, arguments.only)
    return supervise(parts, folder=stack.FOLDER, started_by=arguments.started_by, environment=os.environ)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the stack and return when it is healthy")
    commands.add_parser("down", help="stop it, whoever started it")
    commands.add_parser("status", help="show its parts; exit code 0 when it runs, 3 when not")
    run = commands.add_parser("supervise", help="run it in the foreground (what `up` starts in the background)")
    for command in (up, run):
        command.add_argument(
            "--only", type=_names, default=NAMES, metavar="PART,…", help=f"some of {', '.join(NAMES)} (default: all)"
        )
    run.add_argument(
        "--started-by", default=stack.BY_HAND, choices=(stack.BY_HAND, stack.BY_SUBMIT), help=argparse.SUPPRESS
    )
    return parser


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names or not set(names) <= set(NAMES):
        raise argparse.ArgumentTypeError(f"{text!r} must be one or more of {', '.join(NAMES)}, separated by commas")
    return names


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
