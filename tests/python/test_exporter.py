"""The exporter as Prometheus sees it: the target is up, a limit that is exceeded is told, the formats are what promtool takes."""

import http.server
import json
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from alerting import Alerting, ask, promtool, until
from conftest import REPOSITORY, Apportion
from live_server import TOKEN, Server
from ports import free_address

DEPLOY = REPOSITORY / "deploy"
pytestmark = pytest.mark.usefixtures("within_a_day")
CANARY = "canary-0123456789abcdef0123456789abcdef"
HEADER = (
    "BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,"
    "BilledCost,EffectiveCost,ListCost,ContractedCost,ProviderName,ServiceName,ConsumedQuantity,ConsumedUnit\n"
)


def config(exporter: str, cap: int) -> str:
    limit = f'provider = "vercel"\nresource = "Function Invocations"\nunit = "Requests"\ncap = {cap}\n'
    return f'[server]\nexporter_listen = "{exporter}"\n[schedule]\nafter_import = "off"\n[[limit]]\n{limit}'


def bill(invocations: int) -> str:
    """What Vercel says of today."""
    day = datetime.now(UTC).date()
    first = day.replace(day=1)
    after = (first + timedelta(days=32)).replace(day=1)
    days = f"{first}T00:00:00Z,{after}T00:00:00Z,{day}T00:00:00Z,{day + timedelta(days=1)}T00:00:00Z"
    return HEADER + f"team,USD,{days},Usage,0,0,0,0,Vercel,Function Invocations,{invocations},Requests\n"


def serving(apportion, exporter: str, cap: int) -> Server:
    server = Server(apportion(None, config(exporter, cap)))
    server.exporter = exporter
    return server.start()


