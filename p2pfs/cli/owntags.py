"""Tags as a user writes them on a command line, for own files; not a command."""

from __future__ import annotations

import sys

from p2pfs.content.tags import normal_tag
from p2pfs.errors import UsageError
from p2pfs.text import printable


def tags_given(words: tuple[str, ...]) -> list[str]:
    """The same, to ask the node with, which refuses what is no tag.

    Raises UsageError for what is no text.
    """
    try:
        return [word.encode().decode() for word in words]
    except UnicodeEncodeError as error:
        raise UsageError("tags are text in UTF-8") from error


def tell_spelling(tags: list[str]) -> None:
    """Say on stderr which of the tags that the node has taken are spelt otherwise now."""
    for tag in tags:
        written = normal_tag(tag)
        if written != tag:
            print(printable(f'p2pfs: tag "{tag}" is written "{written}"'), file=sys.stderr)
