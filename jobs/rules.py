"""Turn the settings into the rules that the transforms take: milliseconds, and names of secret fields."""

from __future__ import annotations

from collections.abc import Collection

from jobs.settings import Past, Settings
from transforms.ingest.records import TimeRules
from transforms.ingest.secrets import SecretNames
from transforms.quality.baseline import PastRules
from transforms.sessions.sessions import SessionRules
from transforms.sources.registry import SOURCES, ruleset
from transforms.workflows.summaries import WorkflowRules

DAY_MS = 86_400_000


def time_rules(settings: Settings, source: str) -> TimeRules:
    """The bounds of plausible times for events of a source."""
    bounds = settings.time.of(source)
    return TimeRules(
        past_ms=bounds.client_past_days * DAY_MS,
        future_ms=bounds.client_future_hours * 3_600_000,
        late_ms=bounds.late_after_hours * 3_600_000,
    )


def secret_names(settings: Settings) -> SecretNames:
    """The names of secret fields: the shipped ones and those that the settings add."""
    return SecretNames([*settings.secrets.names, *settings.secrets.additional])


def session_rules(settings: Settings) -> SessionRules:
    """The numbers in the rules of sessions, from the settings `sessions`."""
    sessions = settings.sessions
    return SessionRules(
        keyed_silence_ms=int(sessions.keyed_silence_hours * 3_600_000),
        derived_silence_ms=int(sessions.derived_silence_minutes * 60_000),
        idle_ms=int(sessions.idle_seconds * 1000),
        overlong_ms=int(sessions.overlong_hours * 3_600_000),
        tab_tolerance_ms=int(sessions.tab_tolerance_seconds * 1000),
    )


def workflow_rules(settings: Settings) -> WorkflowRules:
    """The numbers in the rules of workflow summaries, from the settings `workflows`."""
    workflows = settings.workflows
    return WorkflowRules(
        idle_ms=int(workflows.idle_seconds * 1000),
        break_ms=int(workflows.break_minutes * 60_000),
        cut_ms=int(workflows.cut_hours * 3_600_000),
    )


def past_rules(past: Past) -> PastRules:
    """The nights with which a source's night is compared, from the settings `quality.past`."""
    return PastRules(**past.model_dump())


def rulesets_of(settings: Settings, sources: Collection[str]) -> dict[str, str]:
    """Per source the hash of its rules: see transforms.sources.registry.ruleset."""
    secrets, limit = secret_names(settings), settings.ingest.max_document_bytes
    return {source: ruleset(SOURCES[source], time_rules(settings, source), limit, secrets) for source in sources}
