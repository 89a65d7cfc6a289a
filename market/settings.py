"""The settings: one typed class owns every name, its default, what it means and what it allows.

A value comes from the command line (where a program offers an option for it), else from the environment, else from
`.env` in the project's folder, else from the default. A wrong value ends the program with the name, the value and
what is allowed. `.env.example` and the README's table are held to this class by `tests/test_docs.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from market.allowed import (
    addresses,
    duration_ms,
    host_names,
    integer,
    names,
    number,
    one_of,
    origins,
    some_of,
    some_text,
    text,
    url_of_redis,
    yes_or_no,
)

ROOT = Path(__file__).resolve().parent.parent
"""The project's folder: relative paths in settings start here, from whichever folder a program is started."""

SOURCES = ("simulator", "binance", "coinbase", "coinbase-advanced")
QUERIES = ("bars", "archive", "amend")


class SettingsError(ValueError):
    """A setting has a value that is not allowed. The message names it, the value and what is allowed."""


def _setting(default: str, parse: Callable[[str], Any], meaning: str, *, secret: bool = False) -> Any:
    return field(repr=not secret, metadata={"default": default, "parse": parse, "meaning": meaning})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting, parsed. The environment variable's name is the field's, in upper case."""

    kafka_bootstrap: str = _setting(
        "",
        addresses,
        "host:port of your Kafka, several by comma. Empty: the local stack, which spark-submit.sh starts",
    )
    kafka_topic: str = _setting("crypto-trades", some_text, "topic of the trades")
    kafka_partitions: int = _setting("4", integer(1, 1000), "partitions of the topic when it is created")
    kafka_port: int = _setting("29092", integer(1, 65535), "port of the local stack's Kafka")
    kafka_controller_port: int = _setting("29093", integer(1, 65535), "port of the local stack's Kafka controller")

    source: tuple[str, ...] = _setting(
        "",
        some_of(*SOURCES, or_none=True),
        "where trades come from: simulator, binance, coinbase, coinbase-advanced, several by comma. "
        "Empty: simulator (local stack only)",
    )
    symbols: tuple[str, ...] = _setting(
        "BTC-USD,ETH-USD,USDT-USD,BTC-USDT,ETH-USDT",
        names,
        "symbols of real sources, each taken from every source that lists it; binance:BTCUSDT names one source",
    )
    batch_size: int = _setting("1", integer(1, 1000), "trades of one symbol per Kafka record, at most")
    linger_ms: int = _setting("5", integer(0, 10_000), "how long the producer waits to fill a batch, in ms")
    replay_speed: float = _setting(
        "1", number(0.001, 1e6, "max"), "speed of a replay: 1 keeps the recording's pace, max has no pauses"
    )

    frame_queue: int = _setting(
        "10000", integer(1, 10**6), "frames read of one exchange that may wait to be mapped; then reading pauses"
    )
    records_in_flight: int = _setting(
        "10000",
        integer(1, 10**6),
        "records sent to Kafka that may wait for their acknowledgement; then mapping pauses",
    )
    hole_wait: int = _setting(
        "2s", duration_ms(0), "how long newer trades of a symbol wait for missing ones; then those follow late"
    )
    resume_window: int = _setting("1h", duration_ms(1000), "how far back in the topic a starting producer reads")
    resume_records: int = _setting("50000", integer(1, 10**8), "records of the topic it reads then, at most")
    spill_dir: str = _setting(
        "spill", some_text, "folder for what Kafka does not take (the local stack's lies in local/ under it)"
    )
    spill_limit_mb: int = _setting(
        "1024", integer(0, 10**7), "size of that folder in MiB, at most; then reading pauses. 0: nothing is kept there"
    )
    spill_after: int = _setting("5s", duration_ms(100), "how long Kafka may take nothing before that folder is used")
    metrics_port: int = _setting(
        "9100", integer(0, 65535), "port of the producer's metrics, the next free one where it is taken; 0: none"
    )
    max_poll_records: int = _setting(
        "500", integer(1, 10**6), "records the raw view and prices fetch per poll, at most"
    )

    redis_url: str = _setting(
        "", url_of_redis, "URL of your Redis, such as redis://host:6379/0. Empty: the local stack's"
    )
    redis_port: int = _setting("26379", integer(1, 65535), "port of the local stack's Redis")
    redis_trades: int = _setting(
        "10000", integer(1, 10**5), "last trades of each symbol that are kept in Redis, at least"
    )
    rebuild_records: int = _setting(
        "20000", integer(0, 10**9), "records of each partition that prices reads again where Redis is empty"
    )
    prices_metrics_port: int = _setting(
        "9110", integer(0, 65535), "port of the metrics of prices, the next free one where it is taken; 0: none"
    )

    simulator_host: str = _setting(
        "127.0.0.1", some_text, "host of the simulated exchanges, where the producer finds them"
    )
    simulator_port: int = _setting("28080", integer(1, 65535), "port of the simulated exchanges")
    simulator_seed: int = _setting("1", integer(0, 2**31), "seed of the simulated markets")
    simulator_rate: float = _setting("500", number(1, 1e6), "mean trades per second of the simulated markets together")

    output_dir: str = _setting("data", some_text, "folder of the tables (the local stack's lie in local/ under it)")
    checkpoint_dir: str = _setting(
        "checkpoints", some_text, "folder of the checkpoints (the local stack's lie in local/ under it)"
    )
    bar_format: str = _setting("delta", one_of("delta", "parquet"), "format of bars_1s: delta or parquet")
    queries: tuple[str, ...] = _setting(
        "bars,archive,amend", some_of(*QUERIES), "queries that jobs/ohlcv.py runs: bars, archive, amend"
    )
    watermark_delay: int = _setting(
        "2s", duration_ms(1), "how long a second stays open for trades that come out of order"
    )
    future_tolerance: int = _setting(
        "2s", duration_ms(0), "how far a trade's time may lie after its Kafka time before it is rejected"
    )
    trigger_interval: int = _setting("1s", duration_ms(0), "how often the bars query starts a batch")
    archive_interval: int = _setting("5s", duration_ms(0), "how often the archive query starts a batch")
    amend_interval: int = _setting("2s", duration_ms(0), "how often the amend query looks for new rows of the archive")
    max_offsets_per_trigger: int = _setting(
        "500000", integer(1, 10**9), "Kafka records a batch takes at most, of all partitions together"
    )
    spark_max_poll_records: int = _setting(
        "10000", integer(1, 10**7), "Kafka records Spark's consumers fetch per poll, at most"
    )
    state_partitions: int = _setting(
        "2", integer(1, 10_000), "partitions of the bars query's state; fixed at a checkpoint's first start"
    )
    upkeep_interval: int = _setting(
        "10m", duration_ms(0), "how often the job makes small files few and deletes what nobody needs. 0s: never"
    )
    upkeep_keep: int = _setting(
        "1h", duration_ms(60_000), "how long files and log entries that no longer count are kept for slow readers"
    )
    fold_after_days: int = _setting(
        "7", integer(0, 36_500), "days after which of a bar only the newest revision is kept. 0: all, for ever"
    )
    archive_days: int = _setting(
        "0", integer(0, 36_500), "days of trades and rejected trades that are kept. 0: all, for ever"
    )
    serve_host: str = _setting(
        "127.0.0.1", some_text, "address that the query service listens at; another than loopback needs SERVE_API_KEY"
    )
    serve_port: int = _setting("3000", integer(1, 65535), "port of the query service")
    serve_api_key: str = _setting(
        "", text, "what whoever asks the query service has to know, 16 characters or more. Empty: nothing", secret=True
    )
    serve_open: bool = _setting(
        "no", yes_or_no, "yes: listen at another address than loopback without SERVE_API_KEY too"
    )
    serve_names: tuple[str, ...] = _setting(
        "", host_names, "names by which the query service may be called, besides localhost and SERVE_HOST"
    )
    serve_origins: tuple[str, ...] = _setting(
        "", origins, "web sites whose pages may ask the query service, such as https://charts.example.com. Empty: none"
    )
    serve_rate: float = _setting(
        "1000", number(0, 1e6), "requests per second that one address may make to the query service. 0: any number"
    )
    serve_recent: int = _setting(
        "3600", integer(60, 10**6), "newest bars of each symbol that the query service keeps in memory, at most"
    )
    rollup_dir: str = _setting(
        "run/rollups", some_text, "folder in which the query service keeps minutes and hours of days that are over"
    )
    stale_after: int = _setting(
        "15s", duration_ms(1000), "age after which a price is called stale, and the table when nothing new comes"
    )
    log_level: str = _setting(
        "INFO", one_of("DEBUG", "INFO", "WARNING", "ERROR"), "what our programs log: DEBUG, INFO, WARNING, ERROR"
    )

    @property
    def local(self) -> bool:
        """Whether Kafka is the local stack's."""
        return not self.kafka_bootstrap

    @property
    def bootstrap(self) -> str:
        """Where Kafka is, own or local."""
        return self.kafka_bootstrap or f"127.0.0.1:{self.kafka_port}"

    @property
    def redis(self) -> str:
        """Where Redis is, own or local."""
        return self.redis_url or f"redis://127.0.0.1:{self.redis_port}/0"

    @property
    def sources(self) -> tuple[str, ...]:
        """Where trades come from. The simulator is never fallen back to beside a Kafka of one's own."""
        if not self.source and not self.local:
            raise SettingsError(
                f"SOURCE is not set, and KAFKA_BOOTSTRAP={self.kafka_bootstrap} is not the local stack; "
                f"say where its trades shall come from: {', '.join(SOURCES)}, several by comma"
            )
        return self.source or ("simulator",)

    @property
    def tables(self) -> Path:
        """Folder of the tables."""
        return self._folder(self.output_dir)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self._folder(self.checkpoint_dir)

    @property
    def spill(self) -> Path:
        """Folder of what Kafka did not take."""
        return self._folder(self.spill_dir)

    @property
    def rollups(self) -> Path:
        """Folder of minutes and hours that are kept, of any table: each has a folder of its own."""
        return ROOT / Path(self.rollup_dir).expanduser()

    def _folder(self, setting: str) -> Path:
        folder = ROOT / Path(setting).expanduser()
        return folder / "local" if self.local else folder


