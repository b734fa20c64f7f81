"""A node under 10,000 garbage datagrams a second, spoofed floods, bombs, and fuzzed requests.

    python -m bench.bench_garbage [--seconds 30] [--fuzzed 20000]

The flood comes from a process of its own and, as far as the node can tell, from 200 addresses; an
honest node asks meanwhile.  Then every request is sent many times with bytes changed, under a valid
token, so that it is looked at as closely as an honest one.
"""

from __future__ import annotations

import argparse
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.figures import Figures
from p2pfs.dht.kad import wire
from p2pfs.dht.subjects import tag_subject
from tools import mini_node
from tools.mini_node import Address, MiniNode
from tools.records import publisher, signed_meta
from tools.testbed import NETWORK, Node, testbed, wait_until

RATE = 10_000
SOURCES = 200
BATCH = 100
BOMB_BYTES = 65_507  # the largest UDP datagram
BOMB_SHARE = 0.01
ASKED_A_SECOND = 50
P99_BAR_MS = 100.0
GROWTH_BAR_MIB = 20.0
LOG_LINES_BAR = 100
_FUZZ_RATE = 2_000
_SETTLE_SECONDS = 1.0


def garbage(dice: random.Random) -> bytes:
    """One datagram: noise, half a message, a request without a token, or a bomb."""
    if dice.random() < BOMB_SHARE:
        return (
            b"\0"
            + bytes(20)
            + dice.choice([b"\x91", b"\x81\xa1k", b"\xdf\xff\xff\xff\xff"]) * 20_000
        )
    kind = dice.randrange(3)
    if kind == 0:
        return dice.randbytes(dice.randrange(1, 1_300))
    if kind == 1:
        return (
            dice.choice([b"\0", b"\1"])
            + dice.randbytes(20)
            + dice.randbytes(dice.randrange(1, 200))
        )
    return wire.encode_request(dice.randbytes(20), wire.Ping(nonce=dice.randbytes(16)))


def flood(to: Address, seconds: float, seed: int) -> None:
    """Send so long, from many addresses, at the rate."""
    dice = random.Random(seed)
    sockets = []
    for number in range(SOURCES):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((f"127.7.{number // 250}.{number % 250 + 1}", 0))
        sock.setblocking(False)
        sockets.append(sock)
    ready = [garbage(dice)[:BOMB_BYTES] for _ in range(5_000)]  # made before, to keep the pace
    sent, started = 0, time.monotonic()
    while (passed := time.monotonic() - started) < seconds:
        if sent > passed * RATE:
            time.sleep(0.001)
            continue
        for _ in range(BATCH):
            try:
                dice.choice(sockets).sendto(dice.choice(ready), to)
            except OSError:
                continue
        sent += BATCH
    print(sent / passed)


def ask(node: MiniNode, to: Address, seconds: float) -> tuple[list[float], int]:
    """Milliseconds of each answer, and how many questions got none."""
    took, lost = [], 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.monotonic()
        if node.ask(to, "find", {"k": random.randbytes(20)}) is None:
            lost += 1
        else:
            took.append(1000 * (time.monotonic() - started))
        node.listen(max(0.001, started + 1 / ASKED_A_SECOND - time.monotonic()), None)
    return took, lost


def requests(token: bytes, key: bytes) -> Iterator[wire.Request]:
    """Each request once, as an honest node sends it."""
    nonce, target = bytes(16), bytes([127, 0, 0, 1, 100, 100])
    signed = signed_meta(publisher(1), b"content", name="name.txt", tags=["bench"])
    subject = tag_subject("bench").encode()
    yield wire.Ping(token=token, sender=key, nonce=nonce, named=target)
    yield wire.Find(token=token, sender=key, key=bytes(20))
    yield wire.Get(token=token, sender=key, key=tag_subject("bench").key)
    yield wire.Store(token=token, subject=subject, value=signed)
    yield wire.Reach(token=token, dial_nonce=nonce)
    yield wire.Dial(token=token, dial_nonce=nonce, target=target)
    yield wire.Dialed(dial_nonce=nonce)


def fuzz(node: MiniNode, to: Address, count: int) -> None:
    """Every request `count` times, up to four of its bytes changed, the token mostly kept."""
    dice = random.Random(2)
    node.ask(to, "ping", {})
    for request in requests(node.tokens[to], mini_node.public(node.key)):
        datagram = wire.encode_request(bytes(20), request)
        started = time.monotonic()
        for number in range(count):
            changed = bytearray(datagram)
            for _ in range(dice.randrange(1, 5)):
                changed[dice.randrange(21, len(changed))] = dice.randrange(256)
            node.sock.sendto(changed, to)
            if number % BATCH == 0:
                node.listen(max(0.001, started + number / _FUZZ_RATE - time.monotonic()), None)


def resident_mib(victim: Node) -> float:
    assert victim.process is not None
    return psutil.Process(victim.process.pid).memory_info().rss / (1 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--fuzzed", type=int, default=20_000)
    parser.add_argument("--flood", metavar="HOST:PORT", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.flood:
        host, _, port = args.flood.partition(":")
        flood((host, int(port)), args.seconds, seed=1)
        return
    figures = Figures()
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        testbed(Path(folder)) as make,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        victim = make("victim", mounted=False).start()
        sock.bind(("127.0.0.1", 0))
        node = MiniNode(mini_node.network(NETWORK), Ed25519PrivateKey.generate(), sock)
        to = ("127.0.0.1", victim.port)
        ask(node, to, _SETTLE_SECONDS)
        before, lines = resident_mib(victim), len(victim.log.read_text().splitlines())
        command = [sys.executable, "-m", "bench.bench_garbage", "--seconds", str(args.seconds)]
        with subprocess.Popen(
            [*command, "--flood", victim.address], stdout=subprocess.PIPE, text=True
        ) as flooder:
            took, lost = ask(node, to, args.seconds)
            rate = float(flooder.communicate()[0])
        fuzz(node, to, args.fuzzed)
        wait_until(lambda: node.ask(to, "ping", {}) is not None, 10, "the node to answer after it")
        after, log = resident_mib(victim), victim.log.read_text()
    took.sort()
    p99 = took[int(0.99 * len(took))]
    print(f"{len(took)} answers, {lost} without; median {took[len(took) // 2]:.1f} ms")
    figures.at_least("garbage datagrams a second", rate, 0.9 * RATE, "/s")
    figures.at_most("an honest request's answer, 99th percentile", p99, P99_BAR_MS, "ms")
    figures.at_most("honest requests without an answer", lost / (lost + len(took)) * 100, 1, "%")
    figures.at_most("memory that the node grew by", after - before, GROWTH_BAR_MIB, "MiB")
    figures.at_most("lines in its log", len(log.splitlines()) - lines, LOG_LINES_BAR, "")
    figures.at_most("exceptions in its log", log.count("Traceback"), 0, "")
    figures.end()


if __name__ == "__main__":
    main()
