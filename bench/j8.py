"""J8: what-if of one price over 10,000 tenants, 365 days and nine metrics, against DuckDB computing everything anew.

The server is asked what usage costs at the prices in force, then, several times, what it would cost with another price for
members: first it has to read the snapshots, afterwards it has their sums. DuckDB sums the same Parquet files and applies the
same prices each time, for its query knows nothing of the one before. Answers are compared first: the cost of every tenant,
to the last digit.
"""

import http.client
import json
import os
import sys
import time
from decimal import Decimal
from pathlib import Path

import duckdb

from common import append_result, cpu_seconds, memory_mib, print_table, run_job, verdict
from server import TOKEN, Server
from snapshots import STARTER, days_of, make_snapshots

TENANTS = int(os.environ.get("TENANTS", 10_000))
DAYS = int(os.environ.get("DAYS", 365))
THREADS = int(os.environ.get("THREADS", 2))
PRICES = ["6", "7.5", "4.25", "5.01"]
SECONDS_MAX = 1.0
SUMS = """SELECT tenant, sum(quantity::DECIMAL(20, 0) * price) FROM (
              SELECT tenant, metric, sum(quantity) AS quantity FROM read_parquet(?) GROUP BY tenant, metric)
          JOIN prices USING (metric) GROUP BY tenant ORDER BY tenant"""


def job(folder: Path, opened: list) -> None:
    server, files = make_snapshots(folder / "apportion", TENANTS, DAYS)
    opened.append(server)
    server.start()
    idle_mib = memory_mib(server.pid)
    ours = [ask(server, price) for price in PRICES]
    theirs = [peer(files, price) for price in PRICES]
    for price, (_, costs), (_, expected) in zip(PRICES, ours, theirs, strict=True):
        if costs != expected:
            sys.exit(f"with {price} a member the costs differ: no times are printed for a wrong answer")
    print(f"answers agree: the cost of each of {TENANTS:,} tenants equals DuckDB's, for {len(PRICES)} prices")
    report(server, idle_mib, [seconds for seconds, _ in ours], [seconds for seconds, _ in theirs])


def ask(server: Server, price: str) -> tuple[float, dict[str, Decimal]]:
    """One what-if over HTTP: the seconds from request to the last byte of the answer, and the costs."""
    rows = [{"meter": meter, "price": each, "per": "unit"} for meter, each in {**STARTER, "member_count": price}.items()]
    draft = json.dumps({"version": f"draft-{price}", "currency": "USD", "valid_from": "2026-01-01", "price": rows})
    path = f"/api/v1/rate-cards/simulate?{days_of(DAYS)}&filter=origin:snapshot&limit=10000"
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(server.address, timeout=600)
    begun = time.monotonic()
    connection.request("POST", path, draft, headers)
    answer = connection.getresponse()
    text = answer.read()
    seconds = time.monotonic() - begun
    connection.close()
    if answer.status != 200:
        sys.exit(f"{path}: {answer.status} {text.decode()[:1000]}")
    return seconds, {row["tenant"]: Decimal(row["cost"]) for row in json.loads(text)["rows"]}


def peer(files: list[str], price: str) -> tuple[float, dict[str, Decimal]]:
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {THREADS}")
        connection.execute("CREATE TABLE prices (metric TEXT, price DECIMAL(18, 15))")
        connection.executemany("INSERT INTO prices VALUES (?, ?::DECIMAL(18, 15))", list({**STARTER, "member_count": price}.items()))
        begun = time.monotonic()
        rows = connection.execute(SUMS, [files]).fetchall()
        return time.monotonic() - begun, {tenant: Decimal(cost) for tenant, cost in rows}


def report(server: Server, idle_mib: float, ours: list[float], theirs: list[float]) -> None:
    first, again, full = ours[0], min(ours[1:]), min(theirs)
    peak_mib, cpu = memory_mib(server.pid, "VmHWM"), cpu_seconds(server.pid)
    print_table(
        f"J8, {TENANTS:,} tenants × {DAYS} days × 9 metrics",
        ["wall s", "× DuckDB"],
        [
            ("first what-if: reads the snapshots", first, full / first),
            ("what-if with another price", again, full / again),
            ("DuckDB, everything anew", full, 1.0),
        ],
    )
    met = verdict(again <= SECONDS_MAX)
    print(
        f"\nanother price in {again:.3f} s (target ≤ {SECONDS_MAX}), the first in {first:.2f} s, DuckDB {full:.2f} s; "
        f"memory {idle_mib:.0f} MiB idle, {peak_mib:.0f} MiB at most: {met}"
    )
    append_result("J8", {
        "tenants": TENANTS, "days": DAYS, "threads": THREADS, "first_seconds": first, "again_seconds": again,
        "duckdb_seconds": full, "server_cpu_seconds": cpu, "idle_mib": round(idle_mib), "peak_mib": round(peak_mib),
        "ratio": again / full, "target": met,
    })  # fmt: skip


if __name__ == "__main__":
    run_job("J8", job)
