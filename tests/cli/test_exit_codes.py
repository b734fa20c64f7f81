"""One process for each exit code, ended as a script would see it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from p2pfs.control.api import bind_control
from p2pfs.control.calls import Failed
from p2pfs.errors import EXIT_CODES
from p2pfs.homelock import holding

LISTEN = ("--listen", "127.0.0.1:0", "--network", "test")


def p2pfs(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "p2pfs", *words],
        env={**os.environ, "P2PFS_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextmanager
def answering(home: Path, *bodies: bytes) -> Iterator[None]:
    """A node of that home which answers a question with each of these, and is gone."""
    listener = bind_control(home / "run" / "control.sock")
    listener.setblocking(True)

    def answer() -> None:
        for body in bodies:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(body)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        listener.close()


def refusal(code: int) -> bytes:
    body = msgspec.json.encode(Failed(EXIT_CODES[code], code))
    return b"HTTP/1.1 400 no\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def says_so(done: subprocess.CompletedProcess[str], code: int, said: str) -> bool:
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stderr.count("\n")) == (code, 1 if code else 0)
    return said in done.stderr


def test_0_when_it_is_done(tmp_path: Path) -> None:
    assert says_so(p2pfs("version", home=tmp_path), 0, "")


@pytest.mark.parametrize(
    ("place", "ends_it"),
    [(Path("/mnt/p 2p"), "`p2pfs umount '/mnt/p 2p'`"), (None, f"`kill {os.getpid()}`")],
)
def test_1_for_a_second_node_of_one_home(tmp_path: Path, place: Path | None, ends_it: str) -> None:
    with holding(tmp_path / "data", place):
        assert says_so(p2pfs("node", *LISTEN, home=tmp_path), 1, f"{ends_it} ends it")


def test_2_for_a_flag_that_cannot_mean_anything(tmp_path: Path) -> None:
    assert says_so(p2pfs("node", "--cache-size", "much", home=tmp_path), 2, "500M")


def test_3_for_what_is_not_there(tmp_path: Path) -> None:
    assert says_so(p2pfs("cid", str(tmp_path / "absent"), home=tmp_path), 3, "absent")


def test_4_for_a_node_that_is_gone_before_it_answers(tmp_path: Path) -> None:
    with answering(tmp_path, b""):
        assert says_so(p2pfs("status", home=tmp_path), 4, "p2pfs umount")


def test_5_for_a_place_that_cannot_be_mounted_on(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = p2pfs("mount", str(tmp_path / "full"), *LISTEN, home=tmp_path)
    assert says_so(done, 5, "not empty")


@pytest.mark.parametrize("code", [6, 7, 9])
def test_what_the_node_refuses_has_the_code_that_it_says(tmp_path: Path, code: int) -> None:
    with answering(tmp_path, refusal(code)):
        assert says_so(p2pfs("status", home=tmp_path), code, EXIT_CODES[code])


@pytest.mark.parametrize("in_the_way", ["data", "cache", "state"])
def test_1_for_a_home_that_cannot_be_written_named_also_by_a_mount_in_the_background(
    tmp_path: Path, in_the_way: str
) -> None:
    path = tmp_path / "home" / in_the_way
    path.parent.mkdir()
    path.touch()
    done = p2pfs("mount", str(tmp_path / "mnt"), *LISTEN, home=tmp_path / "home")
    assert says_so(done, 1, str(path))


def test_a_name_that_the_locale_cannot_print_is_no_failure(tmp_path: Path) -> None:
    environ = {**os.environ, "P2PFS_HOME": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "p2pfs", "config", "share"]
    environ["P2PFS_SHARE"] = "/srv/Käse"
    done = subprocess.run(command, env=environ, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"/srv/K?se\n")
    done = subprocess.run([*command, "--json"], env=environ, capture_output=True)
    assert msgspec.json.decode(done.stdout)["value"] == "/srv/Käse"


def test_8_without_a_node(tmp_path: Path) -> None:
    assert says_so(p2pfs("status", home=tmp_path), 8, "p2pfs mount DIR")


def test_141_when_who_reads_the_answer_is_gone(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "p2pfs", "config"]
    environ = {**os.environ, "P2PFS_HOME": str(tmp_path)}
    done = subprocess.run(command, env=environ, stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
