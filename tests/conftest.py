"""For all tests: hypothesis judges what is right, not how fast a busy machine is."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
