"""Snapshots sent over HTTP to the real server: who reads them, what they cost, and what DuckDB finds in their table."""

import json
from decimal import Decimal

import duckdb
import pytest
from deltalake import DeltaTable
from live_server import Server

DAY = "2026-05-03"
CONFIG = """
[[source]]
name = "cron"
kind = "http_snapshot"
"""
RATES = """
version = "s0"
currency = "USD"
valid_from = 2020-01-01

[[price]]
meter = "member_count"
price = "5.00"
per = "unit"

[[price]]
meter = "api_call"
price = "0.000002"
per = "unit"

[[price]]
meter = "storage_gb"
price = "0.10"
per = "unit"
"""
PRICES = {"member_count": Decimal("5.00"), "api_call_count_24h": Decimal("0.000002"), "storage_bytes": Decimal("0.10") / 10**9}
MEASURED = {
    "acme": {"member_count": "3", "api_call_count_24h": "84100000", "storage_bytes": "1500000000"},
    "globex": {"member_count": "12", "api_call_count_24h": "7", "storage_bytes": "0"},
    "initech": {"member_count": "1", "incident_count_24h": "2"},
}


@pytest.fixture
def server(apportion):
    """The built-in policy: one memo pool over all snapshots."""
    store = apportion(config=CONFIG)
    (store.folder / "rates.toml").write_text(RATES)
    server = Server(store).start()
    yield server
    if server.process.poll() is None:
        server.kill()


def ask(server: Server, method: str, path: str, body=None, token: str | None = None, expect: int = 200) -> dict:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    status, text = server.ask(method, path, None if body is None else json.dumps(body).encode(), headers)
    assert status == expect, text
    return json.loads(text)


def put(server: Server, day: str, rows: list[dict], **more) -> dict:
    return ask(server, "PUT", f"/snapshots/{day}?source=cron", {"rows": rows}, **more)


def put_measured(server: Server) -> dict:
    return put(server, DAY, [{"tenant": tenant, "metrics": metrics} for tenant, metrics in MEASURED.items()])


def cost_of(metrics: dict[str, str]) -> Decimal:
    return sum((Decimal(quantity) * PRICES.get(metric, 0) for metric, quantity in metrics.items()), Decimal(0))


def memo_costs(server: Server) -> dict[str, Decimal]:
    rows = ask(server, "GET", f"/costs?from={DAY}&to={DAY}&group_by=tenant&filter=memo:true")["rows"]
    return {row["key"]["tenant"]: Decimal(row["cost"]) for row in rows}


def run(server: Server) -> dict:
    return ask(server, "POST", "/runs?wait=true", {"from": DAY, "to": DAY})


def mint(server: Server, role: str, tenants: list[str]) -> str:
    return ask(server, "POST", "/tokens", {"role": role, "tenants": tenants} if tenants else {"role": role}, expect=201)["token"]


def test_owners_read_their_own_and_others_are_told_why_not(server):
    stored = put_measured(server)
    assert (stored["tenants"], stored["rows"], stored["unchanged"]) == (3, 8, False)
    taken = ask(server, "GET", f"/snapshots?from={DAY}&to={DAY}")["rows"]
    assert {row["tenant"]: row["metrics"] for row in taken} == MEASURED
    assert all(set(row["quality"].values()) == {"ok"} and row["source"] == "cron" for row in taken)

    owner = mint(server, "tenant_owner", ["acme"])
    assert [row["tenant"] for row in ask(server, "GET", f"/snapshots?range={DAY}", token=owner)["rows"]] == ["acme"]
    for tenant in ("globex", "nobody"):
        refused = ask(server, "GET", f"/snapshots?tenant={tenant}", token=owner, expect=404)
        assert refused["code"] == "tenant_not_found"
    for role in ("admin", "finance", "ingest", "metrics"):
        refused = ask(server, "GET", "/snapshots", token=mint(server, role, []), expect=403)
        assert refused["code"] == "platform_admin_required"
    refused = put(server, DAY, [{"tenant": "acme", "metrics": {"member_count": 1}}], token=owner, expect=403)
    assert refused["code"] == "forbidden"

    usage = f"/usage?from={DAY}&to={DAY}&meter=member_count"
    everybody = ask(server, "GET", usage)["rows"]
    assert {row["key"]["tenant"]: row["quantity"] for row in everybody} == {
        tenant: metrics["member_count"] for tenant, metrics in MEASURED.items()
    }
    assert [row["key"]["tenant"] for row in ask(server, "GET", usage, token=owner)["rows"]] == ["acme"]
    assert ask(server, "GET", usage, token=mint(server, "admin", []))["rows"] == []


