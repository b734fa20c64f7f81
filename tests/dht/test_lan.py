"""Nodes of one LAN find each other, strangers are not listened to; over multicast on loopback."""

from __future__ import annotations

import errno
import gc
import logging
import os
import socket
import threading

import pytest
import trio
from zeroconf import (
    DNSOutgoing,
    DNSPointer,
    DNSRecord,
    EventLoopBlocked,
    IPVersion,
    ServiceInfo,
    Zeroconf,
)
from zeroconf.const import _CLASS_IN, _FLAGS_AA, _FLAGS_QR_RESPONSE, _TYPE_PTR

from p2pfs.addresses import Endpoint, Neighbourhood
from p2pfs.dht import lan
from p2pfs.dht.lan import SERVICE, discover, tag_of
from p2pfs.network import public_network
from tests.samples import NETWORK

OTHER = public_network("another")
LOOPBACK = ("127.0.0.1",)
NEAR = Neighbourhood()


async def nobody(address: Endpoint) -> None:
    raise AssertionError(f"found {address}")


async def test_nodes_of_one_network_find_each_other_and_no_others() -> None:
    found: dict[int, Endpoint] = {}
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:

            def start(number: int) -> None:
                async def tell(address: Endpoint) -> None:
                    found[number] = address
                    if len(found) == 2:
                        nursery.cancel_scope.cancel()

                nursery.start_soon(discover, NETWORK, 7000 + number, NEAR, tell, LOOPBACK)

            nursery.start_soon(discover, OTHER, 7003, NEAR, nobody, LOOPBACK)
            start(1)
            await trio.sleep(0.2)  # whoever comes later asks, or is heard
            start(2)
    assert found == {1: Endpoint("127.0.0.1", 7002), 2: Endpoint("127.0.0.1", 7001)}
    assert not [each.name for each in threading.enumerate() if "eroconf" in each.name]


async def test_names_that_no_service_can_have_deafen_nobody() -> None:
    found = trio.Event()

    async def tell(_: Endpoint) -> None:
        found.set()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(discover, NETWORK, 7001, NEAR, tell, LOOPBACK)
            await trio.sleep(0.2)
            for instance in ("\x01", "a." * 40, "\x7f", "\ufffd" * 21):
                say_there_is(f"{instance}.{SERVICE}")
            await trio.sleep(0.2)
            nursery.start_soon(discover, NETWORK, 7002, NEAR, nobody_yet, LOOPBACK)
            await found.wait()
            nursery.cancel_scope.cancel()


async def test_names_that_are_nobodys_keep_no_node_waiting() -> None:
    found = trio.Event()

    async def tell(_: Endpoint) -> None:
        found.set()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(discover, NETWORK, 7001, NEAR, tell, LOOPBACK)
            await trio.sleep(0.2)
            for number in range(100):
                say_there_is(f"{number:024x}.{SERVICE}")
            await trio.sleep(0.2)
            nursery.start_soon(discover, NETWORK, 7002, NEAR, nobody_yet, LOOPBACK)
            with trio.fail_after(5):
                await found.wait()
            nursery.cancel_scope.cancel()


async def test_what_belongs_to_a_name_may_come_later() -> None:
    kin = ServiceInfo(
        SERVICE,
        f"aa.{SERVICE}",
        addresses=[bytes((127, 0, 0, 1))],
        port=7002,
        properties={b"t": tag_of(NETWORK, "aa")},
        server="aa.local.",
    )
    found: list[Endpoint] = []

    async def tell(address: Endpoint) -> None:
        found.append(address)
        nursery.cancel_scope.cancel()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(discover, NETWORK, 7001, NEAR, tell, LOOPBACK)
            await trio.sleep(0.2)
            say(kin.dns_pointer())
            await trio.sleep(0.2)
            say(kin.dns_service(), kin.dns_text(), *kin.dns_addresses())
    assert found == [Endpoint("127.0.0.1", 7002)]


