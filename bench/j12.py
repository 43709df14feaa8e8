"""J12: memory when idle, under J1's load and in J4, against PostgreSQL for the first two and DuckDB for the third.

Resident memory of Apportion is what the kernel says of its process, now and at its peak. PostgreSQL is many processes with
shared memory, so its share is counted once (PSS), at the end of the load; its peak is not known.
"""

import os
import time
from pathlib import Path

import j4
from common import append_result, check_equal, memory_mib, print_table, run_job, verdict
from events import NDJSON, make_batches
from j1 import peer
from postgres import Postgres
from server import Server, send, write_requests

EVENTS = int(os.environ.get("EVENTS", 1_000_000))
IDLE_SECONDS = 5
IDLE_MIB_MAX, INGEST_MIB_MAX, ATTRIBUTION_MIB_MAX = 60, 300, 400
IDLE_MIB_FIRST_MAX = 80


def job(folder: Path, opened: list) -> None:
    made = make_batches(0, EVENTS, 1_000, step=0)
    server = Server(folder / "apportion")
    opened.append(server)
    server.start()
    time.sleep(IDLE_SECONDS)  # idle is a state that lasts
    idle, idle_peak = memory_mib(server.pid), memory_mib(server.pid, "VmHWM")
    requests = folder / "requests"
    write_requests(requests, made.bodies(), NDJSON)
    send(server, requests, connections=4)
    requests.unlink()
    server.settle()
    settled, peak = memory_mib(server.pid), memory_mib(server.pid, "VmHWM")
    check_equal("events and tokens", {"Apportion": server.usage(), "expected": (made.accepted, made.tokens)})
    server.stop()

    postgres = Postgres(folder / "postgres")
    opened.append(postgres)
    postgres.start()
    postgres_idle = postgres.memory_mib()
    postgres.reset()
    peer(postgres, made, "copy", connections=2)
    postgres_load = postgres.memory_mib()
    check_equal("events and tokens", {"PostgreSQL": postgres.totals(), "expected": (made.accepted, made.tokens)})
    postgres.stop()

    attribution, group_by, _ = j4.run(folder / "j4", rounds=1)
    rows = [
        ("idle", idle, idle_peak, postgres_idle, IDLE_MIB_MAX),
        (f"J1, {EVENTS:,} events", settled, peak, postgres_load, INGEST_MIB_MAX),
        (f"J4, {j4.ROWS:,} rows", None, attribution.peak_mib, group_by.peak_mib, ATTRIBUTION_MIB_MAX),
    ]
    report(rows)


def report(rows: list[tuple]) -> None:
    print_table("J12, MiB", ["steady", "peak", "peer", "target ≤"], rows)
    (_, idle, *_), (_, settled, peak, *_), (_, _, attribution, *_) = rows
    met = verdict(idle <= IDLE_MIB_MAX, peak <= INGEST_MIB_MAX, attribution <= ATTRIBUTION_MIB_MAX)
    first = verdict(idle <= IDLE_MIB_FIRST_MAX)
    print(f"\nall targets: {met}; first target when idle, ≤ {IDLE_MIB_FIRST_MAX} MiB: {first}")
    append_result("J12", {
        "events": EVENTS, "rows": j4.ROWS, "idle_mib": idle, "ingest_settled_mib": settled, "ingest_peak_mib": peak,
        "attribution_peak_mib": attribution, "postgresql_idle_mib": rows[0][3], "postgresql_ingest_mib": rows[1][3],
        "duckdb_group_by_peak_mib": rows[2][3], "target": met,
    })  # fmt: skip


if __name__ == "__main__":
    run_job("J12", job)
