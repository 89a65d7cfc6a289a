"""What an exchange's refusals mean: which no retry mends, and how long to stay away after the others. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from producer import ProducerError

REFUSALS = {
    401: "the endpoint asks for credentials; the public endpoints need none",
    403: "the endpoint forbids this address; wait, or connect from elsewhere",
    404: "there is no such endpoint; check its URL",
    451: "the exchange does not serve this address (Binance refuses some countries and many cloud providers); "
    "connect from elsewhere, or choose another SOURCE, such as coinbase or simulator",
}
"""Answers that no retry mends."""

THROTTLED = (418, 429)
"""Answers to who asks too much: 429 says so, 418 bans who went on (binance-spot-api-docs, "IP Limits")."""

SHORTEST_BAN_S = 120.0
"""How long a ban lasts at least where the answer does not say it; asking again earlier lengthens it."""
LONGEST_BAN_S = 3 * 86_400.0
"""Binance bans for at most three days; an answer that names more is not believed."""


class FeedRefusedError(ProducerError):
    """The exchange refuses us, and trying again would not help. The message says what it answered and what helps."""


def ban_s(retry_after: str | None, date: str | None = None) -> float:
    """How long to ask nothing after a 429 or 418, by its headers `Retry-After` (seconds or a date) and `Date`."""
    told = (retry_after or "").strip()
    if told.isascii() and told.isdigit():
        return min(float(told), LONGEST_BAN_S)
    until = _moment(told)
    if until is None:
        return SHORTEST_BAN_S
    now = _moment(date or "") or datetime.now(UTC)  # the answer's own clock, where it tells it, for ours may be wrong
    return min(max((until - now).total_seconds(), 0.0), LONGEST_BAN_S)


def shown(text: str) -> str:
    """Text from outside as it may be logged: on one line, without control characters, at most 300 characters."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text[:2_000].split()))[:300]


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
