import msgspec
import pytest

from p2pfs.status import (
    ALONE,
    CacheStatus,
    OverlayStatus,
    ShareStatus,
    Status,
    encode_json,
    render_status,
    said_unanswered,
    text_of,
)


def status_of(path: bytes, state: str = "waiting", mode: str = ALONE, problem: str = "") -> Status:
    return Status(
        version="1",
        pid=1,
        network="tests",
        peer_id=None,
        address=None,
        mounts=[],
        share="/s",
        overlay=OverlayStatus(mode, int(mode != ALONE), problem=problem),
        peers=[],
        transfers=[],
        shares=[ShareStatus(text_of(path), None, state, 0)],
        cache=CacheStatus(0, None),
        served_bytes=0,
        fetched_bytes={},
    )


def test_a_path_that_is_no_utf8_can_be_shown() -> None:
    shown = msgspec.json.decode(encode_json(status_of(b"a/\xff\xfe.mp3")), type=Status)
    assert shown.shares[0].path == "a/\ufffd\ufffd.mp3"
    assert msgspec.json.decode(encode_json(shown))["shares"][0]["path"] == shown.shares[0].path


def test_a_path_cannot_write_lines_of_its_own_or_to_the_terminal() -> None:
    plain = render_status(status_of(b"a__[2Jb.txt"))
    hostile = render_status(status_of(b"a\n\x1b[2Jb.txt"))
    assert hostile == plain.replace("a__", "a??")


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("announcing: no peers yet", "nobody else is told of your files"),
        ("published", "others took the records of 1 file earlier, and keep them for a day at most"),
    ],
)
def test_alone_it_says_what_becomes_of_its_files(state: str, says: str) -> None:
    assert says in render_status(status_of(b"a", state))
    assert "alone" not in render_status(status_of(b"a", state, mode="server"))


def test_peers_that_do_not_answer_may_be_a_private_network() -> None:
    shown = render_status(status_of(b"a", problem=said_unanswered(1)))
    assert "1 peer given, none answers" in shown
    assert "private network" in shown
