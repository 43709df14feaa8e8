"""Prices over history on the real server: the seed's starter card recomputed from the exported CSV, prices of the environment."""

import csv
import io
import json
import random
from decimal import Decimal, getcontext
from fractions import Fraction

import duckdb
import pytest
from live_server import END_SECONDS_MAX, TOKEN, Server

getcontext().prec = 80  # sums keep every digit

DAYS = ("2026-05-01", "2026-05-02", "2026-05-03")
FROM_TO = f"from={DAYS[0]}&to={DAYS[-1]}"
HEADER = (
    "workspace_slug,workspace_name,snapshot_date,member_count,api_call_count_24h,storage_bytes,change_count_24h,"
    "incident_count_24h,monitored_host_count,audit_event_count_24h,webhook_delivery_count_24h,celery_task_count_24h,cost_usd"
)
# S0-13, by the fields that S0-11 names.
STARTER = {
    "member_count": Decimal("5.00"),
    "storage_bytes": Decimal("0.10") / 10**9,
    "api_call_count_24h": Decimal("0.000002"),
    "celery_task_count_24h": Decimal("0.0001"),
    "monitored_host_count": Decimal("0.50"),
    "webhook_delivery_count_24h": Decimal("0.00005"),
}
METRICS = HEADER.split(",")[3:-1]
WORKSPACES = 60
SEED = 7


@pytest.fixture
def server(apportion):
    server = Server(apportion()).start()
    put_random(server)
    yield server
    if server.process.poll() is None:
        server.kill()


def put_random(server: Server) -> None:
    """Three days of workspaces with whole quantities of every size, some metrics left out."""
    chance = random.Random(SEED)
    for day in DAYS:
        rows = []
        for number in range(WORKSPACES):
            metrics = {name: str(chance.randrange(10 ** chance.randrange(1, 11))) for name in METRICS if chance.random() < 0.9}
            rows.append({"tenant": f"ws-{number:03}", "metrics": metrics or {"member_count": "1"}})
        ask(server, "PUT", f"/snapshots/{day}?source=app", {"rows": rows})


def ask(server: Server, method: str, path: str, body=None) -> dict:
    headers = {"Content-Type": "application/json"}
    status, text = server.ask(method, path, None if body is None else json.dumps(body).encode(), headers)
    assert status == 200, text
    return json.loads(text)


def exported(server: Server, query: str = FROM_TO) -> list[dict[str, str]]:
    status, text = server.ask("GET", f"/exports/usage.csv?{query}")
    assert status == 200, text
    return rows_of(text)


def rows_of(text: str) -> list[dict[str, str]]:
    assert text.split("\r\n", 1)[0] == HEADER
    return list(csv.DictReader(io.StringIO(text, newline="")))


def cost_of(row: dict[str, str], prices: dict[str, Decimal]) -> Decimal:
    return sum((Decimal(row[metric] or 0) * price for metric, price in prices.items()), Decimal(0))


def check_costs(rows: list[dict[str, str]], prices: dict[str, Decimal]) -> None:
    assert len(rows) == WORKSPACES * len(DAYS)
    assert len({(row["workspace_slug"], row["snapshot_date"]) for row in rows}) == len(rows)
    wrong = [row for row in rows if Decimal(row["cost_usd"]) != cost_of(row, prices)]
    assert not wrong, wrong[:3]


def leaderboard(server: Server, query: str = "view=current_rates&filter=origin:snapshot") -> dict[str, Decimal]:
    answer = ask(server, "GET", f"/costs?{FROM_TO}&{query}&limit=1000")
    costs = {row["key"]["tenant"]: Decimal(row["cost"]) for row in answer["rows"]}
    assert sum(costs.values()) == Decimal(answer["totals"]["cost"])
    return costs


def by_workspace(rows: list[dict[str, str]]) -> dict[str, Decimal]:
    costs: dict[str, Decimal] = {}
    for row in rows:
        costs[row["workspace_slug"]] = costs.get(row["workspace_slug"], Decimal(0)) + Decimal(row["cost_usd"])
    return costs


