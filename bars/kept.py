"""A frame that is asked for more than once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark import StorageLevel
from pyspark.sql import DataFrame


@contextmanager
def kept(frame: DataFrame, level: StorageLevel = StorageLevel.MEMORY_AND_DISK_DESER) -> Iterator[DataFrame]:
    """The frame, computed at most once while this lasts.

    It waits until its blocks are gone: a session that stops while Spark still removes some prints the stack trace of
    a RejectedExecutionException (`BlockManagerStorageEndpoint.doAsync`), of which nobody could tell that it is nothing.
    """
    frame.persist(level)
    try:
        yield frame
    finally:
        frame.unpersist(blocking=True)
