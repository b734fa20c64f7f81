"""kill -9 at any moment: no share is lost, no wrong byte readable, the next start needs no hand."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from tests.store.kit import content_of, open_store, small_dag

SIZE = 20_000
# The victim publishes and fetches for ever, and says what is done as soon as it is.
VICTIM = """
import sys, trio
from pathlib import Path
from tests.store.kit import content_of, fetch, open_store, publish, small_dag

async def main():
    async with open_store(Path(sys.argv[1])) as store:
        for number in range(int(sys.argv[2]), 1_000_000):
            await publish(store, f"share{number}", content_of(2_000, number))
            print(number, flush=True)
            content = content_of(20_000, 1_000_000 + number)
            await fetch(store, small_dag(content), content)
            if number % 3 == 0:
                await store.objects.save()

trio.run(main)
"""


def kill_in_the_middle(home: Path, first: int, after_seconds: float) -> int:
    """Start at share number `first`, and kill; the last number that was promised to be kept."""
    arguments = [sys.executable, "-c", VICTIM, str(home), str(first)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        done = int(victim.stdout.readline())
        time.sleep(after_seconds)  # where it is by then does not matter
        victim.kill()
        said = victim.stdout.read().split("\n")[:-1]  # a line that was cut is not said
        return max([done, *map(int, said)])


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_store_starts_again_with_all_it_promised(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    done = kill_in_the_middle(tmp_path, 0, dice.uniform(0, 0.2))
    done = kill_in_the_middle(tmp_path, done + 1, dice.uniform(0, 0.2))
    trio.run(all_is_there_and_right, tmp_path, done)


async def all_is_there_and_right(home: Path, done: int) -> None:
    async with open_store(home) as store:
        for number in range(done + 1):
            dag = small_dag(content_of(2_000, number))
            assert [share.path for share in store.shares.by_cid(dag.root)]
            plan = await store.blocks.plan(dag.root)
            assert sum([len(batch) async for batch in store.blocks.read_pieces(plan)])
        for number in range(done + 2):
            content = content_of(SIZE, 1_000_000 + number)
            opened = store.objects.open(small_dag(content).root, SIZE)
            await opened.check(0, SIZE)
            for start, stop in opened.checked:
                assert opened.read(start, stop - start) == content[start:stop]
            store.objects.close(opened)
