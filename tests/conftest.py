"""For all tests: hypothesis without its time limit for one example, which a loaded machine exceeds."""

from hypothesis import settings

settings.register_profile("ours", deadline=None)
settings.load_profile("ours")
