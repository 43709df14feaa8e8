"""Collectors as somebody sees them who runs the binary: stand-ins for providers, DuckDB, the proof, and where secrets stay."""

import gzip
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import duckdb
import pytest
from deltalake import DeltaTable
from live_server import Server

CANARY = "canary-of-a-token-4c1f9e"
WAIT_SECONDS_MAX = 180
# Lines of a billing period stay clear of its last days, so that the days of two periods never meet.
CHARGED_DAYS = 25
pytestmark = pytest.mark.usefixtures("within_a_day")


class Vercel:
    """Vercel's charges: a line a day with amounts of twelve decimals. What it served last of each period is what counts."""

    def __init__(self):
        self.served: dict[str, list[tuple[Decimal, Decimal]]] = {}
        self.asked: list[str] = []
        self.factor = Decimal(1)
        self.fault: int | None = None
        self.gate = threading.Event()
        self.gate.set()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                stand_in.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        self.gate.wait(WAIT_SECONDS_MAX)
        url = urlsplit(request.path)
        if self.fault is not None or url.path != "/v1/billing/charges":
            # It says what it was sent, as careless servers do.
            self.send(request, self.fault or 404, str(request.headers).encode())
            return
        assert request.headers["Authorization"] == f"Bearer {CANARY}"
        query = parse_qs(url.query)
        begin, end = (datetime.fromisoformat(query[name][0]) for name in ("from", "to"))
        lines, amounts = [], []
        for day in range(CHARGED_DAYS):
            start = begin + timedelta(days=day)
            if start >= end:
                break
            billed = self.factor * Decimal(f"0.{day + 1:02}3456789012")
            effective = billed * 2
            amounts.append((billed, effective))
            lines.append(line(start, billed, effective))
        self.served[begin.date().isoformat()] = amounts
        self.send(request, 200, "".join(lines).encode())

    def send(self, request: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        packed = gzip.compress(body)
        request.send_response(status)
        request.send_header("content-encoding", "gzip")
        request.send_header("content-length", str(len(packed)))
        request.end_headers()
        request.wfile.write(packed)

    def sums(self, begin: str) -> tuple[Decimal, Decimal]:
        amounts = self.served[begin]
        return sum(billed for billed, _ in amounts), sum(effective for _, effective in amounts)


def line(start: datetime, billed: Decimal, effective: Decimal) -> str:
    """One charge; numbers are written by hand, so that every digit reaches the reader."""
    facts = {
        "BillingCurrency": "USD", "ChargeCategory": "Usage", "ChargePeriodStart": start.isoformat(),
        "ChargePeriodEnd": (start + timedelta(days=1)).isoformat(), "ServiceName": "Fast Data Transfer",
        "ConsumedUnit": "gigabyte", "Tags": {"ProjectId": "prj_1", "ProjectName": "shop"},
    }  # fmt: skip
    text = json.dumps(facts)[:-1]
    return f'{text}, "BilledCost": {billed:f}, "EffectiveCost": {effective:f}, "ConsumedQuantity": 1.5}}\n'


@pytest.fixture
def vercel():
    stand_in = Vercel()
    yield stand_in
    stand_in.server.shutdown()


def config(vercel: Vercel, more: str = "") -> str:
    return f"""
[[source]]
name = "vercel"
kind = "vercel"
team = "team_1"
token = "{CANARY}"
url = "{vercel.url}"
stand_in = true
retries = 0
{more}
"""


def month_before(months: int) -> date:
    """The first day of a month that is over in every zone."""
    day = datetime.now(UTC).date()
    for _ in range(months):
        day = day.replace(day=1) - timedelta(days=1)
    return day.replace(day=1)


def stored_sums(store) -> dict[str, tuple[Decimal, Decimal]]:
    """Billed and effective cost by billing month, added up by DuckDB."""
    table = DeltaTable(str(store.lake / "cost_lines"))
    files = [uri.removeprefix("file://") for uri in table.file_uris()]
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT regexp_extract(filename, 'billing_month=([0-9]+-[0-9]+)', 1), sum(billed_cost), sum(effective_cost) "
            "FROM read_parquet(?, filename = true, hive_partitioning = false) GROUP BY 1",
            [files],
        ).fetchall()
    return {month: (billed, effective) for month, billed, effective in rows}


