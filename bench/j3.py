"""J3: backfill from an NDJSON file, one event in ten twice, against DuckDB.

`apportion import events` validates every event, drops repeats, measures, and commits events and roll-up to the lake. DuckDB
reads the same file with types into a table of a database file, one row per tenant, source and id. Both are whole processes
that end when everything is on disk.
"""

import json
import os
import sys
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from common import Ended, append_result, check_equal, measure, print_table, run_job, verdict
from events import DAY, make_batches
from server import Server

EVENTS = int(os.environ.get("EVENTS", 1_000_000))
THREADS = int(os.environ.get("THREADS", 2))
ROUNDS = int(os.environ.get("ROUNDS", 3))
RATIO_MIN = 2.0
PEER = """
CREATE TABLE events AS SELECT DISTINCT ON (tenant, source, id) * FROM read_ndjson(?, columns = {
    specversion: 'VARCHAR', id: 'VARCHAR', source: 'VARCHAR', type: 'VARCHAR', time: 'TIMESTAMPTZ', tenant: 'VARCHAR',
    "user": 'VARCHAR', data: 'STRUCT(model VARCHAR, direction VARCHAR, tokens BIGINT)'})"""


def job(folder: Path, opened: list) -> None:
    made = make_batches(0, EVENTS, 1_000, step=0)
    file = folder / "events.ndjson"
    with file.open("wb") as out:
        out.writelines(made.bodies())
    size = file.stat().st_size
    expected = (made.accepted, made.tokens)
    print(f"{EVENTS:,} events, {size / 1e6:.0f} MB, best of {ROUNDS}")
    del made
    ours, theirs = [], []
    for turn in range(ROUNDS):
        theirs.append(peer_process(folder / f"peer-{turn}.duckdb", file))
        ours.append(import_once(folder / f"apportion-{turn}", file))
        answers = {"Apportion": usage(folder / f"apportion-{turn}"), "DuckDB": peer_totals(folder / f"peer-{turn}.duckdb")}
        check_equal("events and tokens", {**answers, "expected": expected})
    report(best(ours), best(theirs), size)


def import_once(folder: Path, file: Path) -> Ended:
    server = Server(folder)  # writes the configuration; nothing is served
    ended = measure([server.binary, "--config", str(server.config), "import", "events", str(file), "-o", "json"])
    if json.loads(ended.printed)["rejected"]:
        sys.exit(f"events were refused: {ended.printed[:1000]}")
    return ended


def usage(folder: Path) -> tuple[int, int]:
    files = [uri.removeprefix("file://") for uri in DeltaTable(str(folder / "data" / "lake" / "usage")).file_uris()]
    with duckdb.connect() as connection:
        query = 'SELECT sum("count")::BIGINT, sum("sum")::BIGINT FROM read_parquet(?) WHERE meter = \'llm_tokens\''
        return connection.execute(query, [files]).fetchone()


def peer_process(database: Path, file: Path) -> Ended:
    return measure([sys.executable, __file__, "--peer", str(database), str(file)])


def peer(database: str, file: str) -> None:
    with duckdb.connect(database) as connection:
        connection.execute(f"SET threads = {THREADS}")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(PEER, [file])
        connection.execute("CHECKPOINT")


def peer_totals(database: Path) -> tuple[int, int]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute("SELECT count(*), sum(data.tokens)::BIGINT FROM events").fetchone()


def best(runs: list[Ended]) -> Ended:
    return min(runs, key=lambda run: run.seconds)


def report(ours: Ended, theirs: Ended, size: int) -> None:
    megabytes = size / 1e6
    rows = [
        (name, megabytes / run.seconds, megabytes / run.cpu_seconds, EVENTS / run.cpu_seconds, run.seconds, run.peak_mib)
        for name, run in (("apportion import events", ours), ("DuckDB read_ndjson", theirs))
    ]
    print_table(f"J3, {EVENTS:,} events", ["MB/s", "MB per CPU s", "events per CPU s", "wall s", "peak MiB"], rows)
    ratio, cpu_ratio = theirs.seconds / ours.seconds, theirs.cpu_seconds / ours.cpu_seconds
    met = verdict(cpu_ratio >= RATIO_MIN)
    print(f"\n{ratio:.2f} × DuckDB by the clock, {cpu_ratio:.2f} × by CPU (target ≥ {RATIO_MIN}): {met}")
    append_result("J3", {
        "events": EVENTS, "bytes": size, "threads": THREADS, "day": f"{DAY:%Y-%m-%d}", "ratio": ratio, "cpu_ratio": cpu_ratio,
        "apportion_seconds": ours.seconds, "apportion_cpu_seconds": ours.cpu_seconds, "apportion_peak_mib": ours.peak_mib,
        "duckdb_seconds": theirs.seconds, "duckdb_cpu_seconds": theirs.cpu_seconds, "duckdb_peak_mib": theirs.peak_mib,
        "target": met,
    })  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(*sys.argv[2:])
    else:
        run_job("J3", job)
