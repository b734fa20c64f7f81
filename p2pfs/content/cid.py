"""Content identifiers (CIDs) of versions 0 and 1: parsing, spelling, and checking a block.

What a block holds is for `unixfs` to say.  Hand-written since the libraries are dormant and slow;
the formats are https://github.com/multiformats/cid and https://github.com/multiformats/multibase.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from p2pfs.content.varint import read_short_varint, read_varint
from p2pfs.errors import MalformedError

RAW = 0x55
DAG_PB = 0x70
# What every IPFS implementation transfers at most.
MAX_BLOCK_BYTES = 2 * 1024 * 1024
# An identity CID carries its content; more than this belongs in a block (as Kubo has it).
MAX_INLINE_BYTES = 128

_CODECS = (RAW, DAG_PB)
_IDENTITY = 0x00
_SHA2_256 = 0x12
_DIGEST_BYTES = 32
_SHA2_256_PREFIX = bytes([_SHA2_256, _DIGEST_BYTES])
# How nearly all CIDs begin: a short cut for nodes with hundreds of links.
_MOST_CIDS = {bytes((1, codec)) + _SHA2_256_PREFIX: codec for codec in _CODECS}
# Version, codec, hash function, two bytes of length, content.
MAX_CID_BYTES = 5 + MAX_INLINE_BYTES
# The longest spelling of such a CID: hexadecimal, with its prefix.
_MAX_TEXT_CHARACTERS = 1 + 2 * MAX_CID_BYTES

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Cid:
    """A version, a codec and a multihash; made by the functions below, which check them.

    CIDs of one content can differ in version: what is stored by content goes by `multihash`.
    """

    version: int
    codec: int
    multihash: bytes

    def __str__(self) -> str:
        """`b…` (base32) in version 1, `Qm…` (base58) in version 0."""
        if self.version == 0:
            return base58(self.multihash)
        return "b" + _base32(self.encode())

    def encode(self) -> bytes:
        """The binary form, as in CAR files and links."""
        if self.version == 0:
            return self.multihash
        return bytes((1, self.codec)) + self.multihash

    @property
    def digest(self) -> bytes:
        """32 bytes of SHA-256, or the content itself of an identity CID."""
        if self.is_identity:
            return self.multihash[read_varint(self.multihash, 1, len(self.multihash))[1] :]
        return self.multihash[2:]

    @property
    def is_identity(self) -> bool:
        return self.multihash[0] == _IDENTITY

    @property
    def inline(self) -> bytes | None:
        """The block itself if the CID carries it, so that it need not be fetched."""
        return self.digest if self.is_identity else None

    @property
    def v1(self) -> Cid:
        """The same content in version 1."""
        return self if self.version == 1 else Cid(1, self.codec, self.multihash)


def raw_cid(digest: bytes) -> Cid:
    """The CID of a raw block, from its SHA-256 (32 bytes)."""
    return Cid(1, RAW, _SHA2_256_PREFIX + digest)


def cid_of(codec: int, block: bytes | bytearray | memoryview) -> Cid:
    """The CID, version 1, of a block."""
    return Cid(1, codec, _SHA2_256_PREFIX + hashlib.sha256(block).digest())


def cid_v0_of(block: bytes | bytearray | memoryview) -> Cid:
    """The CID, version 0, of a dag-pb block."""
    return Cid(0, DAG_PB, _SHA2_256_PREFIX + hashlib.sha256(block).digest())


def block_matches(cid: Cid, block: bytes | bytearray | memoryview) -> bool:
    """Whether these bytes are the block of this CID; costs their hash."""
    if cid.is_identity:
        return cid.digest == block
    return cid.multihash[2:] == hashlib.sha256(block).digest()


def parse_cid(text: str) -> Cid:
    """A CID in base32, base36, base58 or hexadecimal; raises MalformedError.

    Only the codecs raw and dag-pb and the hashes SHA-256 and identity are known, and one CID
    has one spelling in each base.
    """
    if len(text) > _MAX_TEXT_CHARACTERS:
        raise MalformedError("too long for a content id")
    try:
        raw = _bytes_of(text)
        cid, end = read_cid(raw, 0)
    except MalformedError as error:
        raise MalformedError(f"not a content id: {text!r} ({error})") from error
    if end != len(raw):
        raise MalformedError(f"not a content id: {text!r} (it goes on after its end)")
    if (cid.version == 0) != text.startswith("Qm"):
        raise MalformedError(f"not a content id: {text!r} (version 0 is written Qm…)")
    return cid


def read_cid(buffer: bytes | memoryview, at: int) -> tuple[Cid, int]:
    """The binary CID at `at` and where it ends; raises MalformedError."""
    end = len(buffer)
    codec_of_most = _MOST_CIDS.get(bytes(buffer[at : at + 4]))
    if codec_of_most is not None:
        after = at + 4 + _DIGEST_BYTES
        return Cid(1, codec_of_most, _multihash(buffer, at + 2, after)), after
    if bytes(buffer[at : at + 2]) == _SHA2_256_PREFIX:
        after = at + 2 + _DIGEST_BYTES
        return Cid(0, DAG_PB, _multihash(buffer, at, after)), after
    version, codec_at = read_short_varint(buffer, at, end)
    if version != 1:
        raise MalformedError(f"CID version {version} is not known")
    codec, hash_at = read_short_varint(buffer, codec_at, end)
    if codec not in _CODECS:
        raise MalformedError(f"codec {codec:#x} is neither raw nor dag-pb")
    after = _multihash_end(buffer, hash_at, end)
    return Cid(1, codec, _multihash(buffer, hash_at, after)), after


def base58(raw: bytes) -> str:
    """Base58 in Bitcoin's alphabet, without a multibase prefix."""
    zeros = len(raw) - len(raw.lstrip(b"\0"))
    return _BASE58[0] * zeros + _digits(int.from_bytes(raw, "big"), _BASE58)


