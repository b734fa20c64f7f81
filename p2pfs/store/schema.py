"""The tables of the catalogue, version by version; how to add one is written in `migrations`.

What is read from and written to them stands with the nouns that own them.
"""

from __future__ import annotations

from p2pfs.store.migrations import script

# CIDs are binary and of version 1.  A root is a content of which blocks are known: a share's, a
# fetched object's, a fetched directory's; its id keeps two million chunk rows small.
_VERSION_1 = """
CREATE TABLE IF NOT EXISTS roots (
    id INTEGER PRIMARY KEY,
    cid BLOB NOT NULL UNIQUE,
    fetched INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS nodes (
    multihash BLOB NOT NULL,
    root INTEGER NOT NULL REFERENCES roots ON DELETE CASCADE,
    block BLOB NOT NULL,
    content_at INTEGER NOT NULL,
    content_size INTEGER NOT NULL,
    UNIQUE (multihash, root)
);
CREATE INDEX IF NOT EXISTS nodes_of_root ON nodes (root);
CREATE TABLE IF NOT EXISTS chunks (
    prefix INTEGER NOT NULL,
    root INTEGER NOT NULL REFERENCES roots ON DELETE CASCADE,
    start INTEGER NOT NULL,
    PRIMARY KEY (prefix, root)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS chunks_of_root ON chunks (root);
CREATE TABLE IF NOT EXISTS objects (
    root INTEGER PRIMARY KEY REFERENCES roots,
    size INTEGER NOT NULL,
    present BLOB NOT NULL,
    present_bytes INTEGER NOT NULL,
    used INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS shares (
    path BLOB PRIMARY KEY,
    dev INTEGER NOT NULL,
    ino INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    root INTEGER REFERENCES roots,
    crc32 INTEGER NOT NULL,
    mime TEXT NOT NULL,
    name TEXT NOT NULL,
    title TEXT NOT NULL,
    tags TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    seq INTEGER NOT NULL,
    announced_until INTEGER NOT NULL,
    hash_seconds REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS shares_of_root ON shares (root);
CREATE TABLE IF NOT EXISTS metainfos (
    publisher BLOB NOT NULL,
    cid BLOB NOT NULL,
    seq INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    encoded BLOB NOT NULL,
    PRIMARY KEY (publisher, cid)
);
CREATE TABLE IF NOT EXISTS tagged (
    tag TEXT NOT NULL,
    publisher BLOB NOT NULL,
    cid BLOB NOT NULL,
    PRIMARY KEY (tag, publisher, cid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tags_of_metainfo ON tagged (publisher, cid);
CREATE TABLE IF NOT EXISTS names (
    tag TEXT NOT NULL,
    name TEXT NOT NULL,
    cid BLOB NOT NULL,
    PRIMARY KEY (tag, name)
) WITHOUT ROWID;
"""
# Until a release has it, whatever is new comes here.
_VERSION_2 = """
CREATE TABLE IF NOT EXISTS pins (
    content BLOB NOT NULL,
    pin BLOB NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (content, pin)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS contents_of_pin ON pins (pin);
CREATE TABLE IF NOT EXISTS folders (
    path BLOB PRIMARY KEY,
    root INTEGER NOT NULL REFERENCES roots
);
CREATE INDEX IF NOT EXISTS folders_of_root ON folders (root);
ALTER TABLE roots ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
ALTER TABLE shares ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0;
CREATE TABLE IF NOT EXISTS provided (
    root INTEGER PRIMARY KEY REFERENCES roots ON DELETE CASCADE,
    until INTEGER NOT NULL,
    addresses TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS swept (
    root INTEGER PRIMARY KEY REFERENCES roots ON DELETE CASCADE,
    until INTEGER NOT NULL,
    addresses TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS sweep (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    started INTEGER NOT NULL,
    place BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS publications (
    path BLOB PRIMARY KEY,
    is_folder INTEGER NOT NULL,
    tags TEXT NOT NULL
);
"""

STEPS = (script(_VERSION_1), script(_VERSION_2))
"""From an empty file to the present tables."""
