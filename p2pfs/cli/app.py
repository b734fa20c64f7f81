"""The table of commands, and how a failure ends a process.

A command's module is imported when it runs or is asked for its help, and imports none of trio,
httpx, pyfuse3 and kademlia before it runs: `--help` is quick.
"""

from __future__ import annotations

import difflib
import io
import os
import re
import signal
import sys

from cyclopts import App, CycloptsError, Group, Parameter, UnusedCliTokensError

from p2pfs import __version__
from p2pfs.errors import P2pfsError, UsageError, system_failure
from p2pfs.text import printable

# What cyclopts suggests for `--port` is `--peer`; three letters of four are a slip, two are not.
_NEAR = 0.7
_FAR_FETCHED = re.compile(
    r'(?P<says>.*?(?P<wrong>--[\w-]+)\W.*) Did you mean "?(?P<meant>--[\w-]+)"?\?'
)

_MOUNTING = Group.create_ordered("The network as a folder")
_FINDING = Group.create_ordered("Finding and reading")
_HERE = Group.create_ordered("This node")

app = App(
    name="p2pfs",
    help="A trackerless peer-to-peer network as a directory tree: ls to find, cp to publish.",
    help_epilogue="Start with `p2pfs mount ~/p2p`, then read ~/p2p/README.txt.",
    version=__version__,
    help_format="plaintext",
    default_parameter=Parameter(negative=(), show_default=False),
)


def _add(where: str, does: str, group: Group, *examples: str) -> None:
    """Add the command `where` (MODULE:NAME below `cli`); the list shows `does`, its first line."""
    app.command(
        f"p2pfs.cli.{where}",
        name=where.partition(":")[2],
        help=does,
        group=group,
        help_epilogue="\n  ".join(("Examples:", *examples)) if examples else "",
    )