def entries(server: Server) -> str:
    status, text = server.ask("GET", f"/ledger/entries?{FROM_TO}&limit=1000")
    assert status == 200, text
    return text


def test_every_row_costs_what_the_starter_card_says(server):
    rows = exported(server)
    check_costs(rows, STARTER)
    ask(server, "POST", "/runs?wait=true", {"from": DAYS[0], "to": DAYS[-1]})
    assert exported(server, f"{FROM_TO}&view=posted") == rows, "the same card was posted"
    assert leaderboard(server) == by_workspace(rows) == leaderboard(server, "filter=memo:true")
    days = ask(server, "GET", f"/costs?{FROM_TO}&view=current_rates&granularity=day&limit=1000")["rows"]
    assert {row["key"]["tenant"]: sum(Decimal(cost) for _, cost in row["series"]) for row in days} == by_workspace(rows)


def test_the_command_line_prints_the_numbers_of_the_api(server):
    remote = ["--server", f"http://{server.address}", "--token", TOKEN, "--from", DAYS[0], "--to", DAYS[-1]]
    rows = exported(server)
    assert rows_of(server.store.run("export", "usage", *remote).stdout.replace("\n", "\r\n").replace("\r\r\n", "\r\n")) == rows
    lines = server.store.run("export", "usage", "--format", "ndjson", *remote).stdout.splitlines()
    assert [{name: value or "" for name, value in json.loads(line).items()} for line in lines] == rows
    server.store.run("export", "usage", "--format", "parquet", "--file", "usage.parquet", *remote)
    table = duckdb.connect().execute("SELECT * FROM read_parquet(?)", [str(server.store.folder / "usage.parquet")])
    assert [column[0] for column in table.description] == HEADER.split(",")
    read = [dict(zip(HEADER.split(","), values, strict=True)) for values in table.fetchall()]
    texts = ("workspace_slug", "workspace_name", "snapshot_date")
    typed = [{name: text if name in texts else Decimal(text or 0) for name, text in row.items()} for row in rows]
    shown = [{name: str(value or "") if name in texts else value or Decimal(0) for name, value in row.items()} for row in read]
    assert shown == typed
    costs = ["costs", "--view", "current_rates", "--filter", "origin:snapshot", "--top", "1000", "-o", "json", *remote]
    answer = json.loads(server.store.run(*costs).stdout)
    assert {row["key"]["tenant"]: Decimal(row["cost"]) for row in answer["rows"]} == by_workspace(rows)
    shown = server.store.run("rates", "show", "starter", "--server", f"http://{server.address}", "--token", TOKEN).stdout
    assert "5.00 per member and snapshot-day = " in shown
    (server.store.folder / "draft.toml").write_text(
        'version = "draft"\ncurrency = "USD"\nvalid_from = 2026-12-01\n'
        '[[price]]\nmeter = "member_count"\nprice = "6.00"\nper = "unit"\n'
    )
    valid = server.store.run("rates", "validate", "draft.toml", "--server", f"http://{server.address}", "--token", TOKEN)
    assert "rate card draft, USD, valid from 2026-12-01" in valid.stdout
    assert "6.00 per member and snapshot-day = " in valid.stdout
    (server.store.folder / "planned.toml").write_text(
        'version = "planned"\ncurrency = "USD"\nvalid_from = 2099-01-01\n[[price]]\nmeter = "api_call"\nprice = "0.000003"\n'
    )
    at = ["--server", f"http://{server.address}", "--token", TOKEN]
    server.store.run("rates", "publish", "planned.toml", *at)
    assert "rate card starter, USD" in server.store.run("rates", "show", *at).stdout, "the card in force, not the newest"
    listed = json.loads(server.store.run("rates", "list", "-o", "json", *at).stdout)["rows"]
    assert [(row["version"], row["in_force"]) for row in listed] == [("starter", True), ("planned", False)]


