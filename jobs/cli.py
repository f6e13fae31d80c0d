"""The command line: `millrace COMMAND`. Results go to stdout, progress and faults to stderr.

Exit codes: 0 done; 1 a critical check failed and nothing was published; 2 the call, the configuration or an input path
is wrong; 3 done, but some landed files could not be read; 75 another run is writing the lake, and the same call is right
later; 70 a fault of Millrace itself, which the traceback tells.

Every command imports what it needs when it is called, so that `millrace --help` answers at once.
"""

from __future__ import annotations

import atexit
import datetime as dt
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jobs.errors import MillraceError, UsageError, fault_of_the_machine

if TYPE_CHECKING:
    from jobs.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


class Date(click.ParamType[dt.date]):
    """A calendar date, YYYY-MM-DD."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.date:
        """The date that the text names; fails with the remedy."""
        if isinstance(value, dt.date):
            return value
        try:
            # The compact form and that of weeks are dates to Python, and to nobody who mistypes one.
            if len(value) == len("YYYY-MM-DD") and "W" not in value:
                return dt.date.fromisoformat(value)
        except ValueError:
            pass
        return self.fail(f"{value!r} is no date: write it as YYYY-MM-DD, such as 2026-11-20", param, ctx)


DATE = Date()
PATH = click.Path(path_type=Path)


def _paths(command: Command) -> Command:
    """The options of every command that works on a lake."""
    for option in (
        click.option(
            "--env", "environment", metavar="NAME", default="local", show_default=True, help="Environment: local, spark or cluster."
        ),
        click.option("--conf", "file", type=PATH, metavar="FILE", help="Configuration file, in place of an environment."),
        click.option("--lake", type=PATH, metavar="DIR", help="Folder of the Delta tables; as configured when left out."),
        click.option("--landing", type=PATH, metavar="DIR", help="Folder in which files land; as configured when left out."),
    ):
        command = option(command)
    return command


def _sources(command: Command) -> Command:
    option = click.option("--source", "sources", multiple=True, metavar="NAME", help="Only this source; may be given again.")
    return option(command)


class Commands(click.Group):
    """The commands, whose output may be cut off: whoever read it has seen enough."""

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command that is asked for."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # What is still to be written at the end of the process goes nowhere. Left to click, the exit code would be 1.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="millrace", message="%(version)s")
def cli() -> None:
    """Raw telemetry in, trusted Delta tables out."""


@cli.command(epilog="Example: millrace demo --landing /tmp/landing --lake /tmp/lake")
@_paths
@click.option("--events", type=click.IntRange(min=100), default=4_000, show_default=True, help="Records that arrive each night, about.")
def demo(landing: Path | None, lake: Path | None, environment: str, file: Path | None, events: int) -> int:
    """Make a few days of data for all sources, run the nights, and show what came out."""
    from jobs import demonstration

    return demonstration.run(_settings(environment, file, landing, lake), events)


@cli.command(epilog="Example: millrace generate --landing landing --date 2026-11-20 --events 10000 --seed 7")
@click.option("--landing", type=PATH, metavar="DIR", help="Folder to land the files in; as configured when left out.")
@click.option("--date", type=DATE, help="What arrives on this date.")
@click.option("--events", type=click.IntRange(min=1), default=10_000, show_default=True, help="Records that arrive, about.")
@_sources
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same bytes.")
@click.option(
    "--faults", type=click.FloatRange(0, 1), default=0.03, show_default=True, help="Share of repeats, of late and of bad records."
)
@click.option("--truth", "only_truth", is_flag=True, help="Write nothing; print what the nights --from … --to hold together.")
@click.option("--from", "first", type=DATE, help="With --truth: the first night.")
@click.option("--to", "last", type=DATE, help="With --truth: the last night.")
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
    """Write what arrives on a date, as the real formats look, with the truth beside it."""
    from jobs import generating

    folder = _settings("local", None, landing, None).paths.landing
    if only_truth:
        if first is None or last is None or date is not None:
            raise UsageError("--truth takes --from and --to, such as --truth --from 2026-11-18 --to 2026-11-20")
        return generating.show_truth(folder, first, last)
    if date is None or first is not None or last is not None:
        raise UsageError("say which night: --date 2026-11-20 (--from and --to go with --truth)")
    return generating.write(folder, date, events, sources, seed, faults)


@cli.command(epilog="Example: millrace run --date 2026-11-20 --landing landing --lake lake")
@_paths
@_sources
@click.option("--date", type=DATE, required=True, help="The night to run: what landed on this date, and late files of the nights before.")
@click.option("--accept-empty", is_flag=True, help="Drop the rows of a night whose files are all gone.")
def run(
    date: dt.date, landing: Path | None, lake: Path | None, sources: Sequence[str], environment: str, file: Path | None, accept_empty: bool
) -> int:
    """Run one night: ingest, sessions, metrics, checks, publish."""
    settings = _warmed_up(environment, file, landing, lake)
    from jobs.processes import importing

    with importing():
        from jobs import nights

    return nights.run(settings, [date], sources, "run", accept_empty=accept_empty)


@cli.command(epilog="Example: millrace backfill --from 2026-11-01 --to 2026-11-20")
@_paths
@_sources
@click.option("--from", "first", type=DATE, required=True, help="The first night.")
@click.option("--to", "last", type=DATE, required=True, help="The last night.")
@click.option("--accept-empty", is_flag=True, help="Drop the rows of nights whose files are all gone.")
def backfill(
    first: dt.date,
    last: dt.date,
    landing: Path | None,
    lake: Path | None,
    sources: Sequence[str],
    environment: str,
    file: Path | None,
    accept_empty: bool,
) -> int:
    """Run the nights of a range in order; called again, it goes on where it was stopped."""
    from jobs import nights

    if last < first:
        raise UsageError(f"--to {last} lies before --from {first}: give the earlier date with --from")
    dates = [first + dt.timedelta(days=days) for days in range((last - first).days + 1)]
    return nights.run(_settings(environment, file, landing, lake), dates, sources, "backfill", accept_empty=accept_empty)


@cli.command(epilog="Example: millrace rebuild --landing landing --lake lake")
@_paths
@click.option("--gone", type=click.Choice(["keep", "drop"]), help="What becomes of nights that have rows but no files any more.")
def rebuild(landing: Path | None, lake: Path | None, environment: str, file: Path | None, gone: str | None) -> int:
    """Make the tables again from every night that has landed."""
    from jobs import nights

    return nights.rebuild(_settings(environment, file, landing, lake), gone)


@cli.command(epilog="Example: millrace maintain --lake lake")
@_paths
def maintain(landing: Path | None, lake: Path | None, environment: str, file: Path | None) -> int:
    """Make small files large, and delete what has outlived its retention."""
    from jobs import maintain as job

    return job.run(_settings(environment, file, landing, lake))


@cli.command(epilog="Example: millrace status --lake lake")
@_paths
def status(landing: Path | None, lake: Path | None, environment: str, file: Path | None) -> int:
    """Show per source and date what landed, what became of it, and what is missing."""
    from jobs import status as job

    return job.show(_settings(environment, file, landing, lake))


@cli.command(epilog="Example: millrace quality --date 2026-11-20")
@_paths
@click.option("--date", type=DATE, help="The night; the last one when left out.")
def quality(landing: Path | None, lake: Path | None, environment: str, file: Path | None, date: dt.date | None) -> int:
    """Show the checks of a night, and why records were refused."""
    from jobs import quality as job

    return job.show(_settings(environment, file, landing, lake), date)


@cli.command(epilog='Example: millrace sql "SELECT source, count(*) FROM events GROUP BY source"')
@_paths
@click.option(
    "--format", "shape", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True, help="How rows are printed."
)
@click.argument("query")
def sql(query: str, landing: Path | None, lake: Path | None, environment: str, file: Path | None, shape: str) -> int:
    """Ask the lake's tables, by name, in SQL."""
    from jobs import sql as job

    return job.show(_settings(environment, file, landing, lake), query, shape)