def proved_sums(store, month: date) -> tuple[Decimal, Decimal]:
    """What went into the pools in the days of a month, by the proof; it has no difference."""
    rows = [row for row in store.proof(f"{month:%Y-%m}-01..{month:%Y-%m}-28") if not row["memo"]]
    assert rows and all(row["state"] == "proved" and Decimal(row["difference"]) == 0 for row in rows), rows
    sums = {
        measure: sum((Decimal(row["amount_in"]) for row in rows if row["measure"] == measure), Decimal(0))
        for measure in ("billed_amount", "amount")
    }
    return sums["billed_amount"], sums["amount"]


def source_of(server: Server) -> dict:
    status, text = server.ask("GET", "/sources")
    assert status == 200, text
    return json.loads(text)["rows"][0]


def until_collected(server: Server) -> dict:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        source = source_of(server)
        if source["state"] == "ok" and source["progress"] is None:
            return source
        time.sleep(0.1)
    pytest.fail(f"not collected in time: {source_of(server)}")


def test_what_is_collected_is_what_is_stored_and_what_is_proved_also_after_a_restatement(apportion, vercel):
    store = apportion(config=config(vercel))
    month = month_before(2)
    for factor in ("1", "1.1", "0.95"):
        vercel.factor = Decimal(factor)
        report = store.json("sources", "refresh", "vercel", "--from", f"{month}T12:00:00Z")
        assert report["warnings"] == [] and len(report["periods"]) >= 2, report
        store.run("attribute", "--range", f"{month:%Y-%m}-01..{month:%Y-%m}-28")
        expected = vercel.sums(month.isoformat())
        assert stored_sums(store)[f"{month:%Y-%m}"] == expected, factor
        assert proved_sums(store, month) == expected, factor
    again = store.json("sources", "refresh", "vercel", "--from", f"{month}T12:00:00Z")
    assert all(period["unchanged"] for period in again["periods"]), again


