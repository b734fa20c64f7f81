"""What every implementation of `Overlay` must do; a test module inherits and brings `join`.

One that knows only who has a content, and takes no records, inherits the first half.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from p2pfs.content.cid import Cid
from p2pfs.content.metainfo import MetaInfo, withdraw_meta
from p2pfs.dht.overlay import Overlay, Provider
from p2pfs.errors import NoPeersError
from p2pfs.identity import Identity
from tests.dht.kad.nodes import NETWORK, cid_of, expiry, identity, meta_of

Join = Callable[[Identity], Awaitable[Overlay]]


class ProvidersSuite:
    """What an overlay must do that only knows who has a content."""

    async def offer(self, overlay: Overlay, cid: Cid) -> None:
        """Let the others know that this node has it."""
        await overlay.announce(cid, expiry())

    async def test_all_providers_are_found(self, join: Join) -> None:
        alice, bob, carol = identity(), identity(), identity()
        overlays = [await join(each) for each in (alice, bob, carol)]
        await self.offer(overlays[0], cid_of(b"song"))
        await self.offer(overlays[1], cid_of(b"song"))
        found: list[Provider] = []
        await overlays[2].providers(cid_of(b"song"), found.append)
        assert {each.public_key for each in found} == {alice.public_key, bob.public_key}
        assert all(each.addresses for each in found)

    async def test_a_node_is_no_provider_to_itself(self, join: Join) -> None:
        overlay, _ = await join(identity()), await join(identity())
        await self.offer(overlay, cid_of(b"song"))
        found: list[Provider] = []
        await overlay.providers(cid_of(b"song"), found.append)
        assert found == []

    async def test_what_nobody_has_is_not_found(self, join: Join) -> None:
        overlay, _ = await join(identity()), await join(identity())
        found: list[Provider] = []
        await overlay.providers(cid_of(b"nothing"), found.append)
        assert found == []

    async def test_what_the_caller_raises_comes_out(self, join: Join) -> None:
        publisher, reader = await join(identity()), await join(identity())
        await self.offer(publisher, cid_of(b"song"))

        def found(_: Provider) -> None:
            raise KeyError("no room")

        with pytest.raises(KeyError):
            await reader.providers(cid_of(b"song"), found)

    async def test_every_question_can_be_cancelled(self, join: Join) -> None:
        overlay, _ = await join(identity()), await join(identity())
        with trio.CancelScope() as scope:
            scope.cancel()
            await overlay.providers(cid_of(b"song"), lambda _: None)
        assert scope.cancelled_caught


class OverlaySuite(ProvidersSuite):
    """What every overlay must do that also knows tags, and takes records."""

    async def test_what_is_announced_is_found_by_others(self, join: Join) -> None:
        alice, bob = identity(), identity()
        publisher, reader = await join(alice), await join(bob)
        found: list[Provider] = []
        assert await publisher.announce(cid_of(b"song"), expiry()) == 1
        await reader.providers(cid_of(b"song"), found.append)
        assert {provider.public_key for provider in found} == {alice.public_key}

    async def test_what_nobody_has_published_is_not_found(self, join: Join) -> None:
        overlay, _ = await join(identity()), await join(identity())
        found: list[MetaInfo] = []
        await overlay.search("nothing", found.append)
        assert found == []

    async def test_a_publication_is_found_under_each_tag_and_word(self, join: Join) -> None:
        alice = identity()
        publisher, reader = await join(alice), await join(identity())
        meta = meta_of(alice, b"song", "jazz", "music")
        assert await publisher.publish(meta) == 1
        for tag in ("jazz", "music", *meta.index_tags):
            found: list[MetaInfo] = []
            await reader.search(tag, found.append)
            assert [each.encoded for each in found] == [meta.encoded]

    async def test_many_publications_share_a_tag(self, join: Join) -> None:
        alice, bob = identity(), identity()
        one, other = await join(alice), await join(bob)
        metas = {
            (await self._publish(overlay, own, content)).encoded
            for overlay, own in ((one, alice), (other, bob))
            for content in (b"first", b"second")
        }
        found: list[MetaInfo] = []
        await one.search("jazz", found.append)
        assert {each.encoded for each in found} == metas

    async def test_a_withdrawal_is_told_too(self, join: Join) -> None:
        alice = identity()
        publisher, reader = await join(alice), await join(identity())
        meta = meta_of(alice, b"song", "jazz")
        await publisher.publish(meta)
        await publisher.publish(withdraw_meta(meta, meta.seq + 1, alice.private_key, NETWORK))
        found: list[MetaInfo] = []
        await reader.search("jazz", found.append)
        assert [each.withdrawn for each in found] == [True]

    async def test_a_lone_node_says_that_nobody_could_be_asked(self, join: Join) -> None:
        alone = await join(identity())
        assert await alone.announce(cid_of(b"song"), expiry()) == 0
        with pytest.raises(NoPeersError):
            await alone.search("jazz", lambda _: None)
        with pytest.raises(NoPeersError):
            await alone.providers(cid_of(b"song"), lambda _: None)

    async def test_what_found_raises_comes_out(self, join: Join) -> None:
        alice = identity()
        publisher, reader = await join(alice), await join(identity())
        await publisher.publish(meta_of(alice, b"song", "jazz"))

        def found(_: MetaInfo) -> None:
            raise KeyError("no room")

        with pytest.raises(KeyError):
            await reader.search("jazz", found)

    async def test_every_call_can_be_cancelled(self, join: Join) -> None:
        overlay, _ = await join(identity()), await join(identity())
        with trio.CancelScope() as scope:
            scope.cancel()
            await overlay.search("jazz", lambda _: None)
        assert scope.cancelled_caught

    async def _publish(self, overlay: Overlay, own: Identity, content: bytes) -> MetaInfo:
        meta = meta_of(own, content, "jazz")
        await overlay.publish(meta)
        return meta
