"""Routers that answer, that do not, and that wish us ill; over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import ClassVar

import pytest
import trio
import trio.testing

from p2pfs.addresses import Endpoint, Neighbourhood
from p2pfs.content.cid import Cid, parse_cid
from p2pfs.dht import delegated
from p2pfs.dht.delegated import Delegated, open_delegated
from p2pfs.dht.overlay import Joined, Overlay, Provider
from p2pfs.errors import NoPeersError, UnreachableError, UsageError
from p2pfs.identity import Identity, OwnKey, peer_id
from p2pfs.peers.contents import Contents
from p2pfs.peers.gateway import Gateway
from p2pfs.peers.pages import RECORDS_PATH, Pages
from p2pfs.peers.routing import ROUTING_PATH, Routing
from p2pfs.peers.streams.tls import TlsStream
from tests.dht.fakes import DictOverlay, OverlayWorld
from tests.dht.kad.nodes import cid_of, expiry, wait_until
from tests.dht.overlay_suite import Join, ProvidersSuite
from tests.peers.fakes import (
    MemoryBlocks,
    Script,
    answering,
    http_answer,
    identity,
    no_records,
    scripted,
    serving,
)
from tests.samples import meta, public_key

SONG = cid_of(b"song")
LINES = "Content-Type: application/x-ndjson"
COUNTS = Neighbourhood().counts


def url_of(provider: Provider, name: str = "server") -> str:
    return f"https://{identity(name).peer_id}@{provider.addresses[0]}"


def line(*multiaddrs: str, number: int = 1) -> bytes:
    record = {"Schema": "peer", "ID": peer_id(public_key(number)), "Addrs": multiaddrs}
    return json.dumps(record).encode() + b"\n"


HERE = "/ip4/127.0.0.1/tcp/7117/tls/http"
FOUND = Provider(public_key(1), (Endpoint("127.0.0.1", 7117),))


@asynccontextmanager
async def router(script: Script) -> AsyncIterator[Delegated]:
    async with (
        scripted(script) as provider,
        open_delegated([url_of(provider)], COUNTS, OwnKey()) as made,
    ):
        yield made[0]


def gateway(member: DictOverlay) -> Gateway:
    """A real node's answers, out of a network that is a dict."""
    own = Provider(identity("server").public_key, ())
    pages = Pages(None, no_records, lambda _: True, lambda: 0)  # type: ignore[arg-type]
    blocks = MemoryBlocks()
    routing = Routing(blocks, lambda _: [], lambda: own, member.providers, Neighbourhood())  # type: ignore[arg-type]
    others = {RECORDS_PATH: pages.answer, ROUTING_PATH: routing.answer}
    return Gateway(Contents(blocks), others, lambda _: True)  # type: ignore[arg-type]


class TestDelegatedRouting(ProvidersSuite):
    """The client asks the gateway of a real node, which looks in its network."""

    members: ClassVar[dict[Overlay, DictOverlay]] = {}

    @pytest.fixture
    async def join(self) -> AsyncIterator[Join]:
        world = OverlayWorld()
        async with AsyncExitStack() as nodes:
            at = await nodes.enter_async_context(serving(gateway(world.join(public_key(9)))))

            async def join(own: Identity) -> Overlay:
                opening = open_delegated([url_of(at)], COUNTS, OwnKey(own.public_key))
                [overlay] = await nodes.enter_async_context(opening)
                self.members[overlay] = world.join(own.public_key, Endpoint("127.0.0.1", 7117))
                return overlay

            yield join

    async def offer(self, overlay: Overlay, cid: Cid) -> None:
        await self.members[overlay].announce(cid, expiry())


async def found_at(overlay: Delegated, cid: Cid = SONG) -> list[Provider]:
    found: list[Provider] = []
    await overlay.providers(cid, found.append)
    return found


async def failing(overlay: Delegated) -> str:
    """What is told before the failure is kept; why it fails."""
    with pytest.raises(UnreachableError) as caught:
        await overlay.providers(SONG, lambda _: None)
    assert str(caught.value).startswith(overlay.last_error)
    assert overlay.last_error.startswith(overlay.url)
    return overlay.last_error


async def test_a_router_takes_no_records_and_knows_no_tags() -> None:
    async with open_delegated(["http://127.0.0.1:1"], COUNTS, OwnKey()) as (overlay,):
        assert await overlay.announce(SONG, expiry()) == 0
        assert await overlay.publish(meta()) == 0
        with pytest.raises(NoPeersError):
            await overlay.search("jazz", lambda _: None)
        assert overlay.asked == 0


