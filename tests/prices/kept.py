"""What tests write to Redis through a store, and what is in Redis then."""

from __future__ import annotations

from market.latest import PRICE_FIELDS, price_key, price_of, trades_key
from market.trade import Trade
from prices.store import Outcome, Store
from tests.prices.made import BTC, chunk
from tests.redis_servers import OwnRedis

PLACE = "crypto-trades:0"
KEPT = 1_000


def write(store: Store, *trades: Trade) -> Outcome:
    """Write trades of which the positions say nothing new."""
    (outcome,) = store.write([(PLACE, chunk(trades, start=0, end=0))])
    return outcome


def price(redis: OwnRedis) -> tuple[str, int]:
    """Price and id of the newest trade."""
    found = price_of(*BTC, redis.client.hmget(price_key(*BTC), PRICE_FIELDS))
    assert found
    return found.price, found.trade_id


def stream(redis: OwnRedis) -> list[str]:
    """The lines of the stream of trades, in their order."""
    return [fields["trade"] for _, fields in redis.client.xrange(trades_key(*BTC))]


def ids(redis: OwnRedis) -> list[int]:
    """The trade ids of that stream."""
    return [int(one.split()[1]) for one in stream(redis)]
