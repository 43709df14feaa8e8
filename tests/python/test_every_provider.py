"""Every provider's month adds up: what the provider said = the cost lines = the ledger, per measure and currency, to the last
digit; and a restated month replaces, it never doubles. (Vercel, with zones and twelve decimals, is in test_collectors.py.)"""

import http.server
import json
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import duckdb
import pytest
from alerting import ask
from conftest import REPOSITORY, Apportion
from deltalake import DeltaTable
from live_server import Server
from ports import free_address
from provider_stand_ins import APIS, CANARY, EXPORTS, Export, StandIn, Sums, Supabase, days_of
from test_collectors import month_before
from test_exports_elsewhere import bill, costs

MEASURES = ("billed", "effective")
pytestmark = pytest.mark.usefixtures("within_a_day")


def lines(store: Apportion, month: str | None) -> dict[str, Sums]:
    """Billed and effective cost by currency, of one billing month or of all, added up by DuckDB."""
    files = [uri.removeprefix("file://") for uri in DeltaTable(str(store.lake / "cost_lines")).file_uris()]
    wanted = [file for file in files if month is None or f"billing_month={month}" in file]
    with duckdb.connect() as connection:
        sql = "SELECT billing_currency, sum(billed_cost), sum(effective_cost) FROM read_parquet(?, hive_partitioning = false) GROUP BY 1"
        return {currency: (billed, effective) for currency, billed, effective in connection.execute(sql, [wanted]).fetchall()}


def ledger(store: Apportion, days: str) -> dict[str, Sums]:
    """The same of the entries of the ledger, which the proof agrees with."""
    rows = [row for row in store.proof(days) if not row["memo"]]
    assert rows and all(row["state"] == "proved" and Decimal(row["difference"]) == 0 for row in rows), rows
    sums: dict[str, Sums] = {}
    for entry in store.export_ledger(days):
        billed, effective = sums.get(entry["currency"], (Decimal(0), Decimal(0)))
        sums[entry["currency"]] = (billed + Decimal(entry["billed_amount"]), effective + Decimal(entry["amount"]))
    return sums


def adds_up(store: Apportion, expected: dict[str, Sums], month: str | None, days: str, what: str) -> None:
    store.run("attribute", "--range", days)
    assert lines(store, month) == expected, f"{what}: cost lines"
    assert ledger(store, days) == expected, f"{what}: ledger"
    store.run("ledger", "verify")


