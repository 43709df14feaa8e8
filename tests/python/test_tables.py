"""The tables are open: the `deltalake` package and DuckDB read them and get the sums that the command line prints.

DuckDB's Delta extension is a download, so it reads the Parquet files that the Delta log lists.
"""

import json
from decimal import Decimal
from fractions import Fraction

import duckdb
import pytest
import reference
from conftest import FIXTURES, Apportion
from deltalake import DeltaTable

POLICY = """
version = "tables"
valid_from = 2020-01-01

[[tenant_rule]]
when = {}
tenant = "{sub_account}"

[[pool]]
name = "by-usage"
kind = "service"
tier = "direct"
select = { charge_category = "Purchase" }
split = { method = "proportional", meter = "cpu_core_hours" }

[[pool]]
name = "direct"
kind = "service"
tier = "direct"
select = {}
split = { method = "direct" }
"""
DAYS = "2024-09-01..2026-05-31"
# One table and the column of it that is summed.
TABLES = {
    "usage": "sum",
    "usage_events": None,
    "cost_lines": "effective_cost",
    "pool_days": "amount",
    "ledger": "amount",
}


def events() -> list[dict]:
    """Two tenants, every day of May 2026, one meter."""
    return [
        {
            "specversion": "1.0",
            "type": "cpu_core_hours",
            "source": "tests",
            "id": f"{tenant}-{day}",
            "time": f"2026-05-{day:02}T12:00:00Z",
            "tenant": tenant,
            "data": {"value": f"{day}.{weight:03}"},
        }
        for day in range(1, 32)
        for tenant, weight in (("acme", 125), ("globex", 5))
    ]


@pytest.fixture(scope="module")
def filled(binary, tmp_path_factory) -> Apportion:
    """Three bills and a month of usage, all days attributed."""
    apportion = Apportion(binary, tmp_path_factory.mktemp("tables"), POLICY)
    for path in sorted(FIXTURES.glob("*.csv")):
        apportion.run("import", "focus", path, "--source", path.stem)
    file = apportion.folder / "usage.ndjson"
    file.write_text("".join(json.dumps(event) + "\n" for event in events()))
    apportion.run("import", "events", file)
    apportion.run("attribute", "--range", DAYS)
    return apportion


def open_table(apportion: Apportion, table: str) -> DeltaTable:
    return DeltaTable(str(apportion.lake / table))


def sum_with_deltalake(table: DeltaTable, column: str) -> Fraction:
    values = table.to_pyarrow_table(columns=[column]).column(column)
    return sum((Fraction(value.as_py()) for value in values if value.as_py() is not None), Fraction(0))


def sum_with_duckdb(table: DeltaTable, column: str) -> Fraction:
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        files = [uri.removeprefix("file://") for uri in table.file_uris()]
        (value,) = connection.execute(f'SELECT sum("{column}") FROM read_parquet(?)', [files]).fetchone()
    assert isinstance(value, Decimal), "the column must be a decimal, never a float"
    return Fraction(value)


@pytest.mark.parametrize("name", TABLES)
def test_deltalake_and_duckdb_read_the_same_rows_and_sums(filled, name):
    table = open_table(filled, name)
    files = [uri.removeprefix("file://") for uri in table.file_uris()]
    with duckdb.connect() as connection:
        (rows,) = connection.execute("SELECT count(*) FROM read_parquet(?)", [files]).fetchone()
    assert rows == table.to_pyarrow_table().num_rows > 0
    if column := TABLES[name]:
        assert sum_with_duckdb(table, column) == sum_with_deltalake(table, column)


def bill_totals() -> tuple[Fraction, Fraction]:
    lines = [line for path in sorted(FIXTURES.glob("*.csv")) for line in reference.read_lines(path)]
    effective, billed = sum(line.effective for line in lines), sum(line.billed for line in lines)
    return Fraction(effective, reference.ATOMS), Fraction(billed, reference.ATOMS)


def test_cost_lines_hold_the_bills(filled):
    table = open_table(filled, "cost_lines")
    effective, billed = bill_totals()
    assert sum_with_duckdb(table, "effective_cost") == effective
    assert sum_with_duckdb(table, "billed_cost") == billed


def test_ledger_and_pool_days_sum_to_the_bills_and_to_the_export(filled):
    effective, billed = bill_totals()
    ledger = open_table(filled, "ledger")
    assert sum_with_duckdb(ledger, "amount") == effective
    assert sum_with_duckdb(ledger, "billed_amount") == billed
    assert sum_with_duckdb(open_table(filled, "pool_days"), "amount") == effective
    exported = filled.export_ledger(DAYS)
    assert sum((Fraction(entry["amount"]) for entry in exported), Fraction(0)) == effective
    costs = filled.json("costs", "--by", "tenant", "--range", DAYS, "--top", "1000")
    assert Fraction(costs["totals"]["cost"]) == effective
    assert sum((Fraction(row["cost"]) for row in costs["rows"]), Fraction(0)) == effective


def test_usage_holds_the_events(filled):
    expected = sum((Fraction(event["data"]["value"]) for event in events()), Fraction(0))
    assert sum_with_duckdb(open_table(filled, "usage"), "sum") == expected
    assert open_table(filled, "usage_events").to_pyarrow_table().num_rows == len(events())


def test_the_ledger_refuses_to_be_rewritten_by_others(filled):
    configuration = open_table(filled, "ledger").metadata().configuration
    assert configuration.get("delta.appendOnly") == "true"
    assert open_table(filled, "ledger").metadata().partition_columns == ["charge_month"]
    assert open_table(filled, "cost_lines").metadata().partition_columns == ["source", "billing_month"]
