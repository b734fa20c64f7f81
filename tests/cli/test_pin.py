"""`p2pfs pin` at a terminal, with answers made up here."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from p2pfs.cli.app import main
from p2pfs.control.calls import Told
from p2pfs.control.kept import PinProgress
from tests.cli.test_exit_codes import answering
from tests.cli.test_progress import terminal

CID = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"


def pinned(cid: str) -> bytes:
    lines = b"".join(
        msgspec.json.encode(Told(PinProgress(cid, done, 2 << 20, 1))) + b"\n"
        for done in (1 << 20, 2 << 20)
    )
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(lines), lines)


def test_each_of_several_has_a_bar_with_its_name_and_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("P2PFS_HOME", str(tmp_path))
    with answering(tmp_path, pinned(CID), pinned(CID)), terminal(monkeypatch, "stderr") as screen:
        main(["pin", f"{CID}/album/song.mp3", CID])
    shown = "".join(screen)
    assert "1/2 song.mp3" in shown
    assert f"2/2 {CID[:30]}" in shown
    assert shown.count("100%") >= 2
    assert capsys.readouterr().out == f"{CID}\t{2 << 20}\n" * 2


def test_nothing_is_pinned_when_one_of_them_cannot_be_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("P2PFS_HOME", str(tmp_path))  # where no node would answer
    with pytest.raises(SystemExit) as ended:
        main(["pin", CID, str(tmp_path / "absent")])
    assert ended.value.code == 3
    assert "absent" in capsys.readouterr().err
