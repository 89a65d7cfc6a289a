"""Feeds → normalise → publish: exchanges and recordings in, Kafka records out."""

from __future__ import annotations


class ProducerError(RuntimeError):
    """The producer cannot go on. The message says what was seen, what was expected and what helps."""
