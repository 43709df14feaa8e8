"""Reports in a bucket: read with the example policy, added up independently, replaced and never doubled."""

import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow
import pyarrow.parquet
import pytest
from botocore.exceptions import ClientError
from conftest import REPOSITORY, Apportion
from deltalake import DeltaTable
from s3_server import BUCKET, S3

EXPORT = "focus/acme-cur"
POLICY = json.loads((REPOSITORY / "deploy" / "policies" / "aws-export.json").read_text())
WRONG = "canary-of-a-wrong-secret"
TEXT = pyarrow.string()
TIME = pyarrow.timestamp("ms")
KINDS = [
    "Usage",
    "SavingsPlanCoveredUsage",
    "SavingsPlanNegation",
    "SavingsPlanRecurringFee",
    "Tax",
    "Credit",
    "Usage",
]
COLUMNS = {
    "line_item_line_item_type": TEXT,
    "line_item_unblended_cost": pyarrow.float64(),
    "line_item_net_unblended_cost": pyarrow.float64(),
    "line_item_currency_code": TEXT,
    "line_item_usage_account_id": TEXT,
    "line_item_usage_start_date": TIME,
    "line_item_usage_end_date": TIME,
    "line_item_usage_amount": pyarrow.float64(),
    "line_item_product_code": TEXT,
    "line_item_resource_id": TEXT,
    "bill_payer_account_id": TEXT,
    "bill_billing_period_start_date": TIME,
    "bill_billing_period_end_date": TIME,
    "savings_plan_savings_plan_effective_cost": pyarrow.float64(),
    "savings_plan_total_commitment_to_date": pyarrow.float64(),
    "savings_plan_used_commitment": pyarrow.float64(),
    "split_line_item_parent_resource_id": TEXT,
    "split_line_item_split_cost": pyarrow.float64(),
    "product": pyarrow.map_(TEXT, TEXT),
    "resource_tags": pyarrow.map_(TEXT, TEXT),
}


def rows(month: datetime, factor: float = 1.0, count: int = 400) -> list[dict]:
    """Usage of every kind, with doubles that have no short decimal form."""
    end = (month + timedelta(days=32)).replace(day=1)
    found = []
    for number in range(count):
        start = month + timedelta(hours=number)
        kind = KINDS[number % len(KINDS)]
        cost = factor * (number + 1) / 7
        row = dict.fromkeys(COLUMNS)
        row |= {
            "line_item_line_item_type": kind,
            "line_item_unblended_cost": -cost if kind in ("Credit", "SavingsPlanNegation") else cost,
            "line_item_currency_code": "USD",
            "line_item_usage_account_id": f"44445555{number % 3:04}",
            "line_item_usage_start_date": start,
            "line_item_usage_end_date": start + timedelta(hours=1),
            "line_item_usage_amount": 1.0,
            "line_item_product_code": "AmazonEC2",
            "bill_payer_account_id": "111122223333",
            "bill_billing_period_start_date": month,
            "bill_billing_period_end_date": end,
            "product": [("product_name", "Amazon Elastic Compute Cloud")],
            "resource_tags": [("user_team", "checkout"), ("aws:eks:namespace", "shop")],
        }
        if kind == "SavingsPlanCoveredUsage":
            row["savings_plan_savings_plan_effective_cost"] = cost * 0.7
        if kind == "SavingsPlanRecurringFee":
            row["savings_plan_total_commitment_to_date"] = cost
            row["savings_plan_used_commitment"] = cost * 0.9
        if number % 5 == 0 and kind == "Usage":
            row["line_item_net_unblended_cost"] = cost * 0.95
        if number % 11 == 0 and kind == "Usage":
            row["split_line_item_parent_resource_id"] = "i-0composed"
            row["split_line_item_split_cost"] = cost / 2
        found.append(row)
    return found


def exact(number: float | None) -> Decimal:
    """The shortest decimal of a double, with the fifteen decimals that money has."""
    return Decimal(repr(number or 0.0)).quantize(Decimal("1e-15"))


def expected(found: list[dict]) -> dict[str, Decimal]:
    """Billed and effective cost, by rules written down here once more."""
    billed = effective = Decimal(0)
    for row in found:
        kind = row["line_item_line_item_type"]
        net = row["line_item_net_unblended_cost"]
        cost = exact(row["line_item_unblended_cost"] if net is None else net)
        if row["split_line_item_parent_resource_id"] or kind == "SavingsPlanNegation":
            continue
        if kind == "SavingsPlanCoveredUsage":
            effective += exact(row["savings_plan_savings_plan_effective_cost"])
            continue
        billed += cost
        if kind == "SavingsPlanRecurringFee":
            cost = exact(row["savings_plan_total_commitment_to_date"]) - exact(row["savings_plan_used_commitment"])
        effective += cost
    return {"billed_cost": billed, "effective_cost": effective}


