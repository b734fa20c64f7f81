from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pfs.dht.kad.buckets import BUCKETS, Buckets
from p2pfs.dht.kad.contacts import distance

# Ids that share first bits more often than chance would have it.
IDS = st.builds(
    lambda shared, rest: bytes(shared) + rest[shared:],
    st.integers(0, 20),
    st.binary(min_size=20, max_size=20),
)


@given(IDS, st.sets(IDS, max_size=40), st.sets(IDS, max_size=5), IDS)
def test_all_that_are_held_come_in_the_order_of_their_distance(
    own: bytes, stay: set[bytes], go: set[bytes], key: bytes
) -> None:
    stay, go = stay - {own}, go - {own}  # nobody knows himself
    buckets = Buckets[bytes](own)
    for each in stay | go:
        buckets.put(each, each)
    for each in go:
        buckets.remove(each)
    expected = sorted(stay - go, key=lambda each: distance(each, key))
    assert list(buckets.outwards(key)) == expected
    assert buckets.closest(key, 3) == expected[:3]
    assert buckets.closer(key) == sum(distance(each, key) < distance(own, key) for each in expected)


def test_a_bucket_is_how_many_first_bits_are_shared_and_exists_while_it_holds_any() -> None:
    buckets = Buckets[str](bytes(20))
    first, last = b"\x80" + bytes(19), bytes(19) + b"\x01"
    buckets.put(first, "first")
    buckets.put(last, "last")
    assert buckets.held() == {0, BUCKETS - 1}
    assert list(buckets.beside(b"\xff" * 20)) == ["first"]
    buckets.remove(first)
    assert buckets.held() == {BUCKETS - 1}
    assert list(buckets.beside(first)) == []
