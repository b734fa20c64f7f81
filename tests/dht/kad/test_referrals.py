from __future__ import annotations

import pytest

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.referrals import (
    pack_address,
    pack_referrals,
    parse_address,
    parse_referral,
    parse_referrals,
)
from p2pfs.dht.kad.wire import Reply
from p2pfs.errors import MalformedError

FOUR, SIX = Endpoint("192.0.2.1", 7117), Endpoint("2001:db8::1", 443)


def test_referrals_of_a_wrong_length_or_number_are_malformed() -> None:
    with pytest.raises(MalformedError):
        parse_referrals(Reply(referrals_4=bytes(39)), parse_referral)
    four, _ = pack_referrals([(bytes(32), FOUR)] * 21)
    with pytest.raises(MalformedError):
        parse_referrals(Reply(referrals_4=four), parse_referral)


def test_a_referral_with_a_port_no_peer_may_have_is_left_out() -> None:
    bad = bytes(32) + FOUR.packed_ip + (80).to_bytes(2, "big")
    good, _ = pack_referrals([(bytes(32), FOUR)])
    assert parse_referrals(Reply(referrals_4=bad + good), parse_referral) == [(bytes(32), FOUR)]


def test_addresses_of_both_families_survive_the_wire() -> None:
    assert parse_address(pack_address(FOUR)) == FOUR
    assert parse_address(pack_address(SIX)) == SIX
