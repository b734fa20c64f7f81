"""A fixed key, a network without a puzzle, and what they sign, for tests of formats."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pfs.addresses import Endpoint
from p2pfs.content.cid import raw_cid
from p2pfs.content.metainfo import Description, MetaInfo, create_meta
from p2pfs.dht.records import ProviderRecord, Record, create_provider_record, record_of, subjects_of
from p2pfs.network import public_network

NOW = 1_800_000_000
DAY = 86_400
NETWORK = public_network("test")
HERE = Endpoint("127.0.0.1", 7117)


def key(number: int = 0) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def public_key(number: int = 0) -> bytes:
    return key(number).public_key().public_bytes_raw()


def description(number: int = 0, **changes: object) -> Description:
    fields = {
        "cid": raw_cid(bytes([number]) * 32),
        "name": "Blue Notes.mp3",
        "size": 5_000_000,
        "crc32": 0xCAFEF00D,
        "mime": "audio/mpeg",
        "tags": ("music", "title:blue-notes", "audio", "artist:a-name"),
    }
    return Description(**{**fields, **changes})


def meta(number: int = 0, signer: int = 0, **changes: object) -> MetaInfo:
    times = {"seq": NOW * 1000, "expires": NOW + DAY, "at": (HERE,)}
    mine = {name: changes.pop(name, value) for name, value in times.items()}
    return create_meta(description(number, **changes), key=key(signer), network=NETWORK, **mine)


def multihash(number: int) -> bytes:
    return raw_cid(bytes([number]) * 32).multihash


def provider(number: int = 0, signer: int = 0, expires: int = NOW + DAY) -> ProviderRecord:
    return create_provider_record([multihash(number)], [HERE], expires, key(signer), NETWORK)


def verified_tags(made: MetaInfo) -> list[Record]:
    """A meta-info under everything that it is stored under."""
    return [record_of(subject, made) for subject in subjects_of(made)]
