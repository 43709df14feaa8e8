"""J15: the page of costs in a browser, with 10,000 tenants and 365 days of snapshots, against boxes without a page.

Chromium opens the page as somebody would: from the address to the first rows, then all rows are scrolled by, sorted and
searched. The same browser scrolls an empty box as far, whose frames are the fastest that there are on this machine, and one
with as many rows and cells of plain text, which is the browser's own share.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from common import append_result, print_table, run_job, verdict
from server import TOKEN
from snapshots import days_of, make_snapshots

TENANTS = int(os.environ.get("TENANTS", 10_000))
DAYS = int(os.environ.get("DAYS", 365))
FRAME_MS_MAX = 20.0
WEB = Path(__file__).parent.parent / "web"


def job(folder: Path, opened: list) -> None:
    server, _ = make_snapshots(folder / "apportion", TENANTS, DAYS)
    opened.append(server)
    server.start()
    found = board(f"http://{server.address}")
    rows = [
        (name, found[f"{key}_p50_ms"], found[f"{key}_p95_ms"], found[f"{key}_max_ms"], 100 * found[f"{key}_over_20ms"])
        for name, key in [
            ("all rows in ten seconds", "frame"),
            ("as fast as a hand", "hand"),
            ("a box without rows", "bare"),
            ("as many rows of plain text", "static"),
        ]
    ]
    print_table(f"J15, {TENANTS:,} tenants × {DAYS} days: ms of a frame", ["median", "p95", "slowest", "% over 20"], rows)
    # What the browser cannot do with plain text no page can do. It draws 60 times in a second: its clock says 33.3 or 33.4 ms
    # of two such turns.
    turns, turns_of_text = (round(found[f"{key}_p95_ms"] * 60 / 1000) for key in ("frame", "static"))
    met = verdict(found["hand_p95_ms"] < FRAME_MS_MAX, turns <= max(1, turns_of_text))
    print(
        f"\nfirst rows after {found['first_rows_ms']:.0f} ms, the last answer after {found['last_answer_ms']:.0f} ms, sorted in "
        f"{found['sort_ms']:.0f} ms, found in {found['search_ms']:.0f} ms, {found['rows_drawn_max']} rows drawn at "
        f"most; p95 of frames < {FRAME_MS_MAX:.0f} ms, or that of plain text where all rows pass: {met}"
    )
    append_result("J15", {"tenants": TENANTS, "days": DAYS, **found, "target": met})


def board(url: str) -> dict:
    """The figures that the page's own measurement prints."""
    days = days_of(DAYS).replace("from=", "").replace("&to=", "..")
    command = ["node", "tests/browser/board.mjs", url, TOKEN, days]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        sys.exit(f"the page was not measured: {done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    run_job("J15", job)
