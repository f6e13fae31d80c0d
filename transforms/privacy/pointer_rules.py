"""Rules by JSON Pointer: which rule a field of a document has.

A pointer is as in RFC 6901; the step `*` stands for any name or index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Action = Literal["keep", "drop", "hash", "truncate", "redact"]
ACTIONS: tuple[Action, ...] = ("keep", "drop", "hash", "truncate", "redact")
ANY = "*"


@dataclass
class RuleNode:
    """The rules of a field and of all that is within it."""

    action: Action | None = None
    is_id: bool = False  # whether the field is the id of a person, a device or a session
    has_rules: bool = False  # whether the field, or one within it, has a rule
    children: dict[str, RuleNode] = field(default_factory=dict)

    def add(self, steps: tuple[str, ...], action: Action) -> None:
        """Add the rule of a field at these steps."""
        node = self
        node.has_rules = True
        for step in steps:
            node = node.children.setdefault(step, RuleNode())
            node.has_rules = True
        node.action = action

    def mark_id(self, steps: tuple[str, ...]) -> None:
        """Say that the field at these steps is an id."""
        node = self
        for step in steps:
            node = node.children.setdefault(step, RuleNode())
        node.is_id = True


# The rules that may hold for a field: those of its own name first, then those of `*`.
Nodes = tuple[RuleNode, ...]


def steps_of(pointer: str) -> tuple[str, ...]:
    """The steps of a JSON Pointer."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def tree_of(rules: Mapping[str, Action]) -> RuleNode:
    """The rules by pointer as a tree."""
    root = RuleNode()
    for pointer, action in rules.items():
        root.add(steps_of(pointer), action)
    return root


def below(nodes: Nodes, step: str) -> Nodes:
    """The rules of a field within a field with these rules."""
    found = [node.children[name] for node in nodes if node.children for name in (step, ANY) if name in node.children]
    return tuple(found)


def at(nodes: Nodes, steps: tuple[str, ...]) -> Nodes:
    """The rules of a field that is several steps below a field with these rules."""
    for step in steps:
        nodes = below(nodes, step)
    return nodes


def action_of(nodes: Nodes) -> Action | None:
    """The rule of a field; None if it has none of its own."""
    return next((node.action for node in nodes if node.action is not None), None)
