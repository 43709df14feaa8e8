"""The real server over HTTP: the worked example digit by digit, tokens, and the demo."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from decimal import Decimal

import pytest
from conftest import Apportion
from ports import free_address

TOKEN = "python-test-token-0123456789-0123456789"
START_SECONDS_MAX = ANSWER_SECONDS_MAX = END_SECONDS_MAX = 120
POLICY = """
version = "worked-example"
valid_from = 2020-01-01

[[pool]]
name = "shared-west-us"
kind = "cluster"
tier = "direct"
select = { tags.cluster = "shared-west-us" }
split = { method = "weighted", by = ["tenant"], weights = { cpu_core_hours = "0.5", memory_gib_hours = "0.3", storage_gib_hours = "0.15", network_gib = "0.05" } }

[[pool]]
name = "shared-east"
kind = "cluster"
tier = "direct"
select = { tags.cluster = "shared-east" }
split = { method = "weighted", by = ["tenant"], weights = { cpu_core_hours = "1" } }
"""
BILL = """BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,BilledCost,EffectiveCost,ListCost,ContractedCost,ProviderName,ServiceName,ServiceCategory,Tags
a,USD,2026-05-01T00:00:00Z,2026-06-01T00:00:00Z,2026-05-03T00:00:00Z,2026-05-04T00:00:00Z,Usage,100.00,100.00,100.00,100.00,AWS,AmazonEC2,Compute,"{""cluster"": ""shared-west-us""}"
a,USD,2026-05-01T00:00:00Z,2026-06-01T00:00:00Z,2026-05-03T00:00:00Z,2026-05-04T00:00:00Z,Usage,70.00,70.00,70.00,70.00,AWS,AmazonEC2,Compute,"{""cluster"": ""shared-east""}"
"""
USED = {
    ("shared-west-us", "acme"): {"cpu_core_hours": 10, "memory_gib_hours": 40, "storage_gib_hours": 100, "network_gib": 2},
    ("shared-west-us", "globex"): {"cpu_core_hours": 30, "memory_gib_hours": 20, "storage_gib_hours": 50, "network_gib": 8},
    ("shared-east", "acme"): {"cpu_core_hours": 999, "memory_gib_hours": 1},
    ("shared-east", "initech"): {"cpu_core_hours": 1},
}


def events() -> str:
    lines = [
        {
            "specversion": "1.0",
            "type": meter,
            "source": cluster,
            "id": f"{tenant}-{meter}",
            "time": "2026-05-03T10:00:00Z",
            "tenant": tenant,
            "cluster": cluster,
            "data": {"value": quantity},
        }
        for (cluster, tenant), meters in USED.items()
        for meter, quantity in meters.items()
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


class Server:
    """A running `apportion serve` and how to ask it."""

    def __init__(self, url: str):
        self.url = url

    def ask(self, method: str, path: str, token: str | None = TOKEN) -> tuple[int, str]:
        request = urllib.request.Request(f"{self.url}/api/v1{path}", method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS_MAX) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@contextmanager
def serving(apportion: Apportion):
    address = free_address()
    command = [apportion.binary, "--config", str(apportion.folder / "apportion.toml"), "serve", "--listen", address]
    exporter = {"APPORTION__SERVER__EXPORTER_LISTEN": "off"}
    environment = {"APPORTION_ADMIN_TOKEN": TOKEN, "PATH": "/usr/bin:/bin", **exporter}
    with (apportion.folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=apportion.folder, env=environment, stdout=log, stderr=log)
        try:
            wait_until_ready(process, f"http://{address}", apportion)
            yield Server(f"http://{address}")
        finally:
            process.terminate()
            process.wait(timeout=END_SECONDS_MAX)


def wait_until_ready(process: subprocess.Popen, url: str, apportion: Apportion) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"the server did not get ready: {(apportion.folder / 'server.log').read_text()}")


@pytest.fixture(scope="module")
def store(binary, tmp_path_factory) -> Apportion:
    store = Apportion(binary, tmp_path_factory.mktemp("server"), POLICY)
    (store.folder / "bill.csv").write_text(BILL)
    (store.folder / "usage.ndjson").write_text(events())
    store.run("import", "focus", "bill.csv", "--source", "aws")
    store.run("import", "events", "usage.ndjson")
    return store


@pytest.fixture(scope="module")
def server(store):
    with serving(store) as running:
        yield running


def test_the_worked_example_comes_out_digit_by_digit(server):
    status, text = server.ask("POST", "/cost-attribution/cluster/shared-west-us/attribute?date=2026-05-03")
    assert status == 200, text
    answer = json.loads(text, parse_float=str, parse_int=str)
    assert (answer["clusterName"], answer["date"], answer["currency"]) == ("shared-west-us", "2026-05-03", "USD")
    assert (answer["totalCost"], answer["idleCost"], answer["unattributedCost"]) == ("100.00", "0.00", "0.00")
    assert {name: Decimal(weight) for name, weight in answer["weights"].items()} == {
        "cpu": Decimal("0.5"), "memory": Decimal("0.3"), "storage": Decimal("0.15"), "network": Decimal("0.05")
    }  # fmt: skip
    acme, globex = answer["tenants"]
    assert (acme["tenantId"], acme["cost"], acme["percentage"]) == ("acme", "52.622950819672131", "52.622951")
    assert acme["breakdown"] == {
        "compute": "27.868852459016394", "storage": "24.590163934426229", "network": "0.163934426229508", "other": "0.00"
    }  # fmt: skip
    assert {name: Decimal(quantity) for name, quantity in acme["usage"].items()} == {
        "cpu": 10, "memory": 40, "storage": 100, "network": 2
    }  # fmt: skip
    assert (globex["tenantId"], globex["cost"], globex["percentage"]) == ("globex", "47.377049180327869", "47.377049")
    assert globex["breakdown"] == {
        "compute": "34.426229508196721", "storage": "12.295081967213115", "network": "0.655737704918033", "other": "0.00"
    }  # fmt: skip


def test_the_other_cluster_is_not_disturbed(server):
    status, text = server.ask("POST", "/cost-attribution/cluster/shared-east/attribute?date=2026-05-03")
    assert status == 200, text
    tenants = {tenant["tenantId"]: tenant["cost"] for tenant in json.loads(text, parse_float=str)["tenants"]}
    assert tenants == {"acme": "69.93", "initech": "0.07"}


@pytest.mark.parametrize(("token", "expected"), [(None, 401), ("apn_wrong", 401), (TOKEN, 200)])
def test_only_a_known_token_gets_an_answer(server, token, expected):
    status, text = server.ask("GET", "/costs?range=2026-05-03", token)
    assert status == expected
    if status == 401:
        assert json.loads(text)["code"] == "unauthenticated"


def test_the_operators_token_signs_a_browser_in_and_out(server):
    """The token of the environment is in no table: a session knows it by its hash only."""

    def asked(method: str, path: str, body: dict | None = None, **headers: str) -> tuple[int, dict, list[str]]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{server.url}/api/v1{path}", data, {"Content-Type": "application/json"}, method=method)
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, json.loads(answer.read() or b"{}"), answer.headers.get_all("Set-Cookie", [])

    assert asked("POST", "/session", {"token": TOKEN[:-1]})[0] == 401
    status, session, set_cookies = asked("POST", "/session", {"token": TOKEN})
    assert (status, session["role"], session["tenants"]) == (200, "platform_admin", None)
    assert set_cookies[0].startswith("__Host-apportion-session=")
    assert all(word in set_cookies[0] for word in ("; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"))
    cookie = "; ".join(line.split(";")[0] for line in set_cookies)
    assert TOKEN not in cookie
    assert asked("GET", "/settings", Cookie=cookie)[1]["role"] == "platform_admin"
    status, problem, _ = asked("PUT", "/tenants/browser", {}, Cookie=cookie)
    assert (status, problem["code"]) == (403, "csrf_token_required")
    assert asked("PUT", "/tenants/browser", {}, Cookie=cookie, X_CSRF_Token=session["csrf_token"])[0] == 201
    assert asked("DELETE", "/session", Cookie=cookie)[0] == 204
    assert asked("GET", "/settings", Cookie=cookie)[0] == 401


def test_the_manual_page_has_every_command_of_the_help(store):
    page = store.run("man").stdout
    assert page.startswith(".TH APPORTION 1 ")
    commands = re.findall(r"^  ([a-z-]+)  ", store.run("--help").stdout, re.MULTILINE)
    assert len(commands) > 20
    for command in set(commands) - {"help"}:
        assert f"\n.SS apportion {command}\n".replace("-", "\\-") in page, command


def test_a_command_asks_the_server_and_needs_its_token(server, store):
    asked = ["costs", "--range", "2026-05-03", "--server", server.url]
    assert "unauthenticated" in store.run(*asked, "--token", "wrong", exit_code=4).stderr
    answer = json.loads(store.run(*asked, "--token", TOKEN, "-o", "json").stdout)
    assert Decimal(answer["totals"]["cost"]) == sum(Decimal(row["cost"]) for row in answer["rows"])


def test_a_second_process_on_the_folder_is_told_to_use_the_server(server, store):
    done = store.run("costs", exit_code=None)
    assert done.returncode != 0
    assert "--server" in done.stderr


def test_a_server_that_is_not_there_is_exit_six(store):
    store.run("costs", "--server", "http://127.0.0.1:9", "--token", TOKEN, exit_code=6)


def test_the_demo_ends_with_a_leaderboard_and_a_proof_of_zero(binary, tmp_path):
    demo = ["demo", "--no-serve", "--tenants", "8", "--days", "12", "--until", "2026-05-31", "--folder", str(tmp_path / "demo")]
    first = subprocess.run([binary, *demo], capture_output=True, text=True, timeout=600)
    assert first.returncode == 0, first.stderr
    printed = first.stdout + first.stderr
    assert re.search(r"difference\D*0\.00\b", printed), printed
