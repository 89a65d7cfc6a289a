"""The topics are made as the rest relies on them, and never changed."""

from __future__ import annotations

import pytest

from producer.publishing import topics


@pytest.mark.e2e
def test_topics_are_created_once_and_differences_are_told(kafka: str, caplog: pytest.LogCaptureFixture) -> None:
    """Creating them again is fine; other settings are warned of with both values, and nothing is changed."""
    assert topics.create(kafka, "created", partitions=3) == [
        "topic created created: partitions=3, message.timestamp.type=LogAppendTime",
        "topic created-gaps created: partitions=1, message.timestamp.type=LogAppendTime, retention.ms=-1",
    ]
    assert topics.create(kafka, "created", partitions=3) == [
        "topic created exists as it should be",
        "topic created-gaps exists as it should be",
    ]
    assert caplog.messages == []
    assert topics.create(kafka, "created", partitions=5) == [
        "topic created exists",
        "topic created-gaps exists as it should be",
    ]
    assert caplog.messages == ["topic created has partitions=3, and 5 is expected; it stays as it is"]


def test_a_topic_with_other_settings_is_told() -> None:
    """CreateTime would let retention delete replays of old trades."""
    wanted = {"partitions": "4", "message.timestamp.type": "LogAppendTime"}
    found = {"partitions": "4", "message.timestamp.type": "CreateTime", "retention.ms": "604800000"}
    assert topics.differences("t", wanted, wanted) == []
    assert topics.differences("t", wanted, found) == [
        "topic t has message.timestamp.type=CreateTime, and LogAppendTime is expected"
    ]
