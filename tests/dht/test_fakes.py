from __future__ import annotations

import pytest

from p2pfs.addresses import Endpoint
from p2pfs.dht.overlay import Overlay
from p2pfs.identity import Identity
from tests.dht.fakes import OverlayWorld
from tests.dht.overlay_suite import Join, OverlaySuite


class TestTheDictOverlay(OverlaySuite):
    @pytest.fixture
    def join(self) -> Join:
        world = OverlayWorld()

        async def join(own: Identity) -> Overlay:
            return world.join(own.public_key, Endpoint("127.0.0.1", 7117))

        return join
