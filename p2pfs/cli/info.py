"""`p2pfs info`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter

from p2pfs.cli.contents import Word, asked_of
from p2pfs.cli.control import ask
from p2pfs.cli.printing import write_facts, write_json
from p2pfs.cli.progress import open_wait
from p2pfs.control.asked import ContentInfo
from p2pfs.status import state_style
from p2pfs.text import Fact, human_bytes

# The node looks for 6 s.
_INFO_SECONDS = 15


def info(
    content: Annotated[Word, Parameter(allow_leading_hyphen=True)], /, *, json: bool = False
) -> None:
    """Show what is known of a content.

    Parameters
    ----------
    content
        A content id, CID/path, or the path of something in the mount.
    json
        Print JSON instead, for scripts.
    """
    asked, name = asked_of(content)
    with open_wait(f"looking for {name}"):
        known = ask("info", asked, ContentInfo, _INFO_SECONDS)
    if json:
        write_json(known)
    else:
        write_facts(_facts(known))


def _facts(known: ContentInfo) -> list[Fact]:
    published = None if known.published is None else datetime.fromtimestamp(known.published, UTC)
    cached = None if known.cached is None else f"{known.cached} %"
    facts = [
        Fact("cid", known.cid),
        Fact("kind", known.kind),
        Fact("size", known.size, f"{human_bytes(known.size)} ({known.size} bytes)"),
        *([] if known.entries is None else [Fact("entries", known.entries)]),
        Fact("names", ",".join(known.names) or None),
        Fact("tags", ",".join(known.tags) or None),
        Fact("mime", known.mime or None),
        Fact("crc32", known.crc32 or None),
        Fact(
            "published",
            known.published,
            f"{published:%Y-%m-%d %H:%M:%S} UTC" if published else None,
        ),
        Fact("publishers", ",".join(known.publishers) or None),
        Fact("providers", ",".join(known.providers) or None),
        Fact("cached", known.cached, cached),
        Fact("pinned", "yes" if known.pinned else "no"),
    ]
    facts += [
        Fact("own", f"{own.path}: {own.state}", style=state_style(own.state)) for own in known.own
    ]
    return [*facts, Fact("last_error", known.last_error or None, style="bad")]
