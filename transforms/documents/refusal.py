"""Why a record is refused."""

from __future__ import annotations

from typing import NamedTuple


class Refusal(NamedTuple):
    """Why a record is refused: a reason of schemas.events.REASONS, a JSON Pointer, and the rule that failed."""

    reason: str
    path: str
    detail: str