class Vercel:
    """Stands in for the provider: five invocations on the last day that is over, as long as it lets the token in."""

    def __init__(self, token: str):
        stand_in = self
        self.is_open, self.quantity = True, 5

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                let_in = stand_in.is_open and self.headers["Authorization"] == f"Bearer {token}"
                body = stand_in.charges(datetime.fromisoformat(asked["to"])) if let_in else '{"error":{"code":"forbidden"}}'
                self.send_response(200 if let_in else 401)
                self.send_header("Content-Type", "application/jsonl" if let_in else "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def charges(self, to: datetime) -> str:
        """Only of the newest days that are asked for: a billing period before them has nothing to say."""
        if to < datetime.now(UTC) - timedelta(hours=25):
            return ""
        start = to - timedelta(days=1)
        return json.dumps({
            "BilledCost": 0, "EffectiveCost": 0, "BillingCurrency": "USD", "ChargeCategory": "Usage",
            "ChargePeriodStart": f"{start:%Y-%m-%dT%H:%M:%S.000Z}", "ChargePeriodEnd": f"{to:%Y-%m-%dT%H:%M:%S.000Z}",
            "ConsumedQuantity": self.quantity, "ConsumedUnit": "Requests", "ServiceName": "Function Invocations",
            "ServiceProviderName": "Vercel", "Tags": {}, "PricingCategory": "Standard", "PricingCurrency": "USD",
            "PricingQuantity": 5, "PricingUnit": "Requests",
        }) + "\n"  # fmt: skip

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def vercel():
    provider = Vercel(CANARY)
    yield provider
    provider.stop()


@pytest.fixture
def alerting(binary, tmp_path):
    """Prometheus and Alertmanager on a folder of their own, with what the binary exports for an exporter at an address."""
    started = []

    def start(store: Apportion) -> Alerting:
        exported = [store.run("observability", "export", what).stdout for what in ("scrape", "rules")]
        started.append(Alerting(tmp_path / "monitoring", *exported))
        return started[-1].start()

    yield start
    for one in started:
        one.stop()


def test_a_limit_of_one_that_is_exceeded_warns_somebody(apportion, alerting):
    exporter = free_address()
    server = serving(apportion, exporter, cap=10)
    try:
        path = server.store.folder / "bill.csv"
        path.write_text(bill(5))
        status, text = server.ask("POST", "/cost-lines/imports?source=vercel", path.read_bytes(), {"Content-Type": "text/csv"})
        assert status == 200, text
        watch = alerting(server.store)
        until(lambda: [target["health"] for target in watch.targets()] == ["up"], "the target is up")
        assert [target["labels"]["job"] for target in watch.targets()] == ["cost-exporter"]
        ratio = 'apportion_provider_used_ratio{provider="vercel",resource="Function Invocations"}'
        until(lambda: watch.value(ratio) == "0.5", "half of the limit is used")
        assert "BudgetWarning" not in watch.pending_or_firing()

        server.stop()
        server = serving(apportion, exporter, cap=1)
        until(lambda: watch.value(ratio) == "5", "five times the limit is used")
        until(lambda: watch.webhook.alerts("BudgetWarning"), "BudgetWarning is delivered")
        warning = watch.webhook.alerts("BudgetWarning")[0]
        assert warning["labels"] | {"provider": "vercel", "resource": "Function Invocations", "severity": "warning"} == warning["labels"]
        assert warning["annotations"]["summary"] == "vercel: 500% of the limit of Function Invocations is used"
        assert warning["annotations"]["runbook_url"].endswith("operations.md#budgetwarning")
        until(lambda: watch.webhook.alerts("BudgetExceeded"), "BudgetExceeded is delivered")

        row = json.loads(server.ask("GET", "/limits")[1])["rows"][0]
        assert (row["used"], row["used_ratio"], row["cap"]) == ("5", "5", "1")

        server.stop()
        server = serving(apportion, exporter, cap=1000)
        until(lambda: watch.webhook.alerts("BudgetWarning", "resolved"), "the warning is taken back")
    finally:
        server.stop()


def test_a_collector_is_read_at_start_and_its_failures_are_told(apportion, alerting, vercel):
    exporter = free_address()
    # A cycle that began days ago, whatever day it is: the provider's days begin elsewhere.
    resets = min((datetime.now(UTC) - timedelta(days=10)).day, 28)
    source = f'name = "vercel"\nkind = "vercel"\ntoken = "{CANARY}"\nurl = "{vercel.url}"\nstand_in = true\n'
    limit = f'provider = "vercel"\nresource = "function_invocations"\nunit = "Requests"\ncap = 1\nresets = {resets}\n'
    server = Server(apportion(None, f'[server]\nexporter_listen = "{exporter}"\n[[source]]\n{source}[[limit]]\n{limit}'))
    server.exporter = exporter
    server.start()
    try:
        watch = alerting(server.store)
        ratio = 'apportion_provider_used_ratio{provider="vercel",resource="function_invocations"}'
        until(lambda: watch.value(ratio) in ("5", "10"), "the collection at start shows")
        until(lambda: watch.webhook.alerts("BudgetWarning"), "BudgetWarning is delivered")
        assert json.loads(ask(exporter, "POST", "/refresh")[1]) == {"sources": [{"name": "vercel", "error": None}]}
        until(lambda: watch.value('cost_collector_errors_total{cause="auth"}') == "0", "no failure is a number too")
        until(lambda: watch.value("apportion_collector_duration_seconds") is not None, "a reading took time")

        before = watch.value(ratio)
        vercel.is_open = False
        status, text = ask(exporter, "POST", "/refresh")
        assert (status, "auth" in json.loads(text)["sources"][0]["error"]) == (207, True), text
        until(lambda: watch.webhook.alerts("CollectorErrors"), "CollectorErrors is delivered")
        assert watch.webhook.alerts("CollectorErrors")[0]["labels"]["cause"] == "auth"
        assert watch.value(ratio) == before, "what was read before stays"
        told = [text, ask(exporter, "GET", "/metrics")[1], json.dumps(watch.webhook.delivered), server.log.read_text()]
        assert [CANARY in words for words in told] == [False] * 4
    finally:
        server.stop()


def test_a_refresh_that_brings_something_is_in_the_audit_log(apportion, vercel):
    exporter = free_address()
    source = f'name = "vercel"\nkind = "vercel"\ntoken = "{CANARY}"\nurl = "{vercel.url}"\nstand_in = true\n'
    server = Server(apportion(None, f'[server]\nexporter_listen = "{exporter}"\n[[source]]\n{source}'))
    server.exporter = exporter
    server.start()

    def refreshes() -> list[dict]:
        # The collection at start is in the log as well, as the server's own.
        rows = json.loads(server.ask("GET", "/audit")[1])["rows"]
        return [row for row in rows if (row["action"], row["actor"]) == ("source.refresh", "loopback")]

    def brings_something() -> list[dict]:
        # The collection at start may come first, and then the refresh brings nothing.
        vercel.quantity += 1
        assert ask(exporter, "POST", "/refresh")[0] == 200
        return refreshes()

    try:
        until(brings_something, "a refresh brings something")
        recorded = refreshes()
        assert {row["target"] for row in recorded} == {"vercel"}
        assert ask(exporter, "POST", "/refresh")[0] == 200
        assert refreshes() == recorded, "nothing new is nothing to record"
    finally:
        server.stop()


def test_what_the_exporter_writes_is_what_promtool_takes(apportion):
    exporter = free_address()
    server = serving(apportion, exporter, cap=10)
    try:
        server.ask("POST", "/cost-lines/imports?source=vercel", bill(5).encode(), {"Content-Type": "text/csv"})
        status, text = ask(exporter, "GET", "/metrics")
        assert status == 200, text
        assert "apportion_provider_used_ratio" in text
        assert promtool(["check", "metrics"], text) == ""
        status, text = ask(exporter, "GET", "/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"})
        assert (status, text.endswith("\n# EOF\n")) == (200, True)
    finally:
        server.stop()


