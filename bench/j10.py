"""J10: the usage CSV of 2 M rows over HTTP, against DuckDB's COPY of the same rows from the same Parquet files.

A row is a workspace and day with nine metrics and what they cost. Both sides make wide rows of long ones, price them and
write CSV; Apportion also streams it through a socket to a client that writes it to a file. Answers are compared first: both
files are read back, and no row may be in one of them only.
"""

import http.client
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import duckdb

from common import append_result, cpu_seconds, forget_peak, measure, memory_mib, print_table, run_job, verdict, watched_peak
from server import TOKEN, Server
from snapshots import FIELDS, STARTER, days_of, make_snapshots

TENANTS = int(os.environ.get("TENANTS", 10_000))
DAYS = int(os.environ.get("DAYS", 200))
THREADS = int(os.environ.get("THREADS", 2))
ROUNDS = int(os.environ.get("ROUNDS", 3))
RATIO_MIN, GROWTH_MIB_MAX = 0.5, 64
PIECE_BYTES = 1 << 20

COLUMNS = ", ".join(f"sum(quantity) FILTER (WHERE metric = '{field}')::DECIMAL(20, 0) AS {field}" for field in FIELDS)
COST = " + ".join(f"coalesce({field}, 0) * {price}::DECIMAL(18, 15)" for field, price in STARTER.items())
ROWS = f"""SELECT tenant AS workspace_slug, '' AS workspace_name, snapshot_date, {", ".join(FIELDS)}, {COST} AS cost_usd FROM (
               SELECT tenant, snapshot_date, {COLUMNS} FROM read_parquet([{{files}}]) GROUP BY tenant, snapshot_date)"""


def job(folder: Path, opened: list) -> None:
    server, files = make_snapshots(folder / "apportion", TENANTS, DAYS)
    opened.append(server)
    server.start()
    server.settle()
    ours, theirs = folder / "ours.csv", folder / "theirs.csv"
    # Of the program's own file the first day loads what every further one needs as well.
    fresh = Memory.now(server.pid)
    export(server, ours, 1)
    server.settle()
    forget_peak(server.pid)
    idle, cpu = Memory.now(server.pid), cpu_seconds(server.pid)
    with watched_peak(server.pid, "RssAnon") as held:
        our_seconds = min(export(server, ours, DAYS) for _ in range(ROUNDS))
    cpu = (cpu_seconds(server.pid) - cpu) / ROUNDS
    peak = Memory(memory_mib(server.pid, "VmHWM"), held[0], memory_mib(server.pid, "RssFile"))
    ended = [measure([sys.executable, __file__, "--peer", str(theirs), *files]) for _ in range(ROUNDS)]
    compare_answers(ours, theirs)
    report(our_seconds, cpu, (fresh, idle, peak), ours.stat().st_size, ended)


class Memory(NamedTuple):
    """MiB of the server: all of it, what it holds, and pages of the program's file, which it shares with the system."""

    whole: float
    held: float
    program: float

    @staticmethod
    def now(pid: int) -> "Memory":
        return Memory(*(memory_mib(pid, name) for name in ("VmRSS", "RssAnon", "RssFile")))


def export(server: Server, file: Path, days: int) -> float:
    """Streams the CSV of the last days to a file; returns the seconds from request to the last byte."""
    connection = http.client.HTTPConnection(server.address, timeout=600)
    begun = time.monotonic()
    connection.request("GET", f"/api/v1/exports/usage.csv?{days_of(days)}", headers={"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    if answer.status != 200:
        sys.exit(f"the export was refused: {answer.status} {answer.read().decode()[:1000]}")
    with file.open("wb") as out:
        while piece := answer.read(PIECE_BYTES):
            out.write(piece)
    connection.close()
    return time.monotonic() - begun


def peer(file: str, files: list[str]) -> None:
    """What DuckDB has to do, in a process of its own so that its memory can be seen."""
    rows = ROWS.replace("{files}", ", ".join(f"'{name}'" for name in files))
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {THREADS}")
        begun = time.monotonic()
        connection.execute(f"COPY ({rows}) TO '{file}' (HEADER, DELIMITER ',')")
        print(time.monotonic() - begun)


def compare_answers(ours: Path, theirs: Path) -> None:
    types = {"workspace_slug": "TEXT", "workspace_name": "TEXT", "snapshot_date": "DATE"}
    types |= dict.fromkeys(FIELDS, "DECIMAL(20, 0)") | {"cost_usd": "DECIMAL(38, 15)"}
    wanted = "SELECT * REPLACE (coalesce(workspace_name, '') AS workspace_name) FROM read_csv('{file}', header = true, columns = {types})"
    one, other = (wanted.format(file=file, types=types) for file in (ours, theirs))
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        (count,) = connection.execute(f"SELECT count(*) FROM ({one})").fetchone()
        (differing,) = connection.execute(f"SELECT count(*) FROM (({one} EXCEPT ALL {other}) UNION ALL ({other} EXCEPT ALL {one}))").fetchone()
    if count != TENANTS * DAYS or differing:
        sys.exit(f"{count} rows, {differing} of them differ: no times are printed for a wrong answer")
    print(f"answers agree: {count:,} rows are the same in both files")


def report(seconds: float, cpu: float, memory: tuple[Memory, Memory, Memory], size: int, ended: list) -> None:
    best = min(ended, key=lambda one: float(one.printed))
    peer_seconds, rows, (fresh, idle, peak) = float(best.printed), TENANTS * DAYS, memory
    growth_mib, held_mib, program_mib = (after - before for before, after in zip(idle, peak, strict=True))
    print_table(
        f"J10, {rows:,} rows, {size / 2**20:.0f} MiB, best of {ROUNDS}",
        ["wall s", "rows/s", "CPU s", "MiB"],
        [
            ("Apportion over HTTP", seconds, rows / seconds, cpu, growth_mib),
            ("DuckDB COPY (query alone)", peer_seconds, rows / peer_seconds, best.cpu_seconds, best.peak_mib),
        ],
    )
    ratio = peer_seconds / seconds
    met = verdict(ratio >= RATIO_MIN, growth_mib <= GROWTH_MIB_MAX)
    print(
        f"\n{ratio:.2f} × DuckDB (target ≥ {RATIO_MIN}); {growth_mib:.0f} MiB above the {idle.whole:.0f} MiB of the server at rest "
        f"(target ≤ {GROWTH_MIB_MAX}): {met}\nof which {held_mib:.0f} MiB held at the peak and {program_mib:.0f} of the program's own "
        f"file; the export of one day, before, took {idle.program - fresh.program:.0f} MiB of that file and left "
        f"{idle.held - fresh.held:.0f} held"
    )
    append_result("J10", {
        "rows": rows, "bytes": size, "threads": THREADS, "apportion_seconds": seconds, "apportion_cpu_seconds": cpu,
        "fresh_mib": round(fresh.whole), "idle_mib": round(idle.whole), "peak_mib": round(peak.whole), "held_mib": round(held_mib),
        "program_mib": round(program_mib), "duckdb_seconds": peer_seconds,
        "duckdb_peak_mib": round(best.peak_mib), "ratio": ratio, "target": met,
    })  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(sys.argv[2], sys.argv[3:])
    else:
        run_job("J10", job)
