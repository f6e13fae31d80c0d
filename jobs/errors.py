"""The faults that a user can cause: one base class, and one class per remedy.

The message has one line, which names the fault and the remedy. The command line prints it and exits with `exit_code`.
"""

from __future__ import annotations

import errno
import re

# How an error of an object store begins that does not answer, or answers with an error of its own. It may come from a task, as text.
STORE_FAILED = "object store failed"
# The errors of delta-rs and of Arrow that say the same, but for those that name what is missing, forbidden or there already.
_STORE_ERROR = re.compile(
    r"Generic (S3|GCS|MicrosoftAzure) error(?!.*\b40[34]\b)|AWS Error (?!NO_SUCH|RESOURCE_NOT_FOUND|ACCESS_DENIED|INVALID_|MISSING_AUTH)",
    re.DOTALL,
)
# How the refusal of an object store reads, also in the error of a task: the code of the store, and the object.
_REFUSED = re.compile(r"permission denied( \(\w+\))?: '((?:s3|gs|abfss)://[^']*)'")
# The messages of the operating system, Python and Spark for a full disk, and for a lost process.
_NO_ROOM = ("No space left on device", "Disk quota exceeded", "[Errno 28]", "[Errno 122]")
_LOST = (
    "Python worker exited unexpectedly",
    "Python worker process terminated",
    "Connection reset",
    "EOFException",
    # Spark, when it stops a worker whose daemon has ended.
    "IOException: Stream closed",
    # Python's process pool: to the call that lost its process, and to later calls.
    "process pool was terminated abruptly",
    "process pool is not usable anymore",
)


class MillraceError(Exception):
    """A fault that the caller can remedy."""

    exit_code = 2


class UsageError(MillraceError):
    """The call is wrong. Remedy: call again as the message says."""


class SettingsError(MillraceError):
    """The configuration is wrong. Remedy: mend the file and the key that the message names."""


class LandingError(MillraceError):
    """The landing folder is missing or cannot be read. Remedy: name the right one, or land the files again."""


class LakeError(MillraceError):
    """The lake folder is missing or is no lake. Remedy: name the right one."""


class LakeDamagedError(LakeError):
    """A part of the lake is missing or unreadable. Remedy: `millrace rebuild`."""


class RulesChangedError(MillraceError):
    """The tables were built by other rules than the run would use. Remedy: `millrace rebuild`, or the former settings."""


class LakeBusyError(MillraceError):
    """Another run is writing this lake. Remedy: wait for it to end, then call again."""

    exit_code = 75


class SetupError(MillraceError):
    """A program or library that set-up installs is missing. Remedy: run set-up."""


class DiskFullError(MillraceError):
    """The disk is full. Remedy: make room, then call again."""


class WorkerLostError(MillraceError):
    """A worker process ended before its task. Remedy: call again; with more memory if it happens again."""

    exit_code = 75


class StoreUnreachableError(MillraceError):
    """The object store did not answer during a run. Remedy: call again when it does."""

    exit_code = 75


class CheckFailedError(MillraceError):
    """A critical check failed; nothing was published. Remedy: look at the staged tables and the checks."""

    exit_code = 1


def is_store_failure(message: str) -> bool:
    """Whether an error says that an object store cannot be reached, or answers with an error of its own."""
    return STORE_FAILED in message or _STORE_ERROR.search(message) is not None


def fault_of_the_machine(error: BaseException) -> MillraceError | None:
    """The error for the user if this one came from a full disk or a lost process; None for any other error."""
    cause: BaseException | None = error
    messages = ""
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            messages += _NO_ROOM[0]
        messages += str(cause)
        cause = cause.__cause__ or cause.__context__
    if any(words in messages for words in _NO_ROOM):
        return DiskFullError(
            "no space left on the disk: nothing was published; make room for the lake and for temporary files, then call again"
        )
    if is_store_failure(messages):
        return StoreUnreachableError(
            "the object store did not answer: nothing was published; call again when it does (AWS_ENDPOINT_URL names its address)"
        )
    if refused := _REFUSED.search(messages):
        return LakeError(
            f"the object store refuses access to {refused[2]}{refused[1] or ''}: nothing was published;"
            " set credentials that are valid for the whole run, then call again"
        )
    if any(words in messages for words in _LOST):
        return WorkerLostError(
            "a worker process was lost, by a signal or for want of memory: nothing was published;"
            " call again, and raise spark.key_tasks in the configuration if it happens again"
        )
    return None
