from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.content.cid import Cid, raw_cid
from p2pfs.content.metainfo import Description, MetaInfo, create_meta, withdraw_meta
from p2pfs.dht.overlay import Provider
from p2pfs.library.listings import build_listing, plain_names
from p2pfs.library.names import safe_name, short_cid
from tests.library.kit import NETWORK, identity

NOW = 1_800_000_000


def cid(number: int) -> Cid:
    return raw_cid(number.to_bytes(32, "big"))


def meta(
    number: int,
    name: str,
    publisher: int = 1,
    seq: int = NOW * 1000,
    ip: str = "1.2.3.4",
    size: int = 5,
) -> MetaInfo:
    description = Description(cid(number), name, size, 7, "text/plain", ("x",))
    key = identity(publisher).private_key
    return create_meta(description, [Endpoint(ip, 7117)], seq, NOW + 3600, key, NETWORK)


def names_of(*metas: MetaInfo, kept: dict[str, Cid] | None = None) -> dict[str, Cid]:
    listing = build_listing("x", (), metas, kept or {}, NOW)
    return {name: file.cid for name, file in listing.entries.items()}


def test_what_is_withdrawn_or_expired_is_not_listed() -> None:
    gone = withdraw_meta(meta(1, "a"), NOW * 1000 + 1, identity(1).private_key, NETWORK)
    assert names_of(gone, meta(2, "b")) == {"b": cid(2)}
    assert build_listing("x", (), [meta(1, "a")], {}, NOW + 3600).entries == {}


def test_more_networks_rank_higher_then_age_does() -> None:
    crowd = [meta(1, "a", publisher, ip="1.2.3.4") for publisher in range(1, 6)]
    two = [meta(2, "a", 6, ip="5.6.7.8"), meta(2, "a", 7, ip="9.9.9.9")]
    assert names_of(*crowd, *two)["a"] == cid(2)
    assert names_of(meta(1, "a"), meta(2, "a", seq=NOW * 1000 - 1))["a"] == cid(2)


def test_most_publishers_decide_what_a_content_is() -> None:
    listing = build_listing(
        "x",
        (),
        [meta(1, "lie", 1, seq=5, size=99), meta(1, "a", 2, seq=6), meta(1, "b", 3, seq=7)],
        {},
        NOW,
    )
    assert listing.entries["a"].size == 5
    assert len(listing.entries["a"].publishers) == 3


def test_this_node_is_named_once_among_those_that_have_its_file() -> None:
    told = build_listing("x", (), [meta(1, "a", 1)], {}, NOW).entries["a"]
    own = replace(told, providers=(Provider(told.publishers[0], ()),))
    file = build_listing("x", [own], [meta(1, "a", 1), meta(1, "a", 2)], {}, NOW).entries["a"]
    assert len(file.publishers) == len(file.providers) == 2
    assert file.providers[0] == own.providers[0]


def test_a_name_stays_while_its_content_may_come_back() -> None:
    expired = [meta(1, "a")]
    later = NOW + 3601
    kept = plain_names(build_listing("x", (), expired, {}, NOW))
    assert kept == {"a": cid(1)}
    new = create_meta(
        Description(cid(2), "a", 5, 7, "text/plain", ("x",)),
        [],
        NOW * 1000,
        NOW + 9000,
        identity(2).private_key,
        NETWORK,
    )
    listing = build_listing("x", (), [*expired, new], kept, later)
    assert list(listing.entries) == [f"a~{short_cid(cid(2))}"]
    assert list(build_listing("x", (), [new], kept, later).entries) == ["a"]


@given(st.lists(st.tuples(st.integers(1, 9), st.text(st.characters(codec="utf-8")))))
def test_every_content_is_listed_once_and_found_by_its_distinct_name(
    told: list[tuple[int, str]],
) -> None:
    metas = {}
    for number, name in told:
        clean = "".join(c for c in name if c not in "/\0")[:60] or "n"
        metas[number] = meta(number, clean)
    listing = build_listing("x", (), list(metas.values()), {}, NOW)
    assert {file.cid for file in listing.entries.values()} == {cid(n) for n in metas}
    for name, file in listing.entries.items():
        assert safe_name(name) == name
        assert listing.find(name) is file
