"""Every fault that a user can cause: one root, one class per remedy.

The message names what is wrong and the remedy, in one line; the command line prints it and leaves with `exit_code`.
"""

from __future__ import annotations


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


class CheckFailedError(MillraceError):
    """A critical check failed; nothing was published. Remedy: look at the staged tables and the checks."""

    exit_code = 1
