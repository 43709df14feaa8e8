"""Closed months, from outside: a kill at any step of a close leaves it closed or open, never half (D2, L), and a bill
that is restated afterwards is corrected once, in the open month."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from conftest import Apportion

POLICY = """
version = "periods"
valid_from = 2020-01-01

[[tenant_rule]]
when = {}
tenant = "{sub_account}"

[[pool]]
name = "all"
select = {}
split = { method = "direct" }
"""
HEADER = (
    "BillingAccountId,SubAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,"
    "ChargeCategory,BilledCost,EffectiveCost,ServiceName,ProviderName\n"
)
DAYS = "2026-05-01..2026-06-30"
USAGE, CONFLICT = 2, 5
# The steps of the commit, and the moment between the posting and what is made of it.
STEPS = ("period-evidence", "after-data-file", "before-commit", "mid-commit", "after-commit", "period-closed")
HITS_MAX = 2


def line(month: str, day: str, tenant: str, cost: str) -> str:
    following = {"2026-05": "2026-06", "2026-06": "2026-07"}[month]
    return (
        f"payer,{tenant},USD,{month}-01T00:00:00Z,{following}-01T00:00:00Z,{month}-{day}T00:00:00Z,{month}-{day}T12:00:00Z,"
        f"Usage,{cost},{cost},Compute,AWS\n"
    )


def bill(folder: Path, name: str, *lines: str) -> Path:
    path = folder / f"{name}.csv"
    path.write_text(HEADER + "".join(lines))
    return path


MAY = (line("2026-05", "03", "acme", "10.00"), line("2026-05", "20", "globex", "20.00"))
JUNE = (line("2026-06", "03", "acme", "5.00"),)


@pytest.fixture
def store(binary, tmp_path) -> Apportion:
    folder = tmp_path / "store"
    folder.mkdir()
    made = Apportion(binary, folder, POLICY)
    made.run("import", "focus", bill(folder, "both", *MAY, *JUNE), "--source", "aws")
    made.run("attribute", "--range", DAYS)
    return made


def months(store: Apportion) -> dict[str, dict]:
    return {row["month"]: row for row in store.json("period", "list")["rows"]}


def entries(store: Apportion) -> list[dict]:
    """Every entry, closes and reopens too."""
    text = store.run("export", "ledger", "--format", "ndjson").stdout
    return [json.loads(entry) for entry in text.splitlines()]


def amounts(store: Apportion, clock: str) -> dict[str, Decimal]:
    """What each month costs by a clock, from the entries alone."""
    totals: dict[str, Decimal] = {}
    for entry in (entry for entry in entries(store) if entry["kind"] == "cost"):
        month = entry["billing_month"] if clock == "billed" else entry["charge_date"][:7]
        totals[month] = totals.get(month, Decimal(0)) + Decimal(entry["amount"])
    return totals


def killed(store: Apportion, failpoint: str, *arguments: str) -> bool:
    command = [store.binary, "--config", str(store.folder / "apportion.toml"), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("APPORTION")}
    environment["APPORTION_FAILPOINT"] = failpoint
    done = subprocess.run(command, cwd=store.folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode in (0, -signal.SIGABRT), f"{failpoint}: {done.returncode}\n{done.stderr[-2000:]}"
    return done.returncode != 0


@pytest.mark.parametrize("what", ["close", "reopen"])
def test_d2_a_month_is_closed_or_open_wherever_the_process_dies(store, tmp_path, what):
    arguments = {"close": ("period", "close", "2026-05"), "reopen": ("period", "reopen", "2026-05", "--reason", "late")}[what]
    before, after = {"close": ("open", "closed"), "reopen": ("closed", "open")}[what]
    if what == "reopen":
        store.run("period", "close", "2026-05")
    costs = amounts(store, "billed")
    deaths, done = 0, Counter()
    for step in STEPS:
        for hit in range(1, HITS_MAX + 1):
            folder = tmp_path / f"{step}-{hit}"
            shutil.copytree(store.folder, folder)
            copy = Apportion(store.binary, folder, POLICY)
            died = killed(copy, f"{step}@{hit}", *arguments)
            deaths += died
            state = months(copy)["2026-05"]["state"]
            assert state in (before, after), f"{step}@{hit}"
            done[state] += died
            # Asked again it is done, or told that it was done; never done twice.
            copy.run(*arguments, exit_code=0 if state == before else CONFLICT)
            kinds = Counter(entry["kind"] for entry in entries(copy))
            assert (kinds["close"], kinds["reopen"]) == (1, what == "reopen"), f"{step}@{hit}: {kinds}"
            assert months(copy)["2026-05"]["state"] == after
            assert amounts(copy, "billed") == costs
            copy.run("ledger", "verify")
            shutil.rmtree(folder)
    print(f"{deaths} deaths at a {what}: {dict(done)}")
    assert done[before] and done[after], "some deaths lie before the commit, others after it"


def test_a_restated_bill_is_corrected_once_in_the_open_month(store):
    store.run("period", "close", "2026-05")
    statement = amounts(store, "billed")["2026-05"]
    restated = (line("2026-05", "03", "acme", "10.00"), line("2026-05", "20", "globex", "23.50"))
    for _ in range(2):
        store.run("import", "focus", bill(store.folder, "restated", *restated), "--source", "aws")
        store.run("attribute", "--due")
    corrections = [entry for entry in entries(store) if entry["charge_class"] == "correction"]
    assert [(entry["charge_date"], entry["billing_month"], entry["amount"]) for entry in corrections] == [
        ("2026-05-20", "2026-06", "3.50")
    ]
    assert amounts(store, "billed") == {"2026-05": statement, "2026-06": Decimal("8.50")}
    assert amounts(store, "charged") == {"2026-05": Decimal("33.50"), "2026-06": Decimal("5.00")}
    for clock in ("billed", "charged"):
        for month, expected in amounts(store, clock).items():
            total = store.json("costs", "--range", month, "--clock", clock)["totals"]["cost"]
            assert Decimal(total) == expected, (clock, month)
    store.run("ledger", "verify")


def test_d2_a_small_difference_is_noted_before_its_day_counts_as_run(store):
    store.run("import", "focus", bill(store.folder, "small", line("2026-05", "21", "tiny", "0.50")), "--source", "small")
    store.run("attribute", "--range", DAYS)
    store.run("period", "close", "2026-05", "--force", "--reason", "a test")
    store.run("tenants", "set", "tiny", "--merged-into", "acme", "--valid-from", "2026-05-01")
    assert killed(store, "run-noted", "attribute", "--range", "2026-05-21..2026-05-21")
    noted = months(store)["2026-05"]["pending_corrections"]
    assert [(one["date"], one["pool"]) for one in noted] == [("2026-05-21", "all")]
    assert {one["consumer"]: one["amount_reporting"] for one in noted[0]["consumers"]} == {"acme": "0.50", "tiny": "-0.50"}
    before = amounts(store, "billed")
    store.run("period", "sweep")
    assert months(store)["2026-05"]["pending_corrections"] == [] and amounts(store, "billed") == before
    corrected = {entry["tenant"]: entry["amount"] for entry in entries(store) if entry["charge_class"] == "correction"}
    assert corrected == {"acme": "0.50", "tiny": "-0.50"}
    store.run("ledger", "verify")


def test_months_close_in_order_and_refusals_say_why(store):
    assert "2026-05 is the next one" in store.run("period", "close", "2026-06", exit_code=CONFLICT).stderr
    store.run("period", "reopen", "2026-05", "--reason", "x", exit_code=CONFLICT)
    store.run("period", "close", "2026-05", "--force", exit_code=USAGE)
    store.run("import", "focus", bill(store.folder, "late", line("2026-05", "09", "acme", "1.00")), "--source", "late")
    refused = store.run("period", "close", "2026-05", exit_code=CONFLICT).stderr
    assert "period_not_closable" in refused and "apportion attribute --due" in refused, refused
    closed = store.json("period", "close", "2026-05", "--force", "--reason", "the day is of no matter")
    assert [reason["code"] for reason in closed["forced"]] == ["days_due"]
    row = months(store)["2026-05"]
    assert (row["state"], row["closes"], row["reason"]) == ("closed", 1, "the day is of no matter")
    # The source `late` has a bill of May and none of June.
    assert "source_period_missing" in [reason["code"] for reason in months(store)["2026-06"]["obstacles"]]
    store.run("period", "source", "late", "2026-06", "closed", "--note", "it was one bill")
    store.run("attribute", "--due")
    store.run("period", "close", "2026-06")
    store.run("period", "sweep")


def test_closed_months_are_known_again_from_the_lake_alone(store):
    store.run("period", "close", "2026-05")
    before = months(store)["2026-05"]
    with closing(sqlite3.connect(store.folder / "data" / "catalog.db")) as catalog, catalog:
        for table in ("period_changes", "postings", "run_days"):
            catalog.execute(f"DELETE FROM {table}")
    after = months(store)["2026-05"]
    names = ("state", "closes", "posting", "changed_at", "changed_by", "reason", "forced")
    assert [after[name] for name in names] == [before[name] for name in names]
