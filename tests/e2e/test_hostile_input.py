"""Garbage from the network: the node stays up, answers others, and does not flood its log."""

from __future__ import annotations

import os
import random
import socket
import ssl
import threading
from pathlib import Path

import pytest

from p2pfs.identity import create_identity
from p2pfs.network import public_network
from tests.e2e.conftest import MakeNode, start_chain
from tools.testbed import wait_until

pytestmark = pytest.mark.kernel

LOG_BYTES_ALLOWED = 20_000


def test_garbage_datagrams_and_requests_leave_the_node_up(make_node: MakeNode) -> None:
    target, other = start_chain(make_node, 2)
    before = target.log.stat().st_size
    rng = random.Random(7)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(3000):
            kind = rng.choice([b"", b"\x00", b"\x01", b"\x02"])
            sock.sendto(kind + rng.randbytes(rng.randrange(1400)), ("127.0.0.1", target.port))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", target.port), 5) as plain:
            plain.sendall(rng.randbytes(300))
    for request in (
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /ipfs/" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /p2pfs/v1/records HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n" + b"\xff" * 9,
        b"\x00\x01\x02\x03 nonsense\r\n\r\n",
    ):
        raw = socket.create_connection(("127.0.0.1", target.port), 5)
        with tls.wrap_socket(raw) as stream:
            stream.settimeout(5)
            stream.sendall(request)
            assert not stream.recv(4096).startswith(b"HTTP/1.1 2")
    (target.share / "still.txt").write_bytes(b"up")
    cid = target.wait_published("still.txt")
    assert (other.mount / "by-hash" / cid).read_bytes() == b"up"
    assert target.log.stat().st_size - before < LOG_BYTES_ALLOWED
    assert "Traceback" not in target.log.read_text()


def test_impossible_names_in_the_mount_are_refused_one_by_one(make_node: MakeNode) -> None:
    node = make_node("A").start()
    for name in ("by-hash/not-a-cid", "by-tag/" + "x" * 300, "by-tag/a\x01\x02", "nothing"):
        assert not os.path.exists(node.mount / name) or name.startswith("by-tag/a")
    assert "README.txt" in os.listdir(node.mount)


def test_a_peer_with_another_key_than_announced_gets_no_request(
    make_node: MakeNode, tmp_path: Path
) -> None:
    holder, reader = start_chain(make_node, 2)
    (holder.share / "a.txt").write_bytes(b"for the right key only " * 20_000)
    holder.wait_published("a.txt")
    found = reader.mount / "by-tag" / "text" / "a.txt"
    wait_until(lambda: found.exists(), 5, "the file listed")
    port = holder.port
    holder.kill()

    impostor = create_identity(tmp_path / "key", public_network("another", 0))
    (tmp_path / "pem").write_bytes(impostor.private_key_pem() + impostor.certificate_pem())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "pem")
    received = []
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(20)

        def accept() -> None:
            raw, _ = server.accept()
            with raw:
                try:
                    with tls.wrap_socket(raw, server_side=True) as stream:
                        received.append(stream.recv(4096))
                except (ssl.SSLError, OSError):
                    received.append(b"")

        accepting = threading.Thread(target=accept)
        accepting.start()
        with pytest.raises(OSError):
            found.read_bytes()
        accepting.join(20)
    assert received == [b""]
