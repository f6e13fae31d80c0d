"""Turn the settings into the rules that the transforms take: milliseconds, and rules about personal data."""

from __future__ import annotations

from collections.abc import Collection

from jobs import privacy_keys
from jobs.errors import SettingsError
from jobs.settings import Past, Settings, SourcePrivacy
from transforms.ingest.records import TimeRules
from transforms.marts.funnels import Funnel, Step
from transforms.metrics import EVERYONE, PEOPLE
from transforms.privacy.privacy_rules import PrivacyRules, SourceRules
from transforms.privacy.pseudonyms import Pseudonyms
from transforms.privacy.secret_names import SecretNames, normalised
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


def privacy_rules(settings: Settings) -> PrivacyRules:
    """The rules about personal data, with the salts and the key that they need.

    Raises SettingsError when a rule hashes and there is no salt, or when a salt or key cannot be read.
    """
    privacy = settings.privacy
    rules = PrivacyRules(
        names=SecretNames([*privacy.names, *privacy.additional_names]),
        numbers=tuple(sorted(map(normalised, privacy.version_numbers))),
        patterns=frozenset(privacy.patterns),
        sources={name: _source_rules(own) for name, own in privacy.sources.items()},
        raw=privacy.raw,
        raw_key=privacy_keys.raw_key(privacy.raw_key_file) if privacy.raw == "encrypt" else None,
        pseudonyms=Pseudonyms(privacy_keys.salts(privacy.salt_file)),
    )
    if rules.hashes and rules.pseudonyms.first_date is None:
        raise SettingsError(f"a rule of privacy.sources hashes, and there is no salt: {privacy_keys.SALT_REMEDY}")
    return rules


def _source_rules(own: SourcePrivacy) -> SourceRules:
    return SourceRules(own.default, {pointer: action for pointer, action in own.rules.items() if action is not None})


def session_rules(settings: Settings) -> SessionRules:
    """The numbers in the rules of sessions, from the settings `sessions`."""
    sessions = settings.sessions
    return SessionRules(
        keyed_silence_ms=round(sessions.keyed_silence_hours * 3_600_000),
        derived_silence_ms=round(sessions.derived_silence_minutes * 60_000),
        idle_ms=round(sessions.idle_seconds * 1000),
        overlong_ms=round(sessions.overlong_hours * 3_600_000),
        tab_tolerance_ms=round(sessions.tab_tolerance_seconds * 1000),
    )


def workflow_rules(settings: Settings) -> WorkflowRules:
    """The numbers in the rules of workflow summaries, from the settings `workflows`."""
    workflows = settings.workflows
    return WorkflowRules(
        idle_ms=round(workflows.idle_seconds * 1000),
        break_ms=round(workflows.break_minutes * 60_000),
        cut_ms=round(workflows.cut_hours * 3_600_000),
    )


def funnels(settings: Settings) -> tuple[Funnel, ...]:
    """The funnels of the settings `funnels`, but for those that are taken away."""
    return tuple(
        Funnel(name, own.source, tuple(Step(**step.model_dump()) for step in own.steps), own.window_hours)
        for name, own in settings.funnels.items()
        if own is not None
    )


def past_rules(past: Past) -> PastRules:
    """The nights with which a source's night is compared, from the settings `quality.past`."""
    return PastRules(**past.model_dump())


def rulesets_of(settings: Settings, sources: Collection[str]) -> dict[str, str]:
    """Per source the hash of its rules: see transforms.sources.registry.ruleset."""
    privacy, limit = privacy_rules(settings), settings.ingest.max_document_bytes
    return {source: ruleset(SOURCES[source], time_rules(settings, source), limit, privacy) for source in sources}


def counted_people(settings: Settings) -> str:
    """Whom users and averages are about: transforms.metrics.PEOPLE or EVERYONE."""
    return PEOPLE if settings.metrics.robots == "apart" else EVERYONE
