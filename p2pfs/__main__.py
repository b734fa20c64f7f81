"""`python -m p2pfs`, and what the installed command `p2pfs` calls."""

import signal


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback while it is still being imported."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # a shell may have set it to be ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from p2pfs.cli import app

    signal.signal(signal.SIGINT, before)
    app.main()


if __name__ == "__main__":
    main()
