"""Send the summary of a run, as JSON, to the command or the webhook of the configuration.

A notification that cannot be sent is a warning, and does not change the exit code.
"""

from __future__ import annotations

import datetime as dt
import http.client
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.console.printing import print_message

_TIMEOUT_SECONDS = 30


@dataclass
class _Pending:
    """What is sent when the program ends."""

    command: str = ""
    lake: str = ""
    arguments: Sequence[str] = ()
    url: str | None = None
    exit_codes: Sequence[int] = ()
    runs: list[Mapping[str, Any]] = field(default_factory=list)


class _Program:
    """State of this program."""

    pending = _Pending()


def prepare(command: str, lake: str, *, arguments: Sequence[str], url: str | None, exit_codes: Sequence[int]) -> None:
    """Send a notification if the command ends with one of these exit codes. `arguments` and `url` are the receivers; both may be empty."""
    _Program.pending = _Pending(command, lake, arguments, url, exit_codes)


def add_run(summary: Mapping[str, Any]) -> None:
    """Add the summary of a night that was run."""
    _Program.pending.runs.append(summary)


def send(exit_code: int, message: str | None) -> None:
    """Send what is pending, if the configured exit codes contain this one. `message` is the last line of a command that failed."""
    pending, _Program.pending = _Program.pending, _Pending()
    if exit_code not in pending.exit_codes or not (pending.arguments or pending.url):
        return
    document = {
        "command": pending.command,
        "lake": pending.lake,
        "exit_code": exit_code,
        "ended": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "message": message,
        "runs": list(pending.runs),
    }
    body = json.dumps(document, default=str).encode()
    try:
        if pending.arguments:
            _call(pending.arguments, body)
        if pending.url:
            _post(pending.url, body)
    except Exception as error:  # noqa: BLE001 - it must not change the exit code of the run
        print_message(f"warning: the notification was not sent ({type(error).__name__}): see notify in the configuration")


def _call(arguments: Sequence[str], body: bytes) -> None:
    try:
        done = subprocess.run(
            list(arguments), input=body, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=_TIMEOUT_SECONDS, check=False
        )
        why = None if done.returncode == 0 else f"exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()[-200:]}"
    except subprocess.TimeoutExpired:
        why = f"it takes longer than {_TIMEOUT_SECONDS} s"
    except OSError as error:
        why = str(error.strerror)
    if why is not None:
        print_message(f"warning: the notification was not sent, {arguments[0]} failed ({why}): see notify.command in the configuration")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would make a GET without the document of the POST, so it is a failure."""

    def redirect_request(self, *_: Any) -> None:
        """None: the response is an error."""


def _post(url: str, body: bytes) -> None:
    # The address may hold a secret, so no message names it.
    try:
        request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_TIMEOUT_SECONDS):
            return
    except urllib.error.HTTPError as error:
        why = f"status {error.code}"
    except urllib.error.URLError as error:
        why = error.reason.strerror if isinstance(error.reason, OSError) and error.reason.strerror else type(error.reason).__name__
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = type(error).__name__
    print_message(f"warning: the notification was not sent, the webhook failed ({why}): see notify.url in the configuration")
