"""The sources that nights can be generated of."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.generator.activity_stream import ACTIVITY_STREAM
from jobs.generator.contentsquare import CONTENTSQUARE
from jobs.generator.format import Format
from jobs.generator.homepagevisit import HOMEPAGEVISIT
from jobs.generator.sunbird import SUNBIRD

FORMATS: Mapping[str, Format] = {source.name: source for source in (ACTIVITY_STREAM, HOMEPAGEVISIT, SUNBIRD, CONTENTSQUARE)}
