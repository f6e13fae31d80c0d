"""Compare the current rules with the rules that `runs` records, by which the rows of the lake were built.

A rule is a setting, or a version of Millrace's own code, that decides rows. A run whose rules differ from the recorded ones
stops, because its rows would not be comparable with those of the nights before. `millrace rebuild` builds the tables that
depend on a changed rule again, and records the new rules.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.compute as pc

from jobs import changed_partitions
from jobs.console.printing import print_message
from jobs.errors import RulesChangedError
from jobs.lake.damage import rebuild_command
from jobs.lake.table_files import TEXT_BOUND
from jobs.lake.tables import Lake
from jobs.rules import funnels, privacy_rules, rulesets_of
from jobs.settings import Settings, SourceTime
from schemas.bookkeeping import FILES, RUNS
from transforms.deduplication import DEDUPLICATION_VERSION
from transforms.documents.validation import schema_bytes
from transforms.ingest.records import INGEST_VERSION
from transforms.marts.registry import MARTS_VERSION
from transforms.metrics import METRICS_VERSION
from transforms.privacy.secret_names import SHIPPED
from transforms.sessions.rules import SESSIONS_VERSION
from transforms.sources.registry import SOURCES
from transforms.workflows.summaries import WORKFLOWS_VERSION

Rules = Mapping[str, str]  # per name of a rule its value

_NAMES = "privacy.names"
_FUNNELS = "marts.funnels."
_VERSION = ".version"
_SCHEMAS = ".schemas"
# This entry among the rules marks a lake that has rows from before rules were recorded, until a rebuild builds everything again.
_EARLIER_ROWS = "earlier_rows"


@dataclass(frozen=True)
class ChangedRule:
    """A rule whose value has changed. `before` is None if the rule was not recorded, `now` if this version does not have it."""

    rule: str
    before: str | None
    now: str | None

    @property
    def line(self) -> str:
        """The change in words, for a message."""
        if self.rule == _NAMES:
            before, now = (set(filter(None, (names or "").split(","))) for names in (self.before, self.now))
            changes = [
                f"{', '.join(sorted(names))} {what}" for names, what in ((now - before, "added"), (before - now, "removed")) if names
            ]
            return f"{_NAMES}: {' and '.join(changes)}"
        if self.rule.startswith(_FUNNELS):
            what = "added" if self.before is None else "removed" if self.now is None else "changed"
            return f"the funnel {self.rule.removeprefix(_FUNNELS)} was {what}"
        name = self.rule
        for ending, what in ((_VERSION, "version"), (_SCHEMAS, "schemas")):
            if name.endswith(ending):
                name = f"the {what} of Millrace's own rules of {name.removesuffix(ending).removeprefix('sources.')}"
        return f"{name} is {self.now or 'gone'} (was {self.before or 'not recorded'})"


def current(settings: Settings) -> dict[str, str]:
    """The rules of these settings and this version of Millrace: values as text, by name of the rule."""
    privacy = privacy_rules(settings)
    rules: dict[str, Any] = {
        "ingest.version": INGEST_VERSION,
        "ingest.max_document_bytes": settings.ingest.max_document_bytes,
        _NAMES: ",".join(privacy.names.added),
        "privacy.names.version": hashlib.sha256(",".join(sorted(SHIPPED)).encode()).hexdigest()[:8],
        "privacy.version_numbers": ",".join(sorted(privacy.numbers)),
        "privacy.patterns": ",".join(sorted(privacy.patterns)),
        "privacy.raw": privacy.raw,
        "privacy.raw_key": "none" if privacy.raw_key is None else privacy.raw_key.hex(),
        "privacy.salt": ",".join(privacy.pseudonyms.fingerprints) or "none",
        "deduplication.version": DEDUPLICATION_VERSION,
        "deduplication.window_days": settings.deduplication.window_days,
        "sessions.version": SESSIONS_VERSION,
        "workflows.version": WORKFLOWS_VERSION,
        "metrics.version": METRICS_VERSION,
        "metrics.robots": settings.metrics.robots,
        "marts.version": MARTS_VERSION,
        **{f"{_FUNNELS}{funnel.name}": dataclasses.asdict(funnel) for funnel in funnels(settings)},
    }
    for section in ("sessions", "workflows"):
        rules |= {f"{section}.{name}": value for name, value in getattr(settings, section).model_dump().items()}
    for name, source in SOURCES.items():
        times = settings.time.of(name)
        rules |= {f"time.sources.{name}.{bound}": getattr(times, bound) for bound in SourceTime.model_fields}
        schemas = hashlib.sha256(b"".join(hashlib.sha256(schema_bytes(file)).digest() for file in source.schema_files)).hexdigest()
        own = privacy.of(name)
        rules |= {f"sources.{name}.privacy.default": own.default, f"sources.{name}.privacy.rules": dict(sorted(own.pointers.items()))}
        rules |= {f"sources.{name}{_VERSION}": source.version, f"sources.{name}{_SCHEMAS}": schemas[:8]}
    return {name: _text(value) for name, value in rules.items()}


def recorded(lake: Lake) -> dict[str, str] | None:
    """The rules that were recorded last; None if none are recorded."""
    runs = lake.dataset(RUNS.name)
    if "rules" not in runs.schema.names:
        return None
    rows = runs.to_table(columns=["state", "rules"], filter=pc.field("state").is_valid() & pc.field("rules").is_valid())
    if rows.num_rows == 0:
        return None
    return dict(rows.take([pc.index(rows["state"], pc.max(rows["state"])).as_py()])["rules"].to_pylist()[0])


def for_run(lake: Lake, settings: Settings) -> dict[str, str]:
    """The rules that a run records: the current ones.

    A lake of an earlier version has no recorded rules. If `files` shows that its files were read by the current rules, the run
    records these, and a warning is printed. Raises RulesChangedError when rows of the lake were built by other rules.
    """
    rules, before, sources = current(settings), recorded(lake), sources_of(lake)
    if not sources:
        return rules
    if before is None:
        _refuse_other_rulesets(lake, settings)
        rules[_EARLIER_ROWS] = "unknown"
        print_message(
            f"warning: the lake {lake.root} does not say by which rules its rows were built, the current ones are recorded from now on:"
            f" if a setting was changed since its first night, call `{rebuild_command(lake.root)} --all`"
        )
        return rules
    if changed := differences(before, rules, sources):
        raise RulesChangedError(
            f"the lake {lake.root} was built by other rules: {lines(changed, sources)}:"
            f" call `{rebuild_command(lake.root)}` to build again what depends on them, or set them back"
        )
    return rules | earlier_rows(before)


def notes(lake: Lake, settings: Settings) -> list[str]:
    """Warnings for `millrace status`: a run would stop because rules have changed, or the rules of some rows are not recorded."""
    rules, before, sources = current(settings), recorded(lake), sources_of(lake)
    if not sources:
        return []
    warnings = []
    if before is None or _EARLIER_ROWS in before:
        warnings.append(
            "the lake does not say by which rules its first rows were built: if a setting was changed,"
            f" call `{rebuild_command(lake.root)} --all`"
        )
    if changed := differences(before if before is not None else rules, rules, sources):
        warnings.append(f"the lake was built by other rules: {lines(changed, sources)}: call `{rebuild_command(lake.root)}`")
    return warnings


def differences(before: Rules, now: Rules, sources: Collection[str]) -> list[ChangedRule]:
    """The changed ones among the rules that decide rows of these sources, sorted by name."""

    def decides(rule: str) -> bool:
        source = source_of(rule)
        return rule != _EARLIER_ROWS and (source is None or source in sources)

    names = sorted(filter(decides, before.keys() | now.keys()))
    return [ChangedRule(name, before.get(name), now.get(name)) for name in names if before.get(name) != now.get(name)]


def lines(changed: Sequence[ChangedRule], sources: Collection[str]) -> str:
    """The changes in words, for a message. A setting of time that has changed equally for all sources is named once."""

    def named(difference: ChangedRule) -> ChangedRule:
        section, *_, bound = difference.rule.split(".")
        same_change = [replace(difference, rule=f"time.sources.{source}.{bound}") for source in sources]
        is_common = section == "time" and len(same_change) > 1 and all(one in changed for one in same_change)
        return replace(difference, rule=f"time.{bound}") if is_common else difference

    return "; ".join(difference.line for difference in dict.fromkeys(map(named, changed)))


def _refuse_other_rulesets(lake: Lake, settings: Settings) -> None:
    """Raises RulesChangedError when `files` shows landed files that were read by other rules than the current ones."""
    rulesets = {source: ruleset[:TEXT_BOUND] for source, ruleset in rulesets_of(settings, SOURCES).items()}
    others = set()
    for file in lake.files(FILES.name):
        bounds = [str(bounds.get("ruleset") or "") for bounds in (file.lower_bounds, file.upper_bounds)]
        source = file.partition["source"]
        if source in rulesets and any(bound and not bound.startswith(rulesets[source]) for bound in bounds):
            others.add(source)
    if others:
        raise RulesChangedError(
            f"the lake {lake.root} was built by other rules, by which landed files of {', '.join(sorted(others))} were read:"
            f" call `{rebuild_command(lake.root)}` to build it again by the current ones"
        )


def earlier_rows(before: Rules) -> dict[str, str]:
    """The entry that marks rows from before rules were recorded, if there is one."""
    return {name: value for name, value in before.items() if name == _EARLIER_ROWS}


def sources_of(lake: Lake) -> frozenset[str]:
    """The sources with files in the lake."""
    return frozenset(partition.source for partition in changed_partitions.partitions(lake, SOURCES))


def source_of(rule: str) -> str | None:
    """The source that a rule is about, as in `sources.sunbird.version`; None for a rule of all sources."""
    parts = rule.split(".")
    at = 1 if parts[0] == "time" else 0
    return parts[at + 1] if len(parts) > at + 1 and parts[at] == "sources" else None


def _text(value: Any) -> str:
    """A value as text. Equal numbers give equal texts: 30 and 30.0."""
    is_whole = isinstance(value, float) and value.is_integer()
    return value if isinstance(value, str) else json.dumps(int(value) if is_whole else value)