async def test_a_library_that_ends_badly_does_not_end_the_node(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class BlockedLoop(Zeroconf):
        def close(self) -> None:
            super().close()
            raise EventLoopBlocked

    monkeypatch.setattr("zeroconf.Zeroconf", BlockedLoop)
    with trio.fail_after(5), trio.move_on_after(0.5):
        await discover(NETWORK, 7001, NEAR, nobody, LOOPBACK)
    assert [each.message for each in caplog.records] == [
        "cannot take leave of the LAN: EventLoopBlocked()"
    ]


async def nobody_yet(_: Endpoint) -> None:
    """The other end may be told as well."""


def say_there_is(name: str) -> None:
    """Answer, as any machine of the LAN can, that there is a service of that name."""
    say(DNSPointer(SERVICE, _TYPE_PTR, _CLASS_IN, 4_500, name))


def say(*records: DNSRecord) -> None:
    answer = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)
    for record in records:
        answer.add_answer_at_time(record, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK[0]))
        for packet in answer.packets():
            sock.sendto(packet, ("224.0.0.251", 5353))


async def test_it_ends_while_it_begins() -> None:
    with trio.fail_after(5), trio.move_on_after(0.05):
        await discover(NETWORK, 7001, NEAR, nobody, LOOPBACK)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_without_multicast_a_node_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "p2pfs")
    await discover(NETWORK, 7001, NEAR, nobody, ())
    assert len(caplog.records) == 1
    with trio.fail_after(5), trio.move_on_after(0.5):
        await discover(NETWORK, 7001, NEAR, nobody, ("10.254.254.254",))  # not this machine's
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 1
    caplog.clear()
    await trio.to_thread.run_sync(gc.collect)  # the library forgets to close a socket


async def test_multicast_that_comes_late_is_waited_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, found = 0, trio.Event()

    class Late(Zeroconf):
        def __init__(self, interfaces: list[str], ip_version: IPVersion) -> None:
            nonlocal tries
            tries += 1
            if tries <= 6:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
            super().__init__(interfaces=interfaces, ip_version=ip_version)

    async def tell(_: Endpoint) -> None:
        found.set()

    monkeypatch.setattr("zeroconf.Zeroconf", Late)
    monkeypatch.setattr(lan, "_AGAIN_SECONDS", 0.05)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(discover, NETWORK, 7001, NEAR, tell, LOOPBACK)
            nursery.start_soon(discover, NETWORK, 7002, NEAR, nobody_yet, LOOPBACK)
            await found.wait()
            nursery.cancel_scope.cancel()
    assert [each.message for each in caplog.records if each.levelno == logging.WARNING] == [
        "cannot look for nodes on the LAN yet: No such device"
    ] * 2  # once each


def test_a_tag_tells_nothing_to_those_who_do_not_know_the_network() -> None:
    assert tag_of(NETWORK, "aa").hex() == "2795fce2ad45aed8bf9cd4c57ef992b0"
    assert len({tag_of(NETWORK, "aa"), tag_of(NETWORK, "ab"), tag_of(OTHER, "aa")}) == 3


def service(*ips: bytes, port: int = 7117, tag: bytes | None = None) -> ServiceInfo:
    properties = {} if tag is None else {b"t": tag}
    return ServiceInfo(
        SERVICE, f"aa.{SERVICE}", addresses=list(ips), port=port, properties=properties
    )


def test_addresses_beyond_the_lan_and_ports_of_services_are_left_out() -> None:
    here = bytes((127, 0, 0, 1))
    far, documentation = bytes((11, 0, 0, 1)), bytes((192, 0, 2, 1))
    assert list(lan._addresses(service(far, documentation, here), NEAR)) == [
        Endpoint("127.0.0.1", 7117)
    ]
    assert list(lan._addresses(service(here, port=53), NEAR)) == []
    assert list(lan._addresses(service(here, port=0), NEAR)) == []
    many = [bytes((127, 0, 0, number)) for number in range(1, 99)]
    assert len(list(lan._addresses(service(*many), NEAR))) == 4


def test_another_network_is_not_kin_whatever_it_shows() -> None:
    own = lan._Announced(NETWORK, "own", 7117, LOOPBACK)
    name = f"aa.{SERVICE}"
    assert own.is_kin(name, service(tag=tag_of(NETWORK, "aa")).properties)
    for tag in (None, b"", b"\xff" * 16, tag_of(OTHER, "aa"), tag_of(NETWORK, "ab")):
        assert not own.is_kin(name, service(tag=tag).properties)
    assert not own.is_kin(name, {b"t": None})