@cli.command(epilog="Example: millrace session 5f2c81d0")
@_paths
@click.argument("session_id")
def session(session_id: str, landing: Path | None, lake: Path | None, environment: str, file: Path | None) -> int:
    """Show one session with its events, and the sum behind each number; the beginning of its id is enough."""
    from jobs import session_sheet as job

    return job.show(_settings(environment, file, landing, lake), session_id)


@cli.command(epilog="Example: millrace describe sessions")
@click.argument("table", required=False)
def describe(table: str | None) -> int:
    """Show the data dictionary: of all tables, or of one with its columns."""
    from jobs import describe as job

    return job.show(table)


@cli.command(epilog="Example: millrace report --date 2026-11-20 --out night.html")
@_paths
@click.option("--date", type=DATE, required=True, help="The night.")
@click.option("--out", type=PATH, metavar="FILE", help="The file to write; below the lake when left out.")
def report(landing: Path | None, lake: Path | None, environment: str, file: Path | None, date: dt.date, out: Path | None) -> int:
    """Write one HTML file of a night, with plots, that needs nothing else."""
    from jobs import report as job

    return job.write(_settings(environment, file, landing, lake), date, out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    asked = list(sys.argv[1:] if arguments is None else [*arguments, *sys.argv[1:]])
    try:
        code = cli.main(asked, prog_name="millrace", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = 2
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "millrace"
        remedy = "" if ": " in error.format_message() and isinstance(error, click.BadParameter) else f" ({command} --help tells more)"
        _fault(error.format_message().rstrip(".").replace("\n", " ") + remedy)
        code = 2
    except click.exceptions.Abort:
        code = _stopped()
    except click.ClickException as error:
        _fault(error.format_message())
        code = 2
    except MillraceError as error:
        _fault(str(error))
        code = error.exit_code
    except SystemExit as error:
        # No command of ours leaves this way: what ends the process in the middle of one must not pass for its success.
        _fault(f"a library ended the run (with {error.code!r}), the tables are whole as before: call again, and report it if it stays")
        code = 70
    except Exception as error:  # noqa: BLE001 - 1 would say that a check failed
        known = fault_of_the_machine(error)
        if _is_of_an_interrupt(error):
            code = _stopped()
        elif known is not None:
            _fault(str(known))
            code = known.exit_code
        else:
            traceback.print_exc()
            _fault("this is a fault of Millrace itself, the tables are whole as before: call again, and report the lines above if it stays")
            code = 70
    sys.exit(code if isinstance(code, int) else 0)


def program() -> None:
    """Be the command `millrace`: the command line, in a process that ends when it is done.

    Python would look for garbage among all that a night has imported, which takes most of a second, for memory that goes back as
    a whole.
    """
    try:
        main()
    except SystemExit as left:
        code = int(left.code or 0)
        # It is done; who has stopped it and asks again does not wait for what still works.
        signal.signal(signal.SIGINT, signal.SIG_DFL if code == 130 else signal.SIG_IGN)
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            # Nobody reads it, or the disk is full: Python says so.
            raise left from None
        atexit._run_exitfuncs()
        os._exit(code)


def _stopped() -> int:
    _fault("stopped: the tables are whole, as they were or as they should be; call the same command again")
    return 130


def _is_of_an_interrupt(error: BaseException | None) -> bool:
    """Whether an error came up while an interrupt was handled: Spark asks for the result of a job that it stops, and raises its failure."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _fault(message: str) -> None:
    click.echo(f"millrace: {message}", err=True)


def _settings(environment: str, file: Path | None, landing: Path | None, lake: Path | None) -> Settings:
    from jobs import settings

    return settings.load(environment, file).at(landing, lake)


def _warmed_up(environment: str, file: Path | None, landing: Path | None, lake: Path | None) -> Settings:
    """The settings, and the processes that a night needs, which import as much as this one will: they start before it does."""
    from jobs import quality_gate

    quality_gate.warm_up()
    settings = _settings(environment, file, landing, lake)
    from jobs import processes, session

    if session.engine_of(settings) == "sail":
        processes.warm_up()
    return settings
