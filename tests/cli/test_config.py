"""`p2pfs config`: every setting, its value, and who said so."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from p2pfs.cli.app import main
from p2pfs.cli.config import ShownConfig, ShownSetting, shown_config
from p2pfs.cli.mount import NodeOptions
from p2pfs.settings import choose_settings
from p2pfs.settingtable import SETTINGS


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("P2PFS_HOME", str(tmp_path))
    return tmp_path


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
    answer = shown_config(choose_settings({"cache_size": "3072M", "limit_up": None}, environ))
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
    settings = NodeOptions(peers=["a.example"], cache_size="1G", limit_up="1M").settings()
    assert (settings.peers, settings.cache_size) == (("a.example:7117",), 1 << 30)
    assert settings.limit_up == 1 << 20
