"""J5: attribution of one new day of gathers and reads over histories of 30 to 730 days.

Each history is imported and attributed first. Then the events of the next day arrive and `attribute --due` runs: the new day,
and the day before it, whose windows reach into it. It is timed as a whole process, and the least of some such days counts. The
peer is DuckDB, which groups the gathers and reads of the last such days from the same Parquet files; it computes no exact
shares and posts nothing. What the ledger says of each day must be what the gathers of that day cost.
"""

import os
import sys
import time
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from common import append_result, exponent, print_table, run_job, verdict
from windows import DAY, GATHERS, LAST, READS, Store, day_lines, histories

THREADS = int(os.environ.get("THREADS", 2))
EXPONENT_MAX, RATIO_MAX, DAYS_RUN_MAX = 0.05, 1.0, 3
ROUNDS = 3
# Each gather of two days with the distinct workflows that read it within its window.
PEER = """
WITH gathers AS (SELECT time, data::JSON ->> 'gather_id' AS key, (data::JSON ->> 'cost_usd')::DECIMAL(18, 9) AS cost
                 FROM read_parquet($files) WHERE type = 'gather.completed' AND event_date >= $first),
     reads AS (SELECT DISTINCT g.key, tenant, workflow FROM gathers g JOIN (
                   SELECT time, tenant, workflow, data::JSON ->> 'gather_id' AS key FROM read_parquet($files)
                   WHERE type = 'repo_context.read' AND event_date >= $first) r
               ON r.key = g.key AND g.time <= r.time AND r.time < g.time + INTERVAL 24 HOUR),
     counts AS (SELECT key, count(*) AS readers FROM reads GROUP BY key)
SELECT date_trunc('day', g.time)::VARCHAR AS day, tenant, workflow, sum(cost::DOUBLE / readers)
FROM reads JOIN gathers g USING (key) JOIN counts USING (key) GROUP BY ALL"""


def job(folder: Path, opened: list) -> None:
    rows, points = [], []
    for days in histories():
        store = Store(folder / f"history-{days}", days)
        rounds = []
        for number in range(1, ROUNDS + 1):
            store.add("new-day", day_lines(LAST + number * DAY))
            ended, ran = store.attribute_due()
            check(store, number, ran)
            rounds.append(ended)
        ended = min(rounds, key=lambda ended: ended.cpu_seconds)
        theirs = peer(store)
        rows.append((f"{days} days before", ended.seconds, ended.cpu_seconds, ended.peak_mib, theirs, ended.cpu_seconds / theirs))
        points.append((float(days), ended.cpu_seconds))
    report(rows, points)


def check(store: Store, added: int, ran: int) -> None:
    if not 1 <= ran <= DAYS_RUN_MAX:
        sys.exit(f"{ran} days ran for one new day: no times are printed for a run of the wrong days")
    if store.balances() != store.costs():
        sys.exit("the ledger does not say what the gathers cost: no times are printed for a wrong answer")
    print(f"answers agree over {store.days + added} days; {ran} days ran")


def peer(store: Store) -> float:
    """CPU-bound seconds of DuckDB over the files of the same days; the best of three."""
    files = [uri.removeprefix("file://") for uri in DeltaTable(str(store.folder / "data/lake/usage_events")).file_uris()]
    seconds = []
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {THREADS}")
        for _ in range(3):
            begun = time.process_time()
            connection.execute(PEER, {"files": files, "first": (LAST + (ROUNDS - 1) * DAY).date()}).fetchall()
            seconds.append(time.process_time() - begun)
    return min(seconds)


def report(rows: list[tuple], points: list[tuple[float, float]]) -> None:
    title = f"J5, {GATHERS} gathers and {READS:,} reads a day, best of {ROUNDS}"
    print_table(title, ["wall s", "CPU s", "peak MiB", "DuckDB CPU s", "× DuckDB"], rows)
    fitted = exponent(points)
    ratio = rows[-1][-1]
    met = verdict(fitted is not None and fitted <= EXPONENT_MAX, ratio <= RATIO_MAX)
    print(
        f"\nCPU seconds of one new day grow with the {'?' if fitted is None else f'{fitted:.3f}'}th power of the days before it "
        f"(target ≤ {EXPONENT_MAX}); {ratio:.2f} × DuckDB at the longest history (target ≤ {RATIO_MAX}): {met}"
    )
    append_result("J5", {
        "gathers": GATHERS, "reads": READS, "threads": THREADS, "rounds": ROUNDS, "days": [int(days) for days, _ in points],
        "cpu_seconds": [seconds for _, seconds in points], "wall_seconds": [row[1] for row in rows],
        "peak_mib": [round(row[3]) for row in rows], "duckdb_cpu_seconds": [row[4] for row in rows],
        "exponent": fitted, "ratio": ratio, "target": met,
    })  # fmt: skip


if __name__ == "__main__":
    run_job("J5", job)
