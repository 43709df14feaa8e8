"""Merging, expiring and vacuuming (`apportion lake …`): other readers get equal sums, the ledger's answers stay, the
process may die anywhere."""

import datetime
import json
import os
import signal
import subprocess
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import duckdb
import pytest
from conftest import Apportion
from deltalake import DeltaTable
from live_server import Server

POLICY = """
version = "merged"
valid_from = 2020-01-01

[[pool]]
name = "by-usage"
select = {}
split = { method = "proportional", meter = "cpu_core_hours" }
"""
# Files that commits took out may go at once, so that a test sees it.
CONFIG = """
[ingest]
past_days = 36500
events_per_second_per_tenant = 1000000
[retention]
removed_files = "0s"
[compaction]
after_flush = "off"
small_files = 4
"""
TENANTS = ("acme", "globex", "initech")
# One within the retention of 90 days, others long past it.
RECENT = (datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=10)).isoformat()
DAYS = ("2026-05-03", "2026-05-04", RECENT)
MAY = "2026-05-03..2026-05-04"
ROUNDS = 30
MERGE_SECONDS_MAX = 300
KEPT_TABLES = ("usage", "usage_events")
# Every measure of usage, and every column that tells events apart.
USAGE_SQL = """
    SELECT tenant, meter, epoch_us(hour), sum("sum"), sum("count"), min("min"), max("max"), epoch_us(max("last_at")), count(*)
    FROM read_parquet(?) GROUP BY ALL ORDER BY ALL
"""
EVENTS_SQL = "SELECT tenant, source, id, epoch_us(time), data FROM read_parquet(?) ORDER BY ALL"
STEPS = ("merge", "after-data-file", "before-commit", "mid-commit", "after-commit")


def event(number: int) -> dict:
    day = DAYS[number % 3]
    return {
        "specversion": "1.0", "id": f"e{number}", "source": "merge", "type": "cpu_core_hours",
        "tenant": TENANTS[number % 2], "time": f"{day}T{number % 24:02}:10:00Z", "data": {"value": f"{number}.125"},
    }  # fmt: skip


def lines(numbers) -> bytes:
    return "".join(json.dumps(event(number)) + "\n" for number in numbers).encode()


def files(store: Apportion, table: str) -> list[str]:
    return [uri.removeprefix("file://") for uri in DeltaTable(str(store.lake / table)).file_uris()]


def by_duckdb(store: Apportion) -> dict[str, list]:
    with duckdb.connect() as connection:
        read = lambda table, sql: connection.execute(sql, [files(store, table)]).fetchall()  # noqa: E731
        return {"usage": read("usage", USAGE_SQL), "usage_events": read("usage_events", EVENTS_SQL)}


def by_deltalake(store: Apportion) -> dict[str, Counter]:
    rows = {table: DeltaTable(str(store.lake / table)).to_pyarrow_table().to_pylist() for table in KEPT_TABLES}
    return {table: Counter(str(sorted(row.items())) for row in found) for table, found in rows.items()}


def answers(store: Apportion) -> dict:
    """What the ledger says, now and as of its first posting."""
    explained = store.json("explain", "--tenant", "acme", "--date", "2026-05-03")
    return {
        "proof": store.proof(MAY),
        "explain": json.dumps(explained, sort_keys=True),
        "ledger": store.export_ledger(MAY),
        "as_of": store.json("costs", "--range", MAY, "--as-of", "posting:1")["rows"],
        "cost_lines": store.json("costs", "--range", MAY)["totals"],
    }


def in_many_commits(store: Apportion) -> None:
    """Live events and imports in turn: each import brings the live events to the tables first."""
    server = Server(store).start()
    for turn in range(ROUNDS):
        live, imported = (range(at, at + 10) for at in (turn * 20, turn * 20 + 10))
        status, body = server.send([event(number) for number in live])
        assert (status, body["accepted"]) == (200, 10)
        headers = {"Content-Type": "application/x-ndjson"}
        status, text = server.ask("POST", "/events/imports", lines(imported), headers)
        assert (status, json.loads(text)["accepted"]) == (200, 10)
    server.stop()


@pytest.fixture(scope="module")
def original(binary, tmp_path_factory) -> Apportion:
    """What the tests copy."""
    store = Apportion(binary, tmp_path_factory.mktemp("many"), POLICY, CONFIG)
    in_many_commits(store)
    return store


def bill(store: Apportion) -> Path:
    path = store.folder / "bill.csv"
    head = "BillingAccountId,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory"
    rows = [
        f"one,2026-05-01T00:00:00Z,2026-06-01T00:00:00Z,2026-05-0{day}T00:00:00Z,2026-05-0{day + 1}T00:00:00Z,Usage,USD,{day}0.01,{day}0.01"
        for day in (3, 4)
    ]
    path.write_text("\n".join([f"{head},BillingCurrency,BilledCost,EffectiveCost", *rows]) + "\n")
    return path


