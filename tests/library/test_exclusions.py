import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.library.exclusions import exclusion, parse_ignore_file

HIDDEN = (b".git", b"a/.hidden/b.txt", b".p2pfsignore", b"a/.b")
TEMPORARY = (
    b"a~",
    b"x/film.mkv.part",
    b"a.TMP",
    b"a.crdownload",
    b".a.swp",
    b"db-journal",
    b"db-wal",
    b"db-shm",
    b"#a#",
    b"4913",
)
ORDINARY = (b"a", b"a/b/c.txt", b"#", b"a.partial", b"49130", b"...a"[3:], b"\xff\xfe")


@pytest.mark.parametrize("path", HIDDEN)
def test_hidden_files_are_not_published(path: bytes) -> None:
    assert exclusion(path, {}) is not None


@pytest.mark.parametrize("path", TEMPORARY)
def test_temporary_files_are_not_published(path: bytes) -> None:
    assert exclusion(path, {}) is not None


@pytest.mark.parametrize("path", ORDINARY)
def test_ordinary_files_are_published(path: bytes) -> None:
    assert exclusion(path, {}) is None


def test_an_ignore_file_names_files_and_directories() -> None:
    ignores = {
        b"": parse_ignore_file(b"# no drafts\ndraft*\n\n/top.txt\nbuild/\nx/y.txt\n"),
        b"sub": parse_ignore_file(b"*.log\n!keep.log"),
    }

    def ignored(path: bytes) -> bool:
        return exclusion(path, ignores) is not None

    assert ignored(b"draft.odt")
    assert ignored(b"a/drafts/b")
    assert ignored(b"top.txt")
    assert not ignored(b"a/top.txt")
    assert ignored(b"a/build/x")
    assert not ignored(b"build")
    assert ignored(b"x/y.txt")
    assert not ignored(b"a/x/y.txt")
    assert ignored(b"sub/b/c.log")
    assert not ignored(b"sub/b/keep.log")
    assert not ignored(b"c.log")


@given(st.binary(max_size=200), st.binary(min_size=1, max_size=50))
def test_any_bytes_are_an_ignore_file(raw: bytes, path: bytes) -> None:
    exclusion(path, {b"": parse_ignore_file(raw)})


def test_the_key_of_a_node_is_never_published() -> None:
    assert exclusion(b"homes/a/data/identity.key", {}) == "a node's private key"
    assert exclusion(b"identity.key.txt", {}) is None
