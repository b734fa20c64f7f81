"""Telling the network what this node publishes, until it knows: roots, meta-infos, withdrawals.

What is to be told is decided in `announcements`; which files there are, by `ingest`.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.concurrency import all_of
from p2pfs.content.metainfo import (
    LIFETIME_SECONDS,
    MAX_ADDRESSES,
    SKEW_SECONDS,
    create_meta,
    next_seq,
    withdraw_meta,
)
from p2pfs.errors import NoPeersError, P2pfsError
from p2pfs.library.announcements import Need, need, renewal
from p2pfs.library.descriptions import described
from p2pfs.library.rounds import NO_PEERS, Rounds
from p2pfs.store.share import ShareState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from p2pfs.addresses import Endpoint
    from p2pfs.content.cid import Cid
    from p2pfs.content.metainfo import MetaInfo
    from p2pfs.dht.overlay import Overlay
    from p2pfs.identity import Identity
    from p2pfs.library.metas import Metas
    from p2pfs.network import Network
    from p2pfs.store.share import Share
    from p2pfs.store.shares import Shares

_log = logging.getLogger(__name__)

# Whether there are peers by now costs nothing to ask, and everybody waits for it.
_PROBE_SECONDS = 1.0
# A batch of files comes in faster while nothing else wants the processor, and is announced as soon
# as it is there; but one may take hours, so each announcement waits for so long at most.
_GIVE_WAY_SECONDS = 1.0
_LOOK_AGAIN_SECONDS = 0.1
_FIRST_RETRY_SECONDS = 2.0
_LAST_RETRY_SECONDS = 300.0
_MILLISECONDS = 1_000


class Announcing:
    """Brings the network's knowledge up to date, content by content, and keeps it so.

    While `batch_comes_in` it does so slowly.
    """

    def __init__(  # noqa: PLR0913 from node.py alone, and from tests
        self,
        overlay: Overlay,
        shares: Shares,
        metas: Metas,
        identity: Identity,
        network: Network,
        addresses: Callable[[], Sequence[Endpoint]],
        clock: Callable[[], float] = time.time,
        batch_comes_in: Callable[[], bool] = lambda: False,
    ) -> None:
        self._overlay = overlay
        self._shares = shares
        self._metas = metas
        self._identity = identity
        self._network = network
        self._addresses = addresses
        self._clock = clock
        self._batch_comes_in = batch_comes_in
        self._rounds = Rounds(self._bring_up_to_date, self._all_of_them, addresses, clock)
        # What was said last, even if nobody took it in; of withdrawals, what others took in.
        self._told: dict[Cid, MetaInfo] = {}
        self._seqs: dict[Cid, int] = {}
        self._failures: dict[Cid, int] = {}
        self._probe: Cid | None = None
        self._waiting: dict[Cid, None] = {}

    def changed(self, cid: Cid) -> None:
        """Other files than before have this content, or the same otherwise described."""
        self._failures.pop(cid, None)
        self._rounds.look(cid)

    async def run(self) -> None:
        """Look at everything, then at what is due, until cancelled."""
        for meta in await self._metas.published_by(self._identity.public_key):
            self._told.setdefault(meta.cid, meta)
        self._rounds.look_at_all()
        await self._rounds.run()

    def _all_of_them(self) -> set[Cid]:
        shared = {share.cid for share in self._shares.all() if share.cid is not None}
        return shared | self._told.keys()

    async def _give_way(self) -> None:
        with trio.move_on_after(_GIVE_WAY_SECONDS):
            while self._batch_comes_in():  # noqa: ASYNC110 hints come too often to tell of each
                await trio.sleep(_LOOK_AGAIN_SECONDS)

    async def _bring_up_to_date(self, cid: Cid) -> None:
        """Send what is to be sent of one content, or note why not and when to try again."""
        await self._give_way()
        try:
            await self._tell(cid)
        except NoPeersError:
            self._wait_for_peers(cid)
            await self._explain(cid, NO_PEERS)
        except P2pfsError as error:
            self._retry(cid, str(error))
            await self._explain(cid, str(error))
        except Exception:  # noqa: BLE001 the edge: one odd file must not end the node
            _log.exception("%s cannot be announced", cid)
            self._retry(cid, "of a mistake in p2pfs, see its log")

    async def _tell(self, cid: Cid) -> None:
        now, shares = int(self._clock()), self._shares.by_cid(cid)
        told, wanted = self._told.get(cid), self._wanted(cid, shares)
        accepted_until = min((share.announced_until for share in shares), default=0)
        needed = need(told, wanted, accepted_until, now)
        if needed is not Need.NOTHING and self._probe not in (None, cid):
            raise NoPeersError("another content is asking whether there are peers")
        if needed in (Need.WITHDRAW, Need.REPLACE) and told is not None:
            await self._withdraw(told)
            wanted = self._wanted(cid, shares)
        if needed in (Need.PUBLISH, Need.REPLACE) and wanted is not None:
            await self._publish(wanted)
        for share in shares:
            await self._mark_published(share)
        self._done(cid, now)

    async def _publish(self, wanted: MetaInfo) -> None:
        if not wanted.at:
            raise NoPeersError("no address of this node is known yet")
        # Kept first: whatever another node has can then be replaced and withdrawn.
        await self._keep(wanted)
        announce = partial(self._overlay.announce, wanted.cid, wanted.expires)
        root_holders, meta_holders = await all_of(
            [announce, partial(self._overlay.publish, wanted)]
        )
        if not root_holders:
            raise NoPeersError("no other node has stored its provider record yet")
        if not meta_holders:
            raise P2pfsError("no other node has stored it under each of its tags yet")

    async def _withdraw(self, told: MetaInfo) -> None:
        withdrawal = withdraw_meta(told, self._seq(told.cid), *self._signing)
        if not await self._overlay.publish(withdrawal):
            raise NoPeersError("no other node has stored its withdrawal yet")
        # Kept last: until then, also after a restart, there is something to withdraw.
        await self._keep(withdrawal)

    async def _keep(self, meta: MetaInfo) -> None:
        self._told[meta.cid] = meta
        self._metas.add(meta)
        await self._metas.save()

    async def _mark_published(self, share: Share) -> None:
        told = self._told.get(share.cid) if share.cid is not None else None
        if told is None or told.withdrawn:
            return
        if share.state is not ShareState.PUBLISHED or share.announced_until != told.expires:
            await self._shares.set_announced(share, told.seq, told.expires)

    def _wanted(self, cid: Cid, shares: Sequence[Share]) -> MetaInfo | None:
        description = described(shares)
        if description is None:
            return None
        addresses = tuple(self._addresses())[:MAX_ADDRESSES]
        expires = int(self._clock()) + LIFETIME_SECONDS
        return create_meta(description, addresses, self._seq(cid), expires, *self._signing)

    @property
    def _signing(self) -> tuple[Ed25519PrivateKey, Network]:
        return self._identity.private_key, self._network

    def _seq(self, cid: Cid) -> int:
        """Above all that was sent, whether it was taken in or not."""
        told, now = self._told.get(cid), int(self._clock() * _MILLISECONDS)
        last = max(self._seqs.get(cid, 0), told.seq if told else 0)
        if last > now + SKEW_SECONDS * _MILLISECONDS:
            last = 0  # the clock was ahead, so nobody has it; and nobody would take what is above
        seq = self._seqs[cid] = next_seq(last, now)
        return seq

    def _done(self, cid: Cid, now: int) -> None:
        """It is as it should be: look again when it is to be renewed."""
        self._failures.pop(cid, None)
        told = self._told.get(cid)
        if told is not None and not told.withdrawn and told.expires > now:
            self._rounds.look_after(cid, max(1, renewal(told) - now))
        self._end_probe(cid)

    def _retry(self, cid: Cid, reason: str) -> None:
        failures = self._failures[cid] = self._failures.get(cid, 0) + 1
        seconds = min(_FIRST_RETRY_SECONDS * 2 ** (failures - 1), _LAST_RETRY_SECONDS)
        _log.info("%s is not published yet: %s; again in %.0f s", cid, reason, seconds)
        self._rounds.look_after(cid, seconds)
        self._end_probe(cid)

    def _wait_for_peers(self, cid: Cid) -> None:
        """One content at a time asks whether there are peers; the others wait for it.

        They take turns: it may also be that only this one is wanted nowhere.
        """
        self._waiting[cid] = None
        if self._probe in (None, cid):
            self._probe = next(iter(self._waiting))
            del self._waiting[self._probe]
            self._rounds.look_after(self._probe, _PROBE_SECONDS)

    def _end_probe(self, cid: Cid) -> None:
        if self._probe == cid:
            self._probe = None
            waiting, self._waiting = self._waiting, {}
            for other in waiting:
                self._rounds.look(other)

    async def _explain(self, cid: Cid, reason: str) -> None:
        """Say why files are not published; those that still are by an earlier record, are."""
        try:
            for share in self._shares.by_cid(cid):
                published = share.announced_until > self._clock()
                known = (share.state, share.reason) == (ShareState.ANNOUNCING, reason)
                if not known and not (published and share.state is ShareState.PUBLISHED):
                    await self._shares.set_state(share.path, ShareState.ANNOUNCING, reason)
        except P2pfsError as error:
            _log.warning("the state of %s cannot be kept: %s", cid, error)