def test_who_is_not_on_this_machine_needs_a_token(apportion):
    exporter = free_address()
    server = serving(apportion, exporter, cap=10)
    try:
        assert ask(exporter, "POST", "/refresh") == (200, '{"sources":[]}')
        for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"X-Forwarded-For": "10.0.0.1"}):
            assert ask(exporter, "GET", "/metrics", headers)[0] == 401, headers
            assert ask(exporter, "POST", "/refresh", headers)[0] == 401, headers
        through = {"Host": "metrics.example", "Authorization": f"Bearer {TOKEN}"}
        assert [ask(exporter, method, path, through)[0] for method, path in (("GET", "/metrics"), ("POST", "/refresh"))] == [200, 200]
        status, text = server.ask("POST", "/tokens", b'{"role":"metrics"}', {"Content-Type": "application/json"})
        assert status == 201, text
        through["Authorization"] = f"Bearer {json.loads(text)['token']}"
        assert [ask(exporter, method, path, through)[0] for method, path in (("GET", "/metrics"), ("POST", "/refresh"))] == [200, 403]
    finally:
        server.stop()


def test_the_deployed_files_are_what_is_exported_and_promtool_takes_them(apportion):
    store: Apportion = apportion()
    exported = {what: store.run("observability", "export", what).stdout for what in ("grafana", "rules", "scrape")}
    assert exported["grafana"] == (DEPLOY / "grafana/provisioning/dashboards/costs.json").read_text()
    assert exported["rules"] == (DEPLOY / "prometheus/rules/costs.yml").read_text()
    assert (DEPLOY / "prometheus/prometheus.yml").read_text().endswith(exported["scrape"])
    elsewhere = store.run("observability", "export", "rules", "--runbooks", "https://wiki.example/costs").stdout
    assert elsewhere.count("runbook_url: 'https://wiki.example/costs#") == 7
    assert "7 rules found" in promtool(["check", "rules", "costs.yml"], folder=DEPLOY / "prometheus/rules")
    promtool(["check", "config", "prometheus.yml"], folder=DEPLOY / "prometheus")
    assert "SUCCESS" in promtool(["test", "rules", "costs_test.yml"], folder=DEPLOY / "prometheus/tests")


def test_limits_that_make_no_sense_are_refused_with_their_place(apportion):
    limit = 'provider = "vercel"\nresource = "r"\nunit = "Requests"\n'
    for more, expected in [
        ("cap = 0", "limit 1 (vercel r): `cap` must be more than 0"),
        ("cap = 0.5", "a decimal in quotes"),
        ("cap = 1\nresets = 29", "a day of the month from 1 to 28"),
        ("cap = 1\nreading = 'mean'", "unknown value `mean`"),
    ]:
        store: Apportion = apportion(None, f"[[limit]]\n{limit}{more}\n")
        refused = store.run("check", exit_code=5)
        assert expected in refused.stderr, refused.stderr