def test_another_value_of_the_environment_prices_the_whole_history_after_a_restart(server):
    ask(server, "POST", "/runs?wait=true", {"from": DAYS[0], "to": DAYS[-1]})
    before, posted = exported(server), entries(server)
    server.stop()
    server.variables["VIGILO_USAGE_UNIT_COSTS"] = '{"member_count": 7.25, "change": 0.125, "storage_gib": 0.03}'
    server.start()
    prices = {"member_count": Fraction("7.25"), "change_count_24h": Fraction("0.125"), "storage_bytes": Fraction("0.03") / 2**30}
    rows = exported(server)
    for row in rows:
        # A price per GiB does not end after fifteen decimals: each metric is rounded on its own, half-even.
        exact = [Fraction(row[metric] or 0) * price for metric, price in prices.items()]
        assert Fraction(row["cost_usd"]) == sum(Fraction(round(part * 10**15), 10**15) for part in exact), row
    assert leaderboard(server) == by_workspace(rows)
    unpriced = ask(server, "GET", f"/costs?{FROM_TO}&view=current_rates")["meta"]["unpriced_metrics"]
    assert unpriced == sorted(set(METRICS) - set(prices))
    assert entries(server) == posted
    server.stop()
    del server.variables["VIGILO_USAGE_UNIT_COSTS"]
    server.start()
    assert (exported(server), entries(server)) == (before, posted)


def test_a_file_of_prices_counts_at_once(server):
    file = server.store.folder / "costs.json"
    file.write_text('{"member_count": 1}')
    server.stop()
    server.variables["APPORTION_USAGE_UNIT_COSTS_FILE"] = str(file)
    server.start()
    check_costs(exported(server), {"member_count": Decimal(1)})
    for price in ("2", "0.5"):
        file.write_text(json.dumps({"member_count": price}))
        check_costs(exported(server), {"member_count": Decimal(price)})
    file.write_text("{")
    status, text = server.ask("GET", f"/exports/usage.csv?{FROM_TO}")
    assert (status, json.loads(text)["code"]) == (422, "invalid_rate_card")


def test_prices_that_cannot_be_read_stop_the_start(apportion):
    server = Server(apportion())
    server.variables["APPORTION_USAGE_UNIT_COSTS"] = "api_call=0.002"
    server.launch()
    assert server.process.wait(timeout=END_SECONDS_MAX) == 5
    assert "APPORTION_USAGE_UNIT_COSTS" in server.log.read_text()


def test_a_per_thousand_price_is_pointed_out(server):
    server.stop()
    server.variables["APPORTION_USAGE_UNIT_COSTS"] = '{"api_call": 0.002}'
    server.start()
    (warning,) = ask(server, "GET", f"/costs?{FROM_TO}&view=current_rates")["meta"]["price_warnings"]
    assert "api_call goes from 0.000002 per request to 0.002 per request" in warning and "per-thousand" in warning
    assert "did you enter a per-thousand price?" in server.log.read_text()


def test_a_draft_is_evaluated_and_leaves_no_trace(server):
    draft = {"version": "draft", "currency": "USD", "valid_from": "2026-05-01", "price": [
        {"meter": "member_count", "price": "6", "per": "unit"},
        {"meter": "api_call", "price": "0.000002", "tiers": [{"above": "1000000", "price": "0.000001"}]},
    ]}  # fmt: skip
    rows = exported(server)
    answer = ask(server, "POST", f"/rate-cards/simulate?{FROM_TO}&limit=1000", draft)
    expected: dict[str, Decimal] = {}
    for workspace in {row["workspace_slug"] for row in rows}:
        own = [row for row in rows if row["workspace_slug"] == workspace]
        calls = sum(Decimal(row["api_call_count_24h"] or 0) for row in own)
        graduated = min(calls, 1_000_000) * Decimal("0.000002") + max(calls - 1_000_000, 0) * Decimal("0.000001")
        expected[workspace] = graduated + 6 * sum(Decimal(row["member_count"] or 0) for row in own)
    assert {row["tenant"]: Decimal(row["cost"]) for row in answer["rows"]} == expected
    assert [row["version"] for row in ask(server, "GET", "/rate-cards")["rows"]] == ["starter"]
