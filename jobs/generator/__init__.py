"""The generator: landed nights that look like the real thing, and the truth about them.

Every number that it needs is a function of the seed, the source, a day and a place among that day's visits (`draws`). So a night can
be made alone: it holds the visits that began on it (`visits`, `format`, and a module per source), and of earlier days what comes
over midnight, late or again (`faults`, `arrivals`). `landing_files` writes it, `truth` counts it.
"""

from __future__ import annotations

from jobs.generator.arrivals import Parameters
from jobs.generator.generate import generate, truth
from jobs.generator.truth import SourceTruth, Truth

__all__ = ["Parameters", "SourceTruth", "Truth", "generate", "truth"]
