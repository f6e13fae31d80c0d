"""Sunbird Telemetry V3: which events a device sends, when, and by which clock."""

from __future__ import annotations

import numpy as np

from jobs.generator import draws
from jobs.generator.draws import Flags, Whole
from jobs.generator.format import Document, Format, Spoiler, Traits, styles
from jobs.generator.idle import drawn_gaps
from jobs.generator.rows import ARRAY, BATCH, DAY, HOUR, MINUTE, SECOND, SINGLE
from jobs.generator.sunbird_documents import batches, documents, received_times
from jobs.generator.sunbird_kinds import KINDS, KindNumber, Scenario
from jobs.generator.visits import Crowd, Moments, Visits

# How often each kind comes in the middle of a session, in thousandths.
_MIDDLE = {
    KindNumber.IMPRESSION: 200,
    KindNumber.INTERACT: 520,
    KindNumber.ASSESS: 40,
    KindNumber.RESPONSE: 25,
    KindNumber.BACKGROUND: 20,
    KindNumber.FEEDBACK: 8,
    KindNumber.SHARE: 12,
    KindNumber.SHARE_ITEM: 6,
    KindNumber.ERROR: 12,
    KindNumber.HEARTBEAT: 25,
    KindNumber.LOG: 50,
    KindNumber.SEARCH: 50,
    KindNumber.EXDATA: 12,
    KindNumber.AUDIT: 10,
    KindNumber.METRICS: 10,
}
_SERVICE = {
    KindNumber.LOG: 400,
    KindNumber.SEARCH: 250,
    KindNumber.AUDIT: 150,
    KindNumber.METRICS: 60,
    KindNumber.JOB_START: 50,
    KindNumber.METRIC: 30,
    KindNumber.EXDATA: 20,
    KindNumber.SERVICE_START: 40,
}


def _of_a_thousand(weights: dict[KindNumber, int]) -> Whole:
    return np.repeat([int(kind) for kind in weights], list(weights.values()))


def _keyed(visits: Visits) -> Flags:
    keyed: Flags = (visits.index % 7 != 4) & (visits.scenario != Scenario.SERVICE) & (visits.scenario != Scenario.KEYLESS)
    return keyed


def _traits(visits: Visits) -> Traits:
    keyed = _keyed(visits)
    key = np.where(keyed, draws.draw(visits.session, "session id"), draws.draw(visits.device, "person")) | np.uint64(1)
    return Traits(
        key=np.where(visits.scenario == Scenario.KEYLESS, np.uint64(0), key),
        keyed=keyed,
        style=styles(visits, (BATCH, SINGLE, BATCH, ARRAY, BATCH, BATCH, SINGLE, BATCH, SINGLE, BATCH)),
        batch_size=5 + visits.index % 16,
        tick=np.where(visits.scenario == Scenario.SECONDS, SECOND, 1),
    )


def _script(moment: Moments) -> tuple[Whole, Whole]:
    visits = moment.visits
    place = draws.below(moment.bits, "kind", 1000)
    kind = _of_a_thousand(_MIDDLE)[place]
    resumes = np.append(False, kind[:-1] == KindNumber.BACKGROUND)
    kind = np.where(resumes, KindNumber.RESUME, kind)
    kind = _nested(moment, kind)
    long_enough = visits.length >= 4
    starts = moment.of(draws.share(visits.bits, "starts") < 0.85)
    ends = moment.of((draws.share(visits.bits, "ends") < 0.85) & long_enough)
    summarised = moment.of((draws.share(visits.bits, "summarised") < 0.5) & long_enough)
    kind = np.select(
        [(moment.number == 0) & starts, moment.number == 0, summarised & (moment.left == 0), ends & (moment.left == summarised)],
        [KindNumber.START, KindNumber.IMPRESSION, KindNumber.SUMMARY, KindNumber.END],
        kind,
    )
    kind = np.where(moment.of(visits.scenario == Scenario.SERVICE), _of_a_thousand(_SERVICE)[place], kind)
    return kind, _gaps(moment, kind)


def _nested(moment: Moments, kind: Whole) -> Whole:
    """The kinds with a content player in most longer visits, and an editor within it in the longest."""
    length = moment.of(moment.visits.length)
    trait = moment.of(draws.share(moment.visits.bits, "nested"))
    played, closed = (length >= 9) & (trait < 0.6), trait > 0.08
    edited = played & (length >= 20) & (trait < 0.3)
    number, left = moment.number, moment.left
    return np.select(
        [
            played & (number == 2 + length // 6),
            played & closed & (left == 3 + length // 6),
            edited & (number == 2 + length // 3),
            edited & (left == 3 + length // 3),
        ],
        [KindNumber.PLAYER_START, KindNumber.PLAYER_END, KindNumber.EDITOR_START, KindNumber.EDITOR_END],
        kind,
    )


def _gaps(moment: Moments, kind: Whole) -> Whole:
    gap = drawn_gaps(moment.bits, 11 * SECOND, moment.of(moment.visits.long))
    after_background = np.append(False, kind[:-1] == KindNumber.BACKGROUND)
    away = 5 * SECOND + draws.below(moment.bits, "away", 90 * MINUTE)
    # Some silences between sessions are exactly at the limit, and some are longer.
    silent = draws.share(moment.bits, "silence") + moment.of(_keyed(moment.visits))
    return np.select(
        [silent < 0.015, silent < 0.04, after_background],
        [np.full(len(gap), 30 * MINUTE), 31 * MINUTE + draws.below(moment.bits, "silence", HOUR), away],
        gap,
    )


def _client_times(moment: Moments, time: Whole) -> Whole:
    scenario = moment.of(moment.visits.scenario)
    wrong = [scenario == Scenario.CLOCK_AHEAD, scenario == Scenario.CLOCK_BEHIND]
    return np.select(wrong, [time + 1_100 * DAY, time - 1_500 * DAY], time)


def _without_id(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "mid"}


SUNBIRD = Format(
    name="sunbird",
    weight=4,
    crowd=Crowd(
        # An Indian school day, in UTC.
        hours=(6, 9, 14, 19, 22, 24, 23, 22, 21, 20, 19, 18, 19, 22, 24, 22, 17, 11, 7, 4, 3, 3, 3, 4),
        scale=14.0,
        tail=2.1,
        longest=300,
        scenarios={
            Scenario.CLOCK_AHEAD: (7,),
            Scenario.SERVICE: (3, 31, 59, 87, 115, 143),
            Scenario.SECONDS: (5, 105),
            Scenario.KEYLESS: (1,),
            Scenario.REUSED: (12, 65),
            Scenario.CLOCK_BEHIND: (10,),
        },
    ),
    kinds=KINDS,
    reused=Scenario.REUSED,
    traits=_traits,
    script=_script,
    client_times=_client_times,
    received_times=received_times,
    documents=documents,
    batches=batches,
    empty=({"id": "api.sunbird.telemetry", "ver": "3.0", "events": []}, []),
    spoilers=(
        Spoiler("no mid", _without_id),
        Spoiler("a time in words", lambda document: {**document, "ets": "yesterday"}),
        Spoiler("an interaction with nothing", lambda document: {**document, "eid": "INTERACT", "edata": {"type": "TOUCH"}}),
        Spoiler("a version of the past", lambda document: {**document, "ver": "2.2"}),
    ),
)
