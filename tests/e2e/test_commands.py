"""The command line as scripts and people use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from tests.content.vectors import VECTORS, shake
from tests.e2e.conftest import MakeNode
from tools.testbed import NETWORK, Node, wait_until

pytestmark = pytest.mark.kernel

USAGE, NOT_FOUND, FUSE, NOT_RUNNING = 2, 3, 5, 8


def p2pfs(*words: str, home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "p2pfs", *words],
        env={**os.environ, "P2PFS_HOME": str(home), **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_mount_returns_when_usable_and_umount_ends_the_node(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 40)  # a socket's path may be 107 bytes long, a home's any
    mount = tmp_path / "mnt"
    words = ("--listen", "127.0.0.1:0", "--network", NETWORK)
    done = p2pfs("mount", str(mount), *words, home=home)
    assert (done.returncode, done.stderr) == (0, "")
    try:
        assert "README.txt" in os.listdir(mount)
        again = p2pfs("mount", str(tmp_path / "other"), *words, home=home)
        assert again.returncode == 1
        assert str(mount) in again.stderr
        status = json.loads(p2pfs("status", "--json", home=home).stdout)
        assert status["mounts"] == [str(mount)]
    finally:
        done = p2pfs("umount", str(mount), home=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert not os.path.ismount(mount)
    assert p2pfs("status", home=home).returncode == NOT_RUNNING


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_unmounts_and_ends_the_node(make_node: MakeNode, ending: signal.Signals) -> None:
    node = make_node("A").start()
    assert node.process is not None
    node.process.send_signal(ending)
    assert node.process.wait(15) == 128 + ending
    assert not os.path.ismount(node.mount)


def test_a_fusermount_from_outside_ends_the_node(make_node: MakeNode) -> None:
    node = make_node("A").start()
    subprocess.run(["fusermount3", "-u", str(node.mount)], check=True)
    assert node.process is not None
    assert node.process.wait(15) == 0


def test_a_busy_mount_is_unmounted_all_the_same(make_node: MakeNode) -> None:
    node = make_node("A").start()
    (node.share / "open.txt").write_bytes(b"x")
    assert node.process is not None
    open_file = (node.share / "open.txt").open("rb")
    node.process.terminate()
    assert node.process.wait(15) == 128 + signal.SIGTERM
    assert not os.path.ismount(node.mount)
    with suppress(OSError):  # the file's system is gone
        open_file.close()


NOBODY = 65534
# Everything is imported while still root, which alone may be able to read this checkout; then a
# /dev/fuse with its usual mode, in a mount namespace of its own.
AS_NOBODY = f"""
import os, stat, subprocess, sys, tempfile
import encodings.idna, p2pfs.cli.mount, p2pfs.cli.status, p2pfs.node, httpx
from p2pfs.cli.app import main
device = tempfile.mktemp()
os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(10, 229))
os.chmod(device, 0o666)
subprocess.run(["mount", "--bind", device, "/dev/fuse"], check=True)
os.unlink(device)
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
main()
"""
WRITE_AS_NOBODY = f"""
import os, sys
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
open(sys.argv[1], "wb").write(b"mine")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_mounts_publishes_and_unmounts(make_node: MakeNode) -> None:
    with tempfile.TemporaryDirectory(prefix="p2pfs-") as folder:
        os.chown(folder, NOBODY, NOBODY)
        other = make_node("B").start()
        command = ("unshare", "--mount", sys.executable, "-c", AS_NOBODY)
        node = Node(Path(folder) / "A", command=command, environ={"HOME": folder})
        node.home.mkdir()
        os.chown(node.home, NOBODY, NOBODY)
        try:
            node.start(other)
            assert node.process is not None
            assert node.status()["mounts"] == [str(node.mount)]
            process = f"/proc/{node.process.pid}"
            inside = ["nsenter", f"--mount={process}/ns/mnt", f"--root={process}/root", "--"]
            write = [sys.executable, "-c", WRITE_AS_NOBODY, str(node.share / "a.txt")]
            subprocess.run([*inside, *write], check=True)
            cid = node.wait_published("a.txt")
            assert (other.mount / "by-hash" / cid).read_bytes() == b"mine"
            assert node.stop() == 128 + signal.SIGTERM
        finally:
            node.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_fusermount_says_is_told_where_it_may_not_mount() -> None:
    weak = "import ctypes; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS\n"
    as_weak_nobody = AS_NOBODY.replace("os.setgroups", f"{weak}os.setgroups", 1)
    with tempfile.TemporaryDirectory(prefix="p2pfs-") as folder:
        os.chown(folder, NOBODY, NOBODY)
        words = ("mount", f"{folder}/mnt", "--listen", "127.0.0.1:0", "--network", NETWORK)
        done = subprocess.run(
            ["unshare", "--mount", sys.executable, "-c", as_weak_nobody, *words],
            env={**os.environ, "P2PFS_HOME": f"{folder}/home"},
            capture_output=True,
            text=True,
        )
        assert not (Path(folder) / "mnt").exists()
    assert done.returncode == FUSE
    assert "fusermount3: mount failed: Operation not permitted; `p2pfs doctor`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_cid_prints_what_ipfs_would_and_needs_no_home(tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(b"hello world\n")
    known = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"
    done = p2pfs("cid", str(tmp_path / "hello"), home=tmp_path / "none")
    assert done.stdout.split()[0] == known
    assert not (tmp_path / "none").exists()
    assert p2pfs("cid", str(tmp_path / "absent"), home=tmp_path / "none").returncode == NOT_FOUND


def test_cid_of_a_large_folder_is_that_of_its_shards(tmp_path: Path) -> None:
    vector = VECTORS["dirs"][-1]
    content = b"".join(shake("same", 10, 10))
    (tmp_path / "many").mkdir()
    for index in range(6_000):
        (tmp_path / "many" / f"file-{index}.txt").write_bytes(content)
    done = p2pfs("cid", str(tmp_path / "many"), home=tmp_path / "none")
    assert done.stdout.split()[0] == vector["cid"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("mount",), USAGE, "DIRECTORY"),
        (("frobnicate",), USAGE, "frobnicate"),
        (("node", "--listen", "nonsense"), USAGE, "HOST:PORT"),
        (("node", "--peer", "no such thing"), USAGE, "HOST:PORT"),
        (("umount", "/nowhere"), NOT_FOUND, "/nowhere"),
        (("status",), NOT_RUNNING, "p2pfs mount"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(
    tmp_path: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    done = p2pfs(*words, home=tmp_path)
    assert done.returncode == code
    assert says in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_node_alone_says_so_and_keeps_serving_its_user(make_node: MakeNode) -> None:
    node = make_node("A").start()
    (node.share / "a.txt").write_bytes(b"x")
    wait_until(lambda: node.share_state("a.txt") == "announcing: no peers yet", 10, "the state")
    assert os.listdir(node.mount / "by-tag" / "text") == ["a.txt"]
    assert "nobody else is told of your files" in node.run("status").stdout
    sought = node.run("search", "absent")
    assert sought.returncode == NOT_FOUND
    assert "no other node answers" in sought.stderr
