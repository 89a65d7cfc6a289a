"""Appends to a Delta table without Spark: in milliseconds, where Spark's own writer takes a second and more.

For what is small enough to pass through the driver: finished bars, amended ones, conflicts. What comes by the million
(the archive) is written by Spark's tasks, see `bars/sink.py`.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake

from bars.locks import commit_lock, held


def append(rows: pa.Table, path: Path, *, app_id: str, version: int) -> bool:
    """Appends rows once for each transaction (app_id, version); whether it did.

    Nothing is appended where the table has that transaction already, or a later one of the same `app_id`. That is
    looked up while nobody else can commit, and delta-rs refuses a commit beside which the same `app_id` got in: so a
    writer that was thought to be dead does no harm.
    """
    with held(commit_lock(path)):
        table = DeltaTable(path)
        last = table.transaction_version(app_id)
        if last is not None and last >= version:
            return False
        schema = pa.schema(table.schema().to_arrow())
        write_deltalake(
            table,
            # As the table says: Spark calls a column that is never null so, and a file would say it too.
            rows.select(schema.names).cast(schema),
            mode="append",
            commit_properties=CommitProperties(app_transactions=[Transaction(app_id, version)]),
            # Old entries of the log go when bars/upkeep/passes.py says so, which knows who still reads them.
            post_commithook_properties=PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False),
        )
    return True
