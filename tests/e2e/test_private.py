"""A private network: members exchange files, and to everybody else it is not there."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

import pytest

from p2pfs.dht.kad.wire import Ping, encode_request
from tests.e2e.conftest import MakeNode
from tools.testbed import Node, wait_until

pytestmark = pytest.mark.kernel

# A knock is answered, or not, in a round trip on loopback.
_SILENCE_SECONDS = 0.5


def secret_file(folder: Path, name: str) -> str:
    path = folder / name
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    return str(path)


def with_secret(node: Node, file: str) -> Node:
    node.environ["P2PFS_NETWORK_SECRET_FILE"] = file
    return node


def udp_answer(address: tuple[str, int], datagram: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_SILENCE_SECONDS)
        sock.sendto(datagram, address)
        try:
            return sock.recv(2_000)
        except TimeoutError:
            return b""


def https_answer(address: tuple[str, int]) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(address) as plain:
        try:
            with context.wrap_socket(plain) as sock:
                sock.sendall(b"GET /ipfs/bafkqaaa HTTP/1.1\r\nHost: x\r\n\r\n")
                return sock.recv(1_000)
        except OSError:
            return b""


def test_members_exchange_files_and_others_get_neither_datagram_nor_handshake(
    make_node: MakeNode, tmp_path: Path
) -> None:
    secret, content = secret_file(tmp_path, "secret"), os.urandom(700_000)
    publisher = with_secret(make_node("A"), secret).start()
    reader = with_secret(make_node("B"), secret).start(publisher)
    (publisher.share / "family").mkdir()
    (publisher.share / "family" / "film.bin").write_bytes(content)
    publisher.wait_published("family/film.bin")
    listing = reader.mount / "by-tag" / "family"
    wait_until(lambda: os.listdir(listing) == ["film.bin"], 20, "the film be listed")
    assert (listing / "film.bin").read_bytes() == content
    assert "private" in reader.run("status").stdout
    assert ", private" in reader.run("doctor").stdout

    knock, address = encode_request(bytes(20), Ping(nonce=bytes(16))), (reader.ip, reader.port)
    assert udp_answer(address, knock) == https_answer(address) == b""
    public = make_node("C", mounted=False).start(publisher)
    assert udp_answer((public.ip, public.port), knock)  # so it is a question that nodes answer
    assert https_answer((public.ip, public.port))
    other = secret_file(tmp_path, "other")
    stranger = with_secret(make_node("D", mounted=False), other).start(publisher)
    wait_until(lambda: stranger.status()["overlay"]["problem"], 20, "the stranger's diagnosis")
    assert stranger.status()["overlay"]["contacts"] == public.status()["overlay"]["contacts"] == 0

    wait_until(lambda: public.status()["overlay"]["problem"], 10, "the outsider's diagnosis")
    assert "A private network is silent" in public.run("status").stdout
    assert "\tpeers\t1 peer given, none answers" in public.run("doctor").stdout

    said = stranger.status()["overlay"]["problem"]
    assert publisher.address in said
    assert "secret" in said
    assert said in stranger.run("status").stdout
    [peers] = [each for each in stranger.run("doctor").stdout.splitlines() if "\tpeers\t" in each]
    assert said in peers
    assert peers.startswith("warn")
    assert "\tnetwork\tp2pfs-testbed, private" in stranger.run("doctor").stdout
    Path(other).chmod(0o640)
    assert f"chmod 600 {other}" in stranger.run("doctor").stdout


def test_a_secret_that_cannot_be_used_stops_the_start(make_node: MakeNode, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("tooshort\n")
    for file, says in ((short, "16 to 1024"), (tmp_path / "absent", "cannot read")):
        node = with_secret(make_node("A", mounted=False), str(file))
        tried = node.run("node", "--listen", "127.0.0.1:0")
        assert tried.returncode == 2
        assert says in tried.stderr
        assert f"| base64 > {file}`" in tried.stderr or "No such file" in tried.stderr
        doctor = node.run("doctor").stdout
        assert str(file) in doctor
