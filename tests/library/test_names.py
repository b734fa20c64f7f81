import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from p2pfs.content.cid import Cid, raw_cid
from p2pfs.library.names import (
    MAX_NAME_BYTES,
    distinct_name,
    named,
    safe_name,
    short_cid,
)


def cid(number: int) -> Cid:
    return raw_cid(number.to_bytes(32, "big"))


any_text = st.text(st.characters(codec="utf-8"), max_size=300)


@given(any_text)
def test_every_name_is_made_safe(name: str) -> None:
    safe = safe_name(name)
    assert safe
    assert not safe.startswith(".")
    assert len(safe.encode()) <= MAX_NAME_BYTES
    assert "/" not in safe
    assert all(unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") for c in safe)
    assert safe_name(safe) == safe


def test_ordinary_names_stay_as_they_are() -> None:
    for name in ("song.mp3", "Ünïcode 東京.flac", "a b.tar.gz", "👩\u200d🚀.png", "no extension"):
        assert safe_name(name) == name


def test_what_turns_the_writing_direction_or_hides_is_replaced() -> None:
    assert safe_name("photo\u202egpj.exe") == "photo_gpj.exe"
    assert safe_name("a\x1b[31mb\n\r\x00c/d") == "a_[31mb___c_d"
    assert [safe_name(name) for name in ("", ".", "..", ".git")] == ["_", "_", "_.", "_git"]


def test_a_long_name_keeps_its_extension() -> None:
    assert safe_name("é" * 200 + ".flac").endswith("é.flac")
    assert len(safe_name("é" * 200 + ".flac").encode()) <= MAX_NAME_BYTES


def test_the_distinct_name_tells_contents_apart_and_fits() -> None:
    assert distinct_name("song.mp3", cid(1)) == f"song~{short_cid(cid(1))}.mp3"
    assert distinct_name("song", cid(1)) == f"song~{short_cid(cid(1))}"
    assert len(distinct_name("x" * 251 + ".mp3", cid(1)).encode()) == MAX_NAME_BYTES
    assert short_cid(cid(1)) != short_cid(cid(2))


def test_the_first_in_line_gets_the_plain_name() -> None:
    names = named([(cid(1), "a.txt"), (cid(2), "a.txt"), (cid(3), "b.txt")], {})
    assert names == {"a.txt": cid(1), f"a~{short_cid(cid(2))}.txt": cid(2), "b.txt": cid(3)}


def test_a_plain_name_stays_with_its_content() -> None:
    contents = [(cid(1), "a.txt"), (cid(2), "a.txt")]
    assert named(contents, {"a.txt": cid(2)})["a.txt"] == cid(2)
    assert "a.txt" not in named(contents, {"a.txt": cid(3)})


def test_a_name_cannot_shadow_another_contents_distinct_name() -> None:
    trap = distinct_name("a.txt", cid(1))
    names = named([(cid(2), trap), (cid(1), trap)], {})
    assert names[trap] == cid(1)
    assert names[distinct_name(trap, cid(2))] == cid(2)