_add(
    "mount:mount",
    "Join the network and mount it on a folder.",
    _MOUNTING,
    "p2pfs mount ~/p2p",
    "p2pfs mount ~/p2p --peer 192.0.2.7:7117 --share /srv/music",
    "p2pfs mount ~/p2p --cache-size 20G --limit-up 2M",
)
_add(
    "mount:node",
    "Join the network without a mount, in the foreground.",
    _MOUNTING,
    "p2pfs node --share /srv/music --listen 0.0.0.0:7117",
)
_add("umount:umount", "Unmount and end the node.", _MOUNTING, "p2pfs umount ~/p2p")
_add(
    "search:search",
    "Find files by the words of their names.\n\n"
    "A terminal gets a table; a pipe a line each: content id, bytes, nodes that have it, name, "
    "with tabs between. Read one as by-hash/CONTENT-ID in the mount. Exits 3 if there is none.",
    _FINDING,
    "p2pfs search blue night",
    "p2pfs search night --tag artist:pearl-jam",
)
_add(
    "get:get",
    "Save a file or a whole directory of the network.\n\n"
    "What was stopped half-way is resumed by the same command; until it is whole, a file or folder "
    "is called NAME~ID.part. Files that are there already are kept; the same content is not "
    "fetched twice. Symbolic links that may lead elsewhere are named and left out.",
    _FINDING,
    "p2pfs get ~/p2p/by-tag/music/song.mp3",
    "p2pfs get CONTENT-ID/chapter-1 -o ~/books",
    "p2pfs get CONTENT-ID -o - | tar x",
)
_add(
    "info:info",
    "Show what is known of a content: names, tags, who has it, how much of it is here.",
    _FINDING,
    "p2pfs info ~/p2p/by-tag/music/song.mp3",
    "p2pfs info CONTENT-ID --json",
)
_add(
    "cid:cid",
    "Print a file's content id; nothing is published.",
    _FINDING,
    "p2pfs cid song.mp3",
    "p2pfs cid - < song.mp3",
)
app.command(
    "p2pfs.cli.id:app",
    name="id",
    help="Print this node's peer id; export its key, or import one.",
    group=_HERE,
)
_add("status:status", "Show what the running node does.", _HERE, "p2pfs status --json")
_add("peers:peers", "Show the nodes that content was fetched from.", _HERE, "p2pfs peers")
_add(
    "tag:tag",
    "Show the tags of a file in share/, or set them.\n\n"
    "Those of the folders it lies in stay. What was set is the file's extended attribute "
    "user.xdg.tags, which file managers show and edit.",
    _HERE,
    "p2pfs tag ~/p2p/share/trips/beach.png",
    "p2pfs tag ~/p2p/share/trips/beach.png sea summer",
)
_add(
    "publish:publish",
    "Serve files and folders from where they lie, without a copy.\n\n"
    "Everybody in the network can find and read them then, under their names and the tags of their "
    "folders, from the one that is named on; nothing of the way to it is told. What changes there "
    "is published anew, also after a restart, until it is unpublished. Hidden files, temporaries "
    "and what a .p2pfsignore names are left out, as in share/. Without any path, list what is "
    "published so. A pipe gets a line each: content id, files, published ones, state and path, "
    "with tabs between.",
    _HERE,
    "p2pfs publish ~/music/kind-of-late --tag jazz",
    "p2pfs publish talk.mp4 --wait",
    "p2pfs publish",
)
_add(
    "publish:unpublish",
    "Take back what was published where it lies; the files stay.",
    _HERE,
    "p2pfs unpublish ~/music/kind-of-late",
    "p2pfs unpublish CONTENT-ID",
)
_add(
    "pin:pin",
    "Fetch files or directories whole, and keep them until they are unpinned.\n\n"
    "Without any, list what is pinned: content id, bytes, bytes that are here, contents.",
    _HERE,
    "p2pfs pin ~/p2p/by-tag/music/song.mp3",
    "p2pfs pin",
)
_add("pin:unpin", "Let the cache drop what was pinned.", _HERE, "p2pfs unpin CONTENT-ID")
_add(
    "verify:verify",
    "Hash what is held here now, and say what is wrong.\n\n"
    "What is wrong is dropped from the cache. Exits 6 if anything was.",
    _HERE,
    "p2pfs verify",
    "p2pfs verify ~/p2p/by-tag/music/song.mp3",
)
_add("gc:gc", "Empty the cache of all that is neither pinned nor open.", _HERE, "p2pfs gc")
_add(
    "config:config",
    "Show every setting, its value, and where it comes from.",
    _HERE,
    "p2pfs config",
    "p2pfs config share",
    "p2pfs config --json",
)
_add(
    "doctor:doctor",
    "Look for what keeps a node from working here, and say what to do about it.",
    _HERE,
    "p2pfs doctor",
    "p2pfs doctor --json",
)
_add(
    "completion:completion",
    "Print what makes a shell complete p2pfs's commands and flags.",
    _HERE,
    "p2pfs completion bash > ~/.local/share/bash-completion/completions/p2pfs",
    "p2pfs completion fish > ~/.config/fish/completions/p2pfs.fish",
    "source <(p2pfs completion zsh)     # in ~/.zshrc, after compinit",
)
_add("version:version", "Print the version.", _HERE)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code; `docs/reference/exit-codes.md` lists them."""
    _print_whatever_comes()
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        _fail(UsageError(_said(error)))
    except P2pfsError as error:
        _fail(error)
    except BrokenPipeError:  # `p2pfs status | head`: whoever read has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:  # a full disk behind `> file`, an unreadable folder: not our mistake
        _fail(system_failure(error))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _print_whatever_comes() -> None:
    """A name that the locale has no letters for is no reason to fail; JSON is UTF-8 anyway."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _fail(error: P2pfsError) -> None:
    print(f"p2pfs: {printable(str(error))}", file=sys.stderr)
    sys.exit(error.exit_code)


def _kept_if_near(suggestion: re.Match[str]) -> str:
    wrong, meant = (suggestion[name].lstrip("-") for name in ("wrong", "meant"))
    near = difflib.SequenceMatcher(None, wrong, meant).ratio() >= _NEAR
    return suggestion[0] if near else suggestion["says"]


def _said(error: CycloptsError) -> str:
    """What is wrong with a command line, and which help to ask."""
    said = str(error).partition(" Available commands: ")[0]  # `--help` lists them better
    said = _FAR_FETCHED.sub(_kept_if_near, said)
    if isinstance(error, UnusedCliTokensError):
        said = f"Nothing is known of {' '.join(error.unused_tokens or ())!r} here."
    command = " ".join(("p2pfs", *(error.command_chain or ())))
    return f"{said} See `{command} --help`."
