"""One node inside its asyncio thread: what it is made of, and whom it meets.

Nothing here knows trio or HTTPS; `overlay` is the other side.  How a node joins and stays is
`membership`, how it looks others up `finding`, how records get in and out `exchange`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from kademlia.network import Server as KademliaServer

from p2pfs.addresses import WILDCARDS, Endpoint, Scope, is_v6, scope
from p2pfs.dht.kad.acquaintances import Acquaintances
from p2pfs.dht.kad.answers import Answers
from p2pfs.dht.kad.asking import Asker
from p2pfs.dht.kad.budget import FirstContacts, RateLimit
from p2pfs.dht.kad.detour import Detour
from p2pfs.dht.kad.dialbacks import Dialbacks
from p2pfs.dht.kad.errors import SilentError
from p2pfs.dht.kad.finding import Finder
from p2pfs.dht.kad.introductions import Introductions
from p2pfs.dht.kad.observed import Observed
from p2pfs.dht.kad.pacing import Pace
from p2pfs.dht.kad.peerclocks import PeerClocks
from p2pfs.dht.kad.proof import Prover
from p2pfs.dht.kad.protocol import Protocol
from p2pfs.dht.kad.reachability import Reachability
from p2pfs.dht.kad.sealed import envelope_of
from p2pfs.dht.kad.stores import StoreDesk
from p2pfs.dht.kad.table import Table
from p2pfs.dht.kad.tokens import Tokens
from p2pfs.dht.kad.wire import Kind, encode_reply, parse_header, parse_request
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.dht.kad.contacts import ContactSnapshot
    from p2pfs.dht.kad.proof import Proven
    from p2pfs.dht.kad.settings import Settings
    from p2pfs.dht.kad.sockets import Transport
    from p2pfs.dht.kad.wire import Request

# Requests of one IP beyond the near scopes: a lookup is two a node, a publish of 25 keys some 50.
_REQUESTS_A_SECOND, _REQUESTS_AT_ONCE = 100, 1_000
# Each costs a signature's check and a write, 0.3 ms: twenty files at once, then two a second.
_STORES_A_SECOND, _STORES_AT_ONCE = 50, 500
_SECRET_BYTES = 32


class Server(KademliaServer):
    """The parts of a node, and what they do together."""

    protocol: Protocol

    def __init__(self, settings: Settings, sockets: Transport) -> None:
        own_id = settings.network.node_id(settings.identity.public_key)
        super().__init__(ksize=settings.k, node_id=own_id, storage=settings.records)  # type: ignore[no-untyped-call]  # kademlia
        is_near = settings.neighbourhood.is_near
        self.settings = settings
        self.monotonic = settings.monotonic
        self.own_key = settings.identity.public_key
        self.own_id = own_id
        self.named_ips = {peer.ip for peer in settings.peers}
        # Where nodes are that nobody but the LAN has told of: whoever is on it can make up many.
        self.announced: OrderedDict[Endpoint, None] = OrderedDict()
        self.table = Table(own_id, is_near, settings.k)
        self.observed = Observed(is_near)
        self.peer_clocks = PeerClocks(is_near)
        self.acquaintances = Acquaintances()
        self.pace = Pace(self.acquaintances)
        self.sockets = sockets
        self.finder = Finder(self)
        self.desk = StoreDesk(
            own_id,
            settings.network,
            settings.neighbourhood,
            settings.records,
            self.finder.estimate,
            RateLimit(_STORES_A_SECOND, _STORES_AT_ONCE),
            settings.clock,
        )
        self.reachability = Reachability(settings.server, settings.random)
        self.dialbacks = Dialbacks(self)
        self._envelope = envelope_of(settings)
        self.detour = Detour(
            self._envelope,
            settings.random,
            settings.monotonic,
            is_near,
            self._https_of,
            self._way_changed,
        )
        self.protocol = Protocol(self.node, settings.records, settings.k, settings.random)
        self.asker = Asker(
            self.protocol,
            self.detour,
            settings,
            lambda: self._udp_port,
            self.acquaintances,
            self._may_knock,
            lambda request, token, to: self.introductions.signed(request, token, to),
        )
        self._first_contacts = FirstContacts()
        self._tokens = Tokens(settings.random.randbytes(_SECRET_BYTES))
        self._udp_port = 0  # until it is open
        # What `membership` does once it lives.
        self.greet: Callable[[Request, Endpoint], None] = lambda _request, _source: None
        self.may_knock_again: Callable[[Endpoint], bool] = lambda _address: False
        self.introduce: Callable[[], None] = lambda: None

    async def open(self) -> None:
        """Listen and answer."""
        self.transport = self.sockets
        self.protocol.router = self.table  # type: ignore[assignment]  # ours has their place
        self.protocol.connection_made(self.sockets)
        self._udp_port = self.sockets.port
        settings = self.settings
        prover = Prover(settings.identity, settings.network, self._udp_port, settings.https_port)
        self.introductions = Introductions(
            prover, self._tokens, settings.clock, self.is_listed, self._is_own
        )
        self._answering = self._answers(prover)
        self.protocol.answer = self._answering.answer
        await self.sockets.open(self.protocol.datagram_received)

    def stop(self) -> None:
        """Close the sockets."""
        self.dialbacks.stop()
        self.sockets.close()

    def answer_connected(self, body: bytes, source: Endpoint) -> bytes | None:
        """What a request is answered that came over TCP; None if there are too many of them.

        Raises MalformedError.
        """
        message = self._envelope.unwrap(body)
        if message is None:
            raise MalformedError("no member has sealed that, or not in the last minute")
        kind, message_id = parse_header(message)
        if kind is not Kind.REQUEST:
            raise MalformedError("a reply to nothing")
        reply = self._answering.answer_connected(parse_request(message), source)
        return None if reply is None else self._envelope.wrap(encode_reply(message_id, reply))

    def now(self) -> int:
        """UNIX seconds, as records and proofs count them."""
        return int(self.settings.clock())

    def contacts(self) -> tuple[ContactSnapshot, ...]:
        """The contacts as they are now; any thread."""
        return self.table.snapshot(self.settings.clock() - self.monotonic())

    def far_contacts(self) -> list[ContactSnapshot]:
        """Those that answer, beyond the scopes where everybody reaches everybody; any thread."""
        is_near = self.settings.neighbourhood.is_near
        return [each for each in self.contacts() if each.answers and not is_near(each.endpoint.ip)]

    @property
    def is_server(self) -> bool:
        """Whether others list this node: strangers reach it, or it has neighbours; any thread."""
        is_near = self.settings.neighbourhood.is_near
        near = any(is_near(contact.endpoint.ip) for contact in self.contacts())
        near = near and not self.detour.is_taken(near=True)
        return self.reachability.is_server(self.monotonic(), near=near)

    def is_listed(self, by: Endpoint) -> bool:
        """Whether who is there is to list this node; any thread."""
        near = self.settings.neighbourhood.is_near(by.ip)
        return self.reachability.is_server(self.monotonic(), near=near, by=by.ip)

    @property
    def is_blocked(self) -> bool:
        """Whether requests to the near, or to the far, go by HTTPS; any thread."""
        return any(self.detour.is_taken(near=each) for each in (True, False))

    async def verify(self, address: Endpoint) -> bool:
        """Whether another node proves itself at an address, which is told to the table."""
        try:
            proven = await self.asker.knock(address)
        except (SilentError, MalformedError):
            self.failed(address)
            return False
        self.met(proven)
        return proven.contact.public_key != self.own_key

    def own_addresses(self) -> tuple[Endpoint, ...]:
        """Where others may reach this node by HTTPS: as they see it, and as it is bound."""
        ips = dict.fromkeys(self._observed_ips() + self._bound_ips())
        return tuple(Endpoint(ip, self.settings.https_port) for ip in ips)

    def met(self, proven: Proven) -> None:
        """A node proved itself."""
        contact, seen = proven.contact, proven.seen
        if contact.public_key == self.own_key:
            return
        self.table.admit(contact, self.monotonic())
        self.peer_clocks.says(contact.endpoint, proven.time - self.settings.clock())
        if self.settings.neighbourhood.counts(seen.ip, contact.endpoint.ip):
            self.observed.says(contact.public_key, contact.endpoint, seen)

    def failed(self, address: Endpoint) -> None:
        """Nobody answers at an address, or nothing that is worth anything."""
        self.table.failed(address, self.monotonic())

    def _observed_ips(self) -> list[str]:
        return [address.ip for address in self.observed.addresses()]

    def _bound_ips(self) -> list[str]:
        return [ip for ip in self.sockets.ips if ip not in WILDCARDS]

    def _answers(self, prover: Prover) -> Answers:
        settings = self.settings
        return Answers(
            prover=prover,
            tokens=self._tokens,
            table=self.table,
            records=settings.records,
            desk=self.desk,
            neighbourhood=settings.neighbourhood,
            rate=RateLimit(_REQUESTS_A_SECOND, _REQUESTS_AT_ONCE),
            is_welcome=self._is_welcome,
            may_be_own=self._may_be_own,
            greet=self._greet,
            clock=settings.clock,
            monotonic=settings.monotonic,
            dialbacks=self.dialbacks,
        )

    def _may_knock(self, address: Endpoint) -> bool:
        """Without limit near by, and where the user says that somebody is."""
        is_near = self.settings.neighbourhood.is_near
        if is_near(address.ip) or self.may_knock_again(address):
            return True
        return self._first_contacts.allows(address, self.monotonic())

    def _https_of(self, address: Endpoint) -> Endpoint:
        """TCP's port is UDP's, unless the contact there has said otherwise."""
        contact = self.table.at(address)
        return address if contact is None else contact.https

    def _way_changed(self) -> None:
        """Requests go by HTTPS from now on, or by datagram again."""
        self.acquaintances.forgive()
        if self.detour.is_taken(near=False):
            self.reachability.blocked()
        self.introduce()

    def _is_welcome(self, source: Endpoint) -> bool:
        """Whether a source may ask at all: its own scope counts, or the user named it."""
        counts = self.settings.neighbourhood.counts
        return source.ip in self.named_ips or counts(source.ip, source.ip)

    def _may_be_own(self, named: Endpoint) -> bool:
        """Not if this node is bound, or seen by others, at other IPs of that family only."""
        is_near = self.settings.neighbourhood.is_near
        if is_near(named.ip):
            return True
        own = self._bound_ips() + self._observed_ips()
        far = [ip for ip in own if scope(ip) is Scope.GLOBAL and not is_near(ip)]
        rivals = [ip for ip in far if is_v6(ip) is is_v6(named.ip)]
        return not rivals or named.ip in rivals

    def _is_own(self, named: Endpoint, source: Endpoint) -> bool:
        """Whether this node is known to be at an IP, which the source may have in its scope."""
        counts = self.settings.neighbourhood.counts(named.ip, source.ip)
        return counts and named.ip in self._bound_ips() + self._observed_ips()

    def _greet(self, request: Request, source: Endpoint) -> None:
        """A source with a valid token asks something, so it receives what is sent there."""
        near, now = self.settings.neighbourhood.is_near(source.ip), self.monotonic()
        if not near and not self.acquaintances.was_sent_to(source.ip, now):
            self.reachability.heard(source.ip, now)
        self.acquaintances.heard(source)
        if request.proof is not None and request.back is not None:
            self.acquaintances.keep_token(source, request.back, now)
        self.greet(request, source)
