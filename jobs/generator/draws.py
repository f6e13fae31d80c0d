"""Random numbers without a state: every number is a function of whom it is for and what it is called.

So any event of any night can be made alone, in any order and by any number of workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]  # identities: 64 random bits each
Whole = NDArray[np.int64]
Share = NDArray[np.float64]  # in [0, 1)
Flags = NDArray[np.bool_]

_GOLDEN_STEP = np.uint64(0x9E3779B97F4A7C15)


def root(*parts: object) -> int:
    """The bits that everything of these parts grows from."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


@cache
def _salt(name: str) -> np.uint64:
    return np.uint64(root(name))


def _mix(bits: Bits) -> Bits:
    # The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection, so different bits stay different.
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def child(parent: Bits, number: Whole) -> Bits:
    """The bits of each parent's child of that number."""
    return _mix(parent + (number.astype(np.uint64) + np.uint64(1)) * _GOLDEN_STEP)


def children(parent: int, number: Whole) -> Bits:
    """The bits of one parent's children of these numbers."""
    return child(np.full(len(number), parent, dtype=np.uint64), number)


def draw(bits: Bits, name: str) -> Bits:
    """One draw of that name for each: different bits draw differently."""
    return _mix(bits ^ _salt(name))


def share(bits: Bits, name: str) -> Share:
    """One draw of that name for each, even in [0, 1)."""
    return (draw(bits, name) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(bits: Bits, name: str, limit: int) -> Whole:
    """One draw of that name for each, a whole number in [0, limit)."""
    return (draw(bits, name) % np.uint64(limit)).astype(np.int64)


def picks(bits: Bits, name: str, limit: int) -> list[int]:
    """`below` as a list, for the documents."""
    return list(below(bits, name, limit).tolist())


def chosen(bits: Bits, name: str, choices: Sequence[Any]) -> list[Any]:
    """One of the choices for each."""
    return [choices[pick] for pick in below(bits, name, len(choices)).tolist()]


def spread(index: Whole, ratio: float, first: int = 0) -> Share:
    """A sequence in [0, 1) that fills it evenly from its start on; it is 0 at the index `first`.

    Multiples of an irrational number (Weyl 1916): a few hundred of them hold each share as exactly as a million random ones would.
    """
    return ((index - first).astype(np.float64) * ratio) % 1.0


def hexes(bits: Bits, name: str) -> list[str]:
    """For each 32 hexadecimal digits."""
    halves = np.stack([draw(bits, f"{name} high"), draw(bits, f"{name} low")], axis=1)
    digits = halves.astype(">u8").tobytes().hex()
    return [digits[start : start + 32] for start in range(0, len(digits), 32)]


def uuids(bits: Bits, name: str) -> list[str]:
    """For each a UUID of version 4, as far as its digits show."""
    return [f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}" for digits in hexes(bits, name)]
