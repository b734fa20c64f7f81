"""`p2pfs config`: every setting, its value, and who said so."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from p2pfs.cli.app import main
from p2pfs.cli.config import ShownConfig, ShownSetting, shown_config
from p2pfs.cli.mount import NodeOptions
from p2pfs.concurrency import open_nursery
from p2pfs.control.api import Control, bind_control
from p2pfs.control.running import RunningSetting, running_endpoints
from p2pfs.peers.streams.http import serve_asgi
from p2pfs.settings import Chosen, choose_settings
from p2pfs.settingtable import SETTINGS
from p2pfs.status import Status


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("P2PFS_HOME", str(tmp_path))
    return tmp_path


async def config_beside(running: Chosen, *words: str) -> None:
    """`p2pfs config` while a node of this home runs that was started so."""

    def status() -> Status:
        raise AssertionError

    control = Control(running_endpoints(running, status, lambda: None))
    with closing(bind_control(running.settings.places.socket)) as listener:
        async with open_nursery() as nursery:
            nursery.start_soon(serve_asgi, control, [listener])
            await trio.to_thread.run_sync(partial(main, ["config", *words]))
            nursery.cancel_scope.cancel()


def shown(name: str, answer: ShownConfig) -> ShownSetting:
    return next(setting for setting in answer.settings if setting.name == name)


def test_a_flag_beats_the_environment_and_that_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('seed = "none"\ncache_size = "1G"\nnetwork = "a"\n')
    environ = {
        "P2PFS_HOME": str(tmp_path),
        "P2PFS_CACHE_SIZE": "2G",
        "P2PFS_SEED": "pinned",
        "P2PFS_PEERS": "example.org",
    }
    answer = shown_config(choose_settings({"cache_size": "3072M", "limit_up": None}, environ), {})
    file = str(tmp_path / "config.toml")
    assert answer.file == file
    assert [(shown(name, answer).value, shown(name, answer).source) for name in SETTINGS] == [
        (["[::]:7117", "0.0.0.0:7117"], "default"),
        (["example.org:7117"], "the environment"),
        ([], "default"),
        ("true", "default"),
        ("a", file),
        (None, "default"),
        (None, "default"),
        ([], "default"),
        (str(tmp_path / "data" / "share"), "default"),
        ("3G", "the command line"),
        ("1G", "default"),
        ("pinned", "the environment"),
        (None, "default"),
        (None, "default"),
        ("10000", "default"),
        ("200000", "default"),
        ("auto", "default"),
    ]


def test_a_pipe_gets_names_values_and_sources_with_tabs(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "config.toml").write_text('limit_up = "2M"\n')
    main(["config"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == list(SETTINGS)
    assert f"limit_up\t2M\t{home / 'config.toml'}" in lines


def test_json_is_what_its_struct_says(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["config", "--json"])
    answer = msgspec.json.decode(capsys.readouterr().out, type=ShownConfig)
    assert answer.file == str(home / "config.toml")


async def test_what_the_running_node_was_started_with_is_told_where_it_differs(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "config.toml").write_text('limit_up = "2M"\nseed = "none"\n')
    flags = {"limit_up": "8M", "network": "x", "peers": ["a.example"], "limit_down": "0"}
    running = choose_settings(flags)
    (home / "config.toml").write_text('limit_up = "2M"\n')
    await config_beside(running)
    said = capsys.readouterr()
    assert f"limit_up\t2M\t{home / 'config.toml'}\n" in said.out
    assert said.err.splitlines() == [
        "p2pfs: the running node has peers a.example:7117 (the command line)",
        "p2pfs: the running node has network x (the command line)",
        f"p2pfs: the running node has seed none ({home / 'config.toml'})",
        "p2pfs: the running node has limit_up 8M (the command line)",
    ]
    await config_beside(running, "limit_up")
    assert capsys.readouterr() == ("2M\n", said.err.splitlines(keepends=True)[-1])
    await config_beside(running, "--json")
    answer = msgspec.json.decode(capsys.readouterr().out, type=ShownConfig)
    assert shown("limit_up", answer).running == RunningSetting("limit_up", "8M", "the command line")
    assert shown("limit_down", answer).running is None


async def test_a_default_of_the_running_node_is_told_in_words(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = choose_settings({})
    (home / "config.toml").write_text('limit_up = "2M"\n')
    await config_beside(running)
    assert capsys.readouterr().err == "p2pfs: the running node has limit_up no limit (default)\n"


@pytest.mark.parametrize("name", ["cache_size", "--cache-size", "P2PFS_CACHE_SIZE"])
def test_one_setting_is_printed_alone_however_it_is_spelt(
    home: Path, capsys: pytest.CaptureFixture[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2PFS_CACHE_SIZE", "20 GiB")
    main(["config", "--", name])
    assert capsys.readouterr().out == "20G\n"


def test_a_setting_that_is_none_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["config", "cachesize"])
    assert ended.value.code == 3
    assert "cache_size" in capsys.readouterr().err


def test_each_setting_has_its_flag(home: Path) -> None:
    assert set(NodeOptions.__dataclass_fields__) == set(SETTINGS)
    settings = NodeOptions(peers=["a.example"], cache_size="1G", limit_up="1M").chosen().settings
    assert (settings.peers, settings.cache_size) == (("a.example:7117",), 1 << 30)
    assert settings.limit_up == 1 << 20
