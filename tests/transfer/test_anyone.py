"""One block from whoever has it, however many say that they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import pytest
import trio
import trio.testing

from p2pfs.addresses import Endpoint
from p2pfs.content.cid import Cid, raw_cid
from p2pfs.dht.overlay import Provider
from p2pfs.errors import UnreachableError
from p2pfs.peers.errors import PeerUnavailableError
from p2pfs.transfer.anyone import fetch_block

if TYPE_CHECKING:
    from p2pfs.peers.client import Client

ROOT = raw_cid(bytes(32))


def provider(number: int, ip: str) -> Provider:
    return Provider(number.to_bytes(32), (Endpoint(ip, 7117),))


class Peers:
    """Those of some keys have the block, the others refuse or are silent."""

    def __init__(self, *having: Provider, silence: float = 0.0) -> None:
        self.having = {each.public_key for each in having}
        self.silence = silence
        self.asked: list[bytes] = []

    async def fetch_block(self, peer: Provider, _: Cid) -> bytes:
        self.asked.append(peer.public_key)
        if peer.public_key in self.having:
            return b"block"
        await trio.sleep(self.silence)
        raise PeerUnavailableError("refused")

    async def fetch(self, *found: Provider) -> bytes:
        async def find(tell: Callable[[Provider], None]) -> None:
            for each in found:
                tell(each)
                await trio.lowlevel.checkpoint()

        return await fetch_block(cast("Client", self), ROOT, [], find)


@pytest.mark.parametrize("silence", [0.0, 5.0])
async def test_records_of_one_machine_hide_no_honest_provider(
    autojump_clock: trio.testing.MockClock, silence: float
) -> None:
    honest = provider(999, "8.8.4.4")
    peers = Peers(honest, silence=silence)
    crowd = [provider(number, "9.9.9.9") for number in range(300)]
    with trio.fail_after(2):
        assert await peers.fetch(*crowd, honest) == b"block"
    assert len(peers.asked) <= 5


async def test_many_of_one_network_are_asked_when_nobody_else_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    lab = [provider(number, f"10.0.0.{number}") for number in range(1, 21)]
    peers = Peers(lab[-1])
    assert await peers.fetch(*lab) == b"block"
    with pytest.raises(UnreachableError):
        await Peers().fetch(*lab)
