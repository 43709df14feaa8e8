"""The process kills itself at every step of imports and postings (D2): what it leaves is whole or absent."""

import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from conftest import FIXTURES, Apportion
from deltalake import DeltaTable

BILL = FIXTURES / "focus-1.2-aws-cut.csv"
DAYS = "2026-05-01..2026-05-31"
STEPS = ("after-data-file", "before-commit", "mid-commit", "after-commit")
HITS_MAX = 3
POLICY = """
version = "crash"
valid_from = 2020-01-01

[[tenant_rule]]
when = {}
tenant = "{sub_account}"

[[pool]]
name = "compute"
select = { charge_category = "Usage" }
split = { method = "direct" }

[[pool]]
name = "rest"
select = {}
split = { method = "by_cost" }
"""
EVENTS = "".join(
    f'{{"specversion":"1.0","id":"e{n}","source":"crash","type":"log_queries","time":"2026-05-{1 + n % 28:02}T10:00:00Z",'
    f'"tenant":"t{n % 5}","data":{{"value":{n}}}}}\n'
    for n in range(200)
)
# What differs between two runs of the same inputs: when it was booked and by which run.
VOLATILE = {"posting", "line", "booked_at", "run", "prev_hash", "hash"}


def killed(store: Apportion, failpoint: str, *arguments: str) -> bool:
    """Runs a command that kills itself at the step, if it reaches it; returns whether it died."""
    command = [store.binary, "--config", str(store.folder / "apportion.toml"), *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("APPORTION")}
    environment["APPORTION_FAILPOINT"] = failpoint
    done = subprocess.run(command, cwd=store.folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode in (0, -signal.SIGABRT), f"{failpoint}: {done.returncode}\n{done.stderr[-2000:]}"
    return done.returncode != 0


def ledger(store: Apportion) -> Counter:
    rows = store.export_ledger(DAYS)
    return Counter(str(sorted((name, str(value)) for name, value in row.items() if name not in VOLATILE)) for row in rows)


def copy(store: Apportion, folder: Path) -> Apportion:
    shutil.copytree(store.folder, folder)
    return Apportion(store.binary, folder, POLICY)


def sum_of(rows: list[dict], column: str) -> str:
    return str(sum((Decimal(row[column]) for row in rows), Decimal(0)))


@pytest.fixture
def prepared(binary, tmp_path) -> Apportion:
    folder = tmp_path / "prepared"
    folder.mkdir()
    return Apportion(binary, folder, POLICY)


def test_a_posting_is_whole_or_absent_wherever_the_process_dies(prepared, tmp_path):
    prepared.run("import", "focus", BILL, "--source", "aws")
    whole = copy(prepared, tmp_path / "whole")
    whole.run("attribute", "--range", DAYS)
    expected, deaths = ledger(whole), 0
    for step in STEPS:
        for hit in range(1, HITS_MAX + 1):
            store = copy(prepared, tmp_path / f"{step}-{hit}")
            died = killed(store, f"{step}@{hit}", "attribute", "--range", DAYS)
            if died:
                deaths += 1
                assert ledger(store) in (Counter(), expected), f"{step}@{hit} left a part of a posting"
            store.run("attribute", "--range", DAYS)
            assert ledger(store) == expected, f"{step}@{hit}"
            store.run("ledger", "verify")
            assert {row["state"] for row in store.proof(DAYS)} == {"proved"}
            shutil.rmtree(store.folder)
            if not died:
                break  # it comes to this step less often than that
    print(f"{deaths} deaths while posting, nothing lost, nothing doubled")
    assert deaths >= len(STEPS)


def test_an_import_is_whole_or_absent_wherever_the_process_dies(prepared, tmp_path):
    events = tmp_path / "events.ndjson"
    events.write_text(EVENTS)
    commands = {"focus": ("import", "focus", BILL, "--source", "aws"), "events": ("import", "events", events)}
    whole = copy(prepared, tmp_path / "whole")
    for command in commands.values():
        whole.run(*command)
    lines = sum_of(cost_lines(whole), "billed_cost")
    usage = usage_of(whole)
    deaths = 0
    for name, command in commands.items():
        for step in STEPS:
            for hit in range(1, HITS_MAX + 1):
                store = copy(prepared, tmp_path / f"{name}-{step}-{hit}")
                died = killed(store, f"{step}@{hit}", *command)
                deaths += died
                for again in commands.values():
                    store.run(*again)
                assert sum_of(cost_lines(store), "billed_cost") == lines, f"{name} {step}@{hit}"
                assert usage_of(store) == usage, f"{name} {step}@{hit}"
                shutil.rmtree(store.folder)
                if not died:
                    break
    print(f"{deaths} deaths while importing, nothing lost, nothing doubled")
    assert deaths >= 2 * len(STEPS)


METER = """
[[meter]]
name = "questions"
unit = "Questions"
category = "other"
kind = "counter"
event_type = "log_queries"
value = "$.value"
aggregation = "sum"
"""


def questions(store: Apportion) -> dict:
    columns = ["tenant", "meter", "sum", "count"]
    table = DeltaTable(str(store.lake / "usage")).to_pyarrow_table(columns=columns).to_pylist()
    totals: dict = {}
    for row in (row for row in table if row["meter"] == "questions"):
        before = totals.get(row["tenant"], (0, 0))
        totals[row["tenant"]] = (before[0] + row["sum"], before[1] + row["count"])
    return totals


def test_a_backfill_counts_once_wherever_the_process_dies(prepared, tmp_path):
    events = tmp_path / "events.ndjson"
    events.write_text(EVENTS)
    prepared.run("import", "events", events)
    (prepared.folder / "meters.toml").write_text(METER)
    command = ("meters", "backfill", "questions", "--from", "2026-05-01")
    expected = {f"t{n}": (sum(range(n, 200, 5)), len(range(n, 200, 5))) for n in range(5)}
    deaths = 0
    for step in STEPS:
        for hit in range(1, HITS_MAX + 1):
            store = copy(prepared, tmp_path / f"{step}-{hit}")
            (store.folder / "meters.toml").write_text(METER)
            died = killed(store, f"{step}@{hit}", *command)
            deaths += died
            assert questions(store) in ({}, expected), f"{step}@{hit} left a part of a backfill"
            store.run(*command)
            store.run(*command)
            assert questions(store) == expected, f"{step}@{hit}"
            shutil.rmtree(store.folder)
            if not died:
                break
    print(f"{deaths} deaths while metering stored events, nothing lost, nothing doubled")
    assert deaths >= len(STEPS)


def cost_lines(store: Apportion) -> list[dict]:
    text = store.run("export", "cost-lines", "--format", "ndjson", "--range", DAYS).stdout
    return [json.loads(line) for line in text.splitlines()]


def usage_of(store: Apportion) -> dict:
    """Σ and number of values by tenant, straight from the table."""
    table = DeltaTable(str(store.lake / "usage")).to_pyarrow_table(columns=["tenant", "sum", "count"]).to_pydict()
    totals: dict = {}
    for tenant, total, count in zip(table["tenant"], table["sum"], table["count"], strict=True):
        before = totals.get(tenant, (0, 0))
        totals[tenant] = (before[0] + total, before[1] + count)
    return totals
