"""The settings of a run: their keys, types and bounds. `conf/base.yaml` explains each key and has its default."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from jobs import settings_files
from jobs.console.home import at_home
from jobs.errors import SettingsError
from jobs.storage.object_store import VARIABLE_PREFIXES
from jobs.storage.storage_paths import StoragePath, storage_path
from schemas.events import EVENT_TYPES, EVENTS
from transforms.privacy.pointer_rules import Action, steps_of
from transforms.privacy.secret_names import SHIPPED, normalised

_Value = TypeVar("_Value")

# The longest time that a setting can be: a hundred years. Sums of times and dates stay representable.
_DAYS = 36_500
_HOURS = _DAYS * 24
Days = Annotated[int, Field(ge=0, le=_DAYS)]
OptionalDays = Annotated[int | None, Field(ge=0, le=_DAYS)]
Hours = Annotated[int, Field(ge=0, le=_HOURS)]
# Times in parts of hours, minutes and seconds: at least a millisecond, in which they are counted.
PartsOfHours = Annotated[float, Field(ge=1 / 3_600_000, le=_HOURS)]
PartsOfMinutes = Annotated[float, Field(ge=1 / 60_000, le=_HOURS * 60)]
PartsOfSeconds = Annotated[float, Field(ge=1 / 1000, le=_HOURS * 3600)]
_NUMBERS = (int, float, int | None, float | None)


class Section(BaseModel):
    """A part of the configuration. It refuses unknown keys, and its values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_truth_value(cls, value: object, known: ValidationInfo) -> object:
        field = cls.model_fields[known.field_name] if known.field_name else None
        if isinstance(value, bool) and field is not None and field.annotation in _NUMBERS:
            raise PydanticCustomError("number", "true and false are no numbers")
        return value


class Paths(Section):
    """The landing zone and the lake."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    landing: StoragePath
    lake: StoragePath

    @field_validator("landing", "lake", mode="before")
    @classmethod
    def _is_a_location(cls, path: object) -> object:
        if not isinstance(path, str | StoragePath):
            raise PydanticCustomError("path", "a path is a text, such as lake or s3://bucket/lake")
        try:
            return storage_path(path) if isinstance(path, str) else path
        except ValueError as error:
            raise PydanticCustomError("path", "{why}", {"why": str(error)}) from None

    @field_validator("landing", "lake")
    @classmethod
    def _is_a_path(cls, path: StoragePath) -> StoragePath:
        if "\0" in str(path):
            raise PydanticCustomError("path", "a path cannot hold a NUL character")
        return at_home(path) if isinstance(path, Path) else path


class Ingest(Section):
    """How landed files are read."""

    nights_back: Days
    landing_days: OptionalDays
    max_document_bytes: int = Field(gt=0)
    chunk_lines: int = Field(gt=0)
    tasks: int = Field(gt=0)
    task_bytes_minimum: int = Field(gt=0)
    task_bytes_maximum: int = Field(gt=0)

    @field_validator("landing_days")
    @classmethod
    def _covers_the_nights_back(cls, landing_days: int | None, known: ValidationInfo) -> int | None:
        if landing_days is not None and landing_days <= known.data.get("nights_back", 0):
            raise PydanticCustomError("landing_days", "landing_days must be larger than nights_back")
        return landing_days


def _with_complete_sources(section: type[Section], given: Any) -> Any:
    """The keys of a section, with those that the part of a source lacks added to it from the section itself."""
    if not isinstance(given, dict) or not isinstance(given.get("sources"), dict):
        return given
    common = {key: given[key] for key in section.model_fields if key in given}
    sources = {name: settings_files.overridden(common, own) if isinstance(own, dict) else own for name, own in given["sources"].items()}
    return given | {"sources": sources}


def _known_sources(sources: dict[str, _Value]) -> dict[str, _Value]:
    # Imported here because the import takes a while, and most configurations name no source.
    from transforms.sources.registry import SOURCES

    for name in sources:
        if name not in SOURCES:
            raise PydanticCustomError(
                "source", "no source is called {name}, there are {known}", {"name": name, "known": ", ".join(sorted(SOURCES))}
            )
    return sources


class SourceTime(Section):
    """Bounds of the times of a source's events: which are plausible, and which are late."""

    client_past_days: Days
    client_future_hours: Hours
    late_after_hours: Hours


class Time(SourceTime):
    """The bounds for all sources, and those of sources that differ."""

    sources: dict[str, SourceTime]

    def of(self, source: str) -> SourceTime:
        """The bounds of this source's times."""
        return self.sources.get(source, self)

    @model_validator(mode="before")
    @classmethod
    def _complete_sources(cls, given: Any) -> Any:
        return _with_complete_sources(SourceTime, given)

    @field_validator("sources")
    @classmethod
    def _are_known(cls, sources: dict[str, SourceTime]) -> dict[str, SourceTime]:
        return _known_sources(sources)


