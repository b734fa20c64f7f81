"""Delegated Routing V1 as Kubo and Helia ask it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

import httpx
import pytest
import trio

from p2pfs.addresses import Endpoint, Neighbourhood
from p2pfs.content.cid import Cid, cid_of, raw_cid
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.overlay import Provider
from p2pfs.dht.records import record_of
from p2pfs.dht.subjects import provider_subject
from p2pfs.identity import peer_id
from p2pfs.peers import routing as routing_module
from p2pfs.peers.asked import Asked
from p2pfs.peers.routing import Routing, stored_providers
from p2pfs.peers.trustless import RefusedError
from tests.content.dags import balanced
from tests.dht.fakes import OverlayWorld
from tests.peers.fakes import MemoryBlocks, gateway_of, identity, nobody, serving
from tests.samples import NETWORK, NOW, multihash, provider, public_key

FILE = balanced(b"hello")
STORED = raw_cid(multihash(0)[2:])
OWN = Provider(public_key(9), (Endpoint("11.0.0.1", 7117), Endpoint("192.168.1.2", 7117)))
STRANGER, LOOPBACK = "11.0.0.9", "127.0.0.1"
HERE = Endpoint("127.0.0.1", 7117)


async def never() -> Any:  # noqa: ANN401 ASGI's
    await trio.sleep_forever()


def asked(target: str, ip: str = STRANGER, method: str = "GET", accept: bytes = b"") -> Asked:
    path, _, query = target.partition("?")
    return Asked(
        method, path, query.encode(), {b"accept": accept}, Endpoint(ip, 50_000), HERE, never
    )


def routing(lookup: Callable[..., Any] = nobody) -> Routing:
    """A node that holds FILE, and the record of another one."""
    records = MemoryRecordStore()
    subject = provider_subject(STORED.multihash)
    records.put(record_of(subject, provider(0, 1)), LOOPBACK, NOW)
    stored = partial(stored_providers, records, NETWORK, lambda: NOW)
    return Routing(MemoryBlocks(FILE), stored, lambda: OWN, lookup, Neighbourhood())  # type: ignore[arg-type]


async def peers(routing: Routing, cid: Cid, ip: str = STRANGER) -> dict[str, list[str]]:
    """Addresses by peer id."""
    answer = await routing.answer(asked(f"/routing/v1/providers/{cid}", ip))
    assert answer.status == HTTPStatus.OK
    body = json.loads(b"".join([bytes(piece) async for piece in answer.pieces]))
    assert list(body) == ["Providers"]
    for found in body["Providers"]:
        assert found["Schema"] == "peer"
        assert found["Protocols"] == ["transport-ipfs-gateway-http"]
    return {found["ID"]: found["Addrs"] for found in body["Providers"]}


async def test_a_stranger_is_told_that_this_node_has_it_and_where() -> None:
    assert await peers(routing(), FILE.root) == {
        peer_id(OWN.public_key): ["/ip4/11.0.0.1/tcp/7117/tls/http"]
    }


async def test_a_program_on_this_machine_is_also_told_where_it_has_reached_us() -> None:
    found = await peers(routing(), FILE.root, LOOPBACK)
    assert "/ip4/127.0.0.1/tcp/7117/tls/http" in found[peer_id(OWN.public_key)]


async def test_stored_records_are_told_with_the_addresses_that_count_for_the_asker() -> None:
    assert await peers(routing(), STORED, LOOPBACK) == {
        peer_id(public_key(1)): ["/ip4/127.0.0.1/tcp/7117/tls/http"]
    }
    assert await peers(routing(), STORED, STRANGER) == {}


async def test_nothing_known_is_an_empty_list() -> None:
    assert await peers(routing(), cid_of(0x55, b"nobody's"), LOOPBACK) == {}


async def test_a_lookup_is_run_for_this_machine_alone() -> None:
    world = OverlayWorld()
    far = world.join(public_key(2), Endpoint("2a00::1", 443))
    await far.announce(FILE.root, NOW)
    asking = routing(world.join(OWN.public_key).providers)
    assert peer_id(public_key(2)) not in await peers(asking, FILE.root)
    found = await peers(asking, FILE.root, LOOPBACK)
    assert found[peer_id(public_key(2))] == ["/ip6/2a00::1/tcp/443/tls/http"]
    assert len(found) == 2


async def test_a_lookup_that_takes_long_is_not_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def slow(_cid: Cid, found: Callable[[Provider], None]) -> None:
        found(Provider(public_key(2), (HERE,)))
        await trio.sleep_forever()

    found = await peers(routing(slow), FILE.root, LOOPBACK)
    assert peer_id(public_key(2)) in found
    assert trio.current_time() < 60


async def test_no_more_are_told_than_a_client_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing_module, "_MAX_PROVIDERS", 3)

    async def crowd(_cid: Cid, found: Callable[[Provider], None]) -> None:
        for number in range(10, 20):
            found(Provider(public_key(number), (HERE,)))

    assert len(await peers(routing(crowd), FILE.root, LOOPBACK)) == 3


async def test_a_stranger_that_goes_on_asking_is_refused_for_a_while_and_this_machine_is_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asking = routing()
    for _ in range(256):
        await peers(asking, FILE.root)
    with pytest.raises(RefusedError) as refused:
        await peers(asking, FILE.root)
    assert refused.value.status == HTTPStatus.TOO_MANY_REQUESTS
    assert await peers(asking, FILE.root, "12.0.0.1")
    for _ in range(300):
        await peers(asking, FILE.root, LOOPBACK)
    await trio.sleep(0.1)
    assert await peers(asking, FILE.root)


async def test_lines_come_if_they_are_accepted() -> None:
    question = asked(f"/routing/v1/providers/{FILE.root}", accept=b"application/x-ndjson, */*")
    answer = await routing().answer(question)
    assert dict(answer.headers)[b"content-type"] == b"application/x-ndjson"
    [line] = b"".join([bytes(piece) async for piece in answer.pieces]).splitlines()
    assert json.loads(line)["ID"] == peer_id(OWN.public_key)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "providers/nonsense", 422),
        ("GET", "providers/", 422),
        ("GET", f"peers/{peer_id(OWN.public_key)}", 501),
        ("GET", "ipns/x", 501),
        ("PUT", "providers/", 501),
    ],
)
async def test_each_wrong_request_has_its_status(method: str, target: str, status: int) -> None:
    with pytest.raises(RefusedError) as error:
        await routing().answer(asked(f"/routing/v1/{target}", method=method))
    assert error.value.status == status


async def test_it_is_answered_over_tls_and_to_browsers() -> None:
    async with (
        serving(gateway_of(MemoryBlocks(FILE))) as peer,
        httpx.AsyncClient(verify=False, trust_env=False) as client,  # noqa: S501
    ):
        url = f"https://{peer.addresses[0]}/routing/v1/providers/{FILE.root}"
        answer = await client.get(url)
        [found] = answer.json()["Providers"]
        assert found["ID"] == identity("server").peer_id
        assert found["Addrs"] == [f"/ip4/127.0.0.1/tcp/{peer.addresses[0].port}/tls/http"]
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["access-control-allow-origin"] == "*"
        preflight = await client.options(url)
        assert preflight.status_code == 204
        assert "GET" in preflight.headers["access-control-allow-methods"]
