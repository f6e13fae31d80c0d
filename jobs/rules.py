"""The rules that the settings ask for, in the form in which the transforms take them."""

from __future__ import annotations

from collections.abc import Collection

from jobs.settings import Past, Settings
from transforms.history import PastRules
from transforms.records import TimeRules
from transforms.sessions import SessionRules
from transforms.sources import SOURCES, ruleset
from transforms.workflows import WorkflowRules

DAY_MS = 86_400_000


def time_rules(settings: Settings) -> TimeRules:
    """The rules of time that the settings ask for."""
    return TimeRules(
        past_ms=settings.time.client_past_days * DAY_MS,
        future_ms=settings.time.client_future_hours * 3_600_000,
        late_ms=settings.time.late_after_hours * 3_600_000,
    )


def session_rules(settings: Settings) -> SessionRules:
    """The rules of sessions that the settings ask for."""
    asked = settings.sessions
    return SessionRules(
        keyed_silence_ms=int(asked.keyed_silence_hours * 3_600_000),
        derived_silence_ms=int(asked.derived_silence_minutes * 60_000),
        idle_ms=int(asked.idle_seconds * 1000),
        overlong_ms=int(asked.overlong_hours * 3_600_000),
        tab_tolerance_ms=int(asked.tab_tolerance_seconds * 1000),
    )


def workflow_rules(settings: Settings) -> WorkflowRules:
    """The rules of workflow summaries that the settings ask for."""
    asked = settings.workflows
    return WorkflowRules(
        idle_ms=int(asked.idle_seconds * 1000),
        break_ms=int(asked.break_minutes * 60_000),
        cut_ms=int(asked.cut_hours * 3_600_000),
    )


def past_rules(asked: Past) -> PastRules:
    """The rules that the settings ask for of what a source's night is compared with."""
    return PastRules(**asked.model_dump())


def rulesets_of(settings: Settings, sources: Collection[str]) -> dict[str, str]:
    """Per source the hash of all that decides what becomes of its files."""
    rules = time_rules(settings)
    return {source: ruleset(SOURCES[source], rules, settings.ingest.max_document_bytes) for source in sources}
