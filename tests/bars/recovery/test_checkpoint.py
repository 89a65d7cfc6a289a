"""Checkpoints as Spark writes them, and what is said of each file of one that is missing or damaged."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest

from bars.recovery.checkpoint import CheckpointError, check, last_committed, last_planned, query_id, reads_from

STORES = 2
CONF = {
    "spark.sql.shuffle.partitions": str(STORES),
    "spark.sql.streaming.stateStore.providerClass": "org.apache.spark….HDFSBackedStateStoreProvider",
}
RESTORE = (
    "Restore the checkpoint's folder from where it was kept, or start over with --rebuild, which says what it costs"
)


def put(file: Path, content: bytes) -> None:
    """A file as Hadoop's local file system leaves it: with the CRC-32 of each 512 bytes beside it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    sums = [zlib.crc32(content[start : start + 512]) for start in range(0, len(content), 512)]
    file.with_name(f".{file.name}.crc").write_bytes(b"crc\0" + struct.pack(f">i{len(sums)}I", 512, *sums))


def plan(checkpoint: Path, batch: int) -> None:
    planned = {"batchWatermarkMs": 1_000 * batch, "batchTimestampMs": 2_000, "conf": CONF}
    offsets = {"trades": {"0": 7 * (batch + 1), "1": 0}}
    put(checkpoint / f"offsets/{batch}", f"v1\n{json.dumps(planned)}\n{json.dumps(offsets)}".encode())


def finish(checkpoint: Path, batch: int) -> None:
    for store in range(STORES):
        put(checkpoint / f"state/0/{store}/{batch + 1}.delta", b"changes" * 100)
    put(checkpoint / f"commits/{batch}", b'v1\n{"nextBatchWatermarkMs":1000}')


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint after three batches."""
    put(tmp_path / "metadata", b'{"id":"a-query"}')
    put(tmp_path / "sources/0/0", b'\0v1\n{"trades":{"0":3,"1":0}}')
    for batch in range(3):
        plan(tmp_path, batch)
        finish(tmp_path, batch)
    return tmp_path


def refusal(checkpoint: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        check(checkpoint)
    return str(caught.value)


def damaged(file: Path, why: str, way_out: str = RESTORE) -> str:
    return (
        f"{file} cannot be read as Spark writes it ({why}). The end of a process does not do this; a power cut, a "
        f"full disk or a hand may. {way_out}"
    )


def test_a_checkpoint_is_read_as_spark_writes_it(checkpoint: Path) -> None:
    """The newest batch is known with its watermark and offsets."""
    check(checkpoint)
    batch = last_committed(checkpoint)
    assert batch is not None
    assert (batch.id, batch.watermark_ms, batch.offsets) == (2, 2_000, {"trades": {0: 21, 1: 0}})
    assert query_id(checkpoint) == "a-query"


def test_a_new_checkpoint_is_whole(tmp_path: Path) -> None:
    """Where nothing was ever planned, nothing is missing and nothing was read."""
    check(tmp_path)
    assert (last_planned(tmp_path), last_committed(tmp_path), reads_from(tmp_path)) == (None, None, {})


def test_a_finished_batch_is_followed_by_the_next(checkpoint: Path) -> None:
    """After a finished batch, reading goes on at its end."""
    assert reads_from(checkpoint) == {"trades": {0: 21, 1: 0}}


def test_a_batch_cut_off_is_read_again(checkpoint: Path) -> None:
    """A batch that was planned and not finished begins where the one before has ended, and is no damage."""
    plan(checkpoint, 3)
    check(checkpoint)
    assert reads_from(checkpoint) == {"trades": {0: 21, 1: 0}}


def test_the_first_batch_cut_off_is_read_again_from_its_beginning(tmp_path: Path) -> None:
    """Before the first finished batch, reading begins where the source has begun."""
    put(tmp_path / "metadata", b'{"id":"a-query"}')
    plan(tmp_path, 0)
    assert reads_from(tmp_path) == {}
    put(tmp_path / "sources/0/0", b'\0v1\n{"trades":{"0":3,"1":0}}')
    check(tmp_path)
    assert reads_from(tmp_path) == {"trades": {0: 3, 1: 0}}


@pytest.mark.parametrize("content", [b"", b"v1\n", b'v1\n{"batch', b"\0\0\0", b"v1\n[]\n{}", b"v1\n{}\n{}", b"\xff"])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_torn_offset_file(checkpoint: Path, batch: int, content: bytes) -> None:
    """An offset file that is cut off, empty or overwritten is named: of the newest batch, and of the one before."""
    file = checkpoint / f"offsets/{batch}"
    put(file, content)
    assert refusal(checkpoint).startswith(f"{file} cannot be read as Spark writes it (")
    assert refusal(checkpoint).endswith(RESTORE)


def test_a_changed_byte(checkpoint: Path) -> None:
    """A file that still has the right form is held to the checksum beside it."""
    file = checkpoint / "offsets/2"
    file.write_bytes(file.read_bytes().replace(b"21", b"12"))
    assert refusal(checkpoint) == damaged(file, "ValueError: its checksum is another")


@pytest.mark.parametrize("sums", [None, b"", b"crc"])
def test_without_checksums_the_form_alone_counts(checkpoint: Path, sums: bytes | None) -> None:
    """Where a copy has left the checksums behind, Hadoop does not ask for them, and neither do we."""
    for kept in checkpoint.rglob(".*.crc"):
        if sums is None:
            kept.unlink()
        else:
            kept.write_bytes(sums)
    check(checkpoint)


def test_an_offset_file_is_gone(checkpoint: Path) -> None:
    """Spark would plan another batch 2, and Delta would skip it: the file is asked for."""
    file = checkpoint / "offsets/2"
    file.unlink()
    assert refusal(checkpoint) == damaged(file, f"FileNotFoundError: [Errno 2] No such file or directory: '{file}'")


def test_all_offset_files_are_gone(checkpoint: Path) -> None:
    """Finished batches without any plan are no new checkpoint."""
    for file in (checkpoint / "offsets").glob("*"):
        file.unlink()
    assert refusal(checkpoint).startswith(f"{checkpoint}/offsets/2 cannot be read as Spark writes it (FileNotFound")


@pytest.mark.parametrize("content", [b"", b"v1\n", b"v1\n{", b"v1"])
def test_a_torn_commit_file(checkpoint: Path, content: bytes) -> None:
    """The mark of the newest finished batch may be taken away: the batch is then run again, without a trace."""
    file = checkpoint / "commits/2"
    put(file, content)
    assert refusal(checkpoint).endswith(
        f"Remove {file} and {file.parent}/.2.crc: batch 2 is then run again, and what it has written already is skipped"
    )
    file.unlink()
    file.with_name(".2.crc").unlink()
    check(checkpoint)


@pytest.mark.parametrize("content", [None, b"", b"{", b"{}"])
def test_metadata_that_is_missing_or_torn(checkpoint: Path, content: bytes | None) -> None:
    """Without the query's id, what the tables hold of it would not be known any more."""
    file = checkpoint / "metadata"
    if content is None:
        file.unlink()
    else:
        put(file, content)
    assert refusal(checkpoint).startswith(f"{file} cannot be read as Spark writes it (")


