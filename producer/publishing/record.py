"""A Kafka record that we hand over, and its form in a file of the spill.

In a file a record is

    length of the body, CRC32C of that length and the body, body          (both numbers unsigned, 32 bits)

and the body is

    length of the topic, partition or -1, number of trades, length of the key or -1, topic, key, value

all little-endian. The length is under the checksum too: zeros at the end of a file are no records.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from crc32c import crc32c

MAGIC = b"records 1\n"
"""What a file of records begins with."""

BODY_LIMIT = 16 * 2**20
"""No body is longer: Kafka takes at most 1 MiB. A length beyond it is no length."""

_LENGTH = struct.Struct("<I")
_HEAD = struct.Struct("<II")
_BODY = struct.Struct("<HiIi")


class Record(NamedTuple):
    """What Kafka gets, and how many trades it holds."""

    topic: str
    partition: int | None
    """None: the key decides."""
    key: bytes | None
    value: bytes
    trades: int
    """0 for a heartbeat and for a gap."""


class Scan(NamedTuple):
    """What a stretch of a file holds."""

    records: list[Record]
    end: int
    """Where the last good record ends."""
    fault: str | None
    """Why there are bytes behind the end: None where there are none, TORN, or CORRUPT."""


TORN = "torn"
"""The last record is not all there, and nothing is known to be wrong with what is."""
CORRUPT = "corrupt"


def packed(record: Record) -> bytes:
    """A record as it lies in a file."""
    topic, key = record.topic.encode(), record.key
    partition = -1 if record.partition is None else record.partition
    lengths = _BODY.pack(len(topic), partition, record.trades, -1 if key is None else len(key))
    body = b"".join((lengths, topic, key or b"", record.value))
    length = _LENGTH.pack(len(body))
    return b"".join((length, _LENGTH.pack(crc32c(body, crc32c(length))), body))


def scan(data: bytes, start: int = 0) -> Scan:
    """The records of a file's content from `start` on, up to the first that is not whole and good."""
    records: list[Record] = []
    position, end = start, len(data)
    if position == 0:
        if data[: len(MAGIC)] != MAGIC:
            fault = None if not data else TORN if MAGIC.startswith(data) else CORRUPT
            return Scan([], 0, fault)
        position = len(MAGIC)
    while position < end:
        if position + _HEAD.size > end:
            return Scan(records, position, TORN)
        length, checksum = _HEAD.unpack_from(data, position)
        if length < _BODY.size or length > BODY_LIMIT:
            return Scan(records, position, CORRUPT)
        body = position + _HEAD.size
        if body + length > end:
            return Scan(records, position, TORN)
        if crc32c(data[body : body + length], crc32c(data[position : position + _LENGTH.size])) != checksum:
            return Scan(records, position, CORRUPT)
        records.append(_unpacked(data, body, body + length))
        position = body + length
    return Scan(records, position, None)


def _unpacked(data: bytes, start: int, end: int) -> Record:
    topic_length, partition, trades, key_length = _BODY.unpack_from(data, start)
    key_start = start + _BODY.size + topic_length
    value_start = key_start + max(key_length, 0)
    return Record(
        data[start + _BODY.size : key_start].decode(),
        None if partition < 0 else partition,
        None if key_length < 0 else data[key_start:value_start],
        data[value_start:end],
        trades,
    )
