"""What somebody who watches or pokes at the network gets to see, in a namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeNode
from tools.testbed import wait_until

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

TAP = """
import socket, sys
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
with open(sys.argv[1], "wb", buffering=0) as out:
    out.write(b"ready")
    while True:
        out.write(sock.recv(70000))
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def inside(netns: str, *words: str) -> list[str]:
    return ["nsenter", f"--net=/run/netns/{netns}", "--", *words]


@contextmanager
def two_hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces with a cable between them: 10.93.0.1 and 10.93.0.2."""
    names = f"p2pfs-{os.getpid()}a", f"p2pfs-{os.getpid()}b"
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ends = ("eth0", "type", "veth", "peer", "name", "eth0", "netns", names[1])
        ip("-n", names[0], "link", "add", *ends)
        for index, name in enumerate(names, 1):
            ip("-n", name, "addr", "add", f"10.93.0.{index}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def test_a_tap_shows_no_content_and_plain_http_gets_no_answer(
    make_node: MakeNode, tmp_path: Path
) -> None:
    marker = b"a sentence that must not be seen by those who listen. "
    with two_hosts() as (here, there):
        publisher = make_node("A", netns=here, ip="10.93.0.1").start()
        reader = make_node("B", netns=there, ip="10.93.0.2").start(publisher)
        tapped = tmp_path / "tapped"
        tap = subprocess.Popen(inside(here, sys.executable, "-c", TAP, str(tapped)))
        try:
            wait_until(lambda: tapped.exists() and tapped.stat().st_size, 5, "the tap")
            (publisher.share / "secret.txt").write_bytes(marker * 30_000)
            cid = publisher.wait_published("secret.txt")
            assert (reader.mount / "by-hash" / cid).read_bytes() == marker * 30_000
            request = b"GET /ipfs/" + cid.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n"
            answer = subprocess.run(
                [
                    "nsenter",
                    f"--net=/run/netns/{there}",
                    sys.executable,
                    "-c",
                    PLAIN,
                    publisher.address,
                ],
                input=request,
                capture_output=True,
                check=True,
            ).stdout
        finally:
            tap.terminate()
            tap.wait()
            publisher.stop()
            reader.stop()
    seen = tapped.read_bytes()
    assert len(seen) > 1_500_000  # the transfer did pass the tap
    assert marker not in seen
    assert b"HTTP" not in answer
    assert b"HTTP/1.1 2" not in seen


PLAIN = """
import socket, sys
host, port = sys.argv[1].split(":")
with socket.create_connection((host, int(port)), 5) as sock:
    sock.sendall(sys.stdin.buffer.read())
    sock.settimeout(20)
    try:
        while data := sock.recv(4096):
            sys.stdout.buffer.write(data)
    except OSError:
        pass
"""
