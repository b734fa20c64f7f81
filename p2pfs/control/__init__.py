"""The local HTTP API that the command line uses."""
