"""What the run of the job says when a query fails."""

from __future__ import annotations

import pytest

from bars.run import brief

_PAGES = "\n=== Streaming Query ===\nLogical Plan:\n+- ~Project\n\nJVM stacktrace:\n\tat org.apache.spark"
_OURS = "[STREAM_FAILED] Traceback (most recent call last):\n  raise WriteError(head)\nbars.sink.WriteError: disk full"
_SPARKS = "[STREAM_FAILED] Query terminated: the offset of partition 0 was changed"


@pytest.mark.parametrize(("said", "expected"), [(_OURS, "disk full"), (_SPARKS, _SPARKS)])
def test_a_failed_query_says_why_and_no_pages(said: str, expected: str) -> None:
    """The cause alone, of our own writers or of Spark: neither plan nor stack trace."""
    assert brief(Exception(said + _PAGES)) == expected
