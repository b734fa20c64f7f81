from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from p2pfs.dht.kad.caps import Caps, Place, capped, first_within, one_at_most, place, spread_out
from tests.dht.kad.nodes import contact


def far(_: str) -> bool:
    return False


def near(_: str) -> bool:
    return True


IPS = ["8.8.1.1", "8.8.1.2", "8.8.1.3", "8.8.2.1", "8.8.3.1", "9.9.1.1"]
CONTACTS = [contact(number, ip) for number, ip in enumerate(IPS)]


def test_two_of_a_24_and_three_of_a_16_are_left() -> None:
    assert [each.endpoint.ip for each in capped(CONTACTS, far)] == [
        "8.8.1.1",
        "8.8.1.2",
        "8.8.2.1",
        "9.9.1.1",
    ]


@dataclass(frozen=True, slots=True)
class Placed:
    place: Place


@given(st.lists(st.sampled_from([*IPS, "127.0.0.1", "7.7.7.7"])), st.integers(0, 8))
def test_the_first_within_the_caps_are_the_first_that_these_let_in(
    ips: list[str], count: int
) -> None:
    placed = [Placed(place(ip, lambda ip: ip == "127.0.0.1")) for ip in ips]
    caps = Caps()
    allowed = [each for each in placed if caps.take(each.place)]
    assert list(first_within(placed, count)) == allowed[:count]


def test_addresses_nearby_are_exempt() -> None:
    assert list(capped(CONTACTS, near)) == CONTACTS
    assert spread_out(CONTACTS, near) == CONTACTS


def test_the_first_of_each_16_come_first() -> None:
    assert spread_out(CONTACTS, far) == [CONTACTS[0], CONTACTS[5], *CONTACTS[1:5]]


def test_of_those_that_only_the_lan_told_of_one_begins_a_path_unless_there_are_no_others() -> None:
    announced = {each.endpoint for each in CONTACTS[1:5]}
    assert one_at_most(CONTACTS, announced) == [CONTACTS[0], CONTACTS[1], CONTACTS[5]]
    assert one_at_most(CONTACTS[1:5], announced) == CONTACTS[1:5]
    assert one_at_most(CONTACTS, set()) == CONTACTS
    assert one_at_most([], announced) == []
