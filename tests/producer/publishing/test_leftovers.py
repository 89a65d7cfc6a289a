"""What a run of the producer leaves on disk, however it ended, and what the next one makes of it."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.publishing import segments
from producer.publishing.record import MAGIC, packed
from producer.publishing.spill import Spill, SpillError
from tests.producer.publishing.spilled import LIMIT, left, numbers, record


def test_what_a_run_leaves_the_next_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File by file, in order, each until it is forgotten; it counts for the limit, and new records lie behind it."""
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 100)

    async def scenario() -> None:
        first = Spill(tmp_path, "topic", limit_bytes=LIMIT)
        for number in range(6):
            first.append(record(number))
            if number % 2:
                await first.sync()
        first.close()
        second = Spill(tmp_path, "topic", limit_bytes=200)
        assert second.full
        assert second.trades == 0
        leftovers = second.leftovers()
        found = next(leftovers)
        assert numbers(list(found.records)) == [0, 1, 2, 3]
        second.append(record(6))
        await second.sync()
        second.forget(found.mark)
        assert not second.full
        assert [numbers(list(one.records)) for one in leftovers] == [[4, 5]]
        second.close()
        assert left(tmp_path) == [4, 5, 6]

    asyncio.run(scenario())


def test_each_producer_has_a_slot_and_a_lone_one_finds_what_all_have_left(tmp_path: Path) -> None:
    """Two at once do not share a folder; when both have ended, the next one reads both."""

    async def scenario() -> None:
        first, second = (Spill(tmp_path, "topic", limit_bytes=LIMIT) for _ in range(2))
        assert [target.folder.name for target in (first, second)] == ["1", "2"]
        first.append(record(1))
        second.append(record(2))
        for target in (first, second):
            await target.sync()
        second.close()
        third = Spill(tmp_path, "topic", limit_bytes=LIMIT)
        assert third.folder.name == "2"
        assert [numbers(list(one.records)) for one in third.leftovers()] == [[2]]
        third.close()
        first.close()
        assert left(tmp_path) == [1, 2]

    asyncio.run(scenario())


@given(cut=st.integers(0, 400))
def test_a_file_cut_anywhere_is_found_up_to_there(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """As SIGKILL or a power failure leaves it: a prefix of the records, told if half a one was there."""
    folder = tmp_path_factory.mktemp("spill")
    (folder / "topic/1").mkdir(parents=True)
    content = MAGIC + b"".join(packed(record(number)) for number in range(10))
    (folder / "topic/1/00000001.records").write_bytes(content[:cut])
    found = left(folder)
    assert found == list(range(len(found)))
    whole = {len(MAGIC + b"".join(packed(record(number)) for number in range(count))): count for count in range(11)}
    assert len(found) == max(count for length, count in whole.items() if length <= max(cut, len(MAGIC)))
    if cut:
        assert left(folder) == found  # mended once, it is whole


def test_a_torn_file_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the number of bytes that are cut off."""
    path = tmp_path / "topic/1/00000001.records"
    path.parent.mkdir(parents=True)
    path.write_bytes(MAGIC + packed(record(1)) + packed(record(2))[:5])
    target = Spill(tmp_path, "topic", limit_bytes=LIMIT)
    assert [numbers(list(one.records)) for one in target.leftovers()] == [[1]]
    assert (target.torn, target.damaged) == (1, 0)
    assert caplog.messages == [f"{path} ends in a record that was not written to its end: 5 bytes cut off"]
    target.close()


def test_a_damaged_file_keeps_what_is_good_and_sets_the_rest_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is deleted, the other files are read, and it is told once."""
    folder = tmp_path / "topic/1"
    folder.mkdir(parents=True)
    good, bad = packed(record(1)), bytearray(packed(record(2)))
    bad[-1] ^= 1
    (folder / "00000001.records").write_bytes(MAGIC + good + bad + packed(record(3)))
    (folder / "00000002.records").write_bytes(MAGIC + packed(record(4)))
    target = Spill(tmp_path, "topic", limit_bytes=LIMIT)
    assert [numbers(list(one.records)) for one in target.leftovers()] == [[1], [4]]
    assert (target.torn, target.damaged) == (0, 1)
    assert (folder / "00000001.damaged").read_bytes() == bytes(bad) + packed(record(3))
    assert caplog.messages == [
        f"{folder}/00000001.records is damaged behind its first 1 records: {len(bad) + len(good)} bytes set aside as "
        "00000001.damaged; their trades have to be had from the exchange again"
    ]
    target.close()
    assert left(tmp_path) == [1, 4]
    assert len(caplog.messages) == 1


def test_a_leftover_that_cannot_be_removed_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, counts on for the limit, and is found again."""
    path = tmp_path / "topic/1/00000001.records"
    path.parent.mkdir(parents=True)
    path.write_bytes(MAGIC + packed(record(1)))
    target = Spill(tmp_path, "topic", limit_bytes=LIMIT)

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        for leftover in target.leftovers():
            target.forget(leftover.mark)
    assert caplog.messages == [
        f"{path} cannot be removed ([Errno 30] Read-only file system): the next start publishes it again, which "
        "readers drop"
    ]
    assert target.size == path.stat().st_size
    target.close()
    assert left(tmp_path) == [1]


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """With the reason and the two ways out."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpillError) as caught:
        Spill(tmp_path / "file", "topic", limit_bytes=LIMIT)
    assert str(caught.value) == (
        f"SPILL_DIR={tmp_path}/file cannot be used ([Errno 20] Not a directory: '{tmp_path}/file/topic'); name a "
        "folder that can be written, or set SPILL_LIMIT_MB=0, with which nothing is kept on disk"
    )
