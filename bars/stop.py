"""How a job ends: asked to, by a signal; or with the JVM that has started it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from pathlib import Path

_PR_SET_PDEATHSIG = 1


class Stop:
    """Whether the program was asked to stop, by SIGTERM or Ctrl-C."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def listen(self) -> Stop:
        """Takes over the signals, and tells spark-submit.sh (BARS_PID_FILE) which process to send them to.

        Under spark-submit.sh the process is the child of its JVM, and on Linux the kernel ends it with the JVM: what
        the JVM's lock protects, it does not touch any more then.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._event.set())
        if file := os.environ.get("BARS_PID_FILE"):
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
            Path(file).write_text(str(os.getpid()))
        return self

    def asked(self) -> bool:
        """Whether it was."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits that long, or until it is."""
        return self._event.wait(seconds)
