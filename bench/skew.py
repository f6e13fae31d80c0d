"""How much longer the task of a bot runs than the others: a night in which one key has 30 % of all events.

python bench/skew.py [EVENTS] [KEY_TASKS]
"""

from __future__ import annotations

import datetime as dt
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from jobs.lake.tables import Lake

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
        show(root / "log", Lake.open(root / "lake"))


def show(log: Path, lake: Lake) -> None:
    """Print a line per step that builds rows from keys: its last stage is the one that does."""
    tasks: defaultdict[int, list[float]] = defaultdict(list)
    ended = {}
    for line in next(log.glob("*/events_*")).open():
        event = json.loads(line)
        if event["Event"] == "SparkListenerTaskEnd":
            tasks[event["Stage ID"]].append((event["Task Info"]["Finish Time"] - event["Task Info"]["Launch Time"]) / 1000)
        elif event["Event"] == "SparkListenerStageCompleted":
            ended[event["Stage Info"]["Stage ID"]] = event["Stage Info"]["Completion Time"] / 1000
    for row in lake.arrow("runs").to_pylist():
        if row["step"] in ("sessions", "workflows"):
            within = (row["started"].timestamp(), row["ended"].timestamp())
            seconds = tasks[max(stage for stage, moment in ended.items() if within[0] <= moment <= within[1])]
            median = statistics.median(seconds)
            text = f"{len(seconds)} tasks, median {median:.1f} s, longest {max(seconds):.1f} s: {max(seconds) / median:.1f} times"
            print(f"{row['step']}: {text}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, int(sys.argv[2]) if len(sys.argv) > 2 else 4)
