"""A lake of a few rows, and what can be done to its tables."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from pathlib import Path
from typing import Any

from tiny_lake import NIGHT, publish

from jobs.lake.tables import Lake

NIGHTS = [NIGHT, NIGHT + dt.timedelta(days=1), NIGHT + dt.timedelta(days=2)]
SESSION = "5f2c81d0"


def landed_file(night: dt.date) -> str:
    return f"sunbird/date={night}/a.json"


def rows_of(night: dt.date) -> dict[str, list[dict[str, Any]]]:
    """One landed file with one event, which is one session."""
    landed = {"source": "sunbird", "landing_date": night, "file": landed_file(night)}
    counts = {"records": 1, "accepted": 1, "duplicates": 0, "rejected": 0, "erased": 0, "blank": 0, "empty": 0}
    return {
        "files": [landed | counts | {"status": "done"}],
        "events": [landed | {"event_date": night, "event_id": str(night)}],
        "sessions": [{"source": "sunbird", "session_date": night, "session_id": SESSION + str(night)}],
        "quality_results": [{"date": night}],
    }


def copied(undamaged: Path, folder: Path) -> Path:
    """A copy of the lake and its landed files, to be damaged; gives the lake."""
    shutil.copytree(undamaged, folder, dirs_exist_ok=True)
    return folder / "lake"


def make(root: Path) -> None:
    """A landing zone of three nights, and a lake of them whose tables have a checkpoint after the second."""
    for number, night in enumerate(NIGHTS):
        path = root / "landing" / landed_file(night)
        path.parent.mkdir(parents=True)
        path.write_text("")
        publish(root / "lake", rows_of(night), run_id=f"run-{number}", night=night)
        if number == 1:
            with Lake.writing(root / "lake", "a test") as lake:
                lake.trim_logs(30)


def last_entry(table: Path) -> Path:
    return max((table / "_delta_log").glob("*.json"))


def first_file(table: Path) -> Path:
    return min(path for path in table.rglob("*.parquet") if path.parent.name != "_delta_log")


def remove_folder(table: Path) -> None:
    shutil.rmtree(table)


def remove_log(table: Path) -> None:
    shutil.rmtree(table / "_delta_log")


def remove_last_entry(table: Path) -> None:
    last_entry(table).unlink()


def remove_checkpoint(table: Path) -> None:
    (table / "_delta_log" / f"{2:020}.checkpoint.parquet").unlink()


def damage_checkpoint(table: Path) -> None:
    (table / "_delta_log" / f"{2:020}.checkpoint.parquet").write_bytes(b"PAR1 and so on")


def tear_last_entry(table: Path) -> None:
    entry = last_entry(table)
    entry.write_bytes(entry.read_bytes()[:200])


def empty_last_entry(table: Path) -> None:
    last_entry(table).write_bytes(b"")


def remove_file(table: Path) -> None:
    first_file(table).unlink()


def truncate_file(table: Path) -> None:
    os.truncate(first_file(table), 100)


def change_bytes(table: Path) -> None:
    """Other bytes in the middle of a file, whose end, which describes it, stays whole."""
    path = first_file(table)
    content = bytearray(path.read_bytes())
    content[60:90] = b"x" * 30
    path.write_bytes(content)
