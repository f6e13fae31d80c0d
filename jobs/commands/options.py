"""The options that commands share, and the types of their values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from jobs.console import printing
from jobs.console.home import at_home
from jobs.storage.bucket import BucketPath
from jobs.storage.storage_paths import StoragePath, is_url, storage_path

Command = TypeVar("Command", bound=Callable[..., Any])


class Date(click.ParamType[dt.date]):
    """A calendar date, YYYY-MM-DD."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.date:
        """The date in the text. Fails with the remedy if it is no date."""
        if isinstance(value, dt.date):
            return value
        try:
            # Python also accepts the compact form and week dates; here they are more likely typing mistakes.
            if len(value) == len("YYYY-MM-DD") and "W" not in value:
                return dt.date.fromisoformat(value)
        except ValueError:
            pass
        return self.fail(f"{value!r} is no date: write it as YYYY-MM-DD, such as 2026-11-20", param, ctx)


class AnyPath(click.ParamType[Path]):
    """A path with any characters. A leading `~` is the home folder, even if no shell has expanded it."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path in the text. Fails if the text is empty."""
        if not str(value):
            return self.fail("the path is empty: is a variable of the shell not set?", param, ctx)
        if is_url(str(value)):
            return self.fail(
                f"{value} is a URL: name a folder or a file; only the landing zone and the lake can be in a bucket", param, ctx
            )
        return at_home(Path(value))


class AnyStoragePath(click.ParamType[StoragePath]):
    """A path, or the URL of a part of a bucket."""

    name = "location"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> StoragePath:
        """The location in the text. Fails if the text is empty, or a URL of anything but a folder in a bucket."""
        try:
            path = storage_path(str(value))
        except ValueError as error:
            from jobs.console.paths import shown

            return self.fail(shown(str(error)), param, ctx)
        return path if isinstance(path, BucketPath) else PATH.convert(value, param, ctx)


DATE = Date()
PATH = AnyPath()
STORAGE_PATH = AnyStoragePath()


def lake_options(command: Command) -> Command:
    """The options of every command that works on a lake."""
    for option in (
        click.option(
            "--env", "environment", metavar="NAME", default="local", show_default=True, help="Environment: local, spark or cluster."
        ),
        click.option(
            "--conf",
            "file",
            type=PATH,
            metavar="FILE",
            help="Your settings over conf/base.yaml, in place of an environment: the engine is Spark unless the file says `engine: sail`.",
        ),
        click.option("--lake", type=STORAGE_PATH, metavar="DIR", help="Folder or s3:// URL of the Delta tables; by default as configured."),
        click.option("--landing", type=STORAGE_PATH, metavar="DIR", help="Folder or s3:// URL where files land; by default as configured."),
    ):
        command = option(command)
    return command


def log_option(command: Command) -> Command:
    """`--log`: the form of progress and faults on stderr."""

    def choose(_context: click.Context, _parameter: click.Parameter, shape: str) -> None:
        printing.log_as_json(as_json=shape == "json")

    option = click.option(
        "--log",
        type=click.Choice(["text", "json"]),
        default="text",
        envvar="MILLRACE_LOG",
        show_default=True,
        is_eager=True,
        expose_value=False,
        callback=choose,
        help="Progress and faults on stderr; json: one object per line. MILLRACE_LOG in the environment does the same.",
    )
    return option(command)


def source_option(command: Command) -> Command:
    """`--source`, as often as there are sources."""
    option = click.option("--source", "sources", multiple=True, metavar="NAME", help="Only this source; may be repeated.")
    return option(command)


def people_options(command: Command) -> Command:
    """`--source`, `--user` and `--device`: people by their ids."""
    for option in (
        click.option("--device", "devices", multiple=True, metavar="ID", help="Id of a device; may be repeated."),
        click.option("--user", "users", multiple=True, metavar="ID", help="Id of a user, as the source sends it; may be repeated."),
        click.option("--source", "source", metavar="NAME", help="The source whose ids these are."),
    ):
        command = option(command)
    return command


def accept_empty_option(command: Command) -> Command:
    """`--accept-empty`."""
    return click.option("--accept-empty", is_flag=True, help="Drop the rows of sources and dates whose files are all gone.")(command)


def accept_shrunk_option(command: Command) -> Command:
    """`--accept-shrunk`."""
    return click.option("--accept-shrunk", is_flag=True, help="Publish sources and dates that have lost most of their records.")(command)


def format_option(*names: str, help: str) -> Callable[[Command], Command]:
    """`--format`: how a command prints its results. The first name is the default."""
    return click.option("--format", "shape", type=click.Choice(names), default=names[0], show_default=True, help=help)
