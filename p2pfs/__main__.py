"""`python -m p2pfs`, and what the installed command `p2pfs` calls."""

from p2pfs.cli.app import main

if __name__ == "__main__":
    main()
