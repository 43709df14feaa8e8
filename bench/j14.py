"""J14: what a posting's commit costs as the ledger's log grows, synced.

The example `commit_curve` commits postings of one row to a new lake: data file, log entry and their directories are synced
each time. Then as many adjustments are booked over HTTP, one after the other, which is a posting with all that belongs to it:
the head is read, the entries are hashed, the commit is synced, the catalog and the log of changes are written. Medians of 50
are compared with those of the first 50. The peer appends one row at a time with the `deltalake` package, which syncs nothing;
its growth is printed, not its time. Before any time of the adjustments is printed, the ledger must verify and hold them all.
"""

import http.client
import json
import os
import re
import statistics
import sys
import time
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake

from common import append_result, check_equal, check_free_space, measure, print_table, run_job, verdict
from server import TOKEN, Server

COMMITS = int(os.environ.get("COMMITS", 2_000))
PEER_COMMITS = int(os.environ.get("PEER_COMMITS", 220))
TIMED = 50
RATIO_MAX = 1.5
DAY = "2026-10-17"
UNITS = {"ns": 1e-6, "µs": 1e-3, "ms": 1.0, "s": 1e3}
LINE = re.compile(r"(\d+) commits: ([\d.]+)(ns|µs|ms|s) a commit, opened in ([\d.]+)(ns|µs|ms|s)")


def job(folder: Path, opened: list) -> None:
    check_free_space(folder, COMMITS * 200_000)
    if COMMITS < 2 * TIMED:
        sys.exit(f"COMMITS must be at least {2 * TIMED}")
    curve = commit_curve(folder / "curve")
    booked = adjustments(folder / "adjustments", opened)
    peer = peer_commits(folder / "peer")
    report(curve, booked, peer)


def commit_curve(folder: Path) -> list[tuple[int, float, float]]:
    """Commits so far, milliseconds of a commit, milliseconds to open the lake."""
    printed = measure([os.environ["COMMIT_CURVE_BIN"], str(folder), str(COMMITS)]).printed
    found = [(int(commits), float(commit) * UNITS[unit], float(opening) * UNITS[other])
             for commits, commit, unit, opening, other in LINE.findall(printed)]  # fmt: skip
    if not found or (found[0][0], found[-1][0]) != (TIMED, COMMITS):
        sys.exit(f"commit_curve printed something else than its curve:\n{printed}")
    return found


def adjustments(folder: Path, opened: list) -> list[float]:
    """Milliseconds of each adjustment."""
    server = Server(folder)
    opened.append(server)
    server.start()
    connection = http.client.HTTPConnection(server.address, timeout=600)
    for tenant in ("acme", "globex"):
        send(connection, "PUT", f"/tenants/{tenant}", {"name": tenant}, 201)
    body = {"charge_date": DAY, "from_tenant": "acme", "to_tenant": "globex", "amount": "0.01", "currency": "USD",
            "reason": "J14", "reference": "J14"}  # fmt: skip
    times = []
    for _ in range(COMMITS):
        begun = time.perf_counter()
        send(connection, "POST", "/adjustments", body, 201)
        times.append((time.perf_counter() - begun) * 1e3)
    connection.close()
    verified = json.loads(server.ask("/api/v1/ledger/verify")[1])
    check_equal("postings", {"the ledger": verified["postings"] if verified["ok"] else -1, "expected": COMMITS})
    return times


def send(connection: http.client.HTTPConnection, method: str, path: str, body: dict, expected: int) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    connection.request(method, f"/api/v1{path}", json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status != expected:
        sys.exit(f"{method} {path}: {answer.status} {text}")


def peer_commits(folder: Path) -> list[float]:
    """Milliseconds of each append of one row by the peer."""
    row = pa.table({"posting": pa.array([1], pa.int64()), "amount": pa.array(["0.01"])})
    times = []
    for _ in range(PEER_COMMITS):
        begun = time.perf_counter()
        write_deltalake(str(folder), row, mode="append")
        times.append((time.perf_counter() - begun) * 1e3)
    return times


def report(curve: list[tuple[int, float, float]], booked: list[float], peer: list[float]) -> None:
    rows = [(f"commit after {commits:,}", commit, commit / curve[0][1], RATIO_MAX) for commits, commit, _ in curve]
    first, last = statistics.median(booked[:TIMED]), statistics.median(booked[-TIMED:])
    rows.append((f"adjustment over HTTP, first {TIMED}", first, 1.0, RATIO_MAX))
    rows.append((f"adjustment over HTTP after {COMMITS:,}", last, last / first, RATIO_MAX))
    size = max(1, min(TIMED, len(peer) // 2))
    peer_ratio = statistics.median(peer[-size:]) / statistics.median(peer[:size])
    rows.append((f"deltalake, unsynced, after {PEER_COMMITS:,}", statistics.median(peer[-size:]), peer_ratio, None))
    print_table("J14, posting commit", ["ms", "ratio to the first", "target ≤"], rows)
    ratio, booked_ratio = curve[-1][1] / curve[0][1], last / first
    met = verdict(ratio <= RATIO_MAX, booked_ratio <= RATIO_MAX)
    print(f"\nafter {COMMITS:,} commits {ratio:.2f} × the first, over HTTP {booked_ratio:.2f} ×, synced: {met}")
    append_result("J14", {
        "commits": COMMITS, "commit_ms": {str(commits): commit for commits, commit, _ in curve}, "ratio": ratio,
        "adjustment_ms": [first, last], "adjustment_ratio": booked_ratio, "opened_ms": curve[-1][2],
        "peer_commits": PEER_COMMITS, "peer_ratio": peer_ratio, "target": met,
    })  # fmt: skip


if __name__ == "__main__":
    run_job("J14", job)
