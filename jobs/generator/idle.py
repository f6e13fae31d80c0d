"""Gaps between events: how the generator draws them, and which of them count as time spent.

Rules: docs/rules/sessions.md, "Gaps and idle time".
"""

from __future__ import annotations

import numpy as np

from jobs.generator import draws
from jobs.generator.draws import Bits, Flags, Whole
from jobs.generator.rows import MINUTE, SECOND

# A longer gap is idle time; one of exactly this length counts.
LONGEST_COUNTED = 600 * SECOND


def drawn_gaps(bits: Bits, mean: int, idle: Flags) -> Whole:
    """Gaps of about the mean, ms, with now and then one at the limit, just over it, or idle; often where `idle`."""
    gap = 1 + np.minimum(-np.log1p(-draws.share(bits, "gap")) * mean, 580 * SECOND).astype(np.int64)
    turn = draws.share(bits, "pause")
    idle_gap = LONGEST_COUNTED + SECOND + draws.below(bits, "idle", 40 * MINUTE)
    return np.select(
        [turn < 0.004, turn < 0.006, turn < np.where(idle, 0.15, 0.018)],
        [np.full(len(bits), LONGEST_COUNTED), np.full(len(bits), LONGEST_COUNTED + 1), idle_gap],
        gap,
    )


def counted_gaps(first: Flags, time: Whole, user: Flags, pauses: Flags) -> Whole:
    """For each user event the time since the user event before it, ms, where that counts; 0 for all others.

    Rows in order of time within groups, each of which begins where `first`.
    """
    group = np.cumsum(first)
    rows = np.flatnonzero(user)
    before, after = rows[:-1], rows[1:]
    gap = time[after] - time[before]
    counts = (group[after] == group[before]) & (gap <= LONGEST_COUNTED) & ~pauses[before]
    counted = np.zeros(len(time), dtype=np.int64)
    counted[after] = np.where(counts, gap, 0)
    return counted
