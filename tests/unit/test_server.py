"""What `serve` works out before it starts anything."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from bsgateway.config import Collector, Config, Routing, Spool, Tier
from bsgateway.errors import StoreError
from bsgateway.server import Options, Site, _database, known_master_key


@pytest.mark.parametrize(
    ("host", "variables", "kept", "key"),
    [
        ({"general_settings": {"master_key": "sk-literal"}}, {"LITELLM_MASTER_KEY": "sk-env"}, "sk-kept", "sk-literal"),
        ({"general_settings": {"master_key": "os.environ/MINE"}}, {"MINE": "sk-mine"}, None, "sk-mine"),
        ({"general_settings": {"master_key": "os.environ/MINE"}}, {"LITELLM_MASTER_KEY": "sk-env"}, None, "sk-env"),
        ({"general_settings": None}, {}, "sk-kept", "sk-kept"),
        ({}, {}, None, None),
    ],
)
def test_the_key_of_the_file_comes_before_the_environment_before_the_kept_one(
    host: dict[str, object],
    variables: dict[str, str],
    kept: str | None,
    key: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LITELLM_MASTER_KEY", "MINE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if kept is not None:
        (tmp_path / "master_key").write_text(kept + "\n")
    assert known_master_key(host, tmp_path) == key


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://localhost:4000"),
        ("0.0.0.0", "http://localhost:4000"),
        ("::1", "http://localhost:4000"),
        ("192.0.2.7", "http://192.0.2.7:4000"),
        ("2001:db8::7", "http://[2001:db8::7]:4000"),
    ],
)
def test_the_url_is_one_that_clients_can_use(host: str, url: str, tmp_path: Path) -> None:
    routing = Routing(tiers={"only": Tier(score_range=(0, 100), model="m")}, fallback_tier="only")
    config = Config(tmp_path, routing, {"model_list": []})
    site = Site(Options(tmp_path, tmp_path, host=host), config, (), "sk-x", tmp_path)
    assert site.url == url


PASSWORD = "hunter2"


def brought_up(collector: Collector, strict: bool = False) -> list[str]:
    """What `serve` says of a database of the operator's own."""
    routing = Routing(tiers={"only": Tier(score_range=(0, 100), model="m")}, fallback_tier="only", collector=collector)
    host: dict[str, Any] = {"model_list": [], "routing": {}}
    said: list[str] = []
    with contextlib.ExitStack() as stack:
        _database(stack, host, Config(Path("gateway.yaml"), routing, host), Path("state"), said.append, strict)
    return said


@pytest.mark.parametrize(("spool", "where"), [(True, "the spool"), (False, "memory")])
def test_it_starts_without_its_database(spool: bool, where: str, closed_port: int) -> None:
    url = f"postgresql://user:{PASSWORD}@127.0.0.1:{closed_port}/log"
    collector = Collector(database_url=url, spool=Spool(enabled=spool))
    (notice,) = brought_up(collector)
    expected = f"notice: the log waits in {where}: cannot connect to PostgreSQL at 127.0.0.1:{closed_port}/log: "
    assert notice.startswith(expected)
    assert PASSWORD not in notice
    with pytest.raises(StoreError, match="cannot connect"):
        brought_up(collector, strict=True)


def test_it_does_not_start_with_an_address_that_is_not_a_url() -> None:
    with pytest.raises(StoreError, match="an address that is not a URL") as caught:
        brought_up(Collector(database_url=f"host=localhost password={PASSWORD}"))
    assert PASSWORD not in str(caught.value)
