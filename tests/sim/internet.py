"""Datagrams in memory: latency, loss, partitions, and what every address sent and received.

What is in a datagram is nobody's business here; who attaches where is `world`.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint
    from tests.sim.loop import VirtualLoop

Received: TypeAlias = Callable[[bytes, "Endpoint"], None]
# Seconds from one address to another; drawn anew for each datagram, so that they overtake.
Latency: TypeAlias = Callable[["Endpoint", "Endpoint", Random], float]
# Sees every datagram when it is sent: its bytes, its source, where it goes.
Tap: TypeAlias = Callable[[bytes, "Endpoint", "Endpoint"], None]


def steady(round_trip: float) -> Latency:
    """The same for all: half a round trip, in seconds."""
    return lambda _source, _to, _random: round_trip / 2


def scattered(round_trip: float, sigma: float = 0.6, jitter: float = 0.1) -> Latency:
    """Log-normal around the median round trip, fixed for a pair, each datagram off by `jitter`."""

    def seconds(source: Endpoint, to: Endpoint, random: Random) -> float:
        one, other = sorted((source.ip, to.ip))
        pair = zlib.crc32(f"{one} {other}".encode()) / 2**32
        base = round_trip / 2 * math.exp(sigma * _normal(pair))
        return base * (1 + jitter * random.random())

    return seconds


@dataclass(slots=True)
class Traffic:
    """What one address sent and received, in datagrams and bytes without UDP and IP headers."""

    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0


class Internet:
    """Carries datagrams between whoever is attached."""

    def __init__(
        self, loop: VirtualLoop, random: Random, latency: Latency, loss: float = 0.0
    ) -> None:
        self.latency = latency
        self.loss = loss
        self.traffic: dict[Endpoint, Traffic] = {}
        self.sent_to: Counter[Endpoint] = Counter()  # bytes, also those that get lost
        self.taps: list[Tap] = []
        self._loop = loop
        self._random = random
        self._attached: dict[Endpoint, Received] = {}
        self._sides: dict[str, int] = {}

    def attach(self, address: Endpoint, received: Received) -> None:
        """From now on datagrams to that address arrive."""
        self._attached[address] = received

    def detach(self, address: Endpoint) -> None:
        """From now on they get lost, also those under way."""
        self._attached.pop(address, None)

    def part(self, *sides: set[str]) -> None:
        """Cut the network between sets of IPs; whoever is in none is with the first."""
        self._sides = {ip: number for number, side in enumerate(sides) for ip in side}

    def heal(self) -> None:
        """No cut any more."""
        self._sides = {}

    def send(self, data: bytes, source: Endpoint, to: Endpoint) -> None:
        traffic = self._traffic(source)
        traffic.sent += 1
        traffic.sent_bytes += len(data)
        self.sent_to[to] += len(data)
        for tap in self.taps:
            tap(data, source, to)
        if self.loss and self._random.random() < self.loss:
            return
        if self._sides.get(source.ip, 0) != self._sides.get(to.ip, 0):
            return
        delay = self.latency(source, to, self._random)
        self._loop.post(delay, self._deliver, data, source, to)

    def _deliver(self, data: bytes, source: Endpoint, to: Endpoint) -> None:
        received = self._attached.get(to)
        if received is not None:
            traffic = self._traffic(to)
            traffic.received += 1
            traffic.received_bytes += len(data)
            received(data, source)

    def _traffic(self, address: Endpoint) -> Traffic:
        traffic = self.traffic.get(address)
        if traffic is None:
            traffic = self.traffic[address] = Traffic()
        return traffic


class Attachment:
    """One address of the internet as the transport of a node (`sockets.Transport`)."""

    def __init__(self, internet: Internet, address: Endpoint) -> None:
        self._internet = internet
        self._address = address
        self._closed = False

    async def open(self, received: Received) -> None:
        self._internet.attach(self._address, received)

    def sendto(self, data: bytes, address: Endpoint) -> None:
        if not self._closed:
            self._internet.send(data, self._address, address)

    def reaches(self, address: Endpoint) -> bool:
        return (":" in address.ip) == (":" in self._address.ip)

    @property
    def ips(self) -> tuple[str, ...]:
        return (self._address.ip,)

    @property
    def port(self) -> int:
        return self._address.port

    def close(self) -> None:
        self._closed = True
        self._internet.detach(self._address)


def _normal(uniform: float) -> float:
    """A standard normal value out of a uniform one (Tukey's lambda, good to 0.01)."""
    clipped = min(max(uniform, 1e-6), 1 - 1e-6)
    return (math.pow(clipped, 0.1349) - math.pow(1 - clipped, 0.1349)) / 0.1975
