"""Planned events as columns: what is known of an event before its document is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from jobs.generator.draws import Bits, Flags, Whole

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
# A time that is not said.
NEVER = np.iinfo(np.int64).min
# How a record is sent: on a line of its own, in an array with its neighbours, or in a batch of the source.
SINGLE, ARRAY, BATCH = range(3)


@dataclass(frozen=True)
class GeneratedRows:
    """One row per planned or landed event. Times are epoch milliseconds."""

    # what it is
    bits: Bits  # its identity: copies of an event share it, and its document follows from it
    visit: Bits  # the visit to which it belongs
    device: Bits
    software: Bits
    person: Whole  # number of the device among those of its source
    scenario: Whole  # of the visit: a source's own number, 0 for an ordinary one
    number: Whole  # place in the visit, from 0
    kind: Whole  # index into the source's kinds
    # its session
    key: Bits  # session key; 0 for none
    keyed: Flags  # whether the key is a session id of the client's, else of a person
    # its time
    time: Whole  # when it happened
    client: Whole  # when it happened by the client's clock; NEVER where the client does not say
    elapsed: Whole  # since the visit began, this and what follows counted over all of its events, landed or not
    active: Whole  # the same without idle time
    pageviews: Whole
    interactions: Whole
    # its way
    style: Whole  # SINGLE, ARRAY or BATCH
    upload: Bits  # what is sent at once
    sent: Whole  # when its upload reached the server
    # where it landed
    arrival: Whole  # when it arrived in the landing zone
    hour: Whole
    file: Whole  # number of the file within the hour
    line: Whole  # number of the line among the file's lines that hold records
    bad: Whole  # 0 for a valid record, else the number of its form: see bad_records

    def __len__(self) -> int:
        return len(self.bits)

    def take(self, which: Any) -> GeneratedRows:
        """These rows only, in this order: a slice, a mask or indices."""
        return GeneratedRows(**{column.name: getattr(self, column.name)[which] for column in fields(self)})


def concatenated(parts: Sequence[GeneratedRows]) -> GeneratedRows:
    """The rows of all parts, one after the other."""
    return GeneratedRows(
        **{column.name: np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(GeneratedRows)}
    )


def begins(*columns: Whole | Bits) -> Flags:
    """True where any column differs from the row before, and at the first row."""
    first = np.ones(len(columns[0]), dtype=np.bool_)
    first[1:] = False
    for column in columns:
        first[1:] |= column[1:] != column[:-1]
    return first


def within(amounts: Whole, first: Flags) -> Whole:
    """The running total of the amounts, starting anew at each first row."""
    total = np.cumsum(amounts)
    before = (total - amounts)[first]
    return total - before[np.cumsum(first) - 1] if len(total) else total


def distinct(column: Bits) -> tuple[Whole, Whole]:
    """The row at which each value stands first, and for each row the place of its value among these."""
    _, first, place = np.unique(column, return_index=True, return_inverse=True)
    return first, place
