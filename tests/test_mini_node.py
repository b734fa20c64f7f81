"""A node that was written from docs/wire.md alone takes part in a network of real ones."""

from __future__ import annotations

import ast
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pfs.content.metainfo import MetaInfo
from tests.dht.kad.nodes import LOOPBACK, NETWORK, identity, meta_of, open_node, wait_until
from tools import mini_node
from tools.mini_node import MiniNode

_SECONDS = 20


@pytest.fixture
def mini() -> Iterator[MiniNode]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, 0))
        yield MiniNode(mini_node.network(NETWORK.name), Ed25519PrivateKey.generate(), sock)


def test_it_is_short_and_imports_nothing_of_p2pfs() -> None:
    source = Path(mini_node.__file__).read_text()
    assert len(source.splitlines()) < 300
    imported = [
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    assert imported
    assert not [name for name in imported if str(name).startswith(("p2pfs", "tests", "tools"))]


async def test_it_joins_stores_and_finds(mini: MiniNode) -> None:
    publisher = identity()
    async with open_node() as (first, address), open_node(address, own=publisher) as (second, _):
        await wait_until(lambda: len(first.contacts()) == 1)
        with trio.fail_after(_SECONDS):
            assert await trio.to_thread.run_sync(mini.join, (address.ip, address.port))
            assert len(mini.contacts) == 2
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, mini.listen, 3.0, None)
                own_key = mini_node.public(mini.key)
                for node in (first, second):
                    await wait_until(lambda node=node: own_key in _keys(node.contacts()))
            copies = await trio.to_thread.run_sync(mini.publish, "mini.txt", b"mini\n", "music")
            assert copies == 2
            found: list[MetaInfo] = []
            await second.search("music", found.append)
            assert [(meta.name, meta.publisher) for meta in found] == [("mini.txt", own_key)]
            assert await second.publish(meta_of(publisher, b"song", "music")) >= 1
            listed = await trio.to_thread.run_sync(mini.find, "music")
            assert {meta["publisher"] for meta in listed} == {own_key, publisher.public_key}


NESTED = msgspec.Raw(b"\x91" * 2_000)  # arrays in arrays


@pytest.mark.parametrize(
    "call",
    [
        msgspec.Raw(b""),
        NESTED,
        1,
        [],
        ["ping"],
        ["ping", 1],
        ["ping", []],
        ["ping", [1]],
        [1, [{}]],
    ],
)
def test_a_request_that_is_none_is_passed_over(mini: MiniNode, call: object) -> None:
    with peer_of(mini) as peer:
        for each in (call, ["ping", [{"n": bytes(16)}]]):
            peer.send(b"\0" + bytes(20) + msgspec.msgpack.encode(each))
        mini.listen(0.1, None)
        assert set(msgspec.msgpack.decode(peer.recv(2048)[21:])) == {"t"}


@pytest.mark.parametrize(
    "reply",
    [
        NESTED,
        1,
        ["t"],
        {"t": 1},
        {"4": 1},
        {"v": 1},
        {"v": [1]},
        {"p": 1},
        {"p": [bytes(32), bytes(64), "now", 1, 1]},
        {"p": [bytes(32), bytes(64), 1, "port", 1]},
    ],
)
def test_a_reply_that_is_none_counts_as_silence(mini: MiniNode, reply: object) -> None:
    with peer_of(mini) as peer:
        peer.send(b"\1" + bytes(20) + msgspec.msgpack.encode(reply))
        assert mini.listen(0.1, (peer.getsockname(), bytes(20))) is None


@pytest.mark.parametrize("numbers", [(-1, 1, 1), (1, -1, 1), (1, 1, 2**16)])
def test_numbers_out_of_range_are_no_proof(mini: MiniNode, numbers: tuple[int, ...]) -> None:
    with peer_of(mini) as peer, ThreadPoolExecutor(1) as pool:
        mini.tokens[peer.getsockname()] = bytes(16)
        met = pool.submit(mini.meet, peer.getsockname(), "ping", {})
        message_id = peer.recv(2048)[1:21]
        reply = {"p": [bytes(32), bytes(64), *numbers], "a": bytes(6)}
        peer.send(b"\1" + message_id + msgspec.msgpack.encode(reply))
        assert met.result() is None


def test_referrals_to_where_nobody_can_be_end_no_lookup(
    mini: MiniNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mini_node, "ANSWER_SECONDS", 0.01)
    liar, key, meet = ("127.0.0.9", 7009), bytes(32), mini.meet
    nowhere = [(LOOPBACK, 0), ("255.255.255.255", 7000), ("0.0.0.0", 0)]  # noqa: S104 sent to
    referrals = b"".join(key + mini_node.pack(address) for address in nowhere)
    mini.contacts[liar] = key

    def ask(to: mini_node.Address, name: str, body: mini_node.Map) -> mini_node.Reply | None:
        return {"4": referrals + bytes(37)} if to == liar else meet(to, name, body)

    monkeypatch.setattr(mini, "meet", ask)
    assert mini.lookup(bytes(20)) == [liar]


async def test_its_commands_publish_and_find(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_bytes(b"notes\n")
    async with open_node() as (_, address):
        command = [mini_node.__file__, "--peer", str(address), "--network", NETWORK.name, "music"]
        with trio.fail_after(_SECONDS):
            published = await trio.run_process(
                [sys.executable, *command, str(file)], capture_stdout=True
            )
            assert published.stdout == b"1 copies\n"
            found = await trio.run_process([sys.executable, *command], capture_stdout=True)
        assert found.stdout == b"'notes.txt' 6 bytes\n"


@contextmanager
def peer_of(mini: MiniNode) -> Iterator[socket.socket]:
    """A socket of somebody who knows the node's address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((LOOPBACK, 0))
        peer.connect(mini.sock.getsockname())
        peer.settimeout(1)
        yield peer


def _keys(contacts: tuple) -> set[bytes]:
    return {contact.public_key for contact in contacts}
