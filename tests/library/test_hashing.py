import os
import zlib
from functools import partial
from pathlib import Path

import pytest
import trio

from p2pfs.content.balanced import build_file
from p2pfs.library.hashing import (
    CHUNK_BYTES,
    Reading,
    UnsteadyError,
    begin_hashing,
    hash_rest,
    is_open_for_writing,
    open_steady,
)
from p2pfs.store.beneath import open_beneath


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 40 * CHUNK_BYTES + 5])
async def test_one_read_gives_what_the_content_modules_give(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    reading = begin_hashing(partial(open_beneath, tmp_path), b"file", told_open=False)
    hashed = await hash_rest(reading, trio.CapacityLimiter(1))
    os.close(reading.file.fd)
    chunks = [content[at : at + CHUNK_BYTES] for at in range(0, size, CHUNK_BYTES)] or [b""]
    assert hashed.dag == build_file(chunks)
    assert hashed.crc32 == zlib.crc32(content)
    assert len(hashed.leaves) == len(chunks)


async def test_a_file_that_is_written_to_while_it_is_read_is_unsteady(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(CHUNK_BYTES))
    file = open_steady(partial(open_beneath, tmp_path), b"file", told_open=False)
    os.utime(path, (1, 1))
    with pytest.raises(UnsteadyError):
        await hash_rest(Reading(file), trio.CapacityLimiter(1))
    path.write_bytes(b"short")
    with pytest.raises(UnsteadyError):
        await hash_rest(Reading(file), trio.CapacityLimiter(1))
    os.close(file.fd)


def test_the_kernel_tells_who_writes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    fd = os.open(path, os.O_RDONLY)
    if is_open_for_writing(fd) is None:
        pytest.skip("a file system without leases")
    assert is_open_for_writing(fd) is False
    with path.open("r+b"):
        assert is_open_for_writing(fd) is True
        with pytest.raises(UnsteadyError):
            open_steady(partial(open_beneath, tmp_path), b"file", told_open=False)
    assert is_open_for_writing(fd) is False
    with path.open("r+b"):
        pass  # the lease was given back: this did not wait
    os.close(fd)


def test_what_is_no_regular_file_is_unsteady(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsteadyError):
        open_steady(partial(open_beneath, tmp_path), b"pipe", told_open=False)
    with pytest.raises(FileNotFoundError):
        open_steady(partial(open_beneath, tmp_path), b"../x", told_open=False)
