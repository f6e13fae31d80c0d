"""The numbers in the rules of sessions and workflows, as the settings give them."""

from __future__ import annotations

from pathlib import Path

from jobs import settings as configuration
from jobs.rules import session_rules, workflow_rules
from jobs.settings import Settings


def load(folder: Path, text: str) -> Settings:
    file = folder / "conf.yaml"
    file.write_text(text)
    return configuration.load(file=file)


def test_parts_of_seconds_minutes_and_hours_are_the_nearest_millisecond(tmp_path: Path) -> None:
    sessions = "sessions: {idle_seconds: 64.1, derived_silence_minutes: 2.01, keyed_silence_hours: 0.29, tab_tolerance_seconds: 4.1}"
    workflows = "workflows: {idle_seconds: 64.1, break_minutes: 2.01, cut_hours: 0.29}"

    settings = load(tmp_path, f"{sessions}\n{workflows}")

    own, of_workflows = session_rules(settings), workflow_rules(settings)
    assert (own.idle_ms, own.derived_silence_ms, own.keyed_silence_ms, own.tab_tolerance_ms) == (64_100, 120_600, 1_044_000, 4_100)
    assert (of_workflows.idle_ms, of_workflows.break_ms, of_workflows.cut_ms) == (64_100, 120_600, 1_044_000)
