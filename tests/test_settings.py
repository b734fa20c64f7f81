"""Settings out of flags, environment and file: what they may be, and what is said of a slip."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pfs.errors import UsageError
from p2pfs.settings import load_settings


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("512", 512), ("200M", 200 << 20), ("1.5g", 3 << 29), ("20 GiB", 20 << 30)],
)
def test_sizes_are_written_with_units(tmp_path: Path, text: str, size: int) -> None:
    environ = {"P2PFS_HOME": str(tmp_path), "P2PFS_CACHE_SIZE": text}
    assert load_settings({}, environ).cache_size == size


@pytest.mark.parametrize(("text", "rate"), [("0", None), ("none", None), ("2M", 2 << 20)])
def test_no_limit_is_zero_or_none(tmp_path: Path, text: str, rate: int | None) -> None:
    assert load_settings({"limit_up": text}, {"P2PFS_HOME": str(tmp_path)}).limit_up == rate


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("cache_size", "much", "500M"),
        ("cache_size", True, "500M"),
        ("min_free", "-1", "500M"),
        ("limit_up", "1K", "at least 64K"),
        ("seed", "some", "all, pinned, none"),
        ("max_entries", "0", "between 1 and"),
        ("max_entries", "x", "number of files"),
    ],
)
def test_a_slip_is_answered_with_what_it_may_be(
    tmp_path: Path, name: str, value: object, says: str
) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        load_settings({name: value}, {"P2PFS_HOME": str(tmp_path)})
    assert f"{name} in the command line" in str(refused.value)


def test_a_private_networks_secret_is_read_without_the_line_end_of_an_editor(
    tmp_path: Path,
) -> None:
    networks = set()
    for name, text in (("a", "0123456789abcdef"), ("b", "0123456789abcdef\n"), ("c", "x" * 16)):
        (tmp_path / name).write_text(text)
        flags = {"network": "family", "network_secret_file": tmp_path / name}
        networks.add(load_settings(flags, {"P2PFS_HOME": str(tmp_path)}).overlay_network())
    assert len(networks) == 2


@pytest.mark.parametrize("size", [0, 15, 1_025, 1 << 20])
def test_a_file_that_is_no_secret_is_named(tmp_path: Path, size: int) -> None:
    (tmp_path / "secret").write_bytes(b"x" * size)
    flags = {"network_secret_file": str(tmp_path / "secret")}
    settings = load_settings(flags, {"P2PFS_HOME": str(tmp_path)})
    with pytest.raises(UsageError, match="urandom"):
        settings.overlay_network()


def test_a_secret_that_is_not_there_is_no_public_network(tmp_path: Path) -> None:
    environ = {"P2PFS_HOME": str(tmp_path), "P2PFS_NETWORK_SECRET_FILE": str(tmp_path / "no")}
    with pytest.raises(UsageError, match="cannot read"):
        load_settings({}, environ).overlay_network()
