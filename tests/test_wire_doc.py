"""docs/wire.md says what the code does: every example in it is made again here, and read back."""

import re
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from p2pfs.addresses import Endpoint, Neighbourhood, Scope, encode_addresses, parse_addresses, scope
from p2pfs.authority import authority_certificate
from p2pfs.content import car, cid, dag_cbor, directory, hamt, metainfo, tags, unixfs, walk
from p2pfs.content.balanced import DEFAULT_PROFILE, DagBuilder
from p2pfs.content.intervals import Intervals
from p2pfs.dht import recordpages, records, subjects
from p2pfs.dht.kad import (
    blockade,
    budget,
    lookout,
    proof,
    referrals,
    server,
    table,
    tokens,
    wire,
)
from p2pfs.dht.kad.proof import Prover, proven, proven_over_tls
from p2pfs.dht.kad.repairing import Region
from p2pfs.dht.kad.sealed import seal, unseal
from p2pfs.dht.lan import tag_of
from p2pfs.dht.overlay import Provider
from p2pfs.errors import MalformedError
from p2pfs.identity import Identity
from p2pfs.network import MemberKeys, private_network, public_network
from p2pfs.peers import (
    answers,
    asked,
    cars,
    client,
    contents,
    dialbacks,
    gateway,
    pages,
    routing,
    trustless,
)
from p2pfs.peers.streams import http
from tests.peers.fakes import MemoryBlocks, nobody
from tests.samples import DAY, NETWORK, NOW, key, public_key