def parse_base58(text: str) -> bytes:
    """What `base58` made the text of; raises MalformedError."""
    if len(text) > _MAX_TEXT_CHARACTERS:
        raise MalformedError("too long for base58")
    return _from_digits(text, _BASE58)


def _multihash_end(buffer: bytes | memoryview, at: int, end: int) -> int:
    function, length_at = read_short_varint(buffer, at, end)
    length, digest_at = read_short_varint(buffer, length_at, end)
    if function == _SHA2_256:
        if length != _DIGEST_BYTES:
            raise MalformedError(f"a SHA-256 of {length} bytes")
    elif function != _IDENTITY:
        raise MalformedError(f"hash function {function:#x} is neither SHA-256 nor identity")
    elif length > MAX_INLINE_BYTES:
        raise MalformedError(f"an identity CID of {length} bytes")
    return digest_at + length


def _multihash(buffer: bytes | memoryview, start: int, stop: int) -> bytes:
    if stop > len(buffer):
        raise MalformedError("a CID that does not end")
    return bytes(buffer[start:stop])


def _bytes_of(text: str) -> bytes:
    if text.startswith("Qm"):
        return _from_digits(text, _BASE58)
    prefix, rest = text[:1], text[1:]
    if prefix == "z":
        return _from_digits(rest, _BASE58)
    if prefix in ("B", "K", "F"):
        if not rest.isascii() or rest != rest.upper():
            raise MalformedError("capital and small letters mixed")
        prefix, rest = prefix.lower(), rest.lower()
    if prefix == "b":
        return _from_base32(rest)
    if prefix == "k":
        return _from_digits(rest, _BASE36)
    if prefix == "f":
        return _from_hex(rest)
    raise MalformedError("no known multibase prefix")


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def _from_base32(text: str) -> bytes:
    try:
        raw = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError as error:
        raise MalformedError("not base32") from error
    if _base32(raw) != text:
        raise MalformedError("not the one base32 spelling")
    return raw


def _from_hex(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise MalformedError("not hexadecimal") from error
    if raw.hex() != text:
        raise MalformedError("not the one hexadecimal spelling")
    return raw


def _digits(number: int, alphabet: str) -> str:
    digits = []
    while number:
        number, digit = divmod(number, len(alphabet))
        digits.append(alphabet[digit])
    return "".join(reversed(digits))


def _from_digits(text: str, alphabet: str) -> bytes:
    """A big-endian number in the alphabet's base, one zero byte for each leading zero digit."""
    number = 0
    for character in text:
        digit = alphabet.find(character)
        if digit < 0:
            raise MalformedError(f"{character!r} is not one of its characters")
        number = number * len(alphabet) + digit
    zeros = len(text) - len(text.lstrip(alphabet[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
