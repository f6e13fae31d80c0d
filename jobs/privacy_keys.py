"""Read the salts of pseudonyms and the public key for refused records, from files or the environment."""

from __future__ import annotations

import datetime as dt
import os
import re
from pathlib import Path

from jobs.errors import SettingsError
from transforms.privacy.pseudonyms import Salt

SALT_VARIABLE = "MILLRACE_SALT"
SALT_REMEDY = f"set the variable {SALT_VARIABLE}, or name a file with it in privacy.salt_file"
_PERIOD = re.compile(r"(\d{4}-\d{2}-\d{2})[ \t]+(\S.*)")
_KEY_BYTES = 32


def salts(file: Path | None) -> tuple[Salt, ...]:
    """The salts of the environment, or of this file; none if neither has one.

    Raises SettingsError when the file cannot be read or has no salt.
    """
    text = os.environ.get(SALT_VARIABLE)
    where = f"the variable {SALT_VARIABLE}"
    if text is None and file is None:
        return ()
    if text is None and file is not None:
        text, where = _read(file, "salt_file").decode("utf-8", "replace"), f"the file {file} of privacy.salt_file"
    lines = [line for line in (text or "").splitlines() if line.strip()]
    if not lines:
        raise SettingsError(f"{where} has no salt: {SALT_REMEDY}")
    periods = [_PERIOD.fullmatch(line) for line in lines]
    if len(lines) == 1 and periods[0] is None:
        return (Salt(dt.date.min, lines[0]),)
    dates = [_date(period[1]) if period else None for period in periods]
    if None in dates:
        raise SettingsError(f'{where} has a line that is no "YYYY-MM-DD salt": write one salt, or one such line per period')
    return tuple(Salt(date, period[2]) for date, period in zip(dates, periods, strict=True) if date and period)


def raw_key(file: Path | None) -> bytes | None:
    """The public key to which refused records are encrypted. Raises SettingsError when the file has none."""
    if file is None:
        return None
    content = _read(file, "raw_key_file")
    if len(content) != _KEY_BYTES:
        try:
            content = bytes.fromhex(content.decode("ascii").strip())
        except ValueError:
            content = b""
    if len(content) != _KEY_BYTES:
        raise SettingsError(f"the file {file} of privacy.raw_key_file has no key: it holds 32 bytes, or 64 hexadecimal digits")
    return content


def _date(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None


def _read(file: Path, key: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"the file {file} of privacy.{key} cannot be read ({error.strerror}): name another") from None
