import msgspec

from p2pfs.status import (
    CacheStatus,
    OverlayStatus,
    ShareStatus,
    Status,
    encode_json,
    render_status,
    text_of,
)


def status_of(path: bytes) -> Status:
    return Status(
        version="1",
        pid=1,
        network="tests",
        peer_id=None,
        address=None,
        mounts=[],
        share="/s",
        overlay=OverlayStatus("alone", 0),
        peers=[],
        transfers=[],
        shares=[ShareStatus(text_of(path), None, "waiting", 0)],
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
