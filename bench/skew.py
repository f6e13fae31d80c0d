"""How much longer the task of a bot runs than the others: a night in which one key has 30 % of all events.

python -m bench.skew [EVENTS] [KEY_TASKS]
"""

from __future__ import annotations

import datetime as dt
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import event_log

NIGHT = dt.date(2026, 11, 20)
MILLRACE = Path(sys.executable).with_name("millrace")
KINDS = ("START", "IMPRESSION", "INTERACT", "INTERACT", "INTERACT", "IMPRESSION", "INTERACT", "END")
EDATA = {"START": {"type": "session"}, "END": {"type": "session"}, "INTERACT": {"type": "TOUCH", "id": "b"}}


def land_bot(landing: Path, events: int) -> None:
    """Land the bot's day: so many Sunbird events of one session key, device and producer."""
    midnight = int(dt.datetime.combine(NIGHT, dt.time(), dt.UTC).timestamp() * 1000)
    for hour in range(24):
        folder = landing / "sunbird" / f"date={NIGHT}" / f"hour={hour:02}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "bot.jsonl").open("w") as file:
            for number in range(events * hour // 24, events * (hour + 1) // 24):
                kind = KINDS[number % len(KINDS)]
                edata = EDATA.get(kind, {"type": "view", "pageid": f"p{number % 50}", "uri": "/"})
                context = {"channel": "c", "env": "home", "sid": "bot", "did": "bot", "pdata": {"id": "app"}}
                event = {"eid": kind, "ets": midnight + number * 86_000_000 // events, "ver": "3.0", "mid": f"bot-{number}"}
                event |= {"actor": {"id": "bot", "type": "User"}, "context": context, "edata": edata}
                file.write(json.dumps(event) + "\n")


def main(events: int, key_tasks: int) -> None:
    """Run the night and print, of the stages of both steps, the longest task and the median."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "log").mkdir()
        options = {"spark.driver.host": "127.0.0.1", "spark.eventLog.enabled": True, "spark.eventLog.dir": str(root / "log")}
        options |= {"spark.driver.bindAddress": "127.0.0.1", "spark.eventLog.compress": False}
        settings = {"spark": {"key_tasks": key_tasks, "java_options": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC", "options": options}}
        (root / "conf.yaml").write_text(json.dumps(settings))
        paths = ["--date", str(NIGHT), "--landing", str(root / "landing")]
        subprocess.run([MILLRACE, "generate", *paths, "--events", str(events * 7 // 10)], check=True, capture_output=True)
        land_bot(root / "landing", events * 3 // 10)
        paths += ["--lake", str(root / "lake"), "--env", "spark", "--conf", str(root / "conf.yaml")]
        subprocess.run([MILLRACE, "run", *paths], check=True, stdout=2)
        show(root / "log")


def show(log: Path) -> None:
    """Print a line per step that builds rows from keys: its last stage is the one that does."""
    (application,) = event_log.applications(log)
    for step in ("sessions", "workflows"):
        stage = [stage for stage in event_log.stages(application) if stage.step == step][-1]
        median, longest = statistics.median(stage.seconds), max(stage.seconds)
        print(f"{step}: {len(stage.seconds)} tasks, median {median:.1f} s, longest {longest:.1f} s: {stage.skew:.1f} times")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, int(sys.argv[2]) if len(sys.argv) > 2 else 4)
