"""`python -m bars.upkeep`: one pass, by hand or by the job."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence

from deltalake.exceptions import DeltaError

from bars.locks import LockError
from bars.recovery.checkpoint import CheckpointError
from bars.recovery.identity import PairingError
from bars.upkeep import passes
from bars.upkeep.deltalog import LogError
from bars.upkeep.passes import OPTIONS, document_of, text, upkeep
from market import settings as market_settings
from market.settings import SettingsError


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bars.upkeep", description=(passes.__doc__ or "").split("\n\n")[0])
    described = market_settings.described()
    for name in OPTIONS:
        default, meaning = described[name.upper()]
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, metavar="VALUE", help=f"{meaning}; default {default or 'none'}")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON document, for machines")
    arguments = parser.parse_args(words)
    try:
        settings = market_settings.load(options={name: getattr(arguments, name) for name in OPTIONS})
        now_ms = time.time_ns() // 1_000_000
        did = upkeep(settings, now_ms=now_ms, dry_run=arguments.dry_run)
    except (SettingsError, PairingError, CheckpointError, LockError, LogError, DeltaError, OSError) as error:
        print(f"upkeep: {error}", file=sys.stderr)
        return 2
    document = json.dumps(document_of(did, now_ms) | {"dry_run": arguments.dry_run})
    print(document if arguments.json else text(did, dry_run=arguments.dry_run))
    return 0


if __name__ == "__main__":
    # It is in no hurry, and those it runs beside are; but not the last of all, since they wait while it commits.
    os.nice(10)
    sys.exit(main())