@pytest.mark.parametrize("make", APIS, ids=lambda make: make.__name__)
def test_what_a_provider_says_is_stored_and_posted_and_a_restated_month_replaces(apportion, make):
    provider: StandIn = make()
    try:
        store = apportion(config=provider.config())
        first = month_before(2)
        month, days = f"{first:%Y-%m}", f"{first}..{first:%Y-%m}-{days_of(f'{first:%Y-%m}')}"
        since, factors = ["--from", f"{first}T12:00:00Z"], ("1", "1.05", "0.95")
        if isinstance(provider, Supabase):
            month, days, since, factors = None, f"{provider.first}..{provider.today - timedelta(days=1)}", [], ("1",)
        for factor in factors:
            provider.factor = Decimal(factor)
            report = store.json("sources", "refresh", "it", *since)
            expected = {provider.currency: provider.bill(month)}
            collected = next(one for one in report["periods"] if one["billing_period"][:7] == (month or f"{provider.first:%Y-%m}"))
            totals = {one["currency"]: tuple(Decimal(one[name]) for name in MEASURES) for one in collected["totals"]}
            assert totals == expected, f"{factor}: what was collected"
            adds_up(store, expected, month, days, factor)
        again = store.json("sources", "refresh", "it", *since)
        assert all(one["unchanged"] for one in again["periods"]), again
        adds_up(store, expected, month, days, "again")
    finally:
        provider.stop()
    holders = [path.name for path in store.folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert holders == ["apportion.toml"], "a credential stands elsewhere"


@pytest.mark.parametrize("kind", EXPORTS)
def test_what_a_cloud_exports_is_stored_and_posted_and_a_restated_month_replaces(apportion, tmp_path, kind):
    export = Export(kind, tmp_path / "exports")
    store = apportion(config=export.config())
    first = month_before(2)
    month, days = f"{first:%Y-%m}", f"{first}..{first:%Y-%m}-{days_of(f'{first:%Y-%m}')}"
    other = f"{month_before(1):%Y-%m}"
    export.write(other, bill, costs(20))
    for factor in ("1", "1.05", "0.95"):
        amounts = costs(28, factor)
        export.write(month, bill, amounts)
        report = store.json("sources", "refresh", "it")
        assert month in [one["billing_period"] for one in report["periods"]], report
        total = sum(amounts, Decimal(0))
        adds_up(store, {export.currency: (total, total * 2)}, month, days, factor)
    assert store.json("sources", "refresh", "it")["periods"] == [], "nothing changed, so nothing is read"


class Vercel(StandIn):
    kind, keys = "vercel", 'team = "team_1"'


class Echo:
    """Lets nobody in, and repeats whatever it was sent, as careless servers do."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/auth/time":
                    body, status = str(int(time.time())).encode(), 200
                else:
                    body, status = f"{self.requestline}\n{self.headers}".encode(), 403
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def everything(echo: Echo) -> tuple[str, list[str]]:
    """A source of every kind with a canary in every credential that its page names, and their names."""
    text, names = "", []
    for make in [*APIS, Vercel]:
        provider = make()
        provider.stop()
        names.append(make.__name__.lower())
        keys = "\n".join(f'{key} = "{CANARY}-{key}"' for key in provider.credentials)
        where = f'url = "{echo.url}"\nstand_in = true\nretries = 0'
        text += f'[[source]]\nname = "{names[-1]}"\nkind = "{provider.kind}"\n{keys}\n{where}\n{provider.keys}\n'
    buckets = {
        "s3": f'kind = "aws_export"\nbucket = "s3://acme/focus"\nendpoint = "{echo.url}"\naccess_key = "{CANARY}-1"\n'
        f'secret_key = "{CANARY}-2"\nsession_token = "{CANARY}-3"',
        "az": f'kind = "azure_export"\nbucket = "az://exports/focus"\naccount = "acme"\nendpoint = "{echo.url}/acme"\n'
        f'sas_token = "sv=2021-08-06&sig={CANARY}-4"',
        "gs": f'kind = "gcp_export"\nbucket = "gs://acme/focus"\nendpoint = "{echo.url}"\n'
        f"service_account = '{google_key()}'",
    }
    for name, keys in buckets.items():
        names.append(name)
        text += f'[[source]]\nname = "{name}"\nretries = 0\n{keys}\n'
    return text, names


def google_key() -> str:
    facts = {"private_key_id": "1", "client_email": "a@example.com", "disable_oauth": True, "private_key": f"{CANARY}-5"}
    return json.dumps(facts)


def test_secrets_of_every_credential_stay_where_they_are_and_every_refusal_is_counted(apportion):
    echo = Echo()
    text, names = everything(echo)
    store = apportion(config=text)
    server = Server(store)
    server.exporter = free_address()
    server.start()
    try:
        told = []
        status, answer = ask(server.exporter, "POST", "/refresh")
        assert status == 207, answer
        told.append(answer)
        errors = {source["name"]: source["error"] for source in json.loads(answer)["sources"]}
        assert set(errors) == set(names) and all("(auth)" in error for error in errors.values()), errors
        for name in names:
            told.append(server.ask("POST", f"/sources/{name}/refresh")[1])
        status, metrics = ask(server.exporter, "GET", "/metrics")
        counts = dict(re.findall(r'^cost_collector_errors_total\{collector="(\w+)",cause="auth"\} (\d+)$', metrics, re.MULTILINE))
        # Once at the start of the server at most, once by each refresh.
        assert set(counts) == set(names) and all(int(count) in (2, 3) for count in counts.values()), counts
        others = re.findall(r'^cost_collector_errors_total\{collector="\w+",cause="(?!auth)\w+"\} [1-9]', metrics, re.MULTILINE)
        assert (status, others) == (200, [])
        told.append(metrics)
        for path in ("/sources", "/imports", "/audit", "/settings", "/schedule", "/limits", "/cost-lines?range=90d", "/openapi.json"):
            told.append(server.ask("GET", path)[1])
    finally:
        server.stop()
        echo.stop()
    told += [server.log.read_text(), store.run("config", "show", "--origin").stdout]
    told += [getattr(store.run("sources", *words, exit_code=None), part) for words in (["list"], ["test", "wasabi"]) for part in ("stdout", "stderr")]
    assert [text for text in told if CANARY in text] == []
    holders = [path.name for path in store.folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert holders == ["apportion.toml"], "a credential stands elsewhere"


def test_every_kind_of_collector_is_among_them():
    page = (REPOSITORY / "docs" / "collectors.md").read_text()
    documented = set(re.findall(r'kind = "(\w+)"', page))
    assert documented == {make.kind for make in APIS} | set(EXPORTS) | {"vercel"}
    assert month_before(1) < datetime.now(UTC).date()