def load(
    environment: Mapping[str, str] | None = None,
    dotenv: Path | None = ROOT / ".env",
    options: Mapping[str, str | None] | None = None,
) -> Settings:
    """The settings from `options` (name → text, None where not given), the environment and the `.env` file.

    Raises `SettingsError` for the first value that is not allowed.
    """
    environment = os.environ if environment is None else environment
    layers: list[tuple[str, Mapping[str, str | None]]] = [
        ("the command line", {name.upper(): text for name, text in (options or {}).items()}),
        ("the environment", environment),
        (".env", dotenv_values(dotenv) if dotenv and dotenv.is_file() else {}),
    ]
    return Settings(**{setting.name: _value(setting, layers) for setting in fields(Settings)})


def described() -> dict[str, tuple[str, str]]:
    """Each setting's name in the environment, with its default and its meaning."""
    return {
        setting.name.upper(): (setting.metadata["default"], setting.metadata["meaning"]) for setting in fields(Settings)
    }


def _value(setting: Field[Any], layers: list[tuple[str, Mapping[str, str | None]]]) -> Any:
    name = setting.name.upper()
    for origin, layer in layers:
        text = layer.get(name)
        if text is not None:
            try:
                return setting.metadata["parse"](text.strip())
            except ValueError as error:
                raise SettingsError(
                    f"{name}={text.strip()} (from {origin}) is not allowed: it must be {error}"
                ) from None
    return setting.metadata["parse"](setting.metadata["default"])
