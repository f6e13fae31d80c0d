"""Every fault that a user can cause: one root, one class per remedy.

The message names what is wrong and the remedy, in one line; the command line prints it and leaves with `exit_code`.
"""

from __future__ import annotations

import errno

# How the parts of a run say, each in its own words, that the disk is full or that a process is gone.
_NO_ROOM = ("No space left on device", "Disk quota exceeded", "[Errno 28]", "[Errno 122]")
_LOST = (
    "Python worker exited unexpectedly",
    "Python worker process terminated",
    "Connection reset",
    "EOFException",
    # Spark, to a daemon that is gone, about a worker that is to be stopped.
    "IOException: Stream closed",
    "process pool was terminated abruptly",
)


class MillraceError(Exception):
    """Something that the caller can put right."""

    exit_code = 2


class UsageError(MillraceError):
    """The call is wrong. Remedy: call again as the message says."""


class SettingsError(MillraceError):
    """The configuration is wrong. Remedy: mend the file and the key that the message names."""


class LandingError(MillraceError):
    """The landing folder is not what it should be. Remedy: name the right one, or land the files again."""


class LakeError(MillraceError):
    """The lake folder is not what it should be. Remedy: name the right one."""


class LakeBusyError(MillraceError):
    """Another run is writing this lake. Remedy: wait for it; the same call is right later."""

    exit_code = 75


class SetupError(MillraceError):
    """Something that set-up provides is missing. Remedy: run set-up."""


class DiskFullError(MillraceError):
    """There is no room left to write. Remedy: make room, then call again."""


class WorkerLostError(MillraceError):
    """A worker's process ended in the middle of its work. Remedy: call again; with more memory if it happens again."""

    exit_code = 75


class CheckFailedError(MillraceError):
    """A critical check failed; nothing was published. Remedy: look at the staged tables and the checks."""

    exit_code = 1


def fault_of_the_machine(error: BaseException) -> MillraceError | None:
    """What a failure of the machine means for the caller; None for any other failure."""
    cause: BaseException | None = error
    said = ""
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            said += _NO_ROOM[0]
        said += str(cause)
        cause = cause.__cause__ or cause.__context__
    if any(words in said for words in _NO_ROOM):
        return DiskFullError(
            "no space left on the disk: nothing was published; make room for the lake and for temporary files, then call again"
        )
    if any(words in said for words in _LOST):
        return WorkerLostError(
            "a worker process was lost, by a signal or for want of memory: nothing was published;"
            " call again, and raise spark.key_tasks in the configuration if it happens again"
        )
    return None
