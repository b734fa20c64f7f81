"""`p2pfs version`."""

from p2pfs import __version__


def version() -> None:
    """Print the version."""
    print(__version__)
