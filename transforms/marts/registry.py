"""All marts. A new one is a table in schemas/marts.py, a module beside this one, and an entry here."""

from __future__ import annotations

from collections.abc import Sequence

from transforms.marts import (
    active_visitors,
    assessments,
    content_plays,
    event_rate,
    funnels,
    homepage,
    pages,
    performance,
    retention,
    transactions,
)
from transforms.marts.funnels import Funnel
from transforms.marts.mart import Mart

# Raised whenever the same events and sessions make other rows of a mart: `millrace rebuild` then computes all marts again.
MARTS_VERSION = 1


def marts(of_funnels: Sequence[Funnel]) -> tuple[Mart, ...]:
    """All marts, with these funnels."""
    fixed = (active_visitors, retention, pages, performance, transactions, assessments, content_plays, homepage, event_rate)
    return (*(module.MART for module in fixed), funnels.mart(of_funnels))