def test_the_memo_pool_costs_what_the_card_says_and_follows_what_is_sent_again(server):
    put_measured(server)
    run(server)
    assert memo_costs(server) == {tenant: cost_of(metrics) for tenant, metrics in MEASURED.items()}

    again = put_measured(server)
    assert again["rows"] == 8
    assert run(server)["posting"] is None, "the same quantities cost the same"
    changed = {"member_count": "4", "api_call_count_24h": "84100001"}
    put(server, DAY, [{"tenant": "acme", "metrics": changed}])
    assert run(server)["posting"] is not None
    assert memo_costs(server) == {
        tenant: cost_of(changed if tenant == "acme" else metrics) for tenant, metrics in MEASURED.items()
    }
    proof = ask(server, "GET", f"/ledger/proof?from={DAY}&to={DAY}")["rows"]
    assert all(Decimal(row["difference"]) == 0 for row in proof)


def test_degraded_and_missing_metrics_are_named(server):
    rows = [
        {"tenant": "acme", "metrics": {"storage_bytes": 0, "member_count": None}, "quality": {"storage_bytes": "degraded"}},
    ]
    put(server, DAY, rows)
    (row,) = ask(server, "GET", f"/snapshots?range={DAY}")["rows"]
    assert (row["metrics"], row["quality"]) == ({"storage_bytes": "0"}, {"storage_bytes": "degraded", "member_count": "missing"})
    gaps = [warning for warning in run(server)["warnings"] if warning["code"] == "driver_gap"]
    assert len(gaps) == 2 and all("acme" in gap["detail"] for gap in gaps)
    put_measured(server)
    assert not [warning for warning in run(server)["warnings"] if warning["code"] == "driver_gap"]


@pytest.mark.parametrize(
    ("day", "rows", "code"),
    [
        ("2999-01-01", [{"tenant": "acme", "metrics": {"member_count": 1}}], "invalid_parameter"),
        (DAY, [{"tenant": "acme", "metrics": {"api_call_count_24h": -1}}], "negative_quantity"),
        (DAY, [{"tenant": "acme", "metrics": {"storage_bytes": "1e19"}}], "out_of_bound"),
        (DAY, [{"tenant": "acme", "metrics": {"storage_bytes": "1 GB"}}], "invalid_body"),
        (DAY, [{"tenant": "acme", "metrics": {"m": 1}, "color": "red"}], "invalid_body"),
        (DAY, [], "invalid_body"),
    ],
)
def test_bad_rows_are_refused_whole(server, day, rows, code):
    good = {"tenant": "globex", "metrics": {"member_count": 1}}
    refused = put(server, day, [*rows, good] if rows else rows, expect=400)
    assert refused["code"] == code
    assert ask(server, "GET", "/snapshots?range=2026-05")["rows"] == []


def test_other_engines_read_the_table(server):
    put_measured(server)
    put(server, DAY, [{"tenant": "acme", "metrics": {"member_count": "4"}}])
    put(server, "2026-05-04", [{"tenant": "acme", "metrics": {"member_count": "5"}}])
    server.kill()
    table = DeltaTable(str(server.store.lake / "snapshots"))
    assert table.metadata().partition_columns == ["snapshot_date"]
    files = [uri.removeprefix("file://") for uri in table.file_uris()]
    assert len(files) == 2, "what was replaced is no part of the table"
    expected = {("acme", "member_count", "gauge"): Decimal(9), ("globex", "api_call_count_24h", "delta_24h"): Decimal(7)}
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        sql = "SELECT tenant, metric, kind, sum(quantity) FROM read_parquet(?) WHERE quality = 'ok' GROUP BY ALL"
        found = {tuple(key): quantity for *key, quantity in connection.execute(sql, [files]).fetchall()}
    assert expected.items() <= found.items()
    assert len(found) == 1 + 3 + 2
    assert table.to_pyarrow_table().num_rows == 7
