"""J4: attribution of one day with 10 M usage rows over 10,000 tenants, against DuckDB's group-by on the same Parquet.

Both sides read the same files in the same run with the same number of threads. The rows are sorted as
metering sorts them, half a million at a time by tenant, meter and hour, but each event keeps a row of its own: a roll-up
would merge those of one key. DuckDB only groups and sums; Apportion reads, sums, splits exactly, posts and syncs. Answers
are compared first: the quantities that Apportion put into the ledger must be DuckDB's sums, and its amounts must add up to
the bill.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path

import duckdb
from deltalake import DeltaTable

ROWS = int(os.environ.get("ROWS", 10_000_000))
TENANTS = int(os.environ.get("TENANTS", 10_000))
THREADS = int(os.environ.get("THREADS", 2))
DAY = "2026-05-03"
ROUNDS = 3
TIME_RATIO_MAX, MEMORY_MIB_MAX = 2.0, 1024
RESULTS = Path(__file__).parent / "results" / "j4.jsonl"

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


def main() -> None:
    binary = os.environ["APPORTION_BIN"]
    with tempfile.TemporaryDirectory(prefix="apportion-bench-") as name:
        folder = Path(name)
        (folder / "apportion.toml").write_text(f'[storage]\ndata = "{folder / "data"}"\n')
        (folder / "policy.toml").write_text(POLICY)
        command = [binary, "--config", str(folder / "apportion.toml")]

        generator = os.environ["USAGE_ROWS_BIN"]
        seconds, _, _ = measure([generator, str(folder / "data"), str(ROWS), str(TENANTS), DAY])
        files = [uri.removeprefix("file://") for uri in DeltaTable(str(folder / "data/lake/usage")).file_uris()]
        size = sum(Path(file).stat().st_size for file in files)
        print(f"{ROWS:,} usage rows, {TENANTS:,} tenants, {len(files)} files, {size / 2**20:.0f} MiB, made in {seconds:.0f} s")

        ours, theirs = [], []
        for cost in COSTS[:ROUNDS]:
            (folder / "bill.csv").write_text(BILL.format(cost=cost))
            measure([*command, "import", "focus", str(folder / "bill.csv"), "--source", "bench"])
            theirs.append(measure([sys.executable, __file__, "--peer", *files]))
            ours.append(measure([*command, "attribute", "--date", DAY, "-o", "json"]))
        compare_answers(folder, files, Fraction(cost))
        report(best(ours), best(theirs), size)


def measure(command: list[str]) -> tuple[float, float, str]:
    """Runs one process; returns wall seconds, peak resident MiB and what it printed."""
    with tempfile.TemporaryFile("w+") as out:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True)
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        printed = out.read()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command[:6])} … ended with {process.returncode}\n{errors}{printed}")
    return seconds, usage.ru_maxrss / 1024, printed


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


def best(runs: list[tuple[float, float, str]]) -> tuple[float, float, str]:
    return min(runs, key=lambda run: run[0])


def report(ours: tuple[float, float, str], theirs: tuple[float, float, str], size: int) -> None:
    peer_query_seconds = json.loads(theirs[2])["seconds"]
    print(f"\n{'J4, best of ' + str(ROUNDS):<34}{'wall s':>9}{'peak MiB':>10}")
    print(f"{'apportion attribute (whole process)':<35}{ours[0]:>8.2f}{ours[1]:>10.0f}")
    print(f"{'DuckDB group-by (whole process)':<34}{theirs[0]:>9.2f}{theirs[1]:>10.0f}")
    print(f"{'DuckDB group-by (query alone)':<34}{peer_query_seconds:>9.2f}{'':>10}")
    ratio = ours[0] / peer_query_seconds
    verdict = "met" if ratio <= TIME_RATIO_MAX and ours[1] <= MEMORY_MIB_MAX else "MISSED"
    print(f"ratio to the query alone {ratio:.2f} (target ≤ {TIME_RATIO_MAX}), memory {ours[1]:.0f} MiB (target ≤ {MEMORY_MIB_MAX}): {verdict}")
    row = {
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "job": "J4",
        "rows": ROWS,
        "tenants": TENANTS,
        "threads": THREADS,
        "parquet_bytes": size,
        "profile": os.environ.get("PROFILE", "release"),
        "apportion_seconds": round(ours[0], 3),
        "apportion_peak_mib": round(ours[1]),
        "duckdb": duckdb.__version__,
        "duckdb_process_seconds": round(theirs[0], 3),
        "duckdb_query_seconds": round(peer_query_seconds, 3),
        "duckdb_peak_mib": round(theirs[1]),
        "ratio": round(ratio, 3),
        "target": verdict,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(f"appended to bench/results/{RESULTS.name}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(sys.argv[2:])
    else:
        main()
