"""Properties are judged by what they find, not by how long one try takes on a busy machine."""

from hypothesis import settings

settings.register_profile("ledger", deadline=None)
settings.load_profile("ledger")
