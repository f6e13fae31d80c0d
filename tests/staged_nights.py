"""A lake before and after one publication, and the publication itself, staged: tests kill it on the way."""

from __future__ import annotations

import contextlib
import pickle
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import random_nights
from conftest import without_pages
from killed_publication import publish
from lakes import contents
from quiet_runs import run_quietly

from jobs import settings as configuration
from jobs.lake import run_output
from jobs.lake.table_changes import Change
from jobs.lake.tables import Lake
from jobs.settings import Settings
from schemas.catalog import TABLES


@dataclass(frozen=True)
class StagedNight:
    """A landing zone, a lake up to its next publication, and the rows of every table before and after that."""

    settings: Settings
    publication: Path  # the pickled arguments of Lake.publish
    rows_before: dict[str, list[str]]
    rows_after: dict[str, list[str]]

    def copied_to(self, root: Path, *, staged: bool = True) -> Settings:
        """Settings for a copy of lake and landing zone in this folder, with the staged files of the publication or without."""
        shutil.copytree(self.settings.paths.landing, root / "landing")
        shutil.copytree(self.settings.paths.lake, root / "lake")
        if not staged:
            for output in run_output.unfinished(root / "lake"):
                output.remove_unpublished(dict.fromkeys(TABLES, ()))
        return self.settings.at(root / "landing", root / "lake")

    def stage_again(self, lake: Path) -> None:
        """Put the staged files back into a copy of the lake, whose next writer has removed them."""
        for output in run_output.unfinished(self.settings.paths.lake):
            for _, path in output.files():
                shutil.copy2(path, lake / path.relative_to(self.settings.paths.lake))

    @property
    def changes(self) -> Mapping[str, Change]:
        changes: Mapping[str, Change] = pickle.loads(self.publication.read_bytes())[0]
        return changes

    @property
    def commits(self) -> int:
        """How many tables the publication commits to; always to `runs`, which is the last."""
        return sum(bool(change) for name, change in self.changes.items() if name != "runs") + 1


def stage_second_night(environment: str, root: Path) -> StagedNight:
    """A lake of one random night in this folder, and the staged publication of the next."""
    first, second = random_nights.NIGHTS[:2]
    settings = without_pages(configuration.load(environment)).at(root / "landing", root / "lake")
    for path, documents in random_nights.landed_files(Random(7), people=12).items():
        if any(f"date={date}" in path.parts for date in (first, second)):
            random_nights.write(root / "landing", path, documents)
    run_quietly(settings, first)
    rows_before = contents(root / "lake")
    publication = root / "publication.pickle"
    with staging_publication(publication):
        run_quietly(settings, second)
    shutil.copytree(root / "lake", root / "published")
    publish(root / "published", publication)
    rows_after = contents(root / "published")
    assert rows_before != rows_after
    return StagedNight(settings, publication, rows_before, rows_after)


class _StagedError(Exception):
    """Ends a run where it would publish."""


@contextlib.contextmanager
def staging_publication(path: Path) -> Iterator[None]:
    """Ends the block where it would publish, and writes the publication into this file."""

    def stage(lake: Lake, *arguments: Any, **_: Any) -> None:
        path.write_bytes(pickle.dumps(arguments))
        raise _StagedError

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(_StagedError):
        patch.setattr(Lake, "publish", stage)
        yield
