"""The lease that lets one process at a time write a lake in a bucket.

The lease is an object. Its holder writes it again four times within its duration; a killed holder no longer does. A process that sees
the same version of the object for that long takes it over. Every write is conditional on the version that was read, so the store gives
the lease to one of several processes. Clocks of two machines are compared only to refuse a second writer at once.
"""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from typing import Any

from jobs.console.printing import print_message
from jobs.errors import LakeBusyError, LakeError
from jobs.lake import atomic_json
from jobs.storage.bucket import BucketPath

LEASE_SECONDS = 60.0
# The holder writes the lease again after this share of its time, and stops writing the lake after the other one.
_RENEWED_AFTER = 0.25
_LOST_AFTER = 0.75
_LOOKS = 20


class Lease:
    """The lease of a lake, held by this process from `acquire` to `release`."""

    def __init__(self, path: BucketPath, command: str, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._id = uuid.uuid4().hex
        self._holder = f"{command} (process {os.getpid()} on {socket.gethostname()}, since {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S} UTC)"
        self._renewals = 0
        self._version: str | None = None
        self._renewed = 0.0
        self._ended = threading.Event()
        self._writing = threading.Lock()  # a renewal and the release, of two threads
        # Whether the process before this one did not release it, so it may still be running.
        self.was_taken_over = False

    def acquire(self) -> None:
        """Take the lease, and renew it in the background.

        Raises LakeBusyError when another process holds it, LakeError when the bucket may not be written.
        """
        try:
            self._take()
        except FileNotFoundError:
            raise LakeError(f"no lake can be made at {self._path.parent} (there is no such bucket): name another with --lake") from None
        except PermissionError as error:
            raise LakeError(
                f"the lake {self._path.parent} cannot be written ({error.strerror}): set credentials of a user who may write it"
            ) from None
        threading.Thread(target=self._renew, daemon=True).start()

    def check(self) -> None:
        """Raises LakeBusyError when this process no longer holds the lease, or could not renew it in time."""
        if self._ended.is_set() or _clock() - self._renewed > self._seconds * _LOST_AFTER:
            self._ended.set()
            raise LakeBusyError(
                f"this run could not renew its lease of the lake {self._path.parent}, so another may be writing it:"
                " nothing was published; call again"
            )

    def release(self) -> None:
        """End the lease. A lease that another process holds is left alone."""
        with self._writing:
            if self._ended.is_set():
                return
            self._ended.set()
            # If it fails, the lease ends by itself.
            with suppress(OSError):
                self._write_known(is_released=True)

    def _take(self) -> None:
        try:
            self._write()
        except FileExistsError:
            version = self._version_to_replace()
            try:
                self._version = version
                self._write()
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
                # The client repeats a request whose answer was lost, so the other version may be this process's.
                if not self._is_ours():
                    raise LakeBusyError(_busy(self._path, _document(self._path.read_bytes()))) from None

    def _version_to_replace(self) -> str | None:
        """The version of a lease that has ended. Raises LakeBusyError when its holder is alive."""
        content, version = self._path.read_version()
        document = _document(content)
        if document.get("is_released") or document.get("id") == self._id:
            return version
        if is_recent(self._path, document):
            raise LakeBusyError(_busy(self._path, document))
        seconds = float(document.get("seconds", self._seconds))
        print_message(
            f"{document.get('holder', 'another run')} has not released the lake: waiting {seconds:g} s to see whether it still runs"
        )
        seen = _clock()
        while _clock() - seen < seconds:
            time.sleep(seconds / _LOOKS)
            content, latest = self._path.read_version()
            if latest != version:
                raise LakeBusyError(_busy(self._path, _document(content)))
        self.was_taken_over = True
        return version

    def _write(self, *, is_released: bool = False) -> None:
        """Write the lease, in place of the version that this process knows. Raises OSError when another version is there."""
        started = _clock()
        document = {
            "holder": self._holder,
            "id": self._id,
            "seconds": self._seconds,
            "renewals": self._renewals,
            "is_released": is_released,
        }
        content = json.dumps(document).encode()
        self._version = self._path.create(content) if self._version is None else self._path.replace_version(self._version, content)
        self._renewals += 1
        self._renewed = started

    def _renew(self) -> None:
        while not self._ended.wait(self._seconds * _RENEWED_AFTER):
            with self._writing:
                if self._ended.is_set():
                    return
                try:
                    self._write_known()
                except OSError as error:
                    if error.errno == errno.ESTALE:
                        self._ended.set()

    def _write_known(self, *, is_released: bool = False) -> None:
        """Write the lease. A write whose answer was lost has made a version that this process does not know: it writes once more.

        Raises OSError, with ESTALE when another process holds the lease.
        """
        try:
            self._write(is_released=is_released)
        except OSError as error:
            if error.errno != errno.ESTALE or not self._is_ours():
                raise
            self._write(is_released=is_released)

    def _is_ours(self) -> bool:
        content, version = self._path.read_version()
        if _document(content).get("id") != self._id:
            return False
        self._version = version
        return True


def is_held(path: BucketPath) -> bool:
    """Whether a process seems to be writing the lake: its lease is not released and was renewed lately, by the clock of this machine."""
    try:
        document = _document(path.read_bytes())
    except FileNotFoundError:
        return False
    return not document.get("is_released") and is_recent(path, document)


def is_recent(path: BucketPath, document: dict[str, Any]) -> bool:
    """Whether a lease was written so lately, by the clock of this machine, that it cannot have ended."""
    age = dt.datetime.now(dt.UTC).timestamp() - path.stat().st_mtime_ns / 1e9
    # The time of the store may be ahead.
    return abs(age) < float(document.get("seconds", 0))


def _document(content: bytes) -> dict[str, Any]:
    try:
        document = atomic_json.parse(content)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _busy(path: BucketPath, document: dict[str, Any]) -> str:
    holder = document.get("holder") or "another run"
    return f"{holder} is writing the lake {path.parent}: wait for it to end, then call again"


def _clock() -> float:
    """Seconds, on a clock that also runs while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
