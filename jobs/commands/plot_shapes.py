"""What plots are made of: shapes with positions in pixels. The template `drawing.html` draws them as SVG.

For readers who cannot see it, every plot has a `label` that says what it shows, and every shape has its number as `title`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bar:
    """A filled rectangle; `kind` names its colour in the style sheet."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str = ""


@dataclass(frozen=True)
class Text:
    """A piece of text; `anchor` is start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "middle"
    kind: str = ""


@dataclass(frozen=True)
class StraightLine:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    kind: str = ""


@dataclass(frozen=True)
class Curve:
    """Points joined by straight lines."""

    points: Sequence[tuple[float, float]]
    kind: str


@dataclass(frozen=True)
class Dot:
    """A point that is marked."""

    x: float
    y: float
    kind: str


@dataclass
class Plot:
    """One plot."""

    label: str
    width: float
    height: float
    highest: str = ""  # the value of the highest bar
    bars: list[Bar] = field(default_factory=list)
    words: list[Text] = field(default_factory=list)
    lines: list[StraightLine] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    targets: list[Bar] = field(default_factory=list)  # invisible: where the pointer shows a title
