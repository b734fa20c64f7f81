"""Going into the background once the work is known to have begun.

Forks before any thread or event loop exists, so nothing of the parent's is half-copied.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from p2pfs.errors import P2pfsError, system_failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LOG_BYTES = 4 << 20  # weeks of a quiet node, and quick to send along with a report
_LOGS_KEPT = 3
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_READY = b"ready"
_SIGNALLED = 128  # what a shell adds to the number of the signal


def run_in_background(run: Callable[[Callable[[], None]], int], log: Path) -> None:
    """Run `run(ready)` in a process of its own session; return when it has called `ready`.

    What fails before that is raised here, with the same message and exit code.
    """
    handler = _log_handler(log)
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        _be_the_node(run, handler, write_end)
    os.close(write_end)
    try:
        with open(read_end, "rb") as pipe:
            said = pipe.read()
    except KeyboardInterrupt:  # Ctrl-C: the node is in a session of its own and has not heard it
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        raise
    if said == _READY:
        return
    _, wait_status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(wait_status)
    if said:
        print(f"p2pfs: {said.decode(errors='replace')}", file=sys.stderr)
        sys.exit(code)
    raise P2pfsError(f"the node ended at once, see {log}")


def log_to_stderr() -> None:
    """Logging for a node in the foreground."""
    logging.basicConfig(level=logging.INFO, format=_FORMAT, stream=sys.stderr)
    _quiet_libraries()


def exit_as_ended(ended_by: int) -> None:
    """Exit as a shell expects of a process that a signal ended; return if none did."""
    if ended_by:
        sys.exit(_SIGNALLED + ended_by)


def _be_the_node(
    run: Callable[[Callable[[], None]], int], handler: logging.Handler, pipe: int
) -> NoReturn:
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal may close
    code = 0
    try:
        _log_by(handler)
        ended_by = run(lambda: _say(pipe, _READY))
        code = _SIGNALLED + ended_by if ended_by else 0
    except P2pfsError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 a user's mistake has no traceback
        _say(pipe, str(error).encode())
        code = error.exit_code
    except OSError as error:
        logging.getLogger(__name__).exception("the node ended")
        _say(pipe, str(system_failure(error)).encode())
        code = 1
    except BaseException:
        logging.getLogger(__name__).exception("the node ended")
        code = 1
    logging.shutdown()
    os._exit(code)  # not the parent's way out: its handlers and buffers are not ours


def _say(pipe: int, message: bytes) -> None:
    try:
        os.write(pipe, message)
        os.close(pipe)
    except OSError:
        return  # said before, or nobody waits any more


def _log_handler(log: Path) -> logging.Handler:
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return logging.handlers.RotatingFileHandler(log, maxBytes=_LOG_BYTES, backupCount=_LOGS_KEPT)


def _log_by(handler: logging.Handler) -> None:
    logging.basicConfig(level=logging.INFO, format=_FORMAT, handlers=[handler])
    _quiet_libraries()
    with open(os.devnull, "r+b") as null:
        for descriptor in (0, 1, 2):
            os.dup2(null.fileno(), descriptor)


def _quiet_libraries() -> None:
    """Let through only what is wrong: httpx logs every request, rpcudp every lost datagram."""
    for name in ("httpx", "httpcore", "hypercorn", "rpcudp", "kademlia", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
