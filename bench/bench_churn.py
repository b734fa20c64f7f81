"""50 nodes, half of them clients, killed and restarted at random while others publish and search.

    python -m bench.bench_churn [--nodes 50] [--seconds 300] [--seed 1]

A search fails if it does not show a file that was published over 30 s before and whose publisher
is alive.  Printed beside it: how many searches there were, and how long they took.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from bench.figures import Figures
from p2pfs.control.calls import PREFIX
from p2pfs.control.found import Found, Sought
from p2pfs.status import Status
from tools.testbed import Node, testbed

# Before that a record need not have reached everybody.
OLD_SECONDS = 30.0
# One restart costs a second of a core; two cores carry these, and the searches.
KILL_EVERY_SECONDS = 4.0
AWAY_SECONDS = (2.0, 20.0)
PUBLISH_EVERY_SECONDS = 2.0
SEARCH_EVERY_SECONDS = 0.5
_ANSWER_SECONDS = 20.0

T = TypeVar("T", bound=msgspec.Struct)


@dataclass
class Published:
    """A file with a word of its own in its name; `since` is None until its node says published."""

    word: str
    publisher: int
    since: float | None = None


@dataclass
class Member:
    """A node's place in the crowd; `up_since` is None while it is away."""

    node: Node
    up_since: float | None = None
    back_at: float = 0.0


@dataclass
class Tally:
    searches: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    kills: int = 0


class Crowd:
    def __init__(self, members: list[Member], dice: random.Random) -> None:
        self.members = members
        self.dice = dice
        self.files: list[Published] = []
        self.tally = Tally()
        self.restarting: dict[int, Future[Node]] = {}

    def alive(self) -> list[int]:
        return [number for number, each in enumerate(self.members) if each.up_since is not None]

    def kill_one(self) -> None:
        number = self.dice.choice(self.alive())
        member = self.members[number]
        member.node.kill()
        member.up_since, member.back_at = None, time.monotonic() + self.dice.uniform(*AWAY_SECONDS)
        self.tally.kills += 1

    def bring_back(self, pool: ThreadPoolExecutor) -> None:
        for number, member in enumerate(self.members):
            is_due = member.up_since is None and time.monotonic() >= member.back_at
            if is_due and number not in self.restarting:
                peer = self.members[self.dice.choice(self.alive())].node
                self.restarting[number] = pool.submit(member.node.start, peer)
        for number, started in list(self.restarting.items()):
            if started.done():
                started.result()
                del self.restarting[number]
                self.members[number].up_since = time.monotonic()

    def publish_one(self) -> None:
        word = f"w{self.dice.getrandbits(48):012x}"
        number = self.dice.choice(self.alive())
        (self.members[number].node.share / f"{word}.txt").write_text(word)
        self.files.append(Published(word, number))

    def note_published(self) -> None:
        """Ask those whose files are not said to be published yet; kills may come between."""
        for number in {each.publisher for each in self.files if each.since is None}:
            if self.members[number].up_since is None:
                continue
            try:
                status = ask(self.members[number].node, "status", msgspec.UNSET, Status)
            except httpx.HTTPError:
                continue
            states = {share.path: share.state for share in status.shares}
            for each in self.files:
                is_told = each.publisher == number and each.since is None
                if is_told and states.get(f"{each.word}.txt") == "published":
                    each.since = time.monotonic()

    def search_one(self) -> None:
        """For a random old file, at a random node that has been up for as long."""
        before = time.monotonic() - OLD_SECONDS
        old = [
            each
            for each in self.files
            if each.since is not None and each.since < before and self.is_up(each.publisher, before)
        ]
        seekers = [number for number in self.alive() if self.is_up(number, before)]
        if not old or not seekers:
            return
        sought, seeker = self.dice.choice(old), self.members[self.dice.choice(seekers)].node
        started = time.monotonic()
        found = ask(seeker, "search", Sought([sought.word], []), Found)
        self.tally.seconds.append(time.monotonic() - started)
        self.tally.searches += 1
        if not found.files:
            age = started - (sought.since or 0)
            who = "complete" if found.complete else "incomplete"
            self.tally.failures.append(f"{sought.word}, {age:.0f} s old, at {seeker.home}: {who}")
            print(f"  failed: {self.tally.failures[-1]}", flush=True)

    def is_up(self, number: int, since: float) -> bool:
        up_since = self.members[number].up_since
        return up_since is not None and up_since < since


def ask(node: Node, name: str, question: object, answer: type[T]) -> T:
    """What a node's control socket answers."""
    fd = os.open(node.home / "run", os.O_PATH)
    try:
        transport = httpx.HTTPTransport(uds=f"/proc/self/fd/{fd}/control.sock")
        with httpx.Client(transport=transport, timeout=_ANSWER_SECONDS) as client:
            content = b"{}" if question is msgspec.UNSET else msgspec.json.encode(question)
            response = client.post(f"http://node{PREFIX}{name}", content=content)
            response.raise_for_status()
            return msgspec.json.decode(response.content, type=answer)
    finally:
        os.close(fd)


def run(crowd: Crowd, seconds: float, pool: ThreadPoolExecutor) -> None:
    end = time.monotonic() + seconds
    acts = {
        crowd.kill_one: KILL_EVERY_SECONDS,
        crowd.publish_one: PUBLISH_EVERY_SECONDS,
        crowd.note_published: PUBLISH_EVERY_SECONDS,
        crowd.search_one: SEARCH_EVERY_SECONDS,
    }
    due = dict.fromkeys(acts, time.monotonic())
    while time.monotonic() < end:
        for act, every in acts.items():
            if time.monotonic() >= due[act]:
                due[act] = time.monotonic() + every
                act()
        crowd.bring_back(pool)
        time.sleep(0.05)
    for started in crowd.restarting.values():
        started.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    figures = Figures()
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        testbed(Path(folder)) as make,
        ThreadPoolExecutor(4) as pool,
    ):
        members: list[Member] = []
        for number in range(args.nodes):
            mode = {"P2PFS_SERVER": "no"} if number % 2 else {"P2PFS_SERVER": "yes"}
            node = make(f"{number:02d}", mounted=False, environ=mode)
            node.start(*(member.node for member in members[:2]))
            members.append(Member(node, time.monotonic()))
        print(f"{args.nodes} nodes run, seed {args.seed}", flush=True)
        crowd = Crowd(members, random.Random(args.seed))
        run(crowd, args.seconds, pool)
        tally = crowd.tally
    told = sum(each.since is not None for each in crowd.files)
    print(f"{tally.kills} kills; {told} of {len(crowd.files)} files published")
    print(f"{tally.searches} searches, median {statistics.median(tally.seconds):.2f} s")
    figures.at_least("searches", tally.searches, 100 * args.seconds / 300, "")
    figures.at_most("searches that failed", len(tally.failures), 0, "")
    figures.end()


if __name__ == "__main__":
    main()
