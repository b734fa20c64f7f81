"""Who gets a TLS connection in a private network: those who know its secret."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from p2pfs.addresses import Endpoint
from p2pfs.identity import public_key_of_certificate
from p2pfs.network import MemberKeys, private_network
from p2pfs.peers.errors import NotMemberError, PeerUnavailableError, WrongKeyError
from p2pfs.peers.streams.credentials import client_context, server_context
from p2pfs.peers.streams.tls import TlsStream, connect_tls
from tests.peers.fakes import identity, scripted

MEMBERS = private_network("family", b"sixteen bytes and more").members
OTHERS = private_network("family", b"another secret of theirs").members


async def greet(stream: TlsStream) -> None:
    await stream.send_all(b"welcome")
    await stream.receive_some()


async def talk(server: MemberKeys | None, client: MemberKeys | None, key: str = "server") -> bytes:
    """What the client gets to read; empty if the connection ends before."""
    context = server_context(identity("server"), server)
    async with scripted(greet, context=context) as peer:
        with trio.fail_after(5):
            stream, _ = await connect_tls(
                peer.addresses[0], identity(key).public_key, client_context(client)
            )
            try:
                with suppress(trio.BrokenResourceError):
                    return await stream.receive_some()
                return b""
            finally:
                stream.close()


async def test_members_talk_and_so_do_those_without_a_secret() -> None:
    assert await talk(MEMBERS, MEMBERS) == b"welcome"
    assert await talk(None, None) == b"welcome"


async def test_an_outsider_gets_no_byte_from_a_member() -> None:
    assert await talk(MEMBERS, None) == b""


async def test_all_that_an_outsider_is_shown_is_whose_node_it_is() -> None:
    async with scripted(greet, context=server_context(identity("server"), MEMBERS)) as peer:
        stream, _ = await connect_tls(peer.addresses[0], None, client_context())
        assert stream.peer_key() == identity("server").public_key
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        stream.close()


@pytest.mark.parametrize("server", [None, OTHERS])
async def test_a_member_does_not_talk_to_outsiders(server: MemberKeys | None) -> None:
    with pytest.raises(NotMemberError, match="no member"):
        await talk(server, MEMBERS)


async def test_the_key_is_pinned_among_members_too() -> None:
    with pytest.raises(WrongKeyError):
        await talk(MEMBERS, MEMBERS, "another")


async def test_a_member_shows_its_own_key_as_a_server_and_none_of_its_own_as_a_client() -> None:
    shown: list[bytes | None] = []

    async def look(stream: TlsStream) -> None:
        shown.append(stream.peer_certificate())
        await greet(stream)

    context = server_context(identity("server"), MEMBERS)
    async with scripted(look, context=context) as peer:
        for _ in range(2):
            client = client_context(MEMBERS)
            stream, _ = await connect_tls(peer.addresses[0], peer.public_key, client)
            await stream.receive_some()
            stream.close()
    keys = {public_key_of_certificate(each) for each in shown if each is not None}
    assert len(keys) == 2
    assert identity("server").public_key not in keys


async def test_what_is_no_tls_is_another_failure() -> None:
    async def plain(stream: trio.SocketStream) -> None:
        await stream.send_all(b"SSH-2.0-x\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, plain, 0)
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(PeerUnavailableError) as caught:
            await connect_tls(Endpoint("127.0.0.1", port), b"k" * 32, client_context(MEMBERS))
        assert not isinstance(caught.value, NotMemberError)
        nursery.cancel_scope.cancel()
