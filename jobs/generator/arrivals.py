"""What arrives on a night: which events of which visits, and where each of them lands."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jobs.generator import draws, faults
from jobs.generator.bad_records import damages_line, forms_of, stands_for_document
from jobs.generator.draws import Flags, Whole
from jobs.generator.format import Format, planned
from jobs.generator.rows import ARRAY, BATCH, DAY, HOUR, SINGLE, GeneratedRows, begins, concatenated, within
from jobs.generator.visits import begun, moments

RECORDS_PER_FILE = 12_000
ITEMS_PER_ARRAY = 8


@dataclass(frozen=True)
class Parameters:
    """What decides a source's nights."""

    seed: int
    events: int  # records that arrive on a night, about
    faults: float  # share of them that are late, repeated or bad


def seed_bits(source: Format, parameters: Parameters) -> int:
    """What all of the source's draws grow from."""
    return draws.root("millrace", parameters.seed, source.name)


def arrivals(source: Format, parameters: Parameters, day: int) -> GeneratedRows:
    """The records that arrive on a day, in the order in which they land: hour, file, line, index in the line."""
    begun_on = range(day - faults.LONGEST_WAY, day + 1)
    parts = [part for first_day in begun_on for part in _of_visits_begun(first_day, source, parameters, day)]
    if not parts:
        return planned(source, begun(seed_bits(source, parameters), source.crowd, day, np.arange(1), source.reused)).take(slice(0))
    return _with_bad_records(_in_lines(_in_files(concatenated(parts))), parameters.faults, day + source.weight)


def _of_visits_begun(first_day: int, source: Format, parameters: Parameters, day: int) -> list[GeneratedRows]:
    """What arrives on `day` of the visits that began on the first day, one part per journey.

    Of earlier days only the visits that may have something left are planned, which makes a night cost what lands on it.
    """
    visits = begun(seed_bits(source, parameters), source.crowd, first_day, np.arange(_visit_count(source, parameters)), source.reused)
    met = faults.met(visits, source.crowd, parameters.faults)
    on_its_way = (first_day == day) | ((first_day == day - 1) & (visits.latest_end >= day * DAY)) | met.may_land_after(day - first_day)
    which = np.flatnonzero(on_its_way)
    if not len(which):
        return []
    visits = visits.take(which)
    rows = planned(source, visits)
    parts = []
    for journey in faults.journeys(moments(visits), rows, met.take(which)):
        landing = np.flatnonzero(journey.events & (journey.arrival // DAY == day))
        arrival = journey.arrival[landing]
        # A copy is an upload of its own.
        upload = rows.upload[landing] + np.uint64(journey.number)
        parts.append(replace(rows.take(landing), arrival=arrival, hour=arrival % DAY // HOUR, upload=upload))
    return [part for part in parts if len(part)]


def _visit_count(source: Format, parameters: Parameters) -> int:
    """How many visits a day must have for that many records: repeats and bad records come on top of the visits' events."""
    if parameters.events <= 0:
        return 0
    per_visit = source.crowd.mean_length * (1 + parameters.faults * 2 / 3)
    return max(1, round(parameters.events / per_visit))


def _in_files(rows: GeneratedRows) -> GeneratedRows:
    """The rows with the number of their file, ordered by hour, file and arrival; what is sent at once stands together."""
    per_hour = np.bincount(rows.hour, minlength=24)
    files = np.maximum(1, -(-per_hour // RECORDS_PER_FILE))
    # Visits keep to a file, so that an event and its copy from the same hour meet in one.
    file = (draws.draw(rows.visit, "file") % files[rows.hour].astype(np.uint64)).astype(np.int64)
    order = np.lexsort((rows.number, rows.upload, rows.arrival, file, rows.hour))
    return replace(rows, file=file).take(order)


def _in_lines(rows: GeneratedRows) -> GeneratedRows:
    """The rows with the number of their line, in the order of the lines.

    A single record is a line, an upload in a batch is one, and of records in arrays several that arrive one after the other.
    """
    first_of_file = begins(rows.hour, rows.file)
    anchor = np.arange(len(rows))  # the row before which the line stands
    in_batch = np.flatnonzero(rows.style == BATCH)
    anchor[in_batch] = _first_of_run(
        begins(rows.hour[in_batch], rows.file[in_batch], rows.upload[in_batch], rows.arrival[in_batch]), in_batch
    )
    in_array = np.flatnonzero(rows.style == ARRAY)
    first = begins(rows.hour[in_array], rows.file[in_array])
    index = within(np.ones(len(in_array), dtype=np.int64), first) - 1
    anchor[in_array] = _first_of_run(first | (index % ITEMS_PER_ARRAY == 0), in_array)
    order = np.argsort(anchor, kind="stable")
    line = within(begins(anchor[order]).astype(np.int64), first_of_file)
    return replace(rows.take(order), line=line)


def _first_of_run(first: Flags, rows: Whole) -> Whole:
    """For each of the rows the one that begins its run."""
    begins_run: Whole = rows[first]
    return begins_run.take(np.cumsum(first) - 1)


def _with_bad_records(rows: GeneratedRows, rate: float, first_form: int) -> GeneratedRows:
    """The rows and among them, evenly, bad copies of some, in the line of the original or in one behind it."""
    form = forms_of(len(rows), rate, first_form)
    template = ((np.arange(len(form)) + 0.5) / max(1, len(form)) * len(rows)).astype(np.int64)
    copies = rows.take(template)
    own_line = damages_line(form) | (copies.style == SINGLE)
    # On a line of its own, a bad record without an object could be read as an envelope; in an array it cannot.
    alone = np.where(stands_for_document(form), ARRAY, SINGLE)
    bad = replace(
        copies,
        bits=draws.child(copies.bits, np.full(len(form), 10_000)),
        style=np.where(own_line & (copies.style != BATCH), alone, copies.style),
        bad=form,
    )
    both = concatenated([rows, bad])
    behind = np.concatenate([np.zeros(len(rows), dtype=np.int64), own_line])
    index = np.concatenate([np.arange(len(rows)), template])
    order = np.lexsort((both.bad, index, behind, both.line, both.file, both.hour))
    both, behind = both.take(order), behind[order]
    first_of_line = begins(both.line, behind, both.file, both.hour) | (behind == 1)
    return replace(both, line=within(first_of_line.astype(np.int64), begins(both.hour, both.file)))
