"""Where a setting's value comes from, which values are allowed, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from market.settings import ROOT, Settings, SettingsError, load

NAME = "MAX_OFFSETS_PER_TRIGGER"


def settings(**environment: str) -> Settings:
    """The settings of an environment alone, whatever `.env` lies in the project's folder."""
    return load(environment, dotenv=None)


def test_without_anything_set_the_defaults_hold() -> None:
    """The defaults are those of the design: one topic, four partitions, Delta, two seconds of patience."""
    found = settings()
    assert (found.kafka_topic, found.kafka_partitions, found.batch_size) == ("crypto-trades", 4, 1)
    assert (found.bar_format, found.queries, found.state_partitions) == ("delta", ("bars", "archive", "amend"), 2)
    assert (found.watermark_delay, found.future_tolerance, found.trigger_interval) == (2_000, 2_000, 1_000)
    assert (found.max_offsets_per_trigger, found.spark_max_poll_records) == (500_000, 10_000)


def test_options_win_over_the_environment_over_dotenv_over_the_default(tmp_path: Path) -> None:
    """Each layer that has a value hides those below it."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"{NAME}=1\nKAFKA_TOPIC=from-file\n")
    environment, options = {NAME: "2"}, {NAME.lower(): "3", "kafka_topic": None}
    assert load({}, None).max_offsets_per_trigger == 500_000
    assert load({}, dotenv).max_offsets_per_trigger == 1
    assert load(environment, dotenv).max_offsets_per_trigger == 2
    assert load(environment, dotenv, options).max_offsets_per_trigger == 3
    assert load(environment, dotenv, options).kafka_topic == "from-file"


def test_an_empty_kafka_in_the_environment_hides_that_of_dotenv(tmp_path: Path) -> None:
    """Set to nothing is set: so the local stack keeps its own Kafka whatever `.env` says."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("KAFKA_BOOTSTRAP=host:9092\n")
    assert load({}, dotenv).local is False
    assert load({"KAFKA_BOOTSTRAP": ""}, dotenv).local is True


def test_a_missing_dotenv_is_no_error(tmp_path: Path) -> None:
    """Nobody needs a `.env`."""
    assert load({}, tmp_path / ".env") == load({}, None)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("1ms", 1), ("500ms", 500), ("2s", 2_000), ("10m", 600_000), ("1h", 3_600_000), (" 2s ", 2_000)],
)
def test_durations_have_a_number_and_a_unit(text: str, milliseconds: int) -> None:
    """ms, s, m and h are understood, blanks around them do not count."""
    assert settings(WATERMARK_DELAY=text).watermark_delay == milliseconds


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        (NAME, "0", "a whole number from 1 to 1000000000"),
        (NAME, "1e6", "a whole number from 1 to 1000000000"),
        (NAME, "", "a whole number from 1 to 1000000000"),
        ("KAFKA_PORT", "65536", "a whole number from 1 to 65535"),
        ("SIMULATOR_RATE", "nan", "a number from 1 to 1e+06"),
        ("REPLAY_SPEED", "fast", "a number from 0.001 to 1e+06 or max"),
        ("BAR_FORMAT", "Delta", "one of delta, parquet"),
        ("QUERIES", "bars,prices", "one or more of bars, archive, amend, separated by commas"),
        ("SOURCE", "kraken", "one or more of simulator, binance, coinbase, coinbase-advanced, separated by commas"),
        ("KAFKA_BOOTSTRAP", "broker", "host:port, several by comma"),
        ("KAFKA_BOOTSTRAP", ",", "host:port, several by comma"),
        ("KAFKA_BOOTSTRAP", "one:9092,other:abc", "host:port, several by comma"),
        ("KAFKA_BOOTSTRAP", "one:9092,other:70000", "host:port, several by comma"),
        ("REDIS_URL", "localhost:6379", "redis://host:port/number, rediss://… or unix:///path"),
        ("REDIS_URL", "redis://", "redis://host:port/number, rediss://… or unix:///path"),
        ("REDIS_URL", "redis://host:port", "redis://host:port/number, rediss://… or unix:///path"),
        ("REDIS_URL", "http://host:6379", "redis://host:port/number, rediss://… or unix:///path"),
        ("SERVE_OPEN", "true", "yes or no"),
        (
            "SERVE_NAMES",
            "localhost:3000",
            "names of hosts without a port, several by comma; an IPv6 address in brackets",
        ),
        ("SERVE_ORIGINS", "charts.example.com", "https://host or http://host:port, several by comma"),
        (
            "WATERMARK_DELAY",
            "0s",
            "a number and a unit (ms, s, m or h), such as 500ms or 2s, of at least 1 ms",
        ),
        (
            "TRIGGER_INTERVAL",
            "1",
            "a number and a unit (ms, s, m or h), such as 500ms or 2s, of at least 0 ms",
        ),
    ],
)
def test_a_wrong_value_is_told_with_name_value_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    """The message needs no look into the documentation."""
    with pytest.raises(SettingsError) as error:
        settings(**{name: value})
    assert str(error.value) == f"{name}={value} (from the environment) is not allowed: it must be {allowed}"


