"""The same random seeds at every run of a test."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st


def for_each_seed(count: int, check: Callable[[int], None]) -> None:
    """Call the check with so many seeds. A failure names its seed, which is not shrunk: a smaller seed is no simpler case."""

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**63))
    def check_seed(seed: int) -> None:
        try:
            check(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise

    check_seed()
