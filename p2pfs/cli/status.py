"""`p2pfs status`."""

import sys
from typing import Annotated

from cyclopts import Parameter

from p2pfs.cli.control import running_status
from p2pfs.status import encode_json, render_status


def status(*, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Show what the running node does.

    Parameters
    ----------
    json
        Print JSON instead, for scripts.
    """
    now = running_status()
    sys.stdout.write(encode_json(now).decode() if json else render_status(now))