@pytest.mark.parametrize("value", ["", "one:9092", "one:9092, [::1]:9093", "PLAINTEXT://one.example:9092"])
def test_addresses_of_brokers_as_clients_take_them(value: str) -> None:
    """None, several, of IPv6, and as a broker names itself."""
    assert settings(KAFKA_BOOTSTRAP=value).kafka_bootstrap == value


@pytest.mark.parametrize(
    "value",
    [
        "redis://host",
        "redis://me:secret@host:6379/1",
        "rediss://host:6380/0?ssl_cert_reqs=none",
        "unix:///run/redis.sock",
    ],
)
def test_a_redis_of_ones_own_wins_over_the_local_one(value: str) -> None:
    """By any URL that clients take; without one, it is at the local stack's port."""
    assert settings(REDIS_URL=value).redis == value
    assert settings(REDIS_PORT="1234").redis == "redis://127.0.0.1:1234/0"


def test_the_message_says_which_layer_the_wrong_value_came_from(tmp_path: Path) -> None:
    """A person has to know where to change it."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("LOG_LEVEL=LOUD\n")
    allowed = "is not allowed: it must be one of DEBUG, INFO, WARNING, ERROR"
    with pytest.raises(SettingsError) as error:
        load({}, dotenv)
    assert str(error.value) == f"LOG_LEVEL=LOUD (from .env) {allowed}"
    with pytest.raises(SettingsError) as error:
        load({}, dotenv, {"log_level": "QUIET"})
    assert str(error.value) == f"LOG_LEVEL=QUIET (from the command line) {allowed}"


def test_lists_are_separated_by_commas() -> None:
    """Blanks and empty places in a list do not count."""
    assert settings(SYMBOLS="BTC-USD, binance:BTCUSDT,,").symbols == ("BTC-USD", "binance:BTCUSDT")
    assert settings(SOURCE="binance, coinbase").sources == ("binance", "coinbase")


def test_max_is_a_replay_without_pauses() -> None:
    """0 stands for no pauses inside; nobody can set 0 outside."""
    assert settings(REPLAY_SPEED="max").replay_speed == 0
    with pytest.raises(SettingsError):
        settings(REPLAY_SPEED="0")


def test_the_local_stack_has_the_simulator_for_a_source() -> None:
    """With nothing set, everything stays on this machine."""
    assert settings().sources == ("simulator",)
    assert settings(KAFKA_PORT="1234").bootstrap == "127.0.0.1:1234"


def test_beside_a_kafka_of_ones_own_a_source_has_to_be_named() -> None:
    """Simulated trades never get into somebody's Kafka by default."""
    own = settings(KAFKA_BOOTSTRAP="host:9092")
    with pytest.raises(SettingsError) as error:
        _ = own.sources
    assert str(error.value) == (
        "SOURCE is not set, and KAFKA_BOOTSTRAP=host:9092 is not the local stack; "
        "say where its trades shall come from: simulator, binance, coinbase, coinbase-advanced, several by comma"
    )
    assert settings(KAFKA_BOOTSTRAP="host:9092", SOURCE="coinbase").sources == ("coinbase",)
    assert own.bootstrap == "host:9092"


def test_the_local_stacks_tables_and_checkpoints_lie_apart() -> None:
    """Simulated bars never meet real ones, and relative folders start from the project's, not the caller's."""
    assert (settings().tables, settings().checkpoints) == (ROOT / "data/local", ROOT / "checkpoints/local")
    own = settings(KAFKA_BOOTSTRAP="host:9092", OUTPUT_DIR="/somewhere", CHECKPOINT_DIR="aside")
    assert (own.tables, own.checkpoints) == (Path("/somewhere"), ROOT / "aside")


def test_the_query_service_is_for_this_machine_unless_it_is_said_otherwise() -> None:
    """Loopback, port 3000, no key, no other name and no other site."""
    found = settings()
    assert (found.serve_host, found.serve_port, found.serve_api_key, found.serve_open) == ("127.0.0.1", 3000, "", False)
    assert (found.serve_names, found.serve_origins) == ((), ())
    named = settings(
        SERVE_NAMES="Bars.example.com, [FD00::5]", SERVE_ORIGINS="https://Charts.example.com,http://one:8080"
    )
    assert named.serve_names == ("bars.example.com", "[fd00::5]")
    assert named.serve_origins == ("https://charts.example.com", "http://one:8080")
    assert (found.rollups, found.stale_after) == (ROOT / "run/rollups", 15_000)


def test_a_secret_is_not_shown_with_the_settings() -> None:
    """Who prints them for a report does not print the key."""
    assert "sesame-open-sesame" not in repr(settings(SERVE_API_KEY="sesame-open-sesame"))
