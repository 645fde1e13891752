"""What holds for all tests: examples that hypothesis makes may take as long as they take."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A machine that is busy with something else must not fail a test.
settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("unhurried")