# RFC 6901: a step has ~0 for ~ and ~1 for /.
_POINTER = re.compile(r"/(?:[^~]|~[01])*", re.DOTALL)


class SourcePrivacy(Section):
    """The rules about personal data of one source."""

    default: Literal["keep", "drop"] = "keep"
    rules: dict[str, Action | None] = {}

    @field_validator("rules")
    @classmethod
    def _can_hold(cls, rules: dict[str, Action | None]) -> dict[str, Action | None]:
        for pointer, action in rules.items():
            if not _POINTER.fullmatch(pointer):
                raise PydanticCustomError("pointer", "{pointer} is no JSON Pointer, such as /edata/query", {"pointer": pointer})
            if action == "drop" and normalised(steps_of(pointer)[-1]) in _required_names():
                raise PydanticCustomError("name", "the formats require the field {name}, which cannot be dropped", {"name": pointer})
        return rules


class Privacy(Section):
    """The rules about personal data."""

    names: tuple[str, ...]
    additional_names: tuple[str, ...]
    version_numbers: tuple[str, ...]
    patterns: tuple[Literal["ip", "email", "secret"], ...]
    raw: Literal["keep", "redact", "encrypt", "drop"]
    raw_key_file: Path | None
    salt_file: Path | None
    sources: dict[str, SourcePrivacy]

    @field_validator("names")
    @classmethod
    def _none_is_missing(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        missing = sorted(SHIPPED - set(map(normalised, names)))
        if missing:
            raise PydanticCustomError(
                "names", "the names on which ids depend cannot be removed, {missing} is missing", {"missing": missing[0]}
            )
        return names

    @field_validator("names", "additional_names")
    @classmethod
    def _can_be_dropped(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not normalised(name):
                raise PydanticCustomError("name", "a name has letters or digits")
            if normalised(name) not in SHIPPED and normalised(name) in _required_names():
                raise PydanticCustomError("name", "the formats require the field {name}, which cannot be dropped", {"name": name})
        return names

    @field_validator("sources")
    @classmethod
    def _are_known(cls, sources: dict[str, SourcePrivacy]) -> dict[str, SourcePrivacy]:
        return _known_sources(sources)

    @model_validator(mode="after")
    def _has_a_key(self) -> Privacy:
        if self.raw == "encrypt" and self.raw_key_file is None:
            raise PydanticCustomError("raw", "encrypt needs the public key in raw_key_file")
        return self


@cache
def _required_names() -> frozenset[str]:
    """The names of all fields that the formats require, as they are compared."""
    # Imported here because the import takes a while, and most commands need no formats.
    from transforms.documents.validation import required_fields
    from transforms.sources.registry import SOURCES

    return frozenset(normalised(field) for source in SOURCES.values() for file in source.schema_files for field in required_fields(file))


class Deduplication(Section):
    """For how many landing days a record with the same id counts as a copy."""

    window_days: Days


class Sessions(Section):
    """The numbers in the rules of sessions (docs/rules/sessions.md)."""

    keyed_silence_hours: PartsOfHours
    derived_silence_minutes: PartsOfMinutes
    idle_seconds: PartsOfSeconds
    overlong_hours: PartsOfHours
    tab_tolerance_seconds: float = Field(ge=0, le=_HOURS * 3600)


class Metrics(Section):
    """Whom the daily metrics of users and the averages of sessions are about."""

    robots: Literal["apart", "counted"]


class Workflows(Section):
    """The numbers in the rules of workflow summaries (docs/rules/workflows.md).

    With other numbers than the defaults, the summaries differ from Sunbird's own.
    """

    idle_seconds: PartsOfSeconds
    break_minutes: PartsOfMinutes
    cut_hours: PartsOfHours


class FunnelStep(Section):
    """A step of a funnel: an event that has all that is given."""

    name: str = Field(min_length=1)
    event_type: str | None = None
    event_name: str | None = None
    page: str | None = None

    @field_validator("event_type")
    @classmethod
    def _is_known(cls, event_type: str | None) -> str | None:
        if event_type is not None and event_type not in EVENT_TYPES:
            raise PydanticCustomError(
                "event_type", "no event type is called {name}, there are {known}", {"name": event_type, "known": ", ".join(EVENT_TYPES)}
            )
        return event_type

    @model_validator(mode="after")
    def _is_an_event(self) -> FunnelStep:
        if self.event_type is None and self.event_name is None and self.page is None:
            raise PydanticCustomError("step", "the step {name} has neither event_type, event_name nor page", {"name": self.name})
        return self


class Funnel(Section):
    """The steps of a funnel, in their order, within one session or within a window of hours."""

    source: str
    window_hours: int | None = Field(default=None, ge=1, le=28 * 24)
    steps: tuple[FunnelStep, ...] = Field(min_length=2, max_length=20)

    @field_validator("source")
    @classmethod
    def _is_a_source(cls, source: str) -> str:
        _known_sources({source: source})
        return source

    @field_validator("steps")
    @classmethod
    def _names_differ(cls, steps: tuple[FunnelStep, ...]) -> tuple[FunnelStep, ...]:
        names = [step.name for step in steps]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise PydanticCustomError("steps", "two steps are called {name}", {"name": repeated})
        return steps


class Bound(Section):
    """The bounds of an observed number, and the severity of the check. A check without bounds is off."""

    minimum: float | None = None
    maximum: float | None = None
    severity: Literal["critical", "warning"] = "warning"

    @model_validator(mode="after")
    def _can_hold(self) -> Bound:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise PydanticCustomError("bound", "the minimum is larger than the maximum")
        return self

    @property
    def is_set(self) -> bool:
        """Whether there is a bound, so that the check is on."""
        return self.minimum is not None or self.maximum is not None


class HourBound(Bound):
    """The bounds of the records of an hour, as a share of the usual number, and how many hours may be outside of them."""

    hours: int = Field(ge=0)


class FileBound(Bound):
    """The bounds of a share of a file's events, for files with at least `events_minimum` events."""

    events_minimum: int = Field(ge=1)


class NullRates(Section):
    """Columns of `events` whose share of nulls is checked, and by how much that share may rise."""

    columns: tuple[str, ...]
    rise: float = Field(ge=0, le=1)
    severity: Literal["critical", "warning"] = "warning"

    @field_validator("columns")
    @classmethod
    def _nulls_are_counted(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        for column in columns:
            if column not in EVENTS.names or column in EVENTS.partitioned_by or pa.types.is_nested(EVENTS[column].type):
                raise PydanticCustomError("column", "{column} is no column of events whose nulls are counted", {"column": column})
        return columns


class Shrinkage(Section):
    """The share of its accepted records that a partition must keep when it is read again; null: no check."""

    critical: float | None = Field(ge=0, le=1)
    warning: float | None = Field(ge=0, le=1)


class Past(Section):
    """The earlier nights with which a night is compared."""

    weeks: int = Field(ge=0, le=_DAYS // 7)
    weekdays_minimum: int = Field(ge=1)
    nights: int = Field(ge=1, le=_DAYS)
    nights_minimum: int = Field(ge=1)
    records_minimum: int = Field(ge=0)


class SourceQuality(Section):
    """Quality thresholds of one source."""

    # compared with bounds
    acceptance_rate: Bound
    duplicate_rate: Bound
    late_rate: Bound
    time_replaced: FileBound
    reported_mismatch_rate: Bound
    # compared with the former content of the same partition
    shrinkage: Shrinkage
    # whether the source lands irregularly, so that a night without files is no finding
    irregular: bool
    # compared with earlier nights
    past: Past
    landed_files: Bound
    missing_hours: Bound
    night_volume: Bound
    hour_volume: HourBound
    silent_hours: Bound
    null_rates: NullRates


class Quality(SourceQuality):
    """Quality thresholds for all sources, and those of sources that differ."""

    pages: bool
    sources: dict[str, SourceQuality]

    def of(self, source: str) -> SourceQuality:
        """The thresholds of this source."""
        return self.sources.get(source, self)

    @model_validator(mode="before")
    @classmethod
    def _complete_sources(cls, given: Any) -> Any:
        return _with_complete_sources(SourceQuality, given)

    @field_validator("sources")
    @classmethod
    def _are_known(cls, sources: dict[str, SourceQuality]) -> dict[str, SourceQuality]:
        return _known_sources(sources)


class Retention(Section):
    """After how many days maintenance deletes what; null: never."""

    raw: OptionalDays
    duplicate_events: OptionalDays
    events: OptionalDays
    landing: OptionalDays
    failed_runs: OptionalDays
    pages: OptionalDays


class Maintain(Section):
    """How long history is kept, and how large files should be."""

    # States of the lake that are younger than a week can always be read.
    history_days: int = Field(ge=7, le=_DAYS)
    target_bytes: int = Field(gt=0)


class Notify(Section):
    """Who gets the summary of a run that ends with one of the exit codes: a command, on its stdin, or a webhook."""

    command: tuple[str, ...]
    url: str | None
    exit_codes: tuple[int, ...]

    @field_validator("url")
    @classmethod
    def _is_a_web_address(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise PydanticCustomError("url", "a webhook begins with https:// or http://")
        return url


class Storage(Section):
    """The lake and the landing zone in a bucket."""

    lease_seconds: float = Field(ge=5, le=86_400)
    variables: dict[str, SecretStr]

    @field_validator("variables")
    @classmethod
    def _are_of_a_store(cls, variables: dict[str, SecretStr]) -> dict[str, SecretStr]:
        if wrong := next((name for name in variables if not name.startswith(VARIABLE_PREFIXES)), None):
            prefixes = ", ".join(VARIABLE_PREFIXES)
            raise PydanticCustomError("variable", "{name} begins with none of {prefixes}", {"name": wrong, "prefixes": prefixes})
        return variables

    def set_variables(self) -> None:
        """Set the variables that the environment of this process does not have. Tasks get them from it."""
        for name, value in self.variables.items():
            os.environ.setdefault(name, value.get_secret_value())


class Catalog(Section):
    """The views of the tables in the catalog of a Spark session."""

    # Models of pydantic have a method `schema`.
    schema_name: str | None = Field(alias="schema", min_length=1)


class Spark(Section):
    """The Spark session. With a null master, spark-submit sets it. With a remote, it is a session of a Spark Connect server."""

    master: str | None
    remote: str | None
    driver_memory: str
    java_options: str
    key_tasks: int = Field(gt=0)
    key_task_events: int = Field(gt=0)
    options: dict[str, str | int | float | bool]


class Sail(Section):
    """The Sail session. With null `processes`, there is one per processor."""

    processes: int | None = Field(gt=0)
    options: dict[str, str | int | float | bool]


class Settings(Section):
    """All settings of a run."""

    engine: Literal["spark", "sail"]
    paths: Paths
    ingest: Ingest
    time: Time
    privacy: Privacy
    deduplication: Deduplication
    sessions: Sessions
    workflows: Workflows
    metrics: Metrics
    funnels: dict[str, Funnel | None]
    quality: Quality
    retention: Retention
    maintain: Maintain
    notify: Notify
    storage: Storage
    catalog: Catalog
    spark: Spark
    sail: Sail

    @property
    def repeats_days(self) -> int:
        """For how many days after they landed a night may compare records with events and repeats."""
        return self.deduplication.window_days + self.ingest.nights_back

    @model_validator(mode="after")
    def _retention_leaves_what_nights_read(self) -> Settings:
        events, landing = self.retention.events, self.retention.landing
        if events is not None and events < self.repeats_days:
            needed = {"days": self.repeats_days}
            raise PydanticCustomError(
                "retention", "retention.events is less than deduplication.window_days + ingest.nights_back, which is {days}", needed
            )
        if landing is not None and landing <= self.ingest.nights_back:
            raise PydanticCustomError("retention", "retention.landing must be larger than ingest.nights_back")
        return self

    def at(self, landing: StoragePath | None = None, lake: StoragePath | None = None) -> Settings:
        """These settings with other paths."""
        paths = Paths(landing=landing or self.paths.landing, lake=lake or self.paths.lake)
        return self.model_copy(update={"paths": paths})

    def with_java_options(self, options: str) -> Settings:
        """These settings with more options for Spark's JVM."""
        return self.model_copy(update={"spark": self.spark.model_copy(update={"java_options": f"{self.spark.java_options} {options}"})})


def load(environment: str = "local", file: Path | None = None) -> Settings:
    """The settings of `conf/base.yaml`, overridden by those of `file`, or of the environment if `file` is None.

    Raises SettingsError when a file cannot be read, a key is unknown or a value is wrong.
    """
    try:
        return Settings.model_validate(settings_files.read(environment, file))
    except ValidationError as error:
        raise SettingsError(_one_line(error, file)) from None


# What a value should be, by pydantic's type of error, where pydantic says it in Python's words.
_EXPECTED = {
    "dict_type": "it should be a mapping of keys",
    "model_type": "it should be a mapping of keys",
    "model_attributes_type": "it should be a mapping of keys",
    "tuple_type": "it should be a list",
    "string_type": "it should be a text",
}
# Of a value that may be of several types, pydantic adds the type to the key.
_TYPES = ("str", "int", "float", "bool")


def _one_line(error: ValidationError, file: Path | None) -> str:
    first = error.errors()[0]
    keys, message = [str(part) for part in first["loc"]], _EXPECTED.get(first["type"], first["msg"])
    if len(keys) > 1 and keys[-1] in _TYPES:
        keys, message = keys[:-1], "it should be a text, a number, true or false"
    key = ".".join(keys) or first["type"]
    where = f"the configuration {file}" if file else "the configuration"
    if first["type"] == "extra_forbidden":
        return f"{where} has the unknown key {key}: conf/base.yaml lists the keys"
    return f"{where}: {key} is wrong ({message[:1].lower()}{message[1:]}): see conf/base.yaml"
