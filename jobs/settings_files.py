"""Read settings from YAML files: `conf/base.yaml`, and over it the file of an environment or of the caller."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from jobs.errors import SettingsError

ENVIRONMENTS = ("local", "spark", "cluster")


def read(environment: str, file: Path | None) -> dict[str, Any]:
    """The keys of `conf/base.yaml`, `conf/privacy.yaml` and `conf/funnels.yaml`, overridden by those of a file.

    That is `file`, or the environment's file if it is None.

    Raises SettingsError when a file cannot be read or is not a YAML mapping, and for an unknown environment.
    """
    folder = importlib.resources.files("conf")
    base = _parsed("base.yaml", (folder / "base.yaml").read_text())
    for section in ("privacy", "funnels"):
        base[section] = _parsed(f"{section}.yaml", (folder / f"{section}.yaml").read_text())
    if file is not None:
        try:
            return overridden(base, _parsed(str(file), file.read_text()))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"the configuration {file} cannot be read ({_why(error)}): give --conf a YAML file") from None
    if environment not in ENVIRONMENTS:
        raise SettingsError(f"no environment is called {environment!r}: --env takes {', '.join(ENVIRONMENTS)}")
    return overridden(base, _parsed(f"{environment}.yaml", (folder / f"{environment}.yaml").read_text()))


def overridden(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of both, at any depth; where both have a value, that of `overrides`."""
    merged = dict(base)
    for key, value in overrides.items():
        default = merged.get(key)
        merged[key] = overridden(default, value) if isinstance(default, dict) and isinstance(value, dict) else value
    return merged


def _parsed(name: str, text: str) -> dict[str, Any]:
    try:
        parsed = yaml.load(text, _Loader)
    except RecursionError:
        raise SettingsError(f"the configuration {name} is nested too deeply: see conf/base.yaml") from None
    except _RepeatedKeyError as error:
        raise SettingsError(f"the configuration {name} has a key twice{_at(error)}: keep one of the two") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"the configuration {name} is no YAML{_at(error)}: mend it") from None
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise SettingsError(f"the configuration {name} is no mapping of keys: see conf/base.yaml")
    return parsed


def _at(error: yaml.YAMLError) -> str:
    """The line of an error, if it is known, and the repeated key."""
    mark = getattr(error, "problem_mark", None)
    where = f" at line {mark.line + 1}" if mark else ""
    return f", {error.problem}{where}" if isinstance(error, _RepeatedKeyError) else where


class _RepeatedKeyError(yaml.MarkedYAMLError):
    """A mapping has a key twice: of the two values, only the last would count."""


class _Loader(yaml.SafeLoader):
    """Reads YAML, and refuses a mapping that has a key twice."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """The mapping that comes next. Keys that `<<` merges into it may be in it too."""
        node = super().compose_mapping_node(anchor)
        keys: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in keys:
                raise _RepeatedKeyError(problem=key.value, problem_mark=key.start_mark)
            keys.add((key.tag, str(key.value)))
        return node


def _why(error: Exception) -> str:
    return error.strerror or "" if isinstance(error, OSError) else "it is no text"
