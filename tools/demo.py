"""`./run demo`: four nodes on this machine, three of which publish, seen from the fourth's mount.

Everything lies in a temporary folder and is gone at the end, also after Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import zlib
from functools import partial
from pathlib import Path

from tools import samples
from tools.testbed import Node, testbed, wait_until

MIB = 1 << 20


def main() -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="p2pfs-demo-") as folder:
        try:
            with testbed(Path(folder)) as make:
                show(
                    [make(name, mounted=name == "dora") for name in ("anna", "ben", "carl", "dora")]
                )
        except KeyboardInterrupt:
            print("\nStopped; nothing is left behind.")
            sys.exit(130)
    print(f"\nThat took {time.monotonic() - started:.0f} s.  Now yours: ./run mount ~/p2p")


def show(nodes: list[Node]) -> None:
    """The demo itself; the last node is the one with a mount."""
    *publishers, dora = nodes
    say("Four nodes start; each knows only the one before it, and there is no server.")
    for before, node in zip([None, *nodes], nodes, strict=False):
        node.start(*([before] if before else []))
        print(f"   {node.home.name:<5} {node.address}  {node.status()['peer_id']}")
    for node in nodes:
        node.wait_contacts(1)

    say("Anna, Ben and Carl copy files into their share/ folders.  That publishes them.")
    song = samples.mp3(artist="The Four Nodes", title="Trackerless", album="Demo", frames=4000)
    files = [
        (publishers[0], "blue-notes/song.mp3", song),
        (publishers[1], "pictures/sky.png", samples.png(64, 64)),
        (publishers[2], "papers/notes.txt", b"Kademlia: log n steps.\n" * 200),
    ]
    big = b"".join(zlib.compress(os.urandom(MIB), 0) for _ in range(32))
    files += [(publisher, "data/set.bin", big) for publisher in publishers]
    for node, path, content in files:
        target = node.share / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for node, path, _ in files:
        print(f"   {node.home.name:<5} share/{path:<20} {node.wait_published(path)}")

    say("Dora, who knows only Carl's address, looks around in her mount.")
    for tag in ("blue-notes", "artist:the-four-nodes", "image", "papers", "data"):
        listing = dora.mount / "by-tag" / tag
        names = wait_until(partial(os.listdir, listing), 10, f"something under {tag}")
        print(f"   $ ls by-tag/{tag}\n   {'  '.join(names)}")

    say("She opens the song: fetched from Anna, every byte checked against its hash.")
    found = dora.mount / "by-tag" / "blue-notes" / "song.mp3"
    print(f"   $ cmp song.mp3 by-tag/blue-notes/song.mp3\n   {verdict(found.read_bytes() == song)}")
    for name in ("cid", "crc32", "tags"):
        value = os.getxattr(found, f"user.p2pfs.{name}").decode()
        print(f"   $ getfattr -n user.p2pfs.{name}   {value}")

    say("And a file that all three hold: it comes from all of them at once.")
    began = time.monotonic()
    content = (dora.mount / "by-tag" / "data" / "set.bin").read_bytes()
    rate = len(content) / (time.monotonic() - began) / 1e6
    print(f"   $ cp by-tag/data/set.bin .\n   {verdict(content == big)}, {rate:.0f} MB/s")
    given = dora.status()["fetched_bytes"]
    for node in publishers:
        print(
            f"   from {node.home.name:<5} {given.get(node.status()['peer_id'], 0) / MIB:6.1f} MiB"
        )


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def verdict(same: bool) -> str:
    if not same:
        sys.exit("the content differs: this is a bug")
    return "the same, byte for byte"


if __name__ == "__main__":
    main()
