from p2pfs.addresses import Endpoint
from p2pfs.content.cid import raw_cid
from p2pfs.content.metainfo import (
    LIFETIME_SECONDS,
    Description,
    MetaInfo,
    create_meta,
    withdraw_meta,
)
from p2pfs.library.announcements import Need, need, renewal
from tests.library.kit import NETWORK, identity

NOW = 1_800_000_000
KEY = identity(1).private_key


def meta(name: str = "a.txt", tags: tuple[str, ...] = ("x",), port: int = 7117) -> MetaInfo:
    description = Description(raw_cid(bytes(32)), name, 5, 7, "text/plain", tags)
    return create_meta(
        description, [Endpoint("1.2.3.4", port)], NOW * 1000, NOW + LIFETIME_SECONDS, KEY, NETWORK
    )


TOLD = meta()
ACCEPTED = TOLD.expires


def test_what_was_told_and_holds_needs_nothing_until_it_is_renewed() -> None:
    assert need(TOLD, meta(), ACCEPTED, NOW) is Need.NOTHING
    assert 8 * 3600 <= renewal(TOLD) - NOW <= 11 * 3600
    assert need(TOLD, meta(), ACCEPTED, renewal(TOLD)) is Need.PUBLISH


def test_what_nobody_took_in_is_told_again() -> None:
    assert need(None, meta(), 0, NOW) is Need.PUBLISH
    assert need(TOLD, meta(), 0, NOW) is Need.PUBLISH


def test_another_address_or_a_new_tag_is_told() -> None:
    assert need(TOLD, meta(port=7118), ACCEPTED, NOW) is Need.PUBLISH
    assert need(TOLD, meta(tags=("x", "y")), ACCEPTED, NOW) is Need.PUBLISH


def test_lost_tags_and_words_are_withdrawn() -> None:
    assert need(TOLD, meta(tags=("y",)), ACCEPTED, NOW) is Need.REPLACE
    assert need(meta("old.txt"), meta("new.txt"), ACCEPTED, NOW) is Need.REPLACE


def test_a_file_that_is_gone_is_withdrawn_once() -> None:
    assert need(TOLD, None, 0, NOW) is Need.WITHDRAW
    withdrawn = withdraw_meta(TOLD, NOW * 1000 + 1, KEY, NETWORK)
    assert need(withdrawn, None, 0, NOW) is Need.NOTHING
    assert need(TOLD, None, 0, TOLD.expires) is Need.NOTHING
    assert need(withdrawn, meta(), ACCEPTED, NOW) is Need.PUBLISH
