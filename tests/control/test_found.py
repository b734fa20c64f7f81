"""What a search is told over the control socket, and what a command prints of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from p2pfs.cli import search as command
from p2pfs.control.calls import Answering
from p2pfs.control.found import Found, Sought, found_in, search_endpoints
from p2pfs.errors import NotFoundError, UsageError
from p2pfs.identity import peer_id
from p2pfs.library.listings import build_listing
from p2pfs.status import ALONE, OverlayStatus
from tests.dht.fakes import OverlayWorld
from tests.library.kit import join, open_library
from tests.samples import DAY, NOW, meta, public_key

HOSTILE = "red\x1b[31m\u202e\nname.txt"


def found(*names: str) -> Found:
    metas = [meta(number, name=name) for number, name in enumerate(names)]
    return found_in(build_listing("music", [], metas, {}, NOW), complete=True)


def test_a_found_file_is_told_whole_and_safe() -> None:
    (file,) = found(HOSTILE).files
    assert file.name == "red_[31m__name.txt"
    assert (file.size, file.crc32, file.published) == (5_000_000, "cafef00d", NOW)
    assert file.publishers == file.providers == [peer_id(public_key())]
    assert sorted(file.tags) == ["artist:a-name", "audio", "music", "title:blue-notes"]


def test_no_more_is_told_than_a_listing_holds() -> None:
    metas = [meta(number, name=f"{number}.txt") for number in range(5)]
    assert len(build_listing("x", [], metas, {}, NOW, max_entries=3).entries) == 3
    assert not build_listing("x", [], metas, {}, NOW + DAY, max_entries=3).entries


async def test_a_search_over_the_socket_finds_by_words_and_tags(tmp_path: Path) -> None:
    world = OverlayWorld()
    join(world, 2)
    async with open_library(tmp_path, join(world, 1), 1) as node:
        node.write("jazz/Blue Night.txt", b"a")
        await node.wait_share("jazz/Blue Night.txt")
        endpoint = search_endpoints(node.searches)["search"]
        assert isinstance(endpoint, Answering)
        told = await endpoint.answer(Sought(["night"], ["Jazz"]))
        assert isinstance(told, Found)
        assert told.complete
        assert [file.name for file in told.files] == ["Blue Night.txt"]
        assert await endpoint.answer(Sought(["day"], [])) == Found(True, [])
        with pytest.raises(UsageError):
            await endpoint.answer(Sought(["!"], []))


class _Node:
    """Answers `ask` as the node would."""

    def __init__(self, answer: Found) -> None:
        self.answer = answer
        self.asked: list[msgspec.Struct] = []

    def ask(self, _name: str, question: msgspec.Struct, *_: object) -> Found:
        self.asked.append(question)
        return self.answer


def printed(
    answer: Found,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    **options: object,
) -> str:
    monkeypatch.setattr(command, "ask", _Node(answer).ask)
    command.search("blue", **options)
    return capsys.readouterr().out


def test_a_pipe_gets_a_line_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = found("a.txt", HOSTILE)
    lines = printed(answer, monkeypatch, capsys).splitlines()
    assert [line.split("\t")[-1] for line in lines] == [file.name for file in answer.files]


def test_scripts_get_json_that_is_what_the_node_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = found("a.txt", HOSTILE)
    out = printed(answer, monkeypatch, capsys, json=True)
    assert msgspec.json.decode(out, type=Found) == answer


@pytest.mark.parametrize(
    ("complete", "mode", "said"),
    [
        (True, "server", "nothing was found$"),
        (False, "server", "try again"),
        (False, ALONE, "no other node answers"),
    ],
)
def test_nothing_found_is_a_failure_that_says_whether_to_try_again(
    complete: bool,
    mode: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = SimpleNamespace(overlay=OverlayStatus(mode, 0))
    monkeypatch.setattr(command, "running_status", lambda: status)
    with pytest.raises(NotFoundError, match=said):
        printed(Found(complete, []), monkeypatch, capsys)


def test_a_search_for_nothing_is_a_slip() -> None:
    with pytest.raises(UsageError):
        command.search()
