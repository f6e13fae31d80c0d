"""The rules about personal data, as `conf/privacy.yaml` gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from transforms.privacy.patterns import EVERYWHERE, TextPatterns
from transforms.privacy.pointer_rules import Action
from transforms.privacy.pseudonyms import Pseudonyms
from transforms.privacy.secret_names import SHIPPED_NAMES, SecretNames

RawForm = Literal["keep", "redact", "encrypt", "drop"]
RAW_FORMS: tuple[RawForm, ...] = ("keep", "redact", "encrypt", "drop")


@dataclass(frozen=True)
class SourceRules:
    """The rules of one source."""

    default: Literal["keep", "drop"] = "keep"  # of a field that no rule names
    pointers: Mapping[str, Action] = field(default_factory=dict)  # per JSON Pointer of an event; the header of its batch is under /batch


@dataclass(frozen=True)
class PrivacyRules:
    """All rules. Without arguments: the names on which ids depend and the patterns, and no rules of a source."""

    names: SecretNames = SHIPPED_NAMES  # names of secret fields
    numbers: tuple[str, ...] = ()  # names of fields with version numbers, as they are compared, which may look like IP addresses
    patterns: frozenset[str] = EVERYWHERE  # of patterns.KINDS: what is looked for in every text
    sources: Mapping[str, SourceRules] = field(default_factory=dict)
    raw: RawForm = "redact"  # the form of `raw` of refused records
    raw_key: bytes | None = None  # the public key to which `raw` is encrypted
    pseudonyms: Pseudonyms = field(default_factory=Pseudonyms)

    def of(self, source: str) -> SourceRules:
        """The rules of a source."""
        return self.sources.get(source, _NO_RULES)

    @property
    def hashes(self) -> bool:
        """Whether a rule hashes a field."""
        return any(action == "hash" for rules in self.sources.values() for action in rules.pointers.values())

    @cached_property
    def texts(self) -> TextPatterns:
        """What is looked for in every text."""
        return TextPatterns(self.names, self.patterns)

    @cached_property
    def texts_of_people(self) -> TextPatterns:
        """What is looked for in texts that people have written."""
        return TextPatterns(self.names, {*self.patterns, "number"} if self.patterns else ())

    @cached_property
    def texts_of_numbers(self) -> TextPatterns:
        """What is looked for in fields of version numbers."""
        return TextPatterns(self.names, self.patterns - {"ip"})

    def described(self, source: str) -> dict[str, Any]:
        """Everything that decides the rows of a source, for its ruleset."""
        own = self.of(source)
        return {
            "names": self.names.names,
            "numbers": sorted(self.numbers),
            "patterns": sorted(self.patterns),
            "default": own.default,
            "pointers": list(own.pointers.items()),
            "raw": self.raw,
            "raw_key": None if self.raw_key is None else self.raw_key.hex(),
            "salts": self.pseudonyms.fingerprints,
        }

    def __getstate__(self) -> dict[str, Any]:
        """Only the rules are sent to another process, not what is computed from them."""
        return {name: value for name, value in self.__dict__.items() if name in self.__dataclass_fields__}


_NO_RULES = SourceRules()
SHIPPED_PRIVACY = PrivacyRules()
