"""Hashes of 128 bits, packed: what many tasks have seen is compared by the engine as some large values in place of many small rows.

A task packs the hashes of what it has seen, divided by hash into shards. All values of a shard meet in one task, which counts the
different ones among them. Two things have the same hash with negligible probability.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np


def columns(text: str) -> str:
    """SQL for the two halves of the hash of a text, as the columns `high` and `low`."""
    return f"CAST(md5_number({text}) >> 64 AS UBIGINT) AS high, CAST(md5_number({text}) & 18446744073709551615 AS UBIGINT) AS low"


def shards(high: Any, low: Any, number: int) -> Iterator[tuple[int, Any, bytes]]:
    """Divide hashes, two arrays of their halves, into so many shards.

    Gives of each shard that is not empty its number, the positions of its hashes in the arrays, and these hashes packed.
    """
    hashes = np.column_stack([high, low])
    of_shard = (hashes[:, 1] % np.uint64(number)).astype(np.int64)
    in_order = np.argsort(of_shard, kind="stable")
    ends = np.cumsum(np.bincount(of_shard, minlength=number)).tolist()
    for shard, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if end > start:
            chosen = in_order[start:end]
            yield shard, chosen, hashes[chosen].tobytes()


def count(packed: Iterable[bytes]) -> tuple[int, int]:
    """How many hashes these are, and how many different ones."""
    high, low = np.frombuffer(b"".join(packed), np.uint64).reshape(-1, 2).T
    if not len(low):
        return 0, 0
    order = np.lexsort((low, high))
    high, low = high[order], low[order]
    repeated = int(np.count_nonzero((high[1:] == high[:-1]) & (low[1:] == low[:-1])))
    return len(low), len(low) - repeated
