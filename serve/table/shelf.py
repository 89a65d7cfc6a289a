"""A shelf of tables that were read or made, for whoever asks next: bounded in bytes, the longest unused goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import pyarrow as pa

K = TypeVar("K", bound=Hashable)

SIZE = 128 * 2**20


class Shelf(Generic[K]):
    """Tables by their key."""

    def __init__(self, size: int = SIZE) -> None:
        self._room = size
        self._tables: OrderedDict[K, pa.Table] = OrderedDict()
        self.size = 0
        """Bytes on the shelf."""

    def get(self, key: K) -> pa.Table | None:
        """The table of this key, if it is here."""
        table = self._tables.get(key)
        if table is not None:
            self._tables.move_to_end(key)
        return table

    def put(self, key: K, table: pa.Table) -> None:
        """Keeps a table. One that is larger than half the shelf is not kept: it would empty it."""
        self.forget(lambda other: other == key)
        if table.nbytes <= self._room // 2:
            self._tables[key] = table
            self.size += table.nbytes
        while self.size > self._room:
            _, oldest = self._tables.popitem(last=False)
            self.size -= oldest.nbytes

    def forget(self, which: Callable[[K], bool]) -> None:
        """Takes away the tables whose keys are so."""
        for key in [key for key in self._tables if which(key)]:
            self.size -= self._tables.pop(key).nbytes

    def clear(self) -> None:
        """Takes everything away."""
        self._tables.clear()
        self.size = 0
