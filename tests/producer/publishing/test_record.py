"""A file of records, whole or not: what is read back is what was written, up to a point, and never anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.publishing.record import CORRUPT, MAGIC, TORN, Record, Scan, packed, scan

RECORDS = st.lists(
    st.builds(
        Record,
        topic=st.text(max_size=10),
        partition=st.none() | st.integers(0, 2**31 - 1),
        key=st.none() | st.binary(max_size=10),
        value=st.binary(max_size=60),
        trades=st.integers(0, 2**32 - 1),
    ),
    max_size=8,
)


def file_of(records: list[Record]) -> bytes:
    """A file's content."""
    return MAGIC + b"".join(map(packed, records))


@given(RECORDS)
def test_what_is_written_is_read(records: list[Record]) -> None:
    """Every field, also those without a value."""
    content = file_of(records)
    assert scan(content) == Scan(records, len(content), None)


@given(RECORDS, st.data())
def test_a_file_cut_anywhere_gives_its_first_records(records: list[Record], data: st.DataObject) -> None:
    """The end of what is good is told, and that the rest is only torn: another write may follow there."""
    content = file_of(records)
    cut = data.draw(st.integers(0, len(content)))
    found = scan(content[:cut])
    assert found.records == records[: len(found.records)]
    assert found.end <= cut
    assert content[: found.end] == (file_of(found.records) if found.end else b"")
    assert (found.fault is None) == (found.end == cut)
    assert found.fault in (None, TORN)


@given(RECORDS.filter(bool), st.data())
def test_a_changed_byte_is_found(records: list[Record], data: st.DataObject) -> None:
    """Whichever it is: the records before it are read, none that is not one of those written."""
    content = bytearray(file_of(records))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    found = scan(bytes(content))
    assert found.records == records[: len(found.records)]
    assert found.end <= position
    assert found.fault is not None


@given(RECORDS, st.integers(1, 5_000))
def test_zeros_behind_the_records_are_none(records: list[Record], zeros: int) -> None:
    """A file system may leave a file longer than what was written to it."""
    content = file_of(records)
    found = scan(content + bytes(zeros))
    assert (found.records, found.end) == (records, len(content))
    assert found.fault == (TORN if zeros < 8 else CORRUPT)


@pytest.mark.parametrize(
    ("content", "fault"), [(b"", None), (MAGIC[:4], TORN), (MAGIC, None), (b"something else", CORRUPT)]
)
def test_a_file_begins_with_its_kind(content: bytes, fault: str | None) -> None:
    """An empty file is one without records; another program's file is not read."""
    found = scan(content)
    assert (found.records, found.fault) == ([], fault)
