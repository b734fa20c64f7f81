"""`p2pfs gc`."""

from __future__ import annotations

from p2pfs.cli.control import ask
from p2pfs.cli.printing import write_facts, write_json
from p2pfs.control.calls import Nothing
from p2pfs.control.kept import Collected
from p2pfs.text import Fact, human_bytes

# A large cache is many files, and each has to be freed.
_SECONDS = 600


def gc(*, json: bool = False) -> None:
    """Empty the cache of all that is neither pinned nor open, and say what was freed.

    Parameters
    ----------
    json
        Print JSON instead, for scripts.
    """
    done = ask("gc", Nothing(), Collected, _SECONDS)
    if json:
        write_json(done)
        return
    write_facts([Fact("freed", done.freed, human_bytes(done.freed)), Fact("removed", done.removed)])
