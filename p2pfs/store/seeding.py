"""Which of what was fetched others may have, by the setting `seed`.

Shares may always be had.  How this is heeded is for `blocks`, how it is told for
`library.seeding`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.content.cid import Cid
    from p2pfs.settingvalues import Seed


def seeded(seed: Seed, is_pinned: Callable[[Cid], bool]) -> Callable[[Cid], bool]:
    """Whether others may have a fetched content, as a function of its root."""
    if seed == "pinned":
        return is_pinned
    return lambda _: seed == "all"