PAGE = (Path(__file__).parent.parent / "docs" / "wire.md").read_text()
_BLOCK = re.compile(r"^```(hex|values) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

ASKED, ASKER = Endpoint("127.0.0.1", 7117), Endpoint("127.0.0.1", 7118)
THIRD = Endpoint("::1", 7119)
MESSAGE_ID, TOKEN, NONCE = bytes(range(20)), b"\xaa" * 16, b"\xbb" * 16
COUNTING_SEED = (57_067).to_bytes(32, "big")

CONTENT = b"hello\n"
RAW = cid.cid_of(cid.RAW, CONTENT)
META = metainfo.create_meta(
    metainfo.Description(RAW, "Blue Notes.mp3", 6, 0x363A3020, "audio/mpeg", ("music", "audio")),
    [ASKED],
    NOW * 1_000,
    NOW + DAY,
    key(),
    NETWORK,
)
WITHDRAWAL = metainfo.withdraw_meta(META, NOW * 1_000 + 1, key(), NETWORK)
PROVIDER = records.create_provider_record([RAW.multihash], [ASKED], NOW + DAY, key(), NETWORK)
SUBJECTS = {
    "provider": subjects.provider_subject(RAW.multihash),
    "meta": subjects.meta_subject(RAW.multihash),
    "tag": subjects.tag_subject("music"),
    "word": subjects.tag_subject("word:notes"),
    "shard": subjects.shard_subject(subjects.tag_subject("music"), RAW.multihash),
}

RECORD = records.record_of(SUBJECTS["provider"], PROVIDER)
NAME = RECORD.subject.key + RECORD.digest
FOLDER = directory.build_directory([("hello", RAW, len(CONTENT))])
HELD = Intervals([(0, 262_144), (786_432, 1_000_000)])

PROVER = Prover(Identity(key()), NETWORK, ASKED.port, ASKED.port)
PROOF = PROVER.prove(NONCE, ASKER, referrals.pack_address(ASKED), NOW)
FROM_TCP = Endpoint(ASKER.ip, 50_000)
INTRODUCTION = Prover(Identity(key(1)), NETWORK, ASKER.port, ASKER.port).introduce(
    TOKEN, ASKED, NOW
)
BACK = b"\xcc" * 16
PROOF_OVER_TCP = PROVER.prove(NONCE, FROM_TCP, referrals.pack_address(ASKED), NOW)
REFERRED_4, REFERRED_6 = referrals.pack_referrals([(public_key(1), ASKER), (public_key(2), THIRD)])
KEY = SUBJECTS["provider"].key
REQUESTS = {
    "ping-first": wire.Ping(nonce=NONCE),
    "ping": wire.Ping(
        token=TOKEN, sender=public_key(1), nonce=NONCE, named=referrals.pack_address(ASKED)
    ),
    "find": wire.Find(token=TOKEN, sender=public_key(1), key=KEY),
    "find-introduced": wire.Find(
        token=TOKEN,
        proof=INTRODUCTION,
        back=BACK,
        nonce=NONCE,
        named=referrals.pack_address(ASKED),
        key=KEY,
    ),
    "get": wire.Get(token=TOKEN, sender=public_key(1), key=KEY),
    "store": wire.Store(token=TOKEN, subject=SUBJECTS["provider"].encode(), value=PROVIDER.encoded),
    "rpc": wire.Find(nonce=NONCE, named=referrals.pack_address(ASKED), key=KEY),
    "reach": wire.Reach(token=TOKEN, sender=public_key(1), dial_nonce=NONCE),
    "dial": wire.Dial(
        token=TOKEN, sender=public_key(), dial_nonce=NONCE, target=referrals.pack_address(ASKER)
    ),
    "dialed": wire.Dialed(dial_nonce=NONCE),
}
REPLIES = {
    "challenge": wire.Reply(token=TOKEN),
    "ping-reply": wire.Reply(proof=PROOF, seen=referrals.pack_address(ASKER)),
    "rpc-reply": wire.Reply(
        proof=PROOF_OVER_TCP, seen=referrals.pack_address(FROM_TCP), count=1, referrals_6=REFERRED_6
    ),
    "find-reply": wire.Reply(count=1, referrals_4=REFERRED_4, referrals_6=REFERRED_6),
    "get-reply": wire.Reply(values=(PROVIDER.encoded,), more=3),
    "store-reply": wire.Reply(outcome=wire.Outcome.STORED),
    "full-reply": wire.Reply(token=TOKEN, outcome=wire.Outcome.FULL, count=1_000),
    "reach-reply": wire.Reply(),
}


def root_block() -> tuple[cid.Cid, bytes]:
    """Of a file of 262,144 zero bytes and `hello\\n`."""
    builder = DagBuilder(DEFAULT_PROFILE)
    builder.add(sha256(bytes(DEFAULT_PROFILE.chunk_bytes)).digest(), DEFAULT_PROFILE.chunk_bytes)
    builder.add(sha256(CONTENT).digest(), len(CONTENT))
    return builder.finish().nodes[-1]


def car_of(*blocks: tuple[cid.Cid, bytes]) -> bytes:
    sections = [car.block_prefix(each, len(block)) + block for each, block in blocks]
    return car.encode_header(blocks[0][0]) + b"".join(sections)


SECRET = b"correct horse battery staple"
PRIVATE = private_network("test", SECRET)
MEMBERS = PRIVATE.members or MemberKeys(b"", b"")
CIPHER = AESGCMSIV(MEMBERS.seal)
SEAL_NONCE = bytes(range(12))

MADE_HEX = {
    "sealed-ping": seal(
        CIPHER, wire.encode_request(MESSAGE_ID, REQUESTS["ping-first"]), SEAL_NONCE, NOW
    ),
    "authority": authority_certificate(MEMBERS.authority),
    "meta-info": META.encoded,
    "withdrawal": WITHDRAWAL.encoded,
    "provider-record": PROVIDER.encoded,
    "root": root_block()[1],
    "car": car_of((RAW, CONTENT)),
    "path-car": car_of((FOLDER.cid, FOLDER.block), (RAW, CONTENT)),
    "proof-signed": NETWORK.signed_bytes(
        "p2pfs-proof-1",
        proof.proof_body(
            NONCE, referrals.pack_address(ASKER), referrals.pack_address(ASKED), PROOF
        ),
    ),
    "have": HELD.encode(),
    "page": recordpages.encode_page([PROVIDER.encoded], PROVIDER.publisher),
    "batch": recordpages.encode_batches([(SUBJECTS["provider"], PROVIDER.encoded)])[0],
    "names": recordpages.encode_names([NAME], None),
    "dialback": dialbacks.dialback_request(ASKER.port, public_key(1)),
    "named": recordpages.encode_named([(RECORD, "127.0.0.0")]),
    **{name: wire.encode_request(MESSAGE_ID, each) for name, each in REQUESTS.items()},
    **{name: wire.encode_reply(MESSAGE_ID, each) for name, each in REPLIES.items()},
}


def made_private() -> dict[str, str]:
    authority = Ed25519PrivateKey.from_private_bytes(MEMBERS.authority).public_key()
    return {
        "secret": SECRET.decode(),
        "network id": PRIVATE.id.hex(),
        "seal": MEMBERS.seal.hex(),
        "authority": MEMBERS.authority.hex(),
        "its public key": authority.public_bytes_raw().hex(),
        "with 8 bits, id": private_network("test", SECRET, 8).id.hex(),
    }


def made_identity() -> dict[str, str]:
    counting = Ed25519PrivateKey.from_private_bytes(COUNTING_SEED).public_key().public_bytes_raw()
    return {
        "seed A": bytes(32).hex(),
        "public key of A": public_key().hex(),
        "peer id of A": Identity(key()).peer_id,
        "network id of p2pfs": public_network().id.hex(),
        "network id of test": NETWORK.id.hex(),
        "network id of test with puzzle_bits 8": public_network("test", 8).id.hex(),
        "node id of A in test": NETWORK.node_id(public_key()).hex(),
        "a seed that counts in p2pfs": COUNTING_SEED.hex(),
        "its public key": counting.hex(),
        "its puzzle": sha256(b"p2pfs-puzzle-1" + counting).hexdigest(),
        "its node id in p2pfs": public_network().node_id(counting).hex(),
    }


TAGGED = ("Pearl Jam", " Straße / Köln +", "ﬁlm\tnoir", "A--b")
NAMED = ("Blue Notes.mp3", "Ça, c'est la vie")


def made_subjects() -> dict[str, str]:
    encoded = {name: subject.encode().hex() for name, subject in SUBJECTS.items()}
    keys = {f"key of {name}": subject.key.hex() for name, subject in SUBJECTS.items()}
    return {**encoded, **keys, "digest of provider-record": record().digest.hex()}


def record() -> records.Record:
    return records.verified_record(SUBJECTS["provider"], PROVIDER.encoded, NETWORK, NOW)


def made_gateway() -> dict[str, str]:
    target = f"/ipfs/{RAW}?format=car&dag-scope=entity&entity-bytes=0:5&order=dfs&dups=y"
    wish = wished(target)
    headers = trustless.answer_headers(wish, [wish.cid], len(MADE_HEX["car"]))
    return {
        "target": target,
        **{name.decode(): value.decode() for name, value in headers},
    }


def made_bulk() -> dict[str, str]:
    """What is asked of the records of A in bulk."""
    subject, region = SUBJECTS["provider"].encode().hex(), Region(KEY, 8)
    return {
        "records": f"/p2pfs/v1/records?subject={subject}",
        "next page": f"/p2pfs/v1/records?subject={subject}&cursor={PROVIDER.publisher.hex()}",
        "missing": f"/p2pfs/v1/records/missing?subject={subject}",
        "body of missing": RECORD.digest.hex(),
        "names": f"/p2pfs/v1/names?near={region.near.hex()}&bits={region.bits}&cursor=",
        "body of named": NAME.hex(),
        "body of nodes": root_block()[0].encode().hex(),
        "answer to batch": recordpages.encode_held([True]).decode(),
    }


def made_routing() -> dict[str, str]:
    target = f"/routing/v1/providers/{RAW}"
    headers, body = trio.run(routed, target)
    named = {name: headers[name.encode()].decode() for name in ("content-type", "cache-control")}
    return {"target": target, **named, "body": body.decode()}


async def routed(target: str) -> tuple[dict[bytes, bytes], bytes]:
    blocks = MemoryBlocks()
    blocks.blocks[RAW] = CONTENT
    own = Provider(public_key(), (ASKED,))
    node = routing.Routing(blocks, lambda _: [], lambda: own, nobody, Neighbourhood())  # type: ignore[arg-type]
    answer = await node.answer(asked.Asked("GET", target, b"", {}, ASKER, ASKED, nobody))  # type: ignore[arg-type]
    return dict(answer.headers), b"".join([bytes(piece) async for piece in answer.pieces])


def wished(target: str) -> trustless.RawWish | trustless.CarWish:
    parts = urlsplit(target)
    return trustless.parse_wish(parts.path, parts.query.encode(), {})


def made_limits() -> dict[str, str]:
    numbers = {
        "block bytes": cid.MAX_BLOCK_BYTES,
        "identity CID bytes": cid.MAX_INLINE_BYTES,
        "links of a file node": unixfs.MAX_FILE_LINKS,
        "depth of a file": walk.MAX_DEPTH,
        "entries of a directory": unixfs.MAX_DIRECTORY_LINKS,
        "bytes of a listing's shards": hamt.MAX_LISTED_BYTES,
        "DAG-CBOR depth": dag_cbor.MAX_DEPTH,
        "DAG-CBOR items": dag_cbor.MAX_ITEMS,
        "meta-info bytes": metainfo.MAX_META_BYTES,
        "provider record bytes": subjects.MAX_PROVIDER_BYTES,
        "multihashes of a provider record": records.MAX_MULTIHASHES,
        "addresses of a provider record": records.MAX_PROVIDER_ADDRESSES,
        "addresses of a meta-info": metainfo.MAX_ADDRESSES,
        "lifetime s": metainfo.LIFETIME_SECONDS,
        "skew s": metainfo.SKEW_SECONDS,
        "tag bytes": tags.MAX_TAG_BYTES,
        "tags": metainfo.MAX_TAGS,
        "words": tags.MAX_WORDS,
        "subject bytes": subjects.MAX_SUBJECT_BYTES,
        "copies (provider, tag, meta)": kinds("copies"),
        "rows a key (provider, tag, meta)": kinds("rows_per_key"),
        "k": table.K,
        "datagram bytes": wire.MAX_DATAGRAM_BYTES,
        "datagram bytes as sent": wire.MAX_MESSAGE_BYTES,
        "first datagram bytes": wire.MAX_FIRST_BYTES,
        "first datagrams": budget._FIRST_DATAGRAMS,
        "first datagrams within s": int(budget._FIRST_WINDOW_SECONDS),
        "referrals": referrals.MAX_REFERRALS,
        "records a reply": wire._MAX_RECORDS_A_REPLY,
        "token epoch s": tokens.EPOCH_SECONDS,
        "token kept by an asker s": tokens.TOKEN_LIFE_SECONDS,
        "requests a s and IP, at once": (server._REQUESTS_A_SECOND, server._REQUESTS_AT_ONCE),
        "stores a s and IP, at once": (server._STORES_A_SECOND, server._STORES_AT_ONCE),
        "silence before HTTPS, a datagram meanwhile every s": (
            int(blockade._NOTICE_SECONDS),
            int(lookout.PROBE_SECONDS),
        ),
        "page or batch bytes": recordpages.MAX_BODY_BYTES,
        "values of a page, bytes": recordpages.MAX_PAGE_VALUE_BYTES,
        "values of a batch": recordpages.MAX_BATCH_VALUES,
        "rows of a batch": recordpages.MAX_BATCH_ROWS,
        "subjects of a value": recordpages.MAX_SUBJECTS_PER_VALUE,
        "cursor bytes": recordpages.MAX_CURSOR_BYTES,
        "digests of what is known": recordpages.MAX_KNOWN,
        "levels, shards of a hot tag": f"{subjects.TAG_LEVELS}, {subjects.TAG_SHARDS}",
        "batches a s and group": pages._BATCHES_PER_SECOND,
        "pages a s and group, at once": (pages._PAGES_PER_SECOND, pages._PAGES_AT_ONCE),
        "requests in flight a group": gateway._MAX_IN_FLIGHT,
        "intervals told": contents._MAX_HELD_INTERVALS,
        "intervals' bytes": client._MAX_HELD_BYTES,
        "CAR content bytes": cars._MAX_CAR_BYTES,
        "CAR nodes": cars._MAX_NODES,
        "blocks sent once": contents._MAX_DISTINCT,
        "asked for a s and group, at once": (routing._ASKED_PER_SECOND, routing._ASKED_AT_ONCE),
        "providers told": routing._MAX_PROVIDERS,
        "lookup for loopback s": routing._LOOKUP_SECONDS,
        "answer s": gateway._RESPONSE_SECONDS,
        "request body s": answers._UPLOAD_SECONDS,
        "connections a group, in all": (http._MAX_CONNECTIONS_A_GROUP, http._MAX_CONNECTIONS),
        "request head bytes": http._MAX_HEAD_BYTES,
        "idle connection s": http._IDLE_SECONDS,
        "handshake s": http._HANDSHAKE_SECONDS,
        "HTTP/2 streams": http._MAX_STREAMS,
    }
    return {name: str(number).strip("()") for name, number in numbers.items()}


def kinds(rule: str) -> tuple[int, ...]:
    order = (subjects.PROVIDER, subjects.TAG, subjects.META)
    return tuple(getattr(subjects.RULES[kind], rule) for kind in order)


LAN_INSTANCE = "00112233445566778899aabb"
MADE_VALUES = {
    "lan": {"instance": LAN_INSTANCE, "tag in test": tag_of(NETWORK, LAN_INSTANCE).hex()},
    "identity": made_identity(),
    "private": made_private(),
    "tags": {f'"{text}"': tags.normal_tag(text) for text in TAGGED},
    "words": {f'"{name}"': " ".join(tags.words(name)) for name in NAMED},
    "subjects": made_subjects(),
    "gateway": made_gateway(),
    "bulk": made_bulk(),
    "routing": made_routing(),
    "limits": made_limits(),
}


def written(kind: str) -> dict[str, str]:
    """The page's blocks of one kind by name."""
    return {name: body for found, name, body in _BLOCK.findall(PAGE) if found == kind}


def unpacked(body: str) -> bytes:
    """Hexadecimal with spaces, and comments after `#`."""
    return bytes.fromhex("".join(line.partition("#")[0] for line in body.splitlines()))


HEX = {name: unpacked(body) for name, body in written("hex").items()}
VALUES = {
    name: dict(re.split(r" += ", item, maxsplit=1) for item in re.split(r"\n| \| ", body.strip()))
    for name, body in written("values").items()
}


def test_every_block_of_the_page_is_an_example() -> None:
    assert PAGE.count("\n```") == 2 * (len(HEX) + len(VALUES))
    assert HEX.keys() == MADE_HEX.keys()
    assert VALUES.keys() == MADE_VALUES.keys()


@pytest.mark.parametrize("name", MADE_HEX)
def test_the_code_writes_what_the_page_says(name: str) -> None:
    assert HEX[name].hex() == MADE_HEX[name].hex()


@pytest.mark.parametrize("name", MADE_VALUES)
def test_the_code_finds_the_values_of_the_page(name: str) -> None:
    assert VALUES[name] == MADE_VALUES[name]


@pytest.mark.parametrize("name", REQUESTS)
def test_the_code_reads_the_requests_of_the_page(name: str) -> None:
    assert wire.parse_header(HEX[name]) == (wire.Kind.REQUEST, MESSAGE_ID)
    assert wire.parse_request(HEX[name]) == REQUESTS[name]


@pytest.mark.parametrize("name", REPLIES)
def test_the_code_reads_the_replies_of_the_page(name: str) -> None:
    assert wire.parse_header(HEX[name]) == (wire.Kind.REPLY, MESSAGE_ID)
    assert wire.parse_reply(HEX[name]) == REPLIES[name]


def test_the_proof_on_the_page_proves_and_its_signature_covers_what_the_page_says() -> None:
    reply = wire.parse_reply(HEX["ping-reply"])
    found = proven(reply, REQUESTS["ping"], ASKED, ASKER.port, NETWORK)
    assert (found.contact.public_key, found.seen) == (public_key(), ASKER)
    assert found.contact.https == ASKED
    key().public_key().verify(reply.proof.signature, HEX["proof-signed"])


def test_the_proof_over_https_on_the_page_proves_to_who_is_connected_with_its_key() -> None:
    reply = wire.parse_reply(HEX["rpc-reply"])
    found = proven_over_tls(reply, REQUESTS["rpc"], ASKED, ASKER.port, NETWORK, public_key())
    assert (found.contact.public_key, found.contact.endpoint) == (public_key(), ASKED)
    assert found.seen == ASKER


def test_the_sealed_datagram_on_the_page_opens() -> None:
    assert unseal(CIPHER, HEX["sealed-ping"], NOW + 59) == HEX["ping-first"]
    assert len(HEX["sealed-ping"]) <= wire.MAX_FIRST_BYTES


def test_the_referrals_on_the_page_are_these() -> None:
    found = referrals.parse_referrals(wire.parse_reply(HEX["find-reply"]), referrals.parse_referral)
    assert found == [(public_key(1), ASKER), (public_key(2), THIRD)]


def test_the_first_exchange_is_within_its_limits() -> None:
    assert len(HEX["challenge"]) <= len(HEX["ping-first"]) <= wire.MAX_FIRST_BYTES
    assert wire.parse_reply(HEX["challenge"]).is_challenge


@pytest.mark.parametrize(("name", "meta"), [("meta-info", META), ("withdrawal", WITHDRAWAL)])
def test_the_code_reads_the_meta_infos_of_the_page(name: str, meta: metainfo.MetaInfo) -> None:
    assert metainfo.parse_meta(HEX[name], NETWORK, NOW) == meta
    assert meta.withdrawn == (name == "withdrawal")
    for subject in ("meta", "tag", "word"):
        records.verified(SUBJECTS[subject], HEX[name], NETWORK, NOW)


def test_the_code_reads_the_provider_record_of_the_page() -> None:
    said = records.verified_provider(SUBJECTS["provider"], HEX["provider-record"], NETWORK, NOW)
    assert said == PROVIDER
    assert said.may_come_from("127.0.0.1")
    assert not said.may_come_from("127.0.0.2")


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_code_reads_the_subjects_of_the_page(name: str) -> None:
    subject = subjects.parse_subject(bytes.fromhex(VALUES["subjects"][name]))
    assert subject == SUBJECTS[name]


def test_the_code_reads_the_page_and_the_batch_of_the_page() -> None:
    assert recordpages.parse_page(HEX["page"]).values == (PROVIDER.encoded,)
    batch = recordpages.parse_batch(HEX["batch"])
    assert batch == [(SUBJECTS["provider"], PROVIDER.encoded)]


def test_the_code_reads_the_names_and_their_records_of_the_page() -> None:
    assert recordpages.parse_names(HEX["names"]).values == (NAME,)
    found = recordpages.parse_named(HEX["named"])
    assert found == [(SUBJECTS["provider"], PROVIDER.encoded, "127.0.0.0")]


def test_the_code_reads_the_intervals_of_the_page() -> None:
    assert Intervals.decode(HEX["have"]) == HELD


def test_the_car_of_the_page_holds_what_it_says() -> None:
    reader = car.CarReader()
    [(found, block)] = reader.feed(HEX["car"])
    reader.close()
    assert reader.roots == (RAW,)
    assert (found, bytes(block)) == (RAW, CONTENT)


def test_the_car_of_a_path_on_the_page_holds_the_way_and_its_end() -> None:
    assert f"`/ipfs/{FOLDER.cid}/hello`" in PAGE
    reader = car.CarReader()
    found = [(each, bytes(block)) for each, block in reader.feed(HEX["path-car"])]
    reader.close()
    assert found == [(FOLDER.cid, FOLDER.block), (RAW, CONTENT)]
    node = unixfs.parse_block(FOLDER.cid, FOLDER.block)
    assert isinstance(node, unixfs.DirectoryNode)
    assert [(entry.name, entry.cid) for entry in node.entries] == [("hello", RAW)]


def test_the_root_of_the_page_is_of_a_file_of_two_chunks() -> None:
    root, block = root_block()
    assert f"`{root}`" in PAGE
    assert cid.block_matches(root, HEX["root"])
    node = unixfs.parse_file(root, block)
    assert [child.size for child in node.children] == [262_144, 6]
    assert node.children[1].cid == RAW


def test_a_seed_on_the_page_counts_and_others_do_not() -> None:
    found = bytes.fromhex(VALUES["identity"]["its public key"])
    assert public_network().key_counts(found)
    assert not public_network().key_counts(public_key())


@pytest.mark.parametrize(
    "row", re.findall(r"^\| (refused|private|loopback) \| (.*?) \|", PAGE, re.MULTILINE)
)
def test_the_prefixes_on_the_page_have_these_scopes(row: tuple[str, str]) -> None:
    prefixes = re.findall(r"`([0-9a-f.:]+)/\d+`", row[1])
    assert prefixes
    for first in prefixes:
        assert scope(first) is Scope(row[0])


def test_addresses_of_unknown_kinds_are_left_out_and_bad_ones_refused() -> None:
    https = encode_addresses([ASKED])
    assert parse_addresses([*https, [9, "?"]], 2).https == (ASKED,)
    for bad in ([[0, b"\x7f\0\0\1", 80]], [[0, "127.0.0.1", 7117]], [[0, b"\0", 7117]], https * 3):
        with pytest.raises(MalformedError):
            parse_addresses(bad, 2)