async def test_what_is_in_the_id_itself_is_not_asked_for() -> None:
    async with open_delegated(["http://127.0.0.1:1"], COUNTS, OwnKey()) as (overlay,):
        assert await found_at(overlay, parse_cid("bafkqaaa")) == []
        assert overlay.asked == 0


async def test_what_is_asked_is_in_the_specifications_words() -> None:
    heads: list[bytes] = []

    async def script(stream: TlsStream) -> None:
        heads.append(await stream.receive_some())
        await stream.send_all(http_answer(line(HERE), LINES))

    async with router(script) as overlay:
        assert await found_at(overlay) == [FOUND]
        assert (overlay.asked, overlay.found, overlay.last_error) == (1, 1, "")
    first, *fields = heads[0].decode().splitlines()
    wanted = f"/routing/v1/providers/{SONG}?filter-protocols=transport-ipfs-gateway-http"
    assert first == f"GET {wanted} HTTP/1.1"
    assert "accept: application/x-ndjson, application/json;q=0.9" in map(str.lower, fields)
    assert not any(field.lower().startswith(("cookie", "authorization")) for field in fields)


async def test_json_and_nobody_are_understood_too() -> None:
    text = b'{"Providers": [%s]}' % line(HERE).strip()
    async with router(answering(http_answer(text, "Content-Type: application/json"))) as overlay:
        assert await found_at(overlay) == [FOUND]
    async with router(answering(http_answer(b"no", status="404 Not Found"))) as overlay:
        assert await found_at(overlay) == []


async def test_what_is_found_is_told_before_the_answer_has_ended() -> None:
    told = trio.Event()

    async def script(stream: TlsStream) -> None:
        await stream.receive_some()
        head = f"HTTP/1.1 200 OK\r\n{LINES}\r\nTransfer-Encoding: chunked\r\n\r\n"
        first = line(HERE)
        await stream.send_all(head.encode() + b"%x\r\n%s\r\n" % (len(first), first))
        await told.wait()
        await stream.send_all(b"0\r\n\r\n")

    async with router(script) as overlay:
        with trio.fail_after(2):
            await overlay.providers(SONG, lambda _: told.set())


async def test_addresses_of_another_scope_are_left_out() -> None:
    far = "/ip4/11.0.0.1/tcp/7117/tls/http"
    answer = line(HERE, far, "/ip4/192.168.77.1/tcp/7117/tls/http", "/ip4/224.0.0.1/tcp/7117/https")
    async with router(answering(http_answer(answer, LINES))) as overlay:
        [found] = await found_at(overlay)
    assert found.addresses == (Endpoint("127.0.0.1", 7117), Endpoint("11.0.0.1", 7117))
    assert not COUNTS("127.0.0.1", "11.0.0.9")  # from a router that is not on this machine


async def test_whoever_has_another_key_than_the_url_says_is_sent_nothing() -> None:
    received: list[bytes] = []

    async def script(stream: TlsStream) -> None:
        received.append(await stream.receive_some())

    async with (
        scripted(script) as provider,
        open_delegated([url_of(provider, "another")], COUNTS, OwnKey()) as (overlay,),
    ):
        assert "another key" in await failing(overlay)
    assert received in ([], [b""])


async def test_without_a_peer_id_the_certificate_must_be_one_that_the_system_trusts() -> None:
    async with (
        scripted(answering(http_answer(line(HERE), LINES))) as provider,
        open_delegated([f"https://{provider.addresses[0]}"], COUNTS, OwnKey()) as (overlay,),
    ):
        assert "certificate" in await failing(overlay)


