"""The table of commands, and how a failure ends a process.

A command's module is imported when it runs, so that `--help` is quick.
"""

from __future__ import annotations

import os
import signal
import sys

from cyclopts import App, CycloptsError

from p2pfs import __version__
from p2pfs.errors import P2pfsError, UsageError
from p2pfs.text import printable

app = App(
    name="p2pfs",
    help="A trackerless peer-to-peer network as a directory tree: ls to find, cp to publish.",
    help_epilogue="Start with `p2pfs mount ~/p2p`, then read ~/p2p/README.txt.",
    version=__version__,
    help_format="plaintext",
)
app.command(
    "p2pfs.cli.mount:mount", name="mount", help="Join the network and mount it on a folder."
)
app.command(
    "p2pfs.cli.mount:node", name="node", help="Join the network without a mount, in the foreground."
)
app.command("p2pfs.cli.umount:umount", name="umount", help="Unmount and end the node.")
app.command("p2pfs.cli.status:status", name="status", help="Show what the running node does.")
app.command(
    "p2pfs.cli.search:search", name="search", help="Find files by the words of their names."
)
app.command(
    "p2pfs.cli.cid:cid", name="cid", help="Print a file's content id; nothing is published."
)
app.command("p2pfs.cli.version:version", name="version", help="Print the version.")


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code (`docs/ARCHITECTURE.md` lists them)."""
    try:
        app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError:
        sys.exit(UsageError.exit_code)  # cyclopts has said what is wrong
    except P2pfsError as error:
        print(f"p2pfs: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `p2pfs status | head`: whoever read has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
