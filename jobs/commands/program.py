"""The program `millrace`: it runs the command line and ends with an exit code. Results go to stdout, progress and errors to stderr.

Exit codes:
0 done
1 a critical check failed; nothing was published
2 the call, the configuration or an input path is wrong, or the lake is damaged
3 done, but some landed files could not be read, or expected sources did not land
75 another run is writing the lake, or a process was lost: the same call is right later
70 a fault of Millrace itself; the traceback is printed
130 and 143 stopped by Ctrl-C or SIGTERM
"""

from __future__ import annotations

import atexit
import os
import sys
import traceback
from collections.abc import Sequence

import click

from jobs.commands.cli import cli
from jobs.console import notification, printing, termination
from jobs.errors import MillraceError, SetupError, WorkerLostError, fault_of_the_machine


class _Fault:
    """The message with which the command failed, if it did."""

    message: str | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, then end with its exit code."""
    words = list(sys.argv[1:] if arguments is None else [*arguments, *sys.argv[1:]])
    _Fault.message = None
    try:
        code = cli.main(words, prog_name="millrace", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        for line in error.format_message().splitlines():
            printing.print_line(line)
        code = 2
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "millrace"
        remedy = (
            "" if ": " in error.format_message() and isinstance(error, click.BadParameter) else f" ({command} --help shows the options)"
        )
        _print_error(error.format_message().rstrip(".").replace("\n", " ") + remedy)
        code = 2
    except click.ClickException as error:
        _print_error(error.format_message())
        code = 2
    except MillraceError as error:
        code = _print_and_exit_code(error)
    except SystemExit as error:
        # No command of ours raises SystemExit. A library that ends the process must not look like success.
        _print_error(f"a library ended the run (with {error.code!r}), {_state_of_tables()}: call again, and report it if it happens again")
        code = 70
    except Exception as error:  # noqa: BLE001 - Python would end with 1, the code of a failed check
        termination.await_pending_signal()
        known = fault_of_the_machine(error)
        if known is not None:
            code = _print_and_exit_code(known)
        else:
            printing.print_traceback(traceback.format_exc())
            _print_error(
                f"this is a fault of Millrace itself, {_state_of_tables()}: call again, and report the lines above if it happens again"
            )
            code = 70
    code = code if isinstance(code, int) else 0
    notification.send(code, _Fault.message)
    sys.exit(code)


def program() -> None:
    """The entry point of the command `millrace`: run the command line, then end the process at once.

    Python's own exit would collect garbage among all imported modules first, which takes most of a second.
    """
    _open_streams()
    termination.install()
    try:
        main()
    except SystemExit as ending:
        code = int(ending.code or 0)
        termination.ignore_interrupts()
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BrokenPipeError:
            pass
        except OSError:
            # stdout cannot be written, for example to a full disk: Python reports it.
            raise ending from None
        atexit._run_exitfuncs()
        os._exit(code)


def _open_streams() -> None:
    """Open the standard streams that the caller has closed; otherwise a file that is opened later would take their numbers."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, mode))


def _state_of_tables() -> str:
    """The state of the tables when a command ends early, in words."""
    return "the lake is damaged until a rebuild is done" if termination.is_mending() else "the tables are whole as before"


def _print_and_exit_code(error: MillraceError) -> int:
    if isinstance(error, WorkerLostError | SetupError):
        termination.await_pending_signal()
    _print_error(str(error))
    return error.exit_code


def _print_error(message: str) -> None:
    _Fault.message = message
    printing.print_message(f"millrace: {message}")
