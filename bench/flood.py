"""What a flood of one key leaves of honest publishers' records: a cell of the overlay's table.

    python -m bench.flood [--seed 1]

One holder is looked at, which is the worst case: a reader asks eight or twenty.  Honest publishers
come each from a network of their own while the flood is under way, of which each identity sends
its part of ten times what the key holds in all.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass

from bench.figures import Figures
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.records import Record
from p2pfs.dht.subjects import RULES, Subject, meta_subject, provider_subject, tag_subject

NOW, DAY = 1_800_000_000, 86_400
HONEST = 40
BAR = 0.99
# So many times what the key holds in all are sent.
TIMES = 10
MULTIHASH = b"\x12\x20" + bytes(32)
KEYS = {
    "provider": provider_subject(MULTIHASH),
    "tag": tag_subject("music"),
    "meta": meta_subject(MULTIHASH),
}


@dataclass(frozen=True)
class Flood:
    """The IPs of so many identities."""

    name: str
    ips: tuple[str, ...]


FLOODS = (
    Flood("1,000 identities in one /24", tuple(f"66.6.6.{n % 256}" for n in range(1_000))),
    Flood("64 in 16 /16s", tuple(f"66.{n % 16}.{n // 16}.1" for n in range(64))),
    Flood("200 /48s of one v6 /32", tuple(f"2a06:6:{n:x}::1" for n in range(200))),
)


def made_up(subject: Subject, publisher: bytes, number: int) -> Record:
    """A store does not look into what was verified."""
    about = number.to_bytes(8, "big") if subject.kind == "tag" else b""
    value = publisher + number.to_bytes(8, "big") + bytes(400)
    return Record(subject, value, publisher, NOW + DAY, number, publisher + about)


def share_kept(flood: Flood, subject: Subject, seed: int, times: int = TIMES) -> float:
    """Of the honest records, those that are still there in the end."""
    dice = random.Random(seed)
    store = MemoryRecordStore()
    honest = {
        dice.randbytes(32): f"{11 + n}.{dice.randrange(256)}.{dice.randrange(256)}.1"
        for n in range(HONEST)
    }
    keys = [dice.randbytes(32) for _ in flood.ips]
    sent = [
        (key, ip)
        for key, ip in zip(keys, flood.ips, strict=True)
        for _ in range(times * subject.rules.rows_per_key // len(keys) + 1)
    ]
    sent += honest.items()
    dice.shuffle(sent)
    for number, (key, ip) in enumerate(sent):
        store.put(made_up(subject, key, number), ip, NOW + number // 100)
    left = {record.publisher for record in store.rows(subject.key, NOW)}
    assert len(store.rows(subject.key, NOW)) <= RULES[subject.kind].rows_per_key
    return len(left & honest.keys()) / HONEST


def cells(seed: int) -> dict[str, float]:
    """The share of honest records found, by flood and kind of key."""
    return {
        f"{flood.name}, {kind}": share_kept(flood, subject, seed)
        for flood in FLOODS
        for kind, subject in KEYS.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    figures = Figures()
    for name, share in cells(parser.parse_args().seed).items():
        figures.at_least(f"honest records found: {name}", share, BAR, "")
    figures.end()


if __name__ == "__main__":
    main()
