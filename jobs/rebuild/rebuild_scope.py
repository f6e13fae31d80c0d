"""Which tables a rebuild builds again: all, or those that depend on rules that have changed since the lake was built."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from jobs.console.printing import print_message
from jobs.lake.tables import Lake
from jobs.landing.zone import Partition
from jobs.rebuild.recorded_rules import current, differences, earlier_rows, lines, recorded, source_of, sources_of
from jobs.settings import Settings
from transforms.sources.registry import SOURCES

# Steps that build their tables from other tables. Landed files need not be read again for them.
DERIVED = frozenset(("sessions", "workflows", "metrics", "marts"))


@dataclass(frozen=True)
class Scope:
    """The tables that a rebuild builds again."""

    sources: frozenset[str]  # whose landed files are read again
    derived: frozenset[str]  # steps whose tables are built from nothing
    changed: str = ""  # the rules that have changed, in words
    everything: bool = False


EVERYTHING = Scope(frozenset(SOURCES), DERIVED, everything=True)


def scope_of(lake: Lake, settings: Settings) -> Scope:
    """The tables that depend on changed rules; all tables if no rule has changed or none are recorded."""
    before, sources = recorded(lake), sources_of(lake)
    changed = differences(before, current(settings), sources) if before is not None else []
    if not changed:
        return EVERYTHING
    sections = {difference.rule.split(".")[0] for difference in changed}
    read_again = frozenset(source for difference in changed if (source := source_of(difference.rule)) is not None)
    # All files are read again, unless only rules of some sources or of derived tables have changed.
    if not sections <= {"time", "sources", *DERIVED} or read_again >= sources:
        return Scope(EVERYTHING.sources, DERIVED, lines(changed, sources), everything=True)
    return Scope(read_again, DERIVED & sections, lines(changed, sources))


def show(scope: Scope, kept: Collection[Partition]) -> None:
    """Print the changed rules and the tables that are built again. `kept` are partitions without landed files whose rows are kept."""
    if scope.changed:
        print_message(f"changed rules: {scope.changed}")
    if not scope.everything:
        parts = [f"landed files of {', '.join(sorted(scope.sources))}"] if scope.sources else []
        parts += [name for name in ("sessions", "workflows", "metrics", "marts") if name in scope.derived]
        print_message(f"built again: {', '.join(parts)}, and what depends on them; --all builds everything again")
    if scope.changed and kept:
        named = ", ".join(f"{partition.source} of {partition.landing_date}" for partition in kept)
        print_message(f"warning: rows without landed files stay as the former rules built them: {named}")


def rules_of(lake: Lake, settings: Settings, scope: Scope) -> dict[str, str]:
    """The rules that a rebuild records."""
    return current(settings) | ({} if scope.everything else earlier_rows(recorded(lake) or {}))
