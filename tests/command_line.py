"""The command line, called in the process of the test."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from jobs.commands import program


class CommandResult(NamedTuple):
    """How a command ended, and what it printed."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def faults(self) -> list[str]:
        """The lines of `millrace` itself on stderr."""
        return [line for line in self.stderr.splitlines() if line.startswith("millrace: ")]

    @property
    def fault(self) -> str:
        """The line that says why the command failed; empty where it has not failed."""
        return self.faults[0] if self.faults else ""


def call_millrace(capfd: pytest.CaptureFixture[str], *arguments: object) -> CommandResult:
    """Call the command line; what was printed before is not in the result. Needs the fixture `without_arguments`."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as exited:
        program.main([str(argument) for argument in arguments])
    printed = capfd.readouterr()
    assert isinstance(exited.value.code, int)
    return CommandResult(exited.value.code, printed.out, printed.err)
