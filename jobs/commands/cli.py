"""The commands of `millrace`, with their arguments and options.

Every command imports its modules when it is called, so that `millrace --help` answers at once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jobs.commands.command_group import CommandGroup, note_lake
from jobs.commands.options import (
    DATE,
    PATH,
    accept_empty_option,
    accept_shrunk_option,
    format_option,
    lake_options,
    log_option,
    people_options,
    source_option,
)
from jobs.errors import UsageError

if TYPE_CHECKING:
    from jobs.settings import Settings
    from jobs.storage.storage_paths import StoragePath


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="millrace", message="%(version)s")
def cli() -> None:
    """Turn raw telemetry, landed as files, into Delta tables that people can trust."""


@cli.command(epilog="Example: millrace demo --landing /tmp/landing --lake /tmp/lake")
@lake_options
@click.option("--events", type=click.IntRange(min=100), default=4_000, show_default=True, help="Approximate number of records per night.")
def demo(landing: StoragePath | None, lake: StoragePath | None, environment: str, file: Path | None, events: int) -> int:
    """Generate three nights of all sources, run them, and show the results."""
    from jobs.commands import demo

    return demo.run(_settings(environment, file, landing, lake), events)


@cli.command(epilog="Example: millrace generate --landing landing --date 2026-11-20 --events 10000 --seed 7")
@click.option("--landing", type=PATH, metavar="DIR", help="Folder to write the files to; by default as configured.")
@click.option("--date", type=DATE, help="The date on which the files arrive.")
@click.option("--events", type=click.IntRange(min=1), default=10_000, show_default=True, help="Approximate number of records of a date.")
@source_option
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same bytes.")
@click.option(
    "--faults", type=click.FloatRange(0, 1), default=0.03, show_default=True, help="Share of records that are repeated, late or bad."
)
@click.option("--truth", "only_truth", is_flag=True, help="Write nothing; print the expected result of the nights --from … --to together.")
@click.option("--from", "first", type=DATE, help="In place of --date: the first of several dates; with --truth the first night.")
@click.option("--to", "last", type=DATE, help="The last one.")
def generate(
    landing: Path | None,
    date: dt.date | None,
    events: int,
    sources: Sequence[str],
    seed: int,
    faults: float,
    only_truth: bool,
    first: dt.date | None,
    last: dt.date | None,
) -> int:
    """Write generated files of a date, or of several, in the real formats, and the expected result (_truth/DATE.json)."""
    from jobs.commands import generate_data

    folder = generate_data.folder_to_write(_settings("local", None, landing, None).paths.landing)
    if only_truth:
        if first is None or last is None or date is not None:
            raise UsageError("--truth takes --from and --to, such as --truth --from 2026-11-18 --to 2026-11-20")
        return generate_data.show_truth(folder, first, last)
    if date is not None and first is None and last is None:
        first = last = date
    elif date is not None or first is None or last is None:
        raise UsageError("name the night, --date 2026-11-20, or the nights, --from 2026-11-18 --to 2026-11-20")
    return generate_data.write(folder, first, events, sources, seed, faults, last=last)


@cli.command(epilog="Example: millrace run --date 2026-11-20 --landing landing --lake lake")
@lake_options
@log_option
@source_option
@click.option(
    "--date", type=DATE, required=True, help="The night to run: the files that landed on this date, and late files of the nights before."
)
@accept_empty_option
@accept_shrunk_option
def run(
    date: dt.date,
    landing: StoragePath | None,
    lake: StoragePath | None,
    sources: Sequence[str],
    environment: str,
    file: Path | None,
    accept_empty: bool,
    accept_shrunk: bool,
) -> int:
    """Run one night: ingest, sessions, metrics, marts, checks, publish.

    Stops if the lake was built with other settings that decide rows: `millrace rebuild` builds it again.
    """
    settings = _notifying("run", _settings_and_workers(environment, file, landing, lake))
    from jobs.engine.processes import importing

    with importing():
        from jobs.commands import run_nights

    return run_nights.run(settings, [date], sources, "run", accept_empty=accept_empty, accept_shrunk=accept_shrunk)


@cli.command(epilog="Example: millrace backfill --from 2026-11-01 --to 2026-11-20, or millrace backfill --missing")
@lake_options
@log_option
@source_option
@click.option("--from", "first", type=DATE, help="The first night.")
@click.option("--to", "last", type=DATE, help="The last night.")
@click.option("--missing", is_flag=True, help="In place of a range: every night with landed files that no run has read.")
@accept_empty_option
@accept_shrunk_option
def backfill(
    first: dt.date | None,
    last: dt.date | None,
    missing: bool,
    landing: StoragePath | None,
    lake: StoragePath | None,
    sources: Sequence[str],
    environment: str,
    file: Path | None,
    accept_empty: bool,
    accept_shrunk: bool,
) -> int:
    """Run the nights of a range in order. After an interruption, the same call continues."""
    from jobs.commands import run_nights

    if missing and (first is not None or last is not None):
        raise UsageError("--missing selects the nights by itself: leave --from and --to out")
    if missing:
        settings = _notifying("backfill", _settings(environment, file, landing, lake))
        return run_nights.run_missing(settings, sources, accept_empty=accept_empty, accept_shrunk=accept_shrunk)
    if first is None or last is None:
        raise UsageError("name the nights: --from 2026-11-01 --to 2026-11-20, or --missing")
    _check_order(first, last)
    dates = [first + dt.timedelta(days=days) for days in range((last - first).days + 1)]
    settings = _notifying("backfill", _settings(environment, file, landing, lake))
    return run_nights.run(settings, dates, sources, "backfill", accept_empty=accept_empty, accept_shrunk=accept_shrunk)


@cli.command(epilog="Example: millrace rebuild --landing landing --lake lake")
@lake_options
@log_option
@click.option(
    "--gone", type=click.Choice(["keep", "drop"]), help="Keep or drop the rows of sources and dates that have no landed file left."
)
@accept_shrunk_option
@click.option("--all", "everything", is_flag=True, help="Build all tables again, even if no rule has changed.")
def rebuild(
    landing: StoragePath | None,
    lake: StoragePath | None,
    environment: str,
    file: Path | None,
    gone: str | None,
    accept_shrunk: bool,
    everything: bool,
) -> int:
    """Build the tables again from every night that has landed; this also repairs a damaged lake.

    If only rules have changed since the tables were built (settings of time, privacy, sessions, workflows or deduplication, or
    Millrace's own rules), only the tables that depend on them are built again.
    """
    from jobs.commands import run_nights

    settings = _notifying("rebuild", _settings(environment, file, landing, lake))
    return run_nights.rebuild(settings, gone, accept_shrunk=accept_shrunk, everything=everything)


@cli.command(epilog="Example: millrace maintain --lake lake")
@lake_options
@log_option
@click.option("--vacuum", is_flag=True, help="Delete only, and merge no files.")
@click.option(
    "--now", is_flag=True, help="With --vacuum: also delete the files of younger states and of failed runs. Readers of these states fail."
)
@click.option("--as-of", type=DATE, help="The date in UTC from which retention counts.  [default: today]")
def maintain(
    landing: StoragePath | None,
    lake: StoragePath | None,
    environment: str,
    file: Path | None,
    vacuum: bool,
    now: bool,
    as_of: dt.date | None,
) -> int:
    """Delete what is older than its retention, merge small files, and delete the files that are no longer needed."""
    from jobs import maintain as job

    if now and not vacuum:
        raise UsageError("--now is an option of --vacuum: call `millrace maintain --vacuum --now`")
    settings = _notifying("maintain", _settings(environment, file, landing, lake))
    return job.run(settings, as_of, job.Scope(compacts=not vacuum, keeps_history=not now))


@cli.command(epilog="Example: millrace erase --source sunbird --user 5f2c81d0, or millrace erase --source sunbird --from ids.txt")
@lake_options
@log_option
@people_options
@click.option(
    "--from",
    "people_file",
    type=PATH,
    metavar="FILE",
    help='Many people: per line an id, or JSON such as {"source": "sunbird", "device": "…"}. Command lines can be seen by others.',
)
@click.option("--with-devices", is_flag=True, help="Also erase the devices that were seen with the users, with all who used them.")
def erase(
    landing: StoragePath | None,
    lake: StoragePath | None,
    environment: str,
    file: Path | None,
    source: str | None,
    users: Sequence[str],
    devices: Sequence[str],
    people_file: Path | None,
    with_devices: bool,
) -> int:
    """Remove people from every table, and build again what was made of their events.

    Landed files are not changed; later runs hold back their records of these people. `millrace maintain --vacuum --now` then deletes the
    files of earlier states. Exit code 3 if someone had no row.
    """
    settings = _settings(environment, file, landing, lake)
    from jobs.commands import named_people
    from jobs.people import erase as job

    return job.run(settings, named_people.of_call(settings, source, users, devices, people_file), with_devices=with_devices)


@cli.command(epilog="Example: millrace export --source sunbird --user 5f2c81d0 --output answer")
@lake_options
@people_options
@click.option("--output", type=PATH, metavar="FOLDER", help="Write a file of JSON lines per table there; by default all to stdout.")
def export(
    landing: StoragePath | None,
    lake: StoragePath | None,
    environment: str,
    file: Path | None,
    source: str | None,
    users: Sequence[str],
    devices: Sequence[str],
    output: Path | None,
) -> int:
    """Write all that is stored of a person, as JSON lines per table. Exit code 3 if there is nothing."""
    settings = _settings(environment, file, landing, lake)
    from jobs.commands import named_people
    from jobs.people import export as job

    return job.run(settings, named_people.of_call(settings, source, users, devices), output)


@cli.command(epilog="Example: millrace verify --deep --lake lake")
@lake_options
@click.option("--deep", is_flag=True, help="Read every file: compare rows with the log and with `files`, and landed files with their hash.")
def verify(landing: StoragePath | None, lake: StoragePath | None, environment: str, file: Path | None, deep: bool) -> int:
    """Check that every file of the lake's recorded state is there and whole; exit code 2 or 3 if not."""
    from jobs.commands import verify as job

    return job.show(_settings(environment, file, landing, lake), deep=deep)


@cli.command(epilog="Example: millrace status --lake lake")
@lake_options
@source_option
@click.option("--from", "first", type=DATE, help="The first night to show.")
@click.option("--to", "last", type=DATE, help="The last night to show.")
@click.option(
    "--problems",
    is_flag=True,
    help="Show only problems: sources that did not land, unreadable, changed or unread files, missing hours, failed checks.",
)
@format_option("table", "json", help="json: one document of lake, state, rules, nights and unreadable.")
def status(
    landing: StoragePath | None,
    lake: StoragePath | None,
    environment: str,
    file: Path | None,
    sources: Sequence[str],
    first: dt.date | None,
    last: dt.date | None,
    problems: bool,
    shape: str,
) -> int:
    """Show per source and date the landed files, the counts of their records, and what is missing."""
    from jobs.commands import status as job

    _check_order(first, last)
    return job.show(_settings(environment, file, landing, lake), job.NightFilter(first, last, tuple(sources), problems), shape)


@cli.command(epilog="Example: millrace metrics --lake lake --out /var/lib/node_exporter/millrace.prom")
@lake_options
@click.option(
    "--format",
    type=click.Choice(["prometheus"]),
    default="prometheus",
    show_default=True,
    expose_value=False,
    help="The text format of Prometheus.",
)
@click.option("--out", type=PATH, metavar="FILE", help="Write this file, as a whole, in place of stdout.")
def metrics(landing: StoragePath | None, lake: StoragePath | None, environment: str, file: Path | None, out: Path | None) -> int:
    """Print metrics of the last runs, in the text format of Prometheus."""
    from jobs.commands import run_metrics as job

    return job.show(_settings(environment, file, landing, lake), out)


@cli.command(epilog="Example: millrace state --format json")
@lake_options
@format_option("table", "json", help="json: one document, whose versions are those of _state.json.")
def state(landing: StoragePath | None, lake: StoragePath | None, environment: str, file: Path | None, shape: str) -> int:
    """Show the recorded version of each table, and whether that is its latest one."""
    from jobs.commands import state as job

    return job.show(_settings(environment, file, landing, lake), shape)


@cli.command(epilog="Example: millrace landed --date 2026-11-20")
@lake_options
@click.option("--date", type=DATE, required=True, help="The night.")
def landed(landing: StoragePath | None, lake: StoragePath | None, environment: str, file: Path | None, date: dt.date) -> int:
    """Show which sources and hours have not landed of a night, of those that usually land; exit code 3 if there are any."""
    from jobs.commands import landed as job

    return job.show(_settings(environment, file, landing, lake), date)


@cli.command(epilog="Example: millrace catalog --conf mine.yaml")
@lake_options
def catalog(landing: StoragePath | None, lake: StoragePath | None, environment: str, file: Path | None) -> int:
    """Register views of all tables, at their recorded state, in the catalog of Spark; every publication does so, too."""
    from jobs import catalog as job

    return job.run(_settings(environment, file, landing, lake))


@cli.command(epilog="Example: millrace restore --lake lake")
@lake_options
def restore(landing: StoragePath | None, lake: StoragePath | None, environment: str, file: Path | None) -> int:
    """Restore the recorded state of the tables after a run was killed; the next run also does this."""
    from jobs.commands import state as job

    return job.restore(_settings(environment, file, landing, lake))


@cli.command(epilog="Example: millrace quality --date 2026-11-20")
@lake_options
@click.option("--date", type=DATE, help="The night; by default the last one that was checked.")
def quality(landing: StoragePath | None, lake: StoragePath | None, environment: str, file: Path | None, date: dt.date | None) -> int:
    """Show the checks of a night, and why records were refused."""
    from jobs.commands import quality as job

    return job.show(_settings(environment, file, landing, lake), date)


@cli.command(epilog='Example: millrace sql "SELECT source, count(*) FROM events GROUP BY source"')
@lake_options
@format_option("table", "csv", "json", help="How rows are printed.")
@click.option("--run", "run_id", metavar="RUN_ID", help="Query the tables that this run would have published, had no check failed.")
@click.option("--file", "query_file", type=PATH, metavar="FILE", help="Read the query from this file.")
@click.argument("query", required=False)
def sql(
    query: str | None,
    query_file: Path | None,
    landing: StoragePath | None,
    lake: StoragePath | None,
    environment: str,
    file: Path | None,
    shape: str,
    run_id: str | None,
) -> int:
    """Query the tables in SQL. QUERY is one statement, or - to read it from stdin.

    In a table, NULL is printed as such. In CSV it is an empty field, and an empty text is "".
    """
    from jobs.commands import sql as job

    text = job.read_query(query, query_file)
    return job.show(_settings(environment, file, landing, lake), text, shape, run_id)


@cli.command(epilog="Example: millrace session 5f2c81d0")
@lake_options
@click.argument("session_id")
def session(session_id: str, landing: StoragePath | None, lake: StoragePath | None, environment: str, file: Path | None) -> int:
    """Show one session with its events, and how each number is computed. The first characters of its id are enough."""
    from jobs.commands import explain_session as job

    return job.show(_settings(environment, file, landing, lake), session_id)


@cli.command(epilog="Example: millrace describe sessions, or millrace describe --format html --out dictionary.html")
@format_option("table", "json", "html", help="json: one document; html: one page of all tables, with the lineage.")
@click.option("--out", type=PATH, metavar="FILE", help="With json or html: write this file in place of stdout.")
@click.argument("table", required=False)
def describe(table: str | None, shape: str, out: Path | None) -> int:
    """Show the data dictionary: all tables, or the columns of one table.

    On a terminal it is shown in the pager that PAGER names, else in less; PAGER=cat shows it without one.
    """
    from jobs.commands import describe as job
    from jobs.console.pager import paged

    if shape == "html":
        return job.show(table, shape, out)
    with paged():
        return job.show(table, shape, out)


@cli.command(epilog="Example: millrace report --date 2026-11-20 --out night.html")
@lake_options
@click.option("--date", type=DATE, required=True, help="The night.")
@click.option("--out", type=PATH, metavar="FILE", help="The file to write; by default LAKE/_reports/DATE.html.")
def report(
    landing: StoragePath | None, lake: StoragePath | None, environment: str, file: Path | None, date: dt.date, out: Path | None
) -> int:
    """Write the report of a night: one HTML file with plots."""
    from jobs.commands import report as job

    return job.write(_settings(environment, file, landing, lake), date, out)


@cli.command(epilog="Example: millrace site --lake lake --out site")
@lake_options
@click.option("--out", type=PATH, metavar="DIR", required=True, help="A new or empty folder, or the site of an earlier call.")
def site(landing: StoragePath | None, lake: StoragePath | None, environment: str, file: Path | None, out: Path) -> int:
    """Write a static site of the lake: reports of the last 30 nights, checks over time, marts as plots, the data dictionary.

    It opens in a browser without a network or a server. A site that is there is replaced as a whole.
    """
    from jobs.commands import site as job

    return job.write(_settings(environment, file, landing, lake), out)


def _check_order(first: dt.date | None, last: dt.date | None) -> None:
    if first is not None and last is not None and last < first:
        raise UsageError(f"--to {last} lies before --from {first}: give the earlier date with --from")


def _settings(environment: str, file: Path | None, landing: StoragePath | None, lake: StoragePath | None) -> Settings:
    from jobs import settings
    from jobs.console.remedies import options_of_command

    loaded = settings.load(environment, file).at(landing, lake)
    context = click.get_current_context()
    named = environment if environment != "local" and file is None else None
    # In the root context: `command_group` reports damage, with a remedy, when the command's own context is closed.
    context.find_root().with_resource(options_of_command(None if landing is None else str(landing), file, named))
    loaded.storage.set_variables()
    note_lake(context, loaded.paths.lake)
    return loaded


def _notifying(command: str, settings: Settings) -> Settings:
    """The settings. When the command ends, its summary is sent as they say."""
    from jobs.console import notification

    notify = settings.notify
    notification.prepare(command, str(settings.paths.lake), arguments=notify.command, url=notify.url, exit_codes=notify.exit_codes)
    return settings


def _settings_and_workers(environment: str, file: Path | None, landing: StoragePath | None, lake: StoragePath | None) -> Settings:
    """The settings. Starts the worker processes of a night early, so that they import their modules while this process does."""
    from jobs.quality import gate

    settings = _settings(environment, file, landing, lake)
    # It gets the variables of the store from this process.
    gate.warm_up()
    from jobs.engine import processes, spark_session

    if spark_session.engine_of(settings) == "sail":
        processes.warm_up()
    return settings
