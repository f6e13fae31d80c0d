"""What happens around every command: its reader may close the pipe, and the lake may be damaged."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from jobs.console import printing, termination
from jobs.errors import MillraceError, WorkerLostError
from jobs.storage.storage_paths import StoragePath

_LAKE = "millrace.lake"


class CommandGroup(click.Group):
    """A group of commands that end without an error when their reader closes the pipe, and that report a damaged lake."""

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command."""
        with _reader_may_leave(), _report_damage(ctx):
            return super().invoke(ctx)

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        """Parse the arguments. `--help` is printed here."""
        with _reader_may_leave():
            return super().make_context(*arguments, **extra)


# An option whose value has a line break is given as two arguments.
_COMMENT_FIRST = re.compile(r"--(\s|[^\n]*\n)")


class QueryCommand(click.Command):
    """A command with an argument in SQL, which may begin with a comment: `-- …`, which is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, those that begin with a comment as arguments."""
        queries = [argument for argument in args if _COMMENT_FIRST.match(argument)]
        others = [argument for argument in args if not _COMMENT_FIRST.match(argument)]
        return super().parse_args(ctx, [*others, *(["--"] if queries and "--" not in others else []), *queries])


def note_lake(context: click.Context, root: StoragePath) -> None:
    """Note the lake of a command: if the command fails, this lake is searched for damage."""
    context.meta[_LAKE] = root


def _is_there(root: StoragePath) -> bool:
    try:
        return root.is_dir()
    except OSError:
        return False


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """End the command with exit code 0 when the reader of its output has closed the pipe; click's own exit code is 1.

    This ends commands that only print. The others continue, because the functions of `printing` raise no
    BrokenPipeError.
    """
    try:
        yield
    except BrokenPipeError as error:
        if not printing.reader_is_gone(sys.stdout):
            raise WorkerLostError("a pipe to a process of this run was closed: nothing was published; call again") from error
        printing.discard(sys.stdout)
        raise click.exceptions.Exit(0) from None


@contextmanager
def _report_damage(ctx: click.Context) -> Iterator[None]:
    """If a command fails and its lake is damaged, raise LakeDamagedError in place of the failure."""
    try:
        yield
    except (MillraceError, click.exceptions.Exit, click.ClickException):
        raise
    except Exception:
        root = ctx.meta.get(_LAKE)
        if root is None or termination.is_mending() or not _is_there(root):
            raise
        from jobs.lake import damage
        from jobs.lake.half_published import versions_to_diagnose

        with damage.diagnose_failures(root, lambda: versions_to_diagnose(root)):
            raise
