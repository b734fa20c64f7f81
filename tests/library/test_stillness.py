import os
from pathlib import Path

from p2pfs.library.stillness import Stillness


def status_of(path: Path) -> os.stat_result:
    path.write_bytes(b"x")
    return path.stat()


def test_a_file_waits_until_it_has_been_still(tmp_path: Path) -> None:
    found = status_of(tmp_path / "a")
    changed = found.st_ctime_ns / 1e9
    stillness = Stillness(1.0)
    assert 0.6 < stillness.seconds_to_wait(b"a", found, changed + 0.3, 0) < 0.8
    assert stillness.seconds_to_wait(b"a", found, changed + 1.1, 0) == 0


def test_it_waits_as_long_as_hashing_took(tmp_path: Path) -> None:
    found = status_of(tmp_path / "a")
    changed = found.st_ctime_ns / 1e9
    stillness = Stillness(1.0)
    stillness.hashed(b"a", 10)
    assert 6.9 < stillness.seconds_to_wait(b"a", found, changed + 3, 0) < 7.1
    stillness.hashed(b"a", 10_000)
    assert stillness.seconds_to_wait(b"a", found, changed + 61, 0) == 0
    stillness.forget(b"a")
    assert stillness.seconds_to_wait(b"a", found, changed + 1.1, 0) == 0


def test_a_file_from_the_future_is_watched(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    os.utime(path, (2**33, 2**33))
    found, stillness = path.stat(), Stillness(1.0)
    now = found.st_ctime_ns / 1e9
    assert stillness.seconds_to_wait(b"a", found, now, 50) == 1
    assert stillness.seconds_to_wait(b"a", found, now, 50.5) == 0.5
    assert stillness.seconds_to_wait(b"a", found, now, 51) == 0
