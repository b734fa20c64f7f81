"""`p2pfs id`: the peer id, and the key to take along to another machine."""

from __future__ import annotations

import io
import stat
import sys
from pathlib import Path

import pytest

from p2pfs.cli.app import main
from p2pfs.homelock import holding
from p2pfs.identity import Identity, keep_identity
from tests.samples import key

PEER = Identity(key()).peer_id
OTHER = Identity(key(1)).peer_id


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("P2PFS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("P2PFS_NETWORK", "test")
    return tmp_path / "home"


@pytest.fixture
def file(home: Path) -> Path:
    """Where this node's key is, which it has."""
    keep_identity(home / "data" / "identity.key", Identity(key()))
    return home / "data" / "identity.key"


def refused(*words: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return ended.value.code


def test_the_id_is_printed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["id"])
    assert capsys.readouterr().out == f"{PEER}\n"


def test_a_node_without_a_key_says_when_it_gets_one(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused("id") == refused("id", "export") == 3
    assert "first started" in capsys.readouterr().err
    assert not home.exists()


def test_a_key_goes_to_another_home_through_a_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = tmp_path / "key.pem"
    main(["id", "export", str(exported)])
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    monkeypatch.setenv("P2PFS_HOME", str(tmp_path / "elsewhere"))
    main(["id", "import", str(exported)])
    main(["id"])
    assert capsys.readouterr().out == f"{PEER}\n{PEER}\n"
    imported = tmp_path / "elsewhere" / "data" / "identity.key"
    assert imported.read_bytes() == file.read_bytes()
    assert stat.S_IMODE(imported.stat().st_mode) == 0o600


def test_a_key_goes_through_a_pipe(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["id", "export"])
    text = capsys.readouterr().out
    assert text.startswith("-----BEGIN PRIVATE KEY-----")
    file.unlink()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    main(["id", "import", "-"])
    assert capsys.readouterr().out == f"{PEER}\n"


def test_no_key_is_overwritten_without_force(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.key"
    other.write_bytes(key(1).private_bytes_raw())
    assert refused("id", "export", str(other)) == 1
    assert refused("id", "import", str(other)) == 1
    assert "--force" in capsys.readouterr().err
    assert other.read_bytes() == key(1).private_bytes_raw()
    main(["id", "import", "--force", str(other)])
    said = capsys.readouterr()
    assert said.out == f"{OTHER}\n"
    kept = file.with_suffix(".old1")
    assert str(kept) in said.err
    assert kept.read_bytes() == key().private_bytes_raw()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    main(["id", "export", "--force", str(other)])
    assert b"PRIVATE KEY" in other.read_bytes()


def test_the_key_it_has_is_imported_without_ado(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["id", "import", str(file)])
    assert "already" in capsys.readouterr().out
    assert not file.with_suffix(".old1").exists()


def test_a_running_node_keeps_its_key(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.key"
    other.write_bytes(key(1).private_bytes_raw())
    with holding(file.parent, Path("/mnt/p2p")):
        assert refused("id", "import", "--force", str(other)) == 1
    assert "/mnt/p2p" in capsys.readouterr().err
    assert file.read_bytes() == key().private_bytes_raw()


@pytest.mark.parametrize("text", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\n", bytes(33)])
def test_what_is_no_key_is_refused(home: Path, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "key").write_bytes(text)
    assert refused("id", "import", str(tmp_path / "key")) == 2
    assert refused("id", "import", str(tmp_path / "absent")) == 3


def test_a_key_that_others_would_ignore_is_refused(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("P2PFS_PUZZLE_BITS", "32")
    (tmp_path / "key").write_bytes(key().private_bytes_raw())
    assert refused("id", "import", str(tmp_path / "key")) == 2
    assert "puzzle" in capsys.readouterr().err
