"""A trackerless peer-to-peer network as a directory tree."""

__version__ = "0.1.0"
