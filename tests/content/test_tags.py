import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.content.tags import (
    MAX_TAG_BYTES,
    MAX_WORDS,
    attribute_tag,
    by_importance,
    folder_tags,
    normal_tag,
    query_tags,
    query_words,
    type_tags,
    word_tags,
    words,
)
from p2pfs.errors import MalformedError

any_text = st.text(st.characters(exclude_categories=[]))  # surrogates too


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("music", "music"),
        ("Blue Notes", "blue-notes"),
        ("  a \t/ b+\n", "a-b"),
        ("--a--b--", "a-b"),
        ("artist:Pearl Jam", "artist:pearl-jam"),
        ("Straße", "strasse"),
        ("ﬁle ①", "file-1"),
        ("E\u0301tude", "étude"),
        ("a\x00\x1b[31mb", "a-[31mb"),
        ("bad\udc80byte", "bad-byte"),
        ("\u0390", "\u0390"),
        ("x" * 70, "x" * 64),
        ("é" * 40, "é" * 32),
        ("x" * 63 + "é", "x" * 63),
        ("x" * 63 + " y", "x" * 63),
    ],
)
def test_the_normal_form(text: str, tag: str) -> None:
    assert normal_tag(text) == tag


@pytest.mark.parametrize("text", ["", " ", "/", "-", "+\t-"])
def test_nothing_left_is_no_tag(text: str) -> None:
    with pytest.raises(MalformedError):
        normal_tag(text)


@given(st.text(st.characters(max_codepoint=127), max_size=60))
@settings(max_examples=500)
def test_plain_text_is_in_normal_form_just_if_it_is_beside_a_letter_that_is_not_plain(
    text: str,
) -> None:
    try:
        is_normal = normal_tag(text) == text
    except MalformedError:
        is_normal = False
    assert is_normal == (
        normal_tag(f"é{text}é") == f"é{text}é" and text[:1] != "-" != text[-1:] != ""
    )


@given(any_text)
@settings(max_examples=500)
def test_a_normal_form_is_its_own_normal_form_and_keeps_the_limits(text: str) -> None:
    try:
        tag = normal_tag(text)
    except MalformedError:
        return
    assert normal_tag(tag) == tag
    assert len(tag.encode()) <= MAX_TAG_BYTES
    assert not set(tag) & set("/+ \0\n")


def test_every_letter_of_unicode_has_a_stable_normal_form() -> None:
    for start in range(0, sys.maxunicode + 1, 4):
        text = "".join(chr(code) * 9 for code in range(start, start + 4))
        try:
            tag = normal_tag(text)
        except MalformedError:
            continue
        assert normal_tag(tag) == tag, hex(start)


def test_both_spellings_of_an_attribute_are_one_tag() -> None:
    for text in ("artist|Pearl Jam", "artist:Pearl Jam", "Artist: Pearl Jam", "artist:pearl-jam"):
        assert query_tags(text) == ("artist:pearl-jam",)
    assert attribute_tag("artist", "Pearl Jam") == "artist:pearl-jam"


def test_a_plus_means_both() -> None:
    assert query_tags("Jazz+artist|A+jazz") == ("jazz", "artist:a")
    with pytest.raises(MalformedError):
        query_tags("a+")


def test_a_bar_means_nothing_outside_an_attribute() -> None:
    assert query_tags("yes|no") == ("yes|no",)


@given(any_text)
@settings(max_examples=200)
def test_any_text_is_a_query_or_refused(text: str) -> None:
    try:
        tags = query_tags(text)
    except MalformedError:
        return
    assert all(normal_tag(tag) == tag for tag in tags)


def test_words_are_folded_distinct_and_longest_first() -> None:
    assert words("Tchaikovsky - The Nutcracker (Op. 71a).MP3", "Nußknacker") == (
        "nussknacker",
        "tchaikovsky",
        "nutcracker",
        "71a",
        "mp3",
        "the",
        "op",
    )


def test_only_the_eight_longest_words_count_and_ties_go_by_bytes() -> None:
    name = " ".join(f"{letter}{letter}" for letter in "kjihgfedcba") + " longer"
    assert words(name) == ("longer", "aa", "bb", "cc", "dd", "ee", "ff", "gg")


def test_marks_belong_to_their_words() -> None:
    assert query_words("हिन्दी भाषा") == ("हिन्दी", "भाषा")


@given(any_text, any_text)
@settings(max_examples=200)
def test_words_always_make_tags(name: str, title: str) -> None:
    found = words(name, title)
    assert len(found) <= MAX_WORDS
    assert all(normal_tag(tag) == tag for tag in word_tags(found))
    assert all(tag.startswith("word:") for tag in word_tags(found))


@pytest.mark.parametrize(
    ("mime", "extension", "tags"),
    [
        ("audio/mpeg", "mp3", ("audio", "music", "mp3")),
        ("audio/mpeg", ".MP3", ("audio", "music", "mp3")),
        ("video/mp4", "mp4", ("video", "mp4")),
        ("image/png", "png", ("image", "png")),
        ("text/plain; charset=utf-8", "txt", ("text", "txt")),
        ("application/pdf", "pdf", ("document", "pdf")),
        ("application/vnd.oasis.opendocument.text", "odt", ("document", "odt")),
        ("application/x-tar", "tar", ("archive", "tar")),
        ("application/octet-stream", "iso", ("software", "iso")),
        ("application/octet-stream", "", ()),
        ("", "not an extension", ()),
        ("image", "image", ("image",)),
    ],
)
def test_types_and_extensions(mime: str, extension: str, tags: tuple[str, ...]) -> None:
    assert type_tags(mime, extension) == tags


def test_folders_are_tags_and_odd_ones_are_left_out() -> None:
    assert folder_tags(["Talks", "2026", "-", "talks"]) == ("talks", "2026")


def test_what_is_dropped_first_comes_last() -> None:
    tags = (
        "album:x",
        "year:1991",
        "mp3",
        "genre:jazz",
        "second",
        "audio",
        "artist:a",
        "third",
        "title:t",
    )
    assert by_importance(tags, "song.mp3") == (
        "second",
        "audio",
        "artist:a",
        "title:t",
        "third",
        "genre:jazz",
        "mp3",
        "year:1991",
        "album:x",
    )


def test_results_are_composed() -> None:
    assert unicodedata.is_normalized("NFKC", normal_tag("e\u0301\u0390ﬃ"))
