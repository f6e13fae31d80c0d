"""The results of the benchmark, drawn: a bar per engine and size, its steps one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_COLOURS: Mapping[str, str] = {
    "start": "#b8b8b8",
    "parse and validate": "#2f6f9f",
    "deduplicate": "#6baed6",
    "write": "#b5d4ea",
    "sessions": "#3a8f5c",
    "workflows": "#9bcf8f",
    "metrics": "#d9a441",
    "checks": "#c8643c",
    "publish": "#8c3f2b",
    "end": "#dddddd",
}


def draw(entries: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write the chart, one panel per size."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Rectangle

    # The same numbers are the same bytes.
    mpl.rcParams["svg.hashsalt"] = "millrace"
    sizes = sorted({entry["events"] for entry in entries})
    figure, panels = plt.subplots(len(sizes), 1, figsize=(9, 0.9 + 1.5 * len(sizes)), squeeze=False, layout="constrained")
    for events, panel in zip(sizes, panels[:, 0], strict=True):
        of_size = [entry for entry in entries if entry["events"] == events]
        for row, entry in enumerate(of_size):
            left = 0.0
            for step, seconds in entry["steps"].items():
                panel.barh(row, seconds, left=left, color=_COLOURS[step], height=0.7)
                left += seconds
            text = f" {entry['seconds']:.1f} s, {entry['ratio_to_duckdb']:.2f} ×, {entry['peak_mib'] / 1024:.1f} GiB"
            panel.text(left, row, text, va="center", fontsize=8)
        panel.set_yticks(range(len(of_size)), [entry["engine"] + (" (parse)" if entry["engine"] == "polars" else "") for entry in of_size])
        panel.invert_yaxis()
        panel.set_xlim(0, 1.3 * max(entry["seconds"] for entry in of_size))
        panel.set_title(f"{events:,} events: seconds, ratio to DuckDB, peak memory", fontsize=9, loc="left")
        panel.spines[["top", "right"]].set_visible(False)
    named = [step for step in _COLOURS if any(step in entry["steps"] for entry in entries)]
    handles = [Rectangle((0, 0), 1, 1, color=_COLOURS[step]) for step in named]
    figure.legend(handles, named, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