def test_merged_tables_read_the_same_everywhere_and_the_ledger_stays(original, tmp_path):
    store = original.copy_to(tmp_path / "store")
    store.run("import", "focus", bill(store), "--source", "own")
    store.run("attribute", "--range", MAY)
    store.run("attribute", "--due")
    before, rows, said = by_duckdb(store), by_deltalake(store), answers(store)
    many = {table: len(files(store, table)) for table in KEPT_TABLES}
    cited = DeltaTable(str(store.lake / "usage")).version()

    done = store.json("lake", "compact")["rows"]

    few = {table: len(files(store, table)) for table in KEPT_TABLES}
    assert {row["table"]: row["files_before"] for row in done} == many
    assert few == dict.fromkeys(KEPT_TABLES, len(DAYS))
    assert (by_duckdb(store), by_deltalake(store), answers(store)) == (before, rows, said)
    print(f"merged {many} into {few}")

    # The posting cites the version of `usage` before the merge: its files stay, those of `usage_events` go.
    wanted = store.json("lake", "vacuum", "--dry-run")
    assert (wanted["dry_run"], wanted["files"], len(wanted["rows"])) == (True, many["usage_events"], many["usage_events"])
    assert all(row["kind"] == "removed" and row["path"].startswith("usage_events/") for row in wanted["rows"])
    assert store.json("lake", "vacuum") == {**wanted, "dry_run": False}
    assert store.json("lake", "vacuum")["files"] == 0
    assert (by_duckdb(store), by_deltalake(store), answers(store)) == (before, rows, said)
    old = DeltaTable(str(store.lake / "usage"), version=cited)
    assert sum(Fraction(row["sum"]) for row in old.to_pyarrow_table().to_pylist()) == sum(
        Fraction(event(number)["data"]["value"]) for number in range(ROUNDS * 20)
    )
    posting = store.json("attribute", "--due")["posting"]
    assert posting is None, "merging made no day due"
    assert store.json("ledger", "verify")["ok"]


def test_expired_events_leave_and_neither_usage_nor_ids_notice(original, tmp_path):
    store = original.copy_to(tmp_path / "store")
    usage = by_duckdb(store)["usage"]
    dry = store.json("lake", "expire-events", "--dry-run")
    assert (dry["days"], dry["events"]) == (["2026-05-03", "2026-05-04"], ROUNDS * 20 * 2 // 3)
    assert len(by_duckdb(store)["usage_events"]) == ROUNDS * 20

    assert store.json("lake", "expire-events") == {**dry, "dry_run": False}

    left = by_duckdb(store)
    assert (left["usage"], len(left["usage_events"])) == (usage, ROUNDS * 20 // 3)
    assert {datetime.datetime.fromtimestamp(row[3] / 1_000_000, datetime.UTC).date().isoformat() for row in left["usage_events"]} == {RECENT}
    again = store.folder / "again.ndjson"
    again.write_bytes(lines(range(ROUNDS * 20)))
    report = store.json("import", "events", again)
    assert (report["accepted"], report["duplicates"], report["import_id"]) == (0, ROUNDS * 20, None)
    server = Server(store).start()
    status, body = server.send([event(number) for number in range(50)])
    assert (status, body["accepted"], body["duplicates"]) == (200, 0, 50)
    server.stop()
    assert by_duckdb(store) == left
    assert 0 < store.json("lake", "vacuum")["files"]
    assert by_duckdb(store) == left


def test_d2_killed_at_any_step_of_a_merge_the_tables_are_those_of_one_never_killed(original, tmp_path):
    rows = by_deltalake(original)
    kills = 0
    for step in STEPS:
        store = original.copy_to(tmp_path / step)
        command = [store.binary, "--config", str(store.folder / "apportion.toml"), "lake", "compact"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("APPORTION")}
        died = subprocess.run(command, cwd=store.folder, env=environment | {"APPORTION_FAILPOINT": step}, timeout=600)
        assert died.returncode == -signal.SIGABRT, step
        kills += 1
        assert by_deltalake(store) == rows, step
        store.run("lake", "compact")
        assert by_deltalake(store) == rows, step
        assert [len(files(store, table)) for table in KEPT_TABLES] == [len(DAYS)] * 2, step
    print(f"killed {kills} merges")


def test_the_server_merges_by_itself_when_it_is_quiet(original, tmp_path):
    store = original.copy_to(tmp_path / "store")
    rows, config = by_deltalake(store), store.folder / "apportion.toml"
    config.write_text(config.read_text().replace('after_flush = "off"', 'after_flush = "0s"'))
    server = Server(store).start()
    deadline = time.monotonic() + MERGE_SECONDS_MAX
    while any(len(files(store, table)) != len(DAYS) for table in KEPT_TABLES) and time.monotonic() < deadline:
        assert server.ask("GET", "/usage?range=30d")[0] == 200
    server.stop()
    assert [len(files(store, table)) for table in KEPT_TABLES] == [len(DAYS)] * 2
    assert by_deltalake(store) == rows
