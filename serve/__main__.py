"""`python -m serve`: wiring only."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys

from market.settings import SettingsError, load
from serve.access import problem_of
from serve.server import Server, address_of, config_of, listen

log = logging.getLogger("serve")

SWITCH_S = 0.001
"""How long a thread that reads the past keeps the interpreter while the present waits to be answered."""


def main() -> int:
    """Exit code: 0 stopped, 1 it could not start, 2 wrong settings or arguments."""
    arguments = _arguments()
    try:
        settings = load(options={"serve_host": arguments.host, "serve_port": arguments.port})
        if problem := problem_of(settings):
            raise SettingsError(problem)
        server = Server(config_of(settings))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    sys.setswitchinterval(SWITCH_S)
    address = address_of(settings)
    try:
        listening = listen(settings)
    except OSError as error:
        print(f"{address} cannot be listened at: {_reason(error)}. SERVE_PORT names another port", file=sys.stderr)
        return 1
    with listening:
        log.info("serving at %s", address)
        server.run(sockets=[listening])
    return 0 if server.started else 1


def _reason(error: OSError) -> str:
    """The system's own words: some versions of Python add to them."""
    if error.errno is None or isinstance(error, socket.gaierror):  # whose numbers are not errno's
        return str(error.strerror or error)
    return os.strerror(error.errno)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m serve",
        description="Serves latest prices and bars over HTTP: our own routes, Binance's REST and streams, and a page. "
        "Settings come from the environment and .env: REDIS_URL, OUTPUT_DIR, SERVE_API_KEY and others (.env.example).",
    )
    parser.add_argument("--host", help="address to listen at; default: SERVE_HOST")
    parser.add_argument("--port", help="port to listen at; default: SERVE_PORT")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
