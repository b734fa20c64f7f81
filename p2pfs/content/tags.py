"""Tags and words: their one normal form, and which of them a file gets.

Reading a file's media metadata belongs in `library.media`; what a signed meta-info looks like,
in `metainfo`.  The normal form is part of the format: nodes refuse tags that are not in it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_TAG_BYTES = 64
MAX_WORDS = 8
MIN_WORD_CHARACTERS = 2
WORD = "word"
TITLE = "title"

# Longer "extensions" are the rest of a sentence with a full stop in it.
_MAX_EXTENSION_CHARACTERS = 10
# Folding and normalising can each undo the other once; four rounds are twice what Unicode needs.
_FOLDING_ROUNDS = 4
# What is dropped first has the highest grade.
_KEPT_LONGEST, _FOLDER, _GENRE, _EXTENSION, _YEAR, _ALBUM = range(6)
_ATTRIBUTE_GRADES = {
    "artist": _KEPT_LONGEST,
    TITLE: _KEPT_LONGEST,
    "genre": _GENRE,
    "year": _YEAR,
    "album": _ALBUM,
}
ATTRIBUTES = tuple(_ATTRIBUTE_GRADES)
_SEPARATORS = "/+-"
# In normal form already, as most are, seen a dozen times faster than by making it.
_PLAIN = re.compile(r"[!-*,.0-?@\[-~]+(?:-[!-*,.0-?@\[-~]+)*")

_TYPES_BY_MAIN_TYPE = {
    "audio": ("audio", "music"),
    "video": ("video",),
    "image": ("image",),
    "text": ("text",),
    "font": ("font",),
}
_DOCUMENTS = frozenset(
    {
        "application/epub+zip",
        "application/msword",
        "application/pdf",
        "application/postscript",
        "application/rtf",
        "application/vnd.amazon.ebook",
        "application/x-mobipocket-ebook",
        "image/vnd.djvu",
    }
)
_DOCUMENT_FAMILIES = (
    "application/vnd.oasis.opendocument.",
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    "application/vnd.ms-word",
)
_ARCHIVES = frozenset(
    {
        "application/gzip",
        "application/vnd.rar",
        "application/x-7z-compressed",
        "application/x-bzip2",
        "application/x-cpio",
        "application/x-gtar",
        "application/x-rar-compressed",
        "application/x-tar",
        "application/x-xz",
        "application/zip",
        "application/zstd",
    }
)
_ARCHIVE_EXTENSIONS = frozenset(
    ("7z", "bz2", "gz", "lz4", "lzma", "rar", "tar", "tbz2", "tgz", "txz", "xz", "zip", "zst")
)
_SOFTWARE = frozenset(
    {
        "application/java-archive",
        "application/vnd.android.package-archive",
        "application/vnd.debian.binary-package",
        "application/x-apple-diskimage",
        "application/x-debian-package",
        "application/x-executable",
        "application/x-iso9660-image",
        "application/x-msdownload",
        "application/x-msi",
        "application/x-redhat-package-manager",
        "application/x-rpm",
        "application/x-sharedlib",
    }
)
_SOFTWARE_EXTENSIONS = frozenset(
    ("apk", "appimage", "deb", "dmg", "exe", "flatpak", "img", "iso", "jar", "msi", "rpm")
)
_TYPES = frozenset({"document", "archive", "software"}.union(*_TYPES_BY_MAIN_TYPE.values()))


def normal_tag(text: str) -> str:
    """The one spelling of a tag, at most 64 bytes; raises MalformedError if nothing is left.

    NFKC, case-folded; white space, `/`, `+` and control characters become `-`; runs of `-` are one,
    and none is at an end; cut at a character.  The normal form of a normal form is itself.
    """
    if len(text) <= MAX_TAG_BYTES and _PLAIN.fullmatch(text):
        return text
    dashed = "".join("-" if _separates(character) else character for character in _folded(text))
    tag = "-".join(part for part in dashed.split("-") if part)
    tag = _cut(tag, MAX_TAG_BYTES).rstrip("-")
    if not tag:
        raise MalformedError(f"nothing of {text[:MAX_TAG_BYTES]!r} can be a tag")
    return tag


def attribute_tag(attribute: str, text: str) -> str:
    """`artist:pearl-jam` of "artist" and "Pearl Jam"; raises MalformedError if nothing is left."""
    return normal_tag(f"{attribute}:{normal_tag(text)}")


def query_tags(text: str) -> tuple[str, ...]:
    """The tags that a user's text means, all of which a file must have; raises MalformedError.

    `a+b` is both tags; of the attributes, `artist:Pearl Jam` and `artist|Pearl Jam` are one.
    """
    return tuple(dict.fromkeys(_query_tag(part) for part in text.split("+")))


def search_tags(text: str) -> tuple[str, ...]:
    """What a search asks for: its words, longest first, as tags; raises MalformedError for none.

    Between `+`, what names an attribute (`artist|Pearl Jam`) is that tag instead of words.
    """
    parts = text.split("+")
    attributes = [tag for part in parts if (tag := _attribute_query(part)) is not None]
    rest = " ".join(part for part in parts if _attribute_query(part) is None)
    found = dict.fromkeys((*word_tags(query_words(rest)), *attributes))
    if not found:
        raise MalformedError(f"{text[:MAX_TAG_BYTES]!r} has no word of two letters or more")
    return tuple(found)


def search_text(tags: Iterable[str]) -> str:
    """The one spelling of a search; of the words and attributes of `search_tags`, the inverse."""
    return "+".join(tag.removeprefix(f"{WORD}:") for tag in tags)


def words(name: str, title: str = "") -> tuple[str, ...]:
    """What a file is found by: the 8 longest words of its name and title, longest first.

    A word is a run of letters and digits and the marks on them, folded, of at least 2 characters;
    among equally long ones the byte order decides.
    """
    return query_words(f"{name} {title}")[:MAX_WORDS]


def query_words(text: str) -> tuple[str, ...]:
    """All words of a text, as `words` cuts them, longest first."""
    spaced = "".join(c if _in_word(c) else " " for c in _folded(text))
    found = {word for word in spaced.split() if len(word) >= MIN_WORD_CHARACTERS}
    return tuple(sorted(found, key=lambda word: (-len(word), word.encode())))


def name_tags(name: str, title: str = "") -> tuple[str, ...]:
    """All words of a name and title as tags, also those too short to be among the indexed."""
    return word_tags(query_words(f"{name} {title}"))


def word_tags(found: Iterable[str]) -> tuple[str, ...]:
    """The tags that words are indexed as: `word:…`."""
    return tuple(dict.fromkeys(attribute_tag(WORD, word) for word in found))


def type_tags(mime: str, extension: str) -> tuple[str, ...]:
    """What the type says: `audio`, `music`, …, and the extension itself, if it is one."""
    extension = extension.removeprefix(".").lower()
    found = _types(mime.partition(";")[0].strip().lower(), extension)
    if 0 < len(extension) <= _MAX_EXTENSION_CHARACTERS and extension.isalnum():
        found = (*found, normal_tag(extension))
    return tuple(dict.fromkeys(found))


def folder_tags(parts: Sequence[str]) -> tuple[str, ...]:
    """A tag for each folder of a path below `share/`, outermost first; odd ones are left out."""
    found: dict[str, None] = {}
    for part in parts:
        try:
            found[normal_tag(part)] = None
        except MalformedError:
            continue
    return tuple(found)


def by_importance(tags: Iterable[str], name: str) -> tuple[str, ...]:
    """The tags, those first that are dropped last when not all fit; otherwise as they come.

    Dropped in this order: album, year, extension, genre, then folders (and what the user chose)
    but the first of them.  The type and the rest of the metadata stay longest.
    """
    distinct = dict.fromkeys(tags)
    extension = name.rpartition(".")[2].casefold()
    grades = {tag: _grade(tag, extension) for tag in distinct}
    first_folder = next((tag for tag in distinct if grades[tag] == _FOLDER), None)
    if first_folder is not None:
        grades[first_folder] = _KEPT_LONGEST
    return tuple(sorted(distinct, key=lambda tag: grades[tag]))


def _grade(tag: str, extension: str) -> int:
    attribute, colon, _rest = tag.partition(":")
    if colon and attribute in _ATTRIBUTE_GRADES:
        return _ATTRIBUTE_GRADES[attribute]
    if tag in _TYPES:
        return _KEPT_LONGEST
    return _EXTENSION if tag == extension else _FOLDER


def _query_tag(text: str) -> str:
    return _attribute_query(text) or normal_tag(text)


def _attribute_query(text: str) -> str | None:
    """`artist:pearl-jam` of its spellings; None for what names no attribute."""
    for separator in "|:":
        attribute, found, rest = text.partition(separator)
        attribute = attribute.strip().casefold()
        if found and attribute in (*ATTRIBUTES, WORD):
            return attribute_tag(attribute, rest)
    return None


def _types(mime: str, extension: str) -> tuple[str, ...]:
    if mime in _SOFTWARE or extension in _SOFTWARE_EXTENSIONS:
        return ("software",)
    if mime in _ARCHIVES or extension in _ARCHIVE_EXTENSIONS:
        return ("archive",)
    if mime in _DOCUMENTS or mime.startswith(_DOCUMENT_FAMILIES):
        return ("document",)
    return _TYPES_BY_MAIN_TYPE.get(mime.partition("/")[0], ())


def _folded(text: str) -> str:
    """Case-folded and NFKC until neither changes it: each can leave work for the other.

    In this order, since folding takes some letters apart (U+0390) that a cut must not part.
    """
    for _ in range(_FOLDING_ROUNDS):
        folded = unicodedata.normalize("NFKC", text.casefold())
        if folded == text:
            break
        text = folded
    return text


def _separates(character: str) -> bool:
    """Whether it becomes `-`; surrogates, which UTF-8 cannot hold, count as control characters."""
    return (
        character in _SEPARATORS
        or character.isspace()
        or unicodedata.category(character) in ("Cc", "Cs")
    )


def _in_word(character: str) -> bool:
    """A letter or digit, or a mark, without which the words of many scripts fall apart."""
    return character.isalnum() or unicodedata.category(character).startswith("M")


def _cut(text: str, max_bytes: int) -> str:
    return text.encode()[:max_bytes].decode(errors="ignore")