def parquet(found: list[dict]) -> bytes:
    schema = pyarrow.schema(list(COLUMNS.items()))
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(found, schema=schema), buffer, compression="snappy")
    return buffer.getvalue()


def put_run(s3: S3, month: datetime, run: str, found: list[dict]) -> None:
    """Two data files and then the manifest, as AWS writes them."""
    period = f"BILLING_PERIOD={month:%Y-%m}"
    names = []
    for part, piece in enumerate((found[: len(found) // 2], found[len(found) // 2 :]), 1):
        key = f"{EXPORT}/data/{period}/{run}/acme-cur-{part:05}.snappy.parquet"
        s3.put(key, parquet(piece))
        names.append(f"s3://{BUCKET}/{key}")
    manifest = {"executionId": run, "account": "111122223333", "compression": "PARQUET", "dataFiles": names}
    s3.put(f"{EXPORT}/metadata/{period}/{run}/acme-cur-Manifest.json", json.dumps(manifest).encode())


def stored(store: Apportion) -> dict[str, Decimal]:
    table = DeltaTable(str(store.lake / "cost_lines")).to_pyarrow_table()
    return {name: sum(table.column(name).to_pylist(), Decimal(0)) for name in ("billed_cost", "effective_cost")}


def added(*sums: dict[str, Decimal]) -> dict[str, Decimal]:
    return {name: sum((one[name] for one in sums), Decimal(0)) for name in sums[0]}


@pytest.fixture
def s3():
    server = S3()
    yield server
    server.stop()


def config(s3: S3, key: str, secret: str) -> str:
    return f"""
[[source]]
name = "aws"
kind = "aws_export"
bucket = "s3://{BUCKET}/focus"
endpoint = "{s3.url}"
region = "us-east-1"
access_key = "{key}"
secret_key = "{secret}"
retries = 0
"""


def test_a_report_in_a_bucket_is_read_with_the_example_policy_and_replaced_month_by_month(apportion, s3):
    key, secret = s3.user("apportion-billing", POLICY)
    s3.lock()
    october, november = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
    months = {october: rows(october), november: rows(november)}
    put_run(s3, october, "2026-11-01T03:00:00.000Z-aa", months[october])
    put_run(s3, november, "2026-11-19T03:00:00.000Z-bb", rows(november, factor=3))
    put_run(s3, november, "2026-11-20T03:00:00.000Z-01", months[november])

    store = apportion(None, config(s3, key, secret))
    report = store.json("sources", "refresh", "aws")
    assert [(one["billing_period"], one["lines"]) for one in report["periods"]] == [("2026-11", 400), ("2026-10", 400)]
    assert stored(store) == added(*(expected(found) for found in months.values()))

    again = store.json("sources", "refresh", "aws")
    assert again["periods"] == [], "nothing changed, so nothing is read"

    months[october] = rows(october, factor=1.05)
    put_run(s3, october, "2026-11-21T03:00:00.000Z-cc", months[october])
    report = store.json("sources", "refresh", "aws")
    assert [one["billing_period"] for one in report["periods"]] == ["2026-10"]
    sums = added(*(expected(found) for found in months.values()))
    assert stored(store) == sums, "a restated month replaces, and is never added"

    (store.folder / "apportion.toml").write_text(f'[storage]\ndata = "data"\n{config(s3, key, WRONG)}')
    failed = store.run("sources", "refresh", "aws", exit_code=None)
    assert failed.returncode != 0, failed.stdout
    source = store.json("sources", "list")["rows"][0]
    assert source["state"] == "stale" and "auth" in source["last_error"], source
    assert WRONG not in failed.stdout + failed.stderr + json.dumps(source)
    assert stored(store) == sums, "what was read stays"


def test_the_example_policy_allows_nothing_but_reading_the_export(s3):
    key, secret = s3.user("apportion-billing", POLICY)
    s3.put("focus/a", b"x")
    s3.put("payroll/a", b"x")
    s3.lock()
    reader = s3.client("s3", key, secret)
    assert reader.list_objects_v2(Bucket=BUCKET, Prefix="focus/")["KeyCount"] == 1
    assert reader.get_object(Bucket=BUCKET, Key="focus/a")["Body"].read() == b"x"
    for forbidden in (
        lambda: reader.get_object(Bucket=BUCKET, Key="payroll/a"),
        lambda: reader.put_object(Bucket=BUCKET, Key="focus/b", Body=b"y"),
        lambda: reader.delete_object(Bucket=BUCKET, Key="focus/a"),
        lambda: s3.client("iam", key, secret).list_users(),
    ):
        with pytest.raises(ClientError, match="Access ?Denied"):
            forbidden()
