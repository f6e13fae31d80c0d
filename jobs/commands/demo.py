"""A few days of generated data for all sources, run as nights: what Millrace does, in one command.

millrace demo
"""

from __future__ import annotations

import datetime as dt

from jobs.commands import explain_session, generate_data, quality, report, run_nights
from jobs.console.printing import print_line
from jobs.console.progress import Progress
from jobs.generator.formats import FORMATS
from jobs.generator.generate import generate, truth
from jobs.settings import Settings

NIGHTS = (dt.date(2026, 11, 18), dt.date(2026, 11, 19), dt.date(2026, 11, 20))
SEED = 1


def run(settings: Settings, events: int) -> int:
    """Generate data, run the nights, and print the results and one session of each source; gives the exit code.

    Raises LandingError when the landing zone holds other data of the demo's nights.
    """
    landing = generate_data.folder_to_write(settings.paths.landing)
    for night in NIGHTS:
        generate_data.refuse_landed(landing, night, tuple(FORMATS))
    progress = Progress()
    for night in NIGHTS:
        progress.begin(night.isoformat())
        with progress.step("generate"):
            generate(landing, night, events=events, seed=SEED)
    generate_data.show(f"Landed in {landing}", truth(landing, NIGHTS[0], NIGHTS[-1]))
    code = run_nights.run(settings, NIGHTS, [], "demo")
    quality.show(settings, NIGHTS[-1])
    lake = settings.paths.lake
    print_line(f"any session with its events: millrace session SESSION_ID --lake {lake}; such as one of each source:")
    print_line("")
    explain_session.show_examples(settings, NIGHTS[0], NIGHTS[-1])
    print_line("")
    print_line("The report of the last night, to open in a browser:")
    report.write(settings, NIGHTS[-1], None)
    print_line("Next:")
    print_line(f'  millrace sql --lake {lake} "SELECT source, count(*) FROM sessions GROUP BY source"')
    print_line(f"  millrace site --lake {lake} --out site    all reports, checks and marts, as pages")
    print_line("  millrace describe                        what the tables and columns mean")
    return code
