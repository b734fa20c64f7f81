from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.membership import saved_addresses
from p2pfs.dht.memorystore import MemoryRecordStore
from tests.dht.kad.nodes import LOOPBACK, free_port, open_node, wait_until


@given(st.lists(st.binary(max_size=60)))
def test_saved_contacts_that_cannot_be_read_are_left_out(saved: list[bytes]) -> None:
    assert all(isinstance(address, Endpoint) for address in saved_addresses(saved))


async def test_contacts_are_kept_for_the_next_run() -> None:
    store = MemoryRecordStore()
    async with open_node() as (_, address):
        async with open_node(address, store=store) as (overlay, _):
            await wait_until(lambda: len(overlay.contacts()) == 1)
        assert list(saved_addresses(store.contacts())) == [address]
        async with open_node(store=store) as (overlay, _):
            await wait_until(lambda: len(overlay.contacts()) == 1)


async def test_what_the_lan_announces_is_joined() -> None:
    async with open_node() as (_, address), open_node() as (overlay, _):
        await overlay.wait_settled()
        await overlay.look_at(address)
        await wait_until(lambda: len(overlay.contacts()) == 1)


async def test_what_the_lan_announces_for_nothing_is_forgotten_after_a_few_knocks() -> None:
    async with open_node() as (overlay, _):
        await overlay.wait_settled()
        membership = overlay._membership
        for _ in range(100):
            await overlay.look_at(Endpoint(LOOPBACK, free_port()))
        assert len(membership._found) <= 64
        await wait_until(lambda: not membership._found and not membership._busy, 10)
        assert not membership._knocked


async def test_who_is_known_only_from_the_lan_is_marked_and_whom_the_user_named_is_not() -> None:
    async with (
        open_node() as (_, named),
        open_node() as (_, announced),
        open_node(named) as (overlay, _),
    ):
        await overlay.wait_settled()
        for address in (named, announced):
            await overlay.look_at(address)
        await wait_until(lambda: len(overlay.contacts()) == 2)
        assert list(overlay._server.announced) == [announced]


async def test_all_that_has_expired_is_forgotten_a_little_at_a_time() -> None:
    class Full(MemoryRecordStore):
        left = 5

        def expire(self, _: int) -> int:
            self.left -= 1
            return max(0, self.left)

    store = Full()
    async with open_node(store=store):
        await wait_until(lambda: store.left == 0, 5)
        await trio.sleep(0.3)
        assert store.left == 0
