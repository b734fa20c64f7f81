"""`p2pfs status`."""

import sys

from p2pfs.cli.control import running_status
from p2pfs.cli.printing import paint_for, write_json
from p2pfs.status import render_status


def status(*, json: bool = False) -> None:
    """Show what the running node does.

    Parameters
    ----------
    json
        Print JSON instead, for scripts.
    """
    now = running_status()
    if json:
        write_json(now)
    else:
        sys.stdout.write(render_status(now, paint_for(sys.stdout)))
