"""The tables of `overlay.sqlite`, version by version, and the groups of what lies in them.

How a version is added is written in `store.migrations`; what is read and written, in `sqlitestore`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pfs.dht.fairshare import origin_of
from p2pfs.dht.recordstore import Usage
from p2pfs.store.migrations import script

if TYPE_CHECKING:
    import sqlite3

    from p2pfs.dht.fairshare import Groups, Origin
    from p2pfs.dht.recordstore import Room

# Triggers count uses and bytes, so that the counts are right after any crash.
_VERSION_1 = """
CREATE TABLE bodies (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL,
    provider INTEGER NOT NULL, uses INTEGER NOT NULL DEFAULT 0);
CREATE TABLE records (
    key BLOB NOT NULL, slot BLOB NOT NULL, subject BLOB NOT NULL, publisher BLOB NOT NULL,
    expires INTEGER NOT NULL, rank INTEGER NOT NULL, body INTEGER NOT NULL REFERENCES bodies,
    source TEXT NOT NULL, stored INTEGER NOT NULL,
    PRIMARY KEY (key, slot)) WITHOUT ROWID;
CREATE INDEX records_by_expiry ON records (expires);
CREATE TABLE usage (provider INTEGER PRIMARY KEY, amount INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO usage VALUES (0, 0, 0), (1, 0, 0);
CREATE TABLE contacts (contact BLOB PRIMARY KEY, seen INTEGER NOT NULL);
CREATE TRIGGER body_in AFTER INSERT ON bodies BEGIN
    UPDATE usage SET amount = amount + 1, bytes = bytes + length(new.body)
    WHERE provider = new.provider;
END;
CREATE TRIGGER body_out AFTER DELETE ON bodies BEGIN
    UPDATE usage SET amount = amount - 1, bytes = bytes - length(old.body)
    WHERE provider = old.provider;
END;
CREATE TRIGGER record_in AFTER INSERT ON records BEGIN
    UPDATE bodies SET uses = uses + 1 WHERE id = new.body;
END;
CREATE TRIGGER record_out AFTER DELETE ON records BEGIN
    UPDATE bodies SET uses = uses - 1 WHERE id = old.body;
    DELETE FROM bodies WHERE id = old.body AND uses = 0;
END;
"""
# `wide`, `narrow` and `who` are the groups of `fairshare`; of a body, of whoever brought it first.
# `crowds` counts the bodies of each group, since a room may hold hundreds of thousands.
_VERSION_2 = """
DROP TRIGGER body_in;
DROP TRIGGER body_out;
DROP TRIGGER record_in;
DROP TRIGGER record_out;
DROP INDEX records_by_expiry;
DROP TABLE usage;
ALTER TABLE bodies RENAME TO old_bodies;
ALTER TABLE records RENAME TO old_records;
CREATE TABLE bodies (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL,
    room INTEGER NOT NULL, contents INTEGER NOT NULL,
    wide BLOB NOT NULL, narrow BLOB NOT NULL, who BLOB NOT NULL, uses INTEGER NOT NULL DEFAULT 0);
CREATE TABLE records (
    key BLOB NOT NULL, slot BLOB NOT NULL, subject BLOB NOT NULL, publisher BLOB NOT NULL,
    expires INTEGER NOT NULL, rank INTEGER NOT NULL, body INTEGER NOT NULL REFERENCES bodies,
    wide BLOB NOT NULL, narrow BLOB NOT NULL, who BLOB NOT NULL, turn INTEGER NOT NULL,
    PRIMARY KEY (key, slot)) WITHOUT ROWID;
CREATE TABLE usage (room INTEGER PRIMARY KEY, amount INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO usage VALUES (0, 0, 0), (1, 0, 0), (2, 0, 0);
CREATE TABLE crowds (
    id INTEGER PRIMARY KEY, room INTEGER NOT NULL, name BLOB NOT NULL, within BLOB NOT NULL,
    amount INTEGER NOT NULL, UNIQUE (room, name));
CREATE TRIGGER body_in AFTER INSERT ON bodies BEGIN
    UPDATE usage SET amount = amount + 1, bytes = bytes + length(new.body) WHERE room = new.room;
    INSERT INTO crowds (room, name, within, amount)
    VALUES (new.room, new.wide, x'', 1), (new.room, new.narrow, new.wide, 1),
        (new.room, new.who, new.narrow, 1)
    ON CONFLICT (room, name) DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER body_out AFTER DELETE ON bodies BEGIN
    UPDATE usage SET amount = amount - 1, bytes = bytes - length(old.body) WHERE room = old.room;
    UPDATE crowds SET amount = amount - 1
    WHERE room = old.room AND name IN (old.wide, old.narrow, old.who);
    DELETE FROM crowds
    WHERE room = old.room AND name IN (old.wide, old.narrow, old.who) AND amount = 0;
END;
CREATE TRIGGER record_in AFTER INSERT ON records BEGIN
    UPDATE bodies SET uses = uses + 1 WHERE id = new.body;
END;
CREATE TRIGGER record_out AFTER DELETE ON records BEGIN
    UPDATE bodies SET uses = uses - 1 WHERE id = old.body;
    DELETE FROM bodies WHERE id = old.body AND uses = 0;
END;
INSERT INTO bodies (id, digest, body, room, contents, wide, narrow, who)
    SELECT id, digest, old_bodies.body, provider, 1, wide(source), narrow(source),
        who(source, publisher)
    FROM old_bodies JOIN old_records ON old_records.body = id GROUP BY id ORDER BY min(stored);
INSERT INTO records
    SELECT key, slot, subject, publisher, expires, rank, body, wide(source), narrow(source),
        who(source, publisher), -stored FROM old_records;
DROP TABLE old_records;
DROP TABLE old_bodies;
CREATE INDEX records_by_expiry ON records (expires);
CREATE INDEX records_by_body ON records (body);
CREATE INDEX records_by_group ON records (key, wide, narrow, who, turn);
CREATE INDEX bodies_by_group ON bodies (room, who);
CREATE INDEX crowds_by_amount ON crowds (room, within, amount);
"""


# The index is in the order of `_LARGEST_OF_ROOM`, ids ascending within an amount: of 40,000 groups
# of equal size the first is found in 0.02 ms, not 13.
_VERSION_3 = """
CREATE TABLE estimate (id INTEGER PRIMARY KEY, kept BLOB NOT NULL);
DROP INDEX crowds_by_amount;
CREATE INDEX crowds_by_amount ON crowds (room, within, amount DESC);
"""


def _group_old_records(connection: sqlite3.Connection) -> None:
    """The first version announced one root a record, and kept the source instead of its groups."""
    connection.create_function("wide", 1, lambda source: origin_of(b"", source)[0])
    connection.create_function("narrow", 1, lambda source: origin_of(b"", source)[1])
    connection.create_function("who", 2, lambda source, key: origin_of(key, source)[2])
    script(_VERSION_2)(connection)


STEPS = (script(_VERSION_1), _group_old_records, script(_VERSION_3))
"""From an empty file to the present tables."""


_GROUPS = ("wide", "narrow", "who")
_OF_KEY = (
    "FROM records WHERE key = ?",
    "FROM records WHERE key = ? AND wide = ?",
    "FROM records WHERE key = ? AND wide = ? AND narrow = ?",
    "FROM records WHERE key = ? AND wide = ? AND narrow = ? AND who = ?",
)
_LARGEST_OF_KEY = tuple(
    f"SELECT {group} {within} GROUP BY {group}"
    f" ORDER BY count(*) DESC, max(turn) DESC, {group} LIMIT 1"
    for group, within in zip(_GROUPS, _OF_KEY, strict=False)
)
_LARGEST_OF_ROOM = (
    "SELECT name FROM crowds WHERE room = ? AND within = ? ORDER BY amount DESC, id LIMIT 1"
)


class KeyCrowd:
    """The records under a key."""

    def __init__(self, database: sqlite3.Connection, key: bytes) -> None:
        self._database = database
        self._key = key

    def size(self, groups: Groups) -> int:
        found = self._database.execute(
            f"SELECT count(*) {_OF_KEY[len(groups)]}", (self._key, *groups)
        ).fetchone()
        return int(found[0])

    def largest(self, within: Groups) -> bytes:
        """Of equally large ones that which holds the highest turn; of these the first by name."""
        found = self._database.execute(_LARGEST_OF_KEY[len(within)], (self._key, *within))
        return bytes(found.fetchone()[0])

    def highest_turn(self, origin: Origin) -> int:
        """Of a publisher that has some."""
        found = self._database.execute(f"SELECT max(turn) {_OF_KEY[3]}", (self._key, *origin))
        return int(found.fetchone()[0])

    def remove_first(self, origin: Origin) -> None:
        """Of a publisher that has some."""
        sql = f"SELECT slot {_OF_KEY[3]} ORDER BY turn DESC, slot DESC LIMIT 1"
        found = self._database.execute(sql, (self._key, *origin)).fetchone()
        self._database.execute(
            "DELETE FROM records WHERE key = ? AND slot = ?", (self._key, *found)
        )


class RoomCrowd:
    """The values of a part of the budget."""

    def __init__(self, database: sqlite3.Connection, room: Room) -> None:
        self._database = database
        self._room = room

    def usage(self) -> Usage:
        """What all of them take."""
        sql = "SELECT amount, bytes FROM usage WHERE room = ?"
        return Usage(*self._database.execute(sql, (self._room,)).fetchone())

    def size(self, groups: Groups) -> int:
        sql = "SELECT amount FROM crowds WHERE room = ? AND name = ?"
        found = self._database.execute(sql, (self._room, groups[-1])).fetchone()
        return 0 if found is None else int(found[0])

    def largest(self, within: Groups) -> bytes:
        """Of equally large ones that which has been there longest."""
        name = within[-1] if within else b""
        return bytes(self._database.execute(_LARGEST_OF_ROOM, (self._room, name)).fetchone()[0])

    def remove_first(self, origin: Origin) -> None:
        """With all rows that it stands in."""
        sql = "SELECT id FROM bodies WHERE room = ? AND who = ? ORDER BY id LIMIT 1"
        found = self._database.execute(sql, (self._room, origin[-1])).fetchone()
        self._database.execute("DELETE FROM records WHERE body = ?", found)
