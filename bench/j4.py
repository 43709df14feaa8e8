"""J4: attribution of one day with 10 M usage rows over 10,000 tenants, against DuckDB's group-by on the same Parquet.

Both sides read the same files in the same run with the same number of threads. The rows are sorted as
metering sorts them, half a million at a time by tenant, meter and hour, but each event keeps a row of its own: a roll-up
would merge those of one key. DuckDB only groups and sums; Apportion reads, sums, splits exactly, posts and syncs. Answers
are compared first: the quantities that Apportion put into the ledger must be DuckDB's sums, and its amounts must add up to
the bill.
"""

import json
import os
import sys
import time
from fractions import Fraction
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from common import Ended, append_result, measure, print_table, run_job, verdict

ROWS = int(os.environ.get("ROWS", 10_000_000))
TENANTS = int(os.environ.get("TENANTS", 10_000))
THREADS = int(os.environ.get("THREADS", 2))
DAY = "2026-05-03"
ROUNDS = 3
TIME_RATIO_MAX, MEMORY_MIB_MAX = 2.0, 1024

POLICY = """
version = "bench"
valid_from = 2020-01-01

[[pool]]
name = "cluster"
kind = "service"
tier = "direct"
select = {}
split = { method = "weighted", by = ["tenant"], weights = { cpu_core_hours = "0.5", memory_gib_hours = "0.3", storage_gib_hours = "0.15", network_gib = "0.05" } }
"""
BILL = """BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,BilledCost,EffectiveCost,ListCost,ContractedCost,ProviderName,ServiceName,ServiceCategory
bench,USD,2026-05-01T00:00:00Z,2026-06-01T00:00:00Z,2026-05-03T00:00:00Z,2026-05-04T00:00:00Z,Usage,{cost},{cost},{cost},{cost},bench,bench,Compute
"""
COSTS = ("100000.00", "100000.01", "100000.02")  # another bill each round, so that each round has something to post
GROUP_BY = 'SELECT tenant, meter, sum("sum") AS quantity FROM read_parquet(?) GROUP BY tenant, meter'


def job(folder: Path, opened: list) -> None:
    ours, theirs, size = run(folder, ROUNDS)
    report(ours, theirs, size)


def run(folder: Path, rounds: int) -> tuple[Ended, Ended, int]:
    """Returns the best round of both sides and the bytes of the files."""
    folder.mkdir(exist_ok=True)
    (folder / "apportion.toml").write_text(f'[storage]\ndata = "{folder / "data"}"\n')
    (folder / "policy.toml").write_text(POLICY)
    command = [os.environ["APPORTION_BIN"], "--config", str(folder / "apportion.toml")]

    generated = measure([os.environ["USAGE_ROWS_BIN"], str(folder / "data"), str(ROWS), str(TENANTS), DAY])
    files = [uri.removeprefix("file://") for uri in DeltaTable(str(folder / "data/lake/usage")).file_uris()]
    size = sum(Path(file).stat().st_size for file in files)
    print(
        f"{ROWS:,} usage rows, {TENANTS:,} tenants, {len(files)} files, {size / 2**20:.0f} MiB, made in {generated.seconds:.0f} s"
    )

    ours, theirs = [], []
    for cost in COSTS[:rounds]:
        (folder / "bill.csv").write_text(BILL.format(cost=cost))
        measure([*command, "import", "focus", str(folder / "bill.csv"), "--source", "bench"])
        theirs.append(measure([sys.executable, __file__, "--peer", *files]))
        ours.append(measure([*command, "attribute", "--date", DAY, "-o", "json"]))
    compare_answers(folder, files, Fraction(cost))
    return best(ours), best(theirs), size


def peer(files: list[str]) -> None:
    """What DuckDB has to do, in a process of its own so that its memory can be seen."""
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {THREADS}")
        begun = time.monotonic()
        rows = connection.execute(GROUP_BY, [files]).fetchall()
        print(json.dumps({"rows": len(rows), "seconds": time.monotonic() - begun}))


def compare_answers(folder: Path, files: list[str], cost: Fraction) -> None:
    ledger = [uri.removeprefix("file://") for uri in DeltaTable(str(folder / "data/lake/ledger")).file_uris()]
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        (amount,) = connection.execute("SELECT sum(amount) FROM read_parquet(?)", [ledger]).fetchone()
        (differing,) = connection.execute(
            f"""WITH expected AS ({GROUP_BY}), found AS (
                    SELECT tenant, meter, sum(quantity) AS quantity FROM read_parquet(?)
                    WHERE tenant IS NOT NULL GROUP BY tenant, meter)
                SELECT count(*) FROM expected FULL JOIN found USING (tenant, meter)
                WHERE expected.quantity IS DISTINCT FROM found.quantity""",
            [files, ledger],
        ).fetchone()
    if Fraction(amount) != cost:
        sys.exit(f"the ledger says {amount}, the bill {float(cost):.2f}: no times are printed for a wrong answer")
    if differing:
        sys.exit(f"{differing} quantities differ from DuckDB's sums: no times are printed for a wrong answer")
    print("answers agree: every quantity equals DuckDB's sum, the amounts add up to the bill")


def best(runs: list[Ended]) -> Ended:
    return min(runs, key=lambda run: run.seconds)


def report(ours: Ended, theirs: Ended, size: int) -> None:
    peer_query_seconds = json.loads(theirs.printed)["seconds"]
    rows = [
        ("apportion attribute (whole process)", ours.seconds, ours.cpu_seconds, ours.peak_mib),
        ("DuckDB group-by (whole process)", theirs.seconds, theirs.cpu_seconds, theirs.peak_mib),
        ("DuckDB group-by (query alone)", peer_query_seconds, None, None),
    ]
    print_table(f"J4, best of {ROUNDS}", ["wall s", "CPU s", "peak MiB"], rows)
    ratio = ours.seconds / peer_query_seconds
    met = verdict(ratio <= TIME_RATIO_MAX, ours.peak_mib <= MEMORY_MIB_MAX)
    print(
        f"\nratio to the query alone {ratio:.2f} (target ≤ {TIME_RATIO_MAX}), "
        f"memory {ours.peak_mib:.0f} MiB (target ≤ {MEMORY_MIB_MAX}): {met}"
    )
    append_result("J4", {
        "rows": ROWS, "tenants": TENANTS, "threads": THREADS, "parquet_bytes": size, "apportion_seconds": ours.seconds,
        "apportion_cpu_seconds": ours.cpu_seconds, "apportion_peak_mib": round(ours.peak_mib),
        "duckdb_process_seconds": theirs.seconds, "duckdb_process_cpu_seconds": theirs.cpu_seconds,
        "duckdb_query_seconds": peer_query_seconds, "duckdb_peak_mib": round(theirs.peak_mib), "ratio": ratio, "target": met,
    })  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(sys.argv[2:])
    else:
        run_job("J4", job)
