"""One suite over both record stores, then what only the one on disk can do."""

import hmac
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.content.metainfo import withdraw_meta
from p2pfs.dht import memorystore, recordreading, recordstore
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.records import (
    Record,
    create_provider_record,
    record_of,
    subjects_of,
    verified_record,
)
from p2pfs.dht.recordstore import (
    MAX_CONTACTS,
    RecordStore,
    RecordStoreError,
    Stored,
    Usage,
)
from p2pfs.dht.recordtables import _LARGEST_OF_ROOM
from p2pfs.dht.sqlitestore import SqliteRecordStore, open_record_store
from p2pfs.dht.subjects import (
    META,
    RULES,
    TAG,
    Subject,
    meta_subject,
    provider_subject,
    tag_subject,
)
from p2pfs.network import public_network
from tests.samples import DAY, HERE, NETWORK, NOW, key, meta, multihash, provider

MUSIC = tag_subject("music")
CONTENT = meta_subject(multihash(0))
SOURCE = "192.168.0.7"
TESTBED = public_network("p2pfs-testbed")  # the network of overlay_v1.sql
BUDGET = Usage(100, 100_000)
OpenStore = Callable[[Usage], RecordStore]


@pytest.fixture(params=["sqlite", "memory"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    if request.param == "memory":
        yield MemoryRecordStore
        return
    opened = []

    def open_on_disk(budget: Usage) -> RecordStore:
        opened.append(open_record_store(tmp_path / "overlay.sqlite", budget))
        return opened[-1].__enter__()

    yield open_on_disk
    for store in opened:
        store.__exit__(None, None, None)


@pytest.fixture
def store(open_store: OpenStore) -> RecordStore:
    return open_store(BUDGET)


def in_music(number: int = 0, signer: int = 0, **changes: object) -> Record:
    return record_of(MUSIC, meta(number, signer, **changes))


def made_up(slot: int, subject: Subject = MUSIC, length: int = 10) -> Record:
    """Cheaper than signing; a store does not look into what was verified."""
    value = slot.to_bytes(length, "big") + subject.key
    return Record(subject, value, bytes(32), NOW + DAY, 1, slot.to_bytes(66, "big"))


def test_what_is_put_is_answered_in_the_order_of_the_slots(store: RecordStore) -> None:
    records = [in_music(signer=signer) for signer in range(4)]
    assert store.put_all(records, SOURCE, NOW) == [Stored.STORED] * 4
    assert store.rows(MUSIC.key, NOW) == sorted(records, key=lambda record: record.slot)
    assert store.count(MUSIC.key, NOW) == 4
    assert store.rows(tag_subject("jazz").key, NOW) == []


def test_only_a_higher_rank_takes_the_place_of_a_record(store: RecordStore) -> None:
    first = meta()
    withdrawal = record_of(MUSIC, withdraw_meta(first, first.seq + 1, key(), NETWORK))
    other_with_same_seq = in_music(name="other.mp3", seq=first.seq + 1)
    assert store.put(record_of(MUSIC, first), SOURCE, NOW) is Stored.STORED
    assert store.put(withdrawal, SOURCE, NOW) is Stored.STORED
    assert store.put(withdrawal, SOURCE, NOW) is Stored.STORED  # again
    assert store.put(record_of(MUSIC, first), SOURCE, NOW) is Stored.KEPT_NEWER
    assert store.put(other_with_same_seq, SOURCE, NOW) is Stored.KEPT_NEWER
    assert store.rows(MUSIC.key, NOW) == [withdrawal]
    assert store.usage() == Usage(1, len(withdrawal.value))


def test_publishers_do_not_touch_each_other_nor_contents(store: RecordStore) -> None:
    for record in (in_music(0, 0), in_music(0, 1), in_music(1, 0)):
        assert store.put(record, SOURCE, NOW) is Stored.STORED
    assert store.count(MUSIC.key, NOW) == 3


def test_what_expired_is_not_answered_and_then_forgotten(store: RecordStore) -> None:
    short, long = in_music(0, expires=NOW + 60), in_music(1, expires=NOW + DAY)
    store.put_all([short, long], SOURCE, NOW)
    skew = 300
    assert store.count(MUSIC.key, NOW + 60 + skew - 1) == 2
    later = NOW + 60 + skew
    assert store.rows(MUSIC.key, later) == [long]
    assert store.page(MUSIC.key, b"", 10_000, later).records == (long,)
    assert store.count(MUSIC.key, later) == 1
    assert store.usage().values == 2
    assert store.expire(later) == 1
    assert store.expire(later) == 0
    assert store.usage() == Usage(1, len(long.value))


def test_many_expire_at_once(store: RecordStore) -> None:
    subjects = [tag_subject(f"t{number}") for number in range(1200)]
    store.put_all([Record(s, b"x", b"", NOW, 1, b"") for s in subjects], SOURCE, NOW)
    steps = list(iter(lambda: store.expire(NOW + DAY), 0))
    assert sum(steps) == 1200
    assert store.usage() == Usage(0, 0)
    if isinstance(store, SqliteRecordStore):  # the loop that calls it waits for the disk
        assert max(steps) == 100


def test_a_publisher_who_fills_a_key_gets_no_more_of_it_but_renews_what_he_has(
    store: RecordStore,
) -> None:
    subject = meta_subject(multihash(0))
    limit = RULES[META].rows_per_key
    same_value = b"value"  # counts once, so that only the key is full
    records = [Record(subject, same_value, b"", NOW + DAY, 1, bytes([n])) for n in range(limit + 1)]
    assert store.put_all(records, SOURCE, NOW) == [*[Stored.STORED] * limit, Stored.FULL]
    renewed = Record(subject, b"newer", b"", NOW + DAY, 2, bytes([0]))
    assert store.put(renewed, SOURCE, NOW) is Stored.STORED
    assert store.count(subject.key, NOW) == limit


def of(publisher: int, slot: int, subject: Subject = CONTENT, length: int = 40) -> Record:
    value = bytes([publisher, slot]) + subject.key
    value = value.ljust(length, b"\0")
    return Record(subject, value, bytes([publisher]), NOW + DAY, 1, bytes([publisher, slot]))


def test_the_oldest_of_the_largest_network_leaves_a_full_key_to_a_smaller_one(
    open_store: OpenStore,
) -> None:
    store = open_store(Usage(1_000, 100_000))
    limit = RULES[META].rows_per_key
    crowd = [of(n % 3, n) for n in range(limit - 1)]
    for age, record in enumerate(crowd):
        assert store.put(record, f"8.8.{age % 2}.1", NOW + age) is Stored.STORED
    early = of(9, 0)
    assert store.put(early, "9.9.9.9", NOW - 50) is Stored.STORED
    assert store.put(of(10, 0), "10.1.1.1", NOW + 100) is Stored.STORED
    left = {record.slot for record in store.rows(CONTENT.key, NOW)}
    assert len(left) == limit
    assert early.slot in left
    # Of 8.8/16 the larger half is 8.8.0/24, of which publishers 0, 1 and 2 have as much each.
    assert {record.slot for record in crowd} - left == {crowd[0].slot}
    assert store.put(of(11, 0), "8.8.7.1", NOW + 100) is Stored.STORED  # a new part of it
    assert store.put(of(12, 0), "8.8.0.1", NOW + 100) is Stored.STORED  # a new publisher there
    assert store.count(CONTENT.key, NOW) == limit


def test_a_full_budget_is_shared_out_by_values_with_all_their_rows(open_store: OpenStore) -> None:
    store = open_store(Usage(10, 100_000))  # four for the index
    for number in range(4):
        tags = [tag_subject(f"{number}-{other}") for other in range(3)]
        value = bytes([number]) * 50
        rows = [Record(tag, value, b"p", NOW + DAY, 1, b"s") for tag in tags]
        assert store.put_all(rows, "8.8.8.8", NOW + number) == [Stored.STORED] * 3
    assert store.put(of(1, 1, MUSIC), "8.8.8.8", NOW + 9) is Stored.STORED  # another publisher
    for other in range(3):
        assert store.count(tag_subject(f"0-{other}").key, NOW) == 0
        assert store.count(tag_subject(f"1-{other}").key, NOW) == 1
    full = Record(MUSIC, bytes(60), b"p", NOW + DAY, 1, b"p")
    assert store.put(full, "8.8.8.8", NOW + 9) is Stored.FULL
    assert store.usage().values == 4


def test_room_is_what_nobody_has_to_leave_for(open_store: OpenStore) -> None:
    store = open_store(Usage(10, 2_000))  # for tags 4 values, 800 bytes
    held = [made_up(number) for number in range(3)]
    store.put_all(held, SOURCE, NOW)
    assert store.has_room(made_up(3), NOW)
    assert not store.has_room(made_up(3, length=800), NOW)
    store.put(made_up(3), SOURCE, NOW)
    assert not store.has_room(made_up(4), NOW)
    assert store.has_room(replace(held[0], subject=CONTENT), NOW)  # the value is there already
    assert store.usage().values == 4


def test_who_was_refused_has_changed_nothing(open_store: OpenStore) -> None:
    store = open_store(Usage(100, 1_000))  # for tags 400 bytes
    oldest, older = made_up(1, length=130), made_up(2, length=130)
    store.put_all([oldest, older], "8.8.8.8", NOW)
    store.put(made_up(3, length=30), "9.9.9.9", NOW)
    # The oldest would not be enough, and the next is of no larger network.
    assert store.put(made_up(4, length=220), "9.9.9.9", NOW) is Stored.FULL
    assert store.put(made_up(5, length=80), "7.7.7.7", NOW) is Stored.STORED
    assert older in store.rows(MUSIC.key, NOW)
    assert oldest not in store.rows(MUSIC.key, NOW)


def test_there_is_no_room_under_a_full_key(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RULES, TAG, replace(RULES[TAG], rows_per_key=2))
    store.put_all([made_up(0), made_up(1)], SOURCE, NOW)
    assert not store.has_room(made_up(2), NOW)
    assert store.has_room(made_up(2), NOW + 2 * DAY)  # they have expired


def test_what_is_too_large_for_its_part_of_the_budget_is_refused_and_displaces_nobody(
    open_store: OpenStore,
) -> None:
    store = open_store(Usage(1_000, 1_000))  # 400 bytes for the index
    assert (
        store.put_all([of(1, n, MUSIC) for n in range(10)], SOURCE, NOW).count(Stored.STORED) == 10
    )
    before = store.rows(MUSIC.key, NOW)
    assert store.put(of(2, 1, MUSIC, 500), "9.9.9.9", NOW) is Stored.FULL
    assert store.rows(MUSIC.key, NOW) == before
    assert store.put(of(2, 1, MUSIC, 130), "9.9.9.9", NOW) is Stored.STORED  # for four of them
    assert store.count(MUSIC.key, NOW) == 7
    larger = Record(MUSIC, bytes(450), bytes([1]), NOW + DAY, 2, bytes([1, 9]))
    assert store.put(larger, SOURCE, NOW) is Stored.FULL
    assert store.count(MUSIC.key, NOW) == 7  # what it was to replace has stayed


def test_chunk_ids_leave_room_for_roots_and_the_other_way_round(open_store: OpenStore) -> None:
    store = open_store(Usage(10, 100_000))
    for contents in (1, 16):
        records = [
            Record(provider_subject(multihash(n)), bytes([n, contents]), b"", NOW + DAY, 1, b"",
                   contents)
            for n in range(10)
        ]  # fmt: skip
        assert store.put_all(records, SOURCE, NOW).count(Stored.STORED) == 3


def test_of_a_full_tag_a_uniform_sample_of_a_publisher_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RULES, TAG, replace(RULES[TAG], rows_per_key=20))
    records = [made_up(n) for n in range(200)]
    drawn = sorted(records, key=lambda each: hmac.digest(b"secret", each.slot, "sha256"))
    with open_record_store(tmp_path / "s", secret=b"secret") as on_disk:
        for store in (on_disk, MemoryRecordStore(secret=b"secret")):
            for renewal in range(3):
                for each in records:
                    renewed = replace(each, value=each.value + bytes([renewal]), rank=renewal + 1)
                    store.put(renewed, SOURCE, NOW + renewal)
                slots = {row.slot for row in store.rows(MUSIC.key, NOW)}
                if renewal == 0:  # nobody leaves whose publisher does not know that it is full
                    assert slots >= {each.slot for each in records[:19]}
            assert slots == {each.slot for each in drawn[:20]}


SUBJECTS = [CONTENT, MUSIC, provider_subject(multihash(1))]
put_once = st.tuples(
    st.sampled_from(["8.8.8.8", "8.8.8.9", "8.8.9.9", "9.9.9.9", "2001:4::1", "2001:4:1::1"]),
    st.integers(0, 4),
    st.integers(0, 4),
    st.sampled_from(SUBJECTS),
    st.integers(30, 90),
    st.integers(1, 3),
)


@given(st.lists(put_once, max_size=60))
@settings(deadline=None, max_examples=50)  # one opens a file
def test_limits_hold_whatever_is_put(puts: list[tuple[object, ...]]) -> None:
    budget = Usage(20, 600)
    for store in opened_stores(budget):
        put_in_turn(store, puts)
        assert store.usage().values <= 20
        assert store.usage().bytes <= 600


@given(st.lists(put_once, max_size=60))
@settings(deadline=None, max_examples=50)
def test_both_stores_keep_the_same_of_a_full_key(puts: list[tuple[object, ...]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for kind, rules in RULES.items():
            patch.setitem(RULES, kind, replace(rules, rows_per_key=5))
        one, other = (put_in_turn(store, puts) for store in opened_stores(BUDGET))
    assert one == other


@given(st.lists(put_once, max_size=60))
@settings(deadline=None, max_examples=100)
def test_both_stores_keep_the_same_of_a_full_budget(puts: list[tuple[object, ...]]) -> None:
    one, other = (put_in_turn(store, puts) for store in opened_stores(Usage(20, 600)))
    assert one == other


def test_of_equally_large_networks_the_one_that_has_been_there_longest_gives_way(
    open_store: OpenStore,
) -> None:
    store = open_store(Usage(10, 100_000))  # four for the index
    early, late = "8.8.8.8", "9.9.9.9"
    store.put(replace(of(1, 1), expires=NOW), early, NOW)
    store.put(of(2, 1), late, NOW)
    store.put(of(1, 2), early, NOW)
    assert store.expire(NOW + 400) == 1
    store.put(of(2, 2), late, NOW)
    store.put(of(1, 3), early, NOW)
    assert store.put(of(3, 1), "10.1.1.1", NOW) is Stored.STORED
    left = {record.slot for record in store.rows(CONTENT.key, NOW)}
    assert left == {each.slot for each in (of(2, 1), of(2, 2), of(1, 3), of(3, 1))}


@given(st.lists(put_once, max_size=60), st.sampled_from(SUBJECTS), st.integers(30, 90))
@settings(deadline=None, max_examples=50)
def test_an_honest_publisher_from_a_new_network_always_gets_in(
    puts: list[tuple[object, ...]], subject: Subject, length: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for kind, rules in RULES.items():
            patch.setitem(RULES, kind, replace(rules, rows_per_key=5))
        for store in opened_stores(Usage(20, 600)):
            put_in_turn(store, puts)
            honest = of(9, 9, subject, length)
            assert store.put(honest, "12.34.5.6", NOW + 60) is Stored.STORED
            assert honest in store.rows(subject.key, NOW + 60)


def opened_stores(budget: Usage) -> Iterator[RecordStore]:
    yield MemoryRecordStore(budget, b"secret")
    with (
        TemporaryDirectory() as folder,
        open_record_store(Path(folder) / "s", budget, b"secret") as store,
    ):
        yield store


def put_in_turn(store: RecordStore, puts: list[tuple[object, ...]]) -> list[object]:
    """What became of each, and what is under each key in the end."""
    outcomes: list[object] = []
    for at, (source, publisher, slot, subject, length, rank) in enumerate(puts):
        record = of(publisher, slot, subject, length)
        record = replace(record, rank=rank, value=record.value + bytes([rank]))
        outcomes.append(store.put(record, source, NOW + at // 3))  # also several at one time
        assert store.count(subject.key, NOW) <= subject.rules.rows_per_key
    return outcomes + [store.rows(put[3].key, NOW) for put in puts]


def test_expired_records_do_not_fill_a_key(store: RecordStore) -> None:
    subject = meta_subject(multihash(0))
    limit = RULES[META].rows_per_key
    store.put_all(
        [Record(subject, b"v", b"", NOW, 1, bytes([n])) for n in range(limit)], SOURCE, NOW
    )
    late = Record(subject, b"v", b"", NOW + 2 * DAY, 1, b"\xff")
    assert store.put(late, SOURCE, NOW + DAY) is Stored.STORED


def test_a_value_under_many_keys_counts_once(store: RecordStore) -> None:
    many = create_provider_record(
        [multihash(number) for number in range(16)], [HERE], NOW + DAY, key(), NETWORK
    )
    made = meta()
    for said in (many, made):
        records = [record_of(subject, said) for subject in subjects_of(said)]
        assert set(store.put_all(records, SOURCE, NOW)) == {Stored.STORED}
    assert store.usage() == Usage(2, len(many.encoded) + len(made.encoded))
    assert store.expire(NOW + 2 * DAY) == 16 + len(subjects_of(made))
    assert store.usage() == Usage(0, 0)


def test_tags_leave_room_for_providers_and_the_other_way_round(open_store: OpenStore) -> None:
    store = open_store(Usage(10, 100_000))
    tags = [made_up(n, tag_subject(f"t{n}")) for n in range(10)]
    assert store.put_all(tags, SOURCE, NOW).count(Stored.STORED) == 4
    providers = [made_up(n, provider_subject(multihash(n))) for n in range(10)]
    assert store.put_all(providers, SOURCE, NOW).count(Stored.STORED) == 3


def test_bytes_are_bounded_too(open_store: OpenStore) -> None:
    store = open_store(Usage(1000, 5_000))
    records = [made_up(n, length=480) for n in range(10)]  # 500 bytes each
    assert store.put_all(records, SOURCE, NOW).count(Stored.STORED) == 4
    assert store.usage() == Usage(4, 2_000)


def test_pages_hold_at_least_one_and_all_of_them_everything(store: RecordStore) -> None:
    records = [in_music(signer=signer) for signer in range(5)]
    store.put_all(records, SOURCE, NOW)
    for max_bytes, sizes in ((1, [1] * 5), (2 * len(records[0].value), [2, 2, 1]), (9999, [5])):
        pages, cursor = [], b""
        while cursor is not None:
            page = store.page(MUSIC.key, cursor, max_bytes, NOW)
            pages.append(page.records)
            cursor = page.next
        assert [len(page) for page in pages] == sizes
        assert [record for page in pages for record in page] == store.rows(MUSIC.key, NOW)
    assert store.page(MUSIC.key, b"\xff" * 66, 9999, NOW).records == ()


def test_what_is_known_takes_no_room_in_a_page(store: RecordStore) -> None:
    records = [in_music(signer=signer) for signer in range(6)]
    store.put_all(records, SOURCE, NOW)
    first, second, third, *others = store.rows(MUSIC.key, NOW)
    known = {first.digest, third.digest, *(each.digest for each in others[1:])}
    length = len(second.value) + len(others[0].value)
    page = store.page(MUSIC.key, b"", length, NOW, known)
    assert (page.records, page.next) == ((second, others[0]), None)
    page = store.page(MUSIC.key, second.slot, length, NOW, known)
    assert page.records == (others[0],)


def test_a_page_reads_no_more_of_a_key_than_it_holds(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_all([in_music(signer=signer) for signer in range(6)], SOURCE, NOW)
    read: list[bytes] = []

    class Reader(Record):
        def __init__(self, subject: Subject, value: bytes, *about: object) -> None:
            read.append(value)
            super().__init__(subject, value, *about)  # type: ignore[arg-type]

    monkeypatch.setattr(recordreading, "Record", Reader)
    first, *others = store.rows(MUSIC.key, NOW)
    read.clear()
    assert store.page(MUSIC.key, b"", 1, NOW, {first.digest}).records == (others[0],)
    assert len(read) <= 2


def test_contacts_are_replaced_as_a_whole_and_come_latest_first(store: RecordStore) -> None:
    store.keep_contacts([(b"gone", 1)])
    store.keep_contacts([(b"old", 10), (b"new", 30), (b"middle", 20), (b"old", 5)])
    assert store.contacts() == [b"new", b"middle", b"old"]
    store.keep_contacts((number.to_bytes(4, "big"), number) for number in range(MAX_CONTACTS + 5))
    assert len(store.contacts()) == MAX_CONTACTS
    assert store.contacts()[0] == (MAX_CONTACTS + 4).to_bytes(4, "big")


def test_the_last_estimate_is_kept(store: RecordStore) -> None:
    assert store.estimate() == b""
    for estimate in (b"old", bytes(168), b""):
        store.keep_estimate(estimate)
        assert store.estimate() == estimate


def test_threads_may_use_it_at_once(store: RecordStore) -> None:
    failures: list[Exception] = []

    def use(first: int) -> None:
        try:
            for number in range(first, first + 10):
                assert store.put(made_up(number), SOURCE, NOW) is Stored.STORED
                store.page(MUSIC.key, b"", 100, NOW)
                store.expire(NOW)
        except Exception as error:  # noqa: BLE001 a thread's failure must reach the test
            failures.append(error)

    threads = [threading.Thread(target=use, args=(10 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.count(MUSIC.key, NOW) == 40


def test_an_upgraded_file_has_the_tables_of_a_new_one(tmp_path: Path) -> None:
    def tables(path: Path) -> set[tuple[str, str]]:
        with open_record_store(path):
            pass
        with closing(sqlite3.connect(path)) as database:
            found = database.execute("SELECT name, sql FROM sqlite_master").fetchall()
        return {(name, " ".join((sql or "").split())) for name, sql in found}

    with closing(sqlite3.connect(tmp_path / "old")) as old:
        old.executescript(Path(__file__).with_name("overlay_v1.sql").read_text())
    assert tables(tmp_path / "old") == tables(tmp_path / "new")


def test_the_largest_network_of_a_full_budget_is_found_without_sorting(tmp_path: Path) -> None:
    with open_record_store(tmp_path / "s"):
        pass
    with closing(sqlite3.connect(tmp_path / "s")) as database:
        plan = database.execute(f"EXPLAIN QUERY PLAN {_LARGEST_OF_ROOM}", (0, b"")).fetchall()
    assert [step for *_, step in plan] == [
        "SEARCH crowds USING INDEX crowds_by_amount (room=? AND within=?)"
    ]


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "overlay.sqlite"
    records = [in_music(), record_of(provider_subject(multihash(0)), provider())]
    with open_record_store(path) as store:
        store.put_all(records, SOURCE, NOW)
        store.keep_contacts([(b"contact", 1)])
        used = store.usage()
    with open_record_store(path) as store:
        assert [store.rows(record.subject.key, NOW) for record in records] == [
            [record] for record in records
        ]
        assert store.contacts() == [b"contact"]
        assert store.usage() == used


@pytest.mark.parametrize("damage", [b"not a database" * 100, b""])
def test_a_file_that_is_no_database_is_moved_aside(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "overlay.sqlite"
    path.write_bytes(damage)
    with open_record_store(path) as store:
        assert store.put(in_music(), SOURCE, NOW) is Stored.STORED
    aside = path.with_name("overlay.sqlite.unusable")
    assert not damage or aside.read_bytes() == damage


def test_a_file_that_breaks_later_is_moved_aside_when_that_shows(tmp_path: Path) -> None:
    path = tmp_path / "overlay.sqlite"
    with open_record_store(path) as store:
        store.put_all([made_up(number) for number in range(100)], SOURCE, NOW)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with open_record_store(path) as store:
        assert store.rows(MUSIC.key, NOW) == []
        assert store.put(in_music(), SOURCE, NOW) is Stored.STORED
        assert store.count(MUSIC.key, NOW) == 1


def test_a_store_in_memory_forgets_all_records_at_once() -> None:
    store = MemoryRecordStore()
    store.put(in_music(), SOURCE, NOW)
    store.clear()
    assert (store.usage(), store.rows(MUSIC.key, NOW)) == (Usage(0, 0), [])
    assert store.put(in_music(), SOURCE, NOW) is Stored.STORED


def test_a_file_of_a_later_version_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "overlay.sqlite"
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version = 99")
    later.close()
    with open_record_store(path) as store:
        assert store.usage() == Usage(0, 0)
    assert path.with_name("overlay.sqlite.unusable").exists()


def test_what_the_first_version_stored_is_there(tmp_path: Path) -> None:
    path = tmp_path / "overlay.sqlite"
    with closing(sqlite3.connect(path)) as first:
        first.executescript(Path(__file__).with_name("overlay_v1.sql").read_text())
        keys = {key for (key,) in first.execute("SELECT key FROM records")}
        then = first.execute("SELECT min(stored) FROM records").fetchone()[0]
    with open_record_store(path) as store:
        assert store.usage() == Usage(10, 2466)
        assert len(store.contacts()) == 2
        found = [record for key in keys for record in store.rows(key, then)]
        assert len(found) == 44
        for record in found:  # each is still what its publisher signed
            assert verified_record(record.subject, record.value, TESTBED, then) == record
    assert not path.with_name("overlay.sqlite.unusable").exists()


def test_a_disk_that_fails_is_full_and_says_so_to_others(tmp_path: Path) -> None:
    path = tmp_path / "overlay.sqlite"
    with open_record_store(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")  # stands for any error that is not the file's
        assert store.put(in_music(), SOURCE, NOW) is Stored.FULL
        with pytest.raises(RecordStoreError):
            store.expire(NOW)
        other.close()
        assert store.put(in_music(), SOURCE, NOW) is Stored.STORED


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(RecordStoreError),
        open_record_store(tmp_path / "missing" / "overlay.sqlite"),
    ):
        pass


def test_names_are_those_of_a_range_of_keys_in_pages(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordstore, "MAX_NAMES", 3)
    monkeypatch.setattr(memorystore, "MAX_NAMES", 3)
    monkeypatch.setattr(recordreading, "MAX_NAMES", 3)
    records = [in_music(signer=signer) for signer in range(5)]
    records += [record_of(subject, meta()) for subject in subjects_of(meta())]
    store.put_all(records, SOURCE, NOW)
    expected = {record.subject.key + record.digest for record in records}
    found, cursor = [], b""
    while cursor is not None:
        page = store.names(bytes(20), b"\xff" * 20, cursor, NOW)
        assert len(page.names) <= 3
        found += page.names
        cursor = page.next
    assert found == sorted(found, key=lambda name: name[:20])
    assert set(found) == expected
    assert len(found) == len(expected)
    of_music = store.names(MUSIC.key, MUSIC.key, b"", NOW).names
    assert {name[:20] for name in of_music} == {MUSIC.key}
    assert store.names(bytes(20), b"\xff" * 20, b"", NOW + 2 * DAY).names == ()


@pytest.mark.parametrize(
    ("source", "network"),
    [("8.8.4.7", "8.8.4.0"), ("2001:4860:1:2::7", "2001:4860:1::"), ("127.0.0.9", "127.0.0.0")],
)
def test_what_is_named_comes_with_its_network(
    store: RecordStore, source: str, network: str
) -> None:
    record = in_music()
    store.put(record, source, NOW)
    name = record.subject.key + record.digest
    assert store.named([name, bytes(28), name], NOW)[0] == (record, network)
    assert store.named([name[:20] + bytes(8)], NOW) == []
    assert store.named([name], NOW + 2 * DAY) == []


def test_what_is_absent_is_neither_here_nor_alive(store: RecordStore) -> None:
    here = [in_music(signer=signer) for signer in range(3)]
    store.put_all(here, SOURCE, NOW)
    names = [record.subject.key + record.digest for record in here]
    elsewhere = tag_subject("jazz").key + here[0].digest
    assert store.absent([bytes(28), *names, elsewhere, names[0][:20] + bytes(8)], NOW) == [
        bytes(28),
        elsewhere,
        names[0][:20] + bytes(8),
    ]
    assert store.absent([*names, elsewhere, elsewhere], NOW) == [elsewhere, elsewhere]
    assert store.absent(names, NOW + 2 * DAY) == names
    assert store.absent([], NOW) == []