def test_a_server_collects_when_it_starts_and_keeps_what_it_has_when_the_provider_fails(apportion, vercel):
    store = apportion(config=config(vercel))
    server = Server(store).start()
    try:
        source = until_collected(server)
        assert source["kind"] == "vercel" and source["rows"] > 0, source
        before = json.loads(server.ask("GET", "/imports")[1])["rows"]
        for fault in (401, 403, 404, 429, 500, 503):
            vercel.fault = fault
            status, text = server.ask("POST", "/sources/vercel/refresh")
            body = json.loads(text)
            # 404 of a month that is over is a warning; on the first of a month there may be no other one to ask for.
            if status != 200:
                assert (status, body["code"]) == (502, "source_failed"), text
                assert str(fault) in body["detail"] and source_of(server)["state"] == "stale", text
            assert CANARY not in text
        assert json.loads(server.ask("GET", "/imports")[1])["rows"] == before
        vercel.fault = None
        assert server.ask("POST", "/sources/vercel/refresh")[0] == 200
        assert source_of(server)["state"] == "ok"
        for path in ("/sources", "/imports", "/audit", "/schedule", "/cost-lines?range=90d", "/settings"):
            assert CANARY not in server.ask("GET", path)[1], path
    finally:
        server.stop()
    assert CANARY not in server.log.read_text()
    holders = [path for path in store.folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert [path.name for path in holders] == ["apportion.toml"]


def test_a_cancelled_refresh_leaves_what_is_stored_and_says_so(apportion, vercel):
    store = apportion(config=config(vercel))
    server = Server(store).start()
    cancel = "/sources/vercel/refresh/cancel"
    try:
        assert until_collected(server)["refresh"] == "succeeded"
        assert server.ask("POST", cancel)[0] == 200, "nothing is under way"
        before = (stored_sums(store), json.loads(server.ask("GET", "/imports")[1])["rows"])
        vercel.factor = Decimal("1.1")
        vercel.asked.clear()
        vercel.gate.clear()
        with ThreadPoolExecutor(1) as pool:
            refreshed = pool.submit(server.ask, "POST", "/sources/vercel/refresh")
            deadline = time.monotonic() + WAIT_SECONDS_MAX
            while not vercel.asked and time.monotonic() < deadline:
                time.sleep(0.02)
            assert source_of(server)["refresh"] == "running"
            status, text = server.ask("POST", cancel)
            assert (status, json.loads(text)["refresh"]) == (202, "running"), text
            status, text = refreshed.result(WAIT_SECONDS_MAX)
        body = json.loads(text)
        assert (status, body["code"]) == (409, "run_cancelled") and "was cancelled by" in body["detail"], text
        source = source_of(server)
        shown = (source["refresh"], source["state"], source["last_error"], source["progress"])
        assert shown == ("cancelled", "ok", None, None), source
        assert (stored_sums(store), json.loads(server.ask("GET", "/imports")[1])["rows"]) == before
        newest = json.loads(server.ask("GET", "/audit?limit=1")[1])["rows"][0]
        assert (newest["action"], newest["target"]) == ("source.cancel", "vercel"), newest
        vercel.gate.set()
        assert server.ask("POST", "/sources/vercel/refresh")[0] == 200
        assert source_of(server)["refresh"] == "succeeded"
        assert stored_sums(store) != before[0], "the restated month is read now"
    finally:
        vercel.gate.set()
        server.stop()


def test_the_environment_alone_makes_a_source_and_never_prints(apportion, monkeypatch):
    monkeypatch.setenv("VERCEL_API_TOKEN", CANARY)
    monkeypatch.setenv("COST_REFRESH_INTERVAL_S", "7200")
    store = apportion()
    shown = store.run("config", "show", "--origin").stdout
    assert "VERCEL_API_TOKEN" in shown and "7200s" in shown and CANARY not in shown, shown
    listed = store.json("sources", "list")
    row = (listed["rows"] if isinstance(listed, dict) else listed)[0]
    assert (row["name"], row["kind"], row["state"], row["every_seconds"]) == ("vercel", "vercel", "never", 7200)


def test_check_warns_where_a_fixed_cost_and_a_collector_bring_one_provider(apportion, vercel):
    policy = """
version = "1"
valid_from = 2020-01-01

[[pool]]
name = "hosting"
kind = "portfolio"
tier = "overhead"
fixed = { provider = "Vercel", service = "Pro", amount = "20", currency = "USD", per = "month", from = 2020-01-01 }
"""
    store = apportion(policy=policy, config=config(vercel))
    warned = store.run("check").stderr
    assert 'fixed cost policy:hosting and source "vercel" both bring costs of Vercel' in warned, warned


@pytest.mark.parametrize(
    "keys, problem",
    [
        ('url = "https://api.vercel.com.evil.example"', "the provider is asked at https://api.vercel.com"),
        ('url = "http://169.254.169.254"\nstand_in = true', "a stand-in is http on 127.0.0.1 or [::1]"),
        ('token_file = "x"\ntoken = "y"', "not both"),
        ("billing_day = 31", "`billing_day` is 1 to 28"),
        ('settle = "1m"', "`settle` belongs to kinds that read files"),
    ],
)
def test_a_source_that_could_ask_elsewhere_or_contradicts_itself_is_refused(apportion, keys, problem):
    token = "" if "token" in keys else f'token = "{CANARY}"\n'
    store = apportion(config=f'[[source]]\nname = "vercel"\nkind = "vercel"\n{token}{keys}\n')
    refused = store.run("check", exit_code=5).stderr
    assert problem in refused and CANARY not in refused, refused