async def test_a_peer_id_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(UsageError, match="peer id"):
        async with open_delegated([f"https://12D3Koo{'z' * 45}@127.0.0.1:1"], COUNTS, OwnKey()):
            pass


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "Server disconnected"),
        (b"SSH-2.0-x\r\n\r\n", "illegal"),
        (http_answer(b"", "Location: https://127.0.0.1:1/", status="302 Found"), "not followed"),
        (http_answer(b"", status="503 Service Unavailable"), "busy"),
        (http_answer(b"", status="500 Oh"), "status 500"),
        (http_answer(b"<html>", "Content-Type: text/html"), "neither JSON"),
        (http_answer(b"\x1f\x8b", LINES, "Content-Encoding: gzip"), "encodes"),
        (http_answer(line(HERE) + b"garbage\n", LINES), "no JSON"),
        (http_answer(b"[" * 9_000, "Content-Type: application/json"), "no list"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000, "too long|exceeded|broke"),
        (http_answer(line(HERE), LINES)[:-9], "incomplete|without sending"),
    ],
    ids=str,
)
async def test_a_router_that_is_none_says_why(answer: bytes, why: str) -> None:
    async def script(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    async with router(script) as overlay:
        with pytest.raises(UnreachableError, match=f"(?i){why}"):
            await found_at(overlay)
        assert overlay.last_error


async def flood(stream: TlsStream, piece: bytes) -> None:
    await stream.receive_some()
    await stream.send_all(f"HTTP/1.1 200 OK\r\n{LINES}\r\n\r\n".encode())
    while True:
        await stream.send_all(piece)


@pytest.mark.parametrize("piece", [b"x" * 1_000, line() * 100, b"\n" * 1_000])
async def test_a_stream_without_an_end_is_cut(piece: bytes) -> None:
    async with router(partial(flood, piece=piece)) as overlay:
        with trio.fail_after(5):
            assert "too long" in await failing(overlay) or "does not end" in overlay.last_error


async def test_a_stream_that_trickles_ends_at_the_deadline_and_what_came_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delegated, "_ANSWER_SECONDS", 0.3)

    async def script(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(f"HTTP/1.1 200 OK\r\n{LINES}\r\n\r\n".encode() + line(HERE))
        while True:
            await stream.send_all(b" ")
            await trio.sleep(0.01)

    found: list[Provider] = []
    async with router(script) as overlay:
        with pytest.raises(UnreachableError, match="longer than"):
            await overlay.providers(SONG, found.append)
    assert found == [FOUND]


async def test_endless_interim_answers_end_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegated, "_ANSWER_SECONDS", 0.3)

    async def script(stream: TlsStream) -> None:
        await stream.receive_some()
        while True:
            await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")

    async with router(script) as overlay:
        assert "longer than" in await failing(overlay)


async def test_a_router_that_is_silent_is_given_up_and_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delegated, "_ANSWER_SECONDS", 0.3)

    async def script(stream: TlsStream) -> None:
        await trio.sleep_forever()

    async with router(script) as overlay:
        first = await failing(overlay)
        with trio.fail_after(0.1):
            assert await failing(overlay) == first
        assert overlay.asked == 1
        overlay._resumes_at = 0
        await failing(overlay)
        assert overlay.asked == 2


async def test_a_router_that_has_answered_since_a_failure_is_asked_again() -> None:
    slow, questions = trio.Event(), 0

    async def script(stream: TlsStream) -> None:
        nonlocal questions
        questions += 1
        if questions == 2:  # the connection breaks off, while another question waits
            return
        await stream.receive_some()
        if questions < 3:
            await slow.wait()
        await stream.send_all(http_answer(line(HERE), LINES))

    async with router(script) as overlay:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(found_at, overlay, SONG)
            await trio.testing.wait_all_tasks_blocked(0.05)
            await failing(overlay)
            slow.set()
        assert await found_at(overlay, SONG) == [FOUND]


async def test_many_questions_wait_for_their_turn_and_that_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delegated, "_ANSWER_SECONDS", 0.5)
    at_once, most = 0, 0

    async def script(stream: TlsStream) -> None:
        nonlocal at_once, most
        while await stream.receive_some():
            at_once += 1
            most = max(most, at_once)
            await trio.sleep(0.1)
            at_once -= 1
            await stream.send_all(http_answer(line(HERE), LINES))

    async with router(script) as overlay, trio.open_nursery() as nursery:
        for number in range(64):
            nursery.start_soon(found_at, overlay, cid_of(b"%d" % number))
    assert (overlay.asked, overlay.found, overlay.last_error, most) == (64, 64, "", 8)


async def test_a_refused_connection_is_a_failure_of_that_router() -> None:
    async with open_delegated(["http://127.0.0.1:1"], COUNTS, OwnKey()) as (overlay,):
        assert await failing(overlay)


async def test_of_several_routers_each_fails_alone_and_holds_up_none() -> None:
    async def silent(stream: TlsStream) -> None:
        await trio.sleep_forever()

    async with (
        scripted(silent) as hanging,
        scripted(answering(http_answer(b"{" * 9_999, LINES))) as lying,
        scripted(answering(http_answer(line(HERE), LINES))) as good,
        open_delegated(
            ["http://127.0.0.1:1", *map(url_of, (hanging, lying, good))], COUNTS, OwnKey()
        ) as routers,
        trio.open_nursery() as nursery,
    ):
        found: list[Provider] = []
        nursery.start_soon(Joined(*routers).providers, SONG, found.append)
        await wait_until(lambda: bool(found), seconds=2)
        await wait_until(lambda: bool(routers[0].last_error and routers[2].last_error), seconds=2)
        assert not routers[1].last_error  # it has all of its time, and nobody waits for it
        nursery.cancel_scope.cancel()
    assert found == [FOUND]
    assert routers[3].last_error == ""


async def test_proxies_from_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with router(answering(http_answer(line(HERE), LINES))) as overlay:
        assert await found_at(overlay) == [FOUND]