@pytest.mark.parametrize("store", range(STORES))
def test_the_newest_state_is_torn(checkpoint: Path, store: int) -> None:
    """What the newest batch has changed is made again by running it again."""
    file = checkpoint / f"state/0/{store}/3.delta"
    file.write_bytes(file.read_bytes()[:-1])
    commit = checkpoint / "commits/2"
    assert refusal(checkpoint) == damaged(
        file,
        "ValueError: its checksum is another",
        f"Remove {commit} and {commit.parent}/.2.crc: batch 2 is then run again, and what it has written already is "
        "skipped",
    )
    commit.unlink()
    check(checkpoint)


@pytest.mark.parametrize("version", [1, 2])
def test_older_state_is_missing(checkpoint: Path, version: int) -> None:
    """State is made of all changes since a snapshot: each is asked for."""
    file = checkpoint / f"state/0/1/{version}.delta"
    file.unlink()
    assert refusal(checkpoint).endswith(f"No such file or directory: '{file}'). The end of a process does not do this; "
                                        f"a power cut, a full disk or a hand may. {RESTORE}")  # fmt: skip


def test_a_snapshot_stands_for_all_before_it(checkpoint: Path) -> None:
    """Changes before a snapshot may be gone; a snapshot that is damaged is named."""
    for store in range(STORES):
        put(checkpoint / f"state/0/{store}/2.snapshot", b"all")
        for version in (1, 2):
            (checkpoint / f"state/0/{store}/{version}.delta").unlink()
    check(checkpoint)
    file = checkpoint / "state/0/0/2.snapshot"
    file.write_bytes(b"")
    assert refusal(checkpoint) == damaged(file, "ValueError: it is empty")


def test_all_state_is_gone(checkpoint: Path) -> None:
    """A query with a watermark has state."""
    (checkpoint / "state").rename(checkpoint / "elsewhere")
    assert refusal(checkpoint) == damaged(checkpoint / "state", "ValueError: it is gone")
