"""Laws are tested on the same examples every time, and compiling a kernel does not count as slow."""

from hypothesis import settings

settings.register_profile("core", derandomize=True, deadline=None)
settings.load_profile("core")
