"""The spill: what is put on disk comes back, in order, and goes when it is safe."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.publishing import segments, spill
from producer.publishing.record import MAGIC, packed
from producer.publishing.spill import Spill
from tests.producer.doubles import until
from tests.producer.publishing.spilled import LIMIT, everything, left, numbers, record


def test_records_are_read_in_order_and_go_when_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several files, written while reading; each file goes when its last record is acknowledged."""
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1_000)

    async def scenario() -> None:
        target = Spill(tmp_path, "topic", limit_bytes=LIMIT)
        for number in range(100):
            target.append(record(number))
            if number % 20 == 19:
                await target.sync()
        assert (target.records, target.trades, target.durable_trades) == (100, 100, 100)
        files = sorted(target.folder.glob("*.records"))
        assert len(files) > 2
        assert target.size == sum(path.stat().st_size for path in files)
        found = await everything(target)
        target.append(record(100))
        target.append(record(101))
        await target.sync()
        found += await everything(target)
        assert numbers(found) == list(range(102))
        assert target.rest() == []
        for _ in range(50):
            target.acknowledge(1, 1)
        assert not files[0].exists()
        assert files[-1].exists()
        assert (target.records, target.trades) == (52, 52)
        target.acknowledge(52, 52)
        assert list(target.folder.glob("*.records")) == []
        assert (target.records, target.trades, target.size) == (0, 0, 0)
        target.close()

    asyncio.run(scenario())


def test_reading_begins_anew_with_the_first_that_is_not_acknowledged(tmp_path: Path) -> None:
    """As a session does that follows a failed one; in the middle of a file, and after more has been written."""

    async def scenario() -> None:
        target = Spill(tmp_path, "topic", limit_bytes=LIMIT)
        for number in range(10):
            target.append(record(number))
        await target.sync()
        assert numbers(await target.read(8)) == list(range(8))
        target.acknowledge(3, 3)
        target.append(record(10))
        await target.sync()
        target.rewind()
        assert numbers(await everything(target)) == list(range(3, 11))
        target.acknowledge(2, 2)
        target.rewind()
        assert numbers(await everything(target)) == list(range(5, 11))
        target.close()

    asyncio.run(scenario())


def test_the_rest_is_handed_out_from_memory(tmp_path: Path) -> None:
    """What was not written when reading came to its end never goes to disk: else no reader would catch up."""

    async def scenario() -> None:
        target = Spill(tmp_path, "topic", limit_bytes=LIMIT)
        target.append(record(0))
        await target.sync()
        target.append(record(1))
        target.append(record(2))
        assert numbers(await everything(target)) == [0]
        assert numbers(list(target.rest())) == [1, 2]
        assert (target.records, target.trades) == (1, 1)
        target.acknowledge(1, 1)
        target.append(record(3))
        await target.sync()
        assert numbers(await everything(target)) == [3]
        target.close()

    asyncio.run(scenario())


def test_one_fsync_makes_many_records_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written in groups."""
    syncs = []
    monkeypatch.setattr(os, "fsync", lambda handle: syncs.append(handle))

    async def scenario() -> None:
        target = Spill(tmp_path, "topic", limit_bytes=LIMIT)
        for number in range(1_000):
            target.append(record(number))
        await target.sync()
        assert target.durable_trades == 1_000
        target.close()

    asyncio.run(scenario())
    assert len(syncs) == 2  # the file, and its name in the folder


def test_damage_while_running_costs_what_cannot_be_read_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its place in the order is kept, it is counted once however often it is read, and what follows is read."""
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 300)

    async def scenario() -> None:
        target = Spill(tmp_path, "topic", limit_bytes=LIMIT)
        for number in range(20):
            target.append(record(number))
            if number % 10 == 9:
                await target.sync()
        path = target.folder / "00000001.records"
        content = bytearray(path.read_bytes())
        content[len(MAGIC) + 4 * len(packed(record(0))) - 1] ^= 1
        path.write_bytes(content)
        expected = [0, 1, 2, *[None] * 7, *range(10, 20)]
        for _ in range(2):
            assert numbers(await everything(target)) == expected
            assert (target.records, target.trades, target.lost_trades) == (20, 13, 7)
            target.rewind()
        assert caplog.messages == [
            f"{path} is damaged: 7 records with 7 trades cannot be read and are set aside; the trades have to be had "
            "from the exchange again"
        ]
        target.acknowledge(20, 13)
        assert (target.records, target.trades) == (0, 0)
        assert [one.name for one in target.folder.glob("0*")] == ["00000001.damaged"]
        target.close()

    asyncio.run(scenario())


def failing(after: int, error: int) -> Callable[..., int]:
    """A disk that takes some writes, then none."""
    real = os.pwrite
    left = [after]

    def write(file: int, data: Any, offset: int) -> int:
        if not left[0]:
            real(file, data[:3], offset)
            raise OSError(error, os.strerror(error))
        left[0] -= 1
        return real(file, data, offset)

    return write


@pytest.mark.parametrize("after", [0, 1])
def test_a_disk_that_takes_nothing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, after: int
) -> None:
    """It is told, the spill is full meanwhile, and nothing is lost or doubled when there is space again."""
    monkeypatch.setattr(spill, "_RETRY_S", 0.01)

    async def scenario() -> None:
        target = Spill(tmp_path, "topic", limit_bytes=LIMIT)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", failing(after, errno.ENOSPC))
            for number in range(after + 1):
                target.append(record(number))
                await until(lambda number=number: target.durable_trades > number or target.errors > 1)  # type: ignore[misc]
            assert target.full
            assert (target.trades, target.durable_trades) == (after + 1, after)
        target.append(record(after + 1))
        await target.sync()
        assert not target.full
        assert numbers(await everything(target)) == list(range(after + 2))
        target.close()

    asyncio.run(scenario())
    assert left(tmp_path) == list(range(after + 2))
    assert caplog.messages == [
        f"the spill takes nothing at {tmp_path}/topic/1/0000000{1}.records ([Errno 28] No space left on device): "
        "reading waits for it"
    ]


@given(
    st.lists(
        st.sampled_from(["append", "sync", "read", "acknowledge", "rewind", "rest"]) | st.integers(1, 30),
        max_size=40,
    )
)
def test_any_use_keeps_every_record_and_its_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str | int]
) -> None:
    """Against a plain list: what was appended, less what was acknowledged or handed out as the rest."""
    folder = tmp_path_factory.mktemp("spill")

    async def scenario() -> None:
        target = Spill(folder, "topic", limit_bytes=LIMIT)
        model: list[int] = []
        read = appended = 0
        for step in steps:
            if isinstance(step, int) or step == "append":
                for _ in range(step if isinstance(step, int) else 1):
                    target.append(record(appended))
                    model.append(appended)
                    appended += 1
            elif step == "sync":
                await target.sync()
            elif step == "read":
                found = numbers(await target.read(5))
                assert found == model[read : read + len(found)]
                read += len(found)
            elif step == "acknowledge":
                target.acknowledge(read // 2, read // 2)
                del model[: read // 2]
                read -= read // 2
            elif step == "rewind":
                target.rewind()
                read = 0
            else:
                found = numbers(await everything(target))
                rest = numbers(list(target.rest()))
                assert found + rest == model[read:]
                del model[len(model) - len(rest) :]
                read = len(model)
            assert (target.records, target.trades) == (len(model), len(model))
        await target.sync()
        target.rewind()
        assert numbers(await everything(target)) == model
        target.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "SEGMENT_BYTES", 200)
        patch.setattr(spill, "GROUP_S", 0.0)
        asyncio.run(scenario())
