"""The Prometheus source against a real Prometheus server: the Kubernetes preset, idle capacity, kills, faults."""

import json
import time
from collections import defaultdict
from datetime import UTC, datetime

import pytest
from conftest import Apportion
from prometheus_server import HOUR, Cluster, Prometheus, differences
from test_events import Server

DAY_SECONDS = 24 * HOUR
WAIT_SECONDS_MAX = 180
POLICY = """
version = "kubernetes"
valid_from = 2020-01-01

[[pool]]
name = "{each}"
for_each = "cluster"
kind = "cluster"
select = { "tags.cluster" = "{each}" }
split = { method = "weighted", where = { cluster = "{each}" }, weights = { cpu_core_hours = "0.5", memory_gib_hours = "0.25" } }
capacity = { cpu_core_hours = "cpu_core_hours_capacity", memory_gib_hours = "memory_gib_hours_capacity" }
idle = "separate"
"""
WEIGHTS = {"cpu_core_hours": 0.5, "memory_gib_hours": 0.25}
BILL = """BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,BilledCost,EffectiveCost,ListCost,ContractedCost,ProviderName,ServiceName,ServiceCategory,Tags
a,USD,{month}T00:00:00Z,{day}T23:00:00Z,{day}T00:00:00Z,{day}T23:00:00Z,Usage,100.00,100.00,100.00,100.00,AWS,AmazonEC2,Compute,"{{""cluster"": ""east""}}"
"""


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """Six hours of the day before yesterday; every other hour is a hole."""
    return Cluster(int(time.time()) // DAY_SECONDS * DAY_SECONDS - 2 * DAY_SECONDS + 6 * HOUR)


@pytest.fixture(scope="module")
def prometheus(cluster, tmp_path_factory):
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"))
    prometheus.load(cluster.samples())
    yield prometheus.start()
    prometheus.stop()


def config(prometheus: Prometheus, more: str = "") -> str:
    return f"""
[[source]]
name = "prod"
kind = "prometheus"
url = "{prometheus.url}"
preset = "kubernetes"
cluster = "east"
backfill = "72h"
chunk = "10h"
retries = 0
{more}
"""


def day_of(cluster: Cluster) -> str:
    return f"{datetime.fromtimestamp(cluster.begin, UTC):%Y-%m-%d}"


def usage(ask, cluster: Cluster, meter: str) -> dict[tuple[str, int], float]:
    """Quantity by tenant and hour; the hours before and after the data have what the server's look-back leaves."""
    day = day_of(cluster)
    found = {}
    for row in ask(f"/usage?from={day}&to={day}&meter={meter}&granularity=hour&group_by=tenant&limit=1000")["rows"]:
        hour = (int(datetime.fromisoformat(row["start"]).timestamp()) - cluster.begin) // HOUR
        assert -1 <= hour <= cluster.hours, row
        if 0 <= hour < cluster.hours:
            found[row["key"]["tenant"], hour] = float(row["quantity"])
    return found


def compare(ask, cluster: Cluster) -> int:
    values = 0
    for meter, expected in cluster.expected().items():
        assert differences(expected, usage(ask, cluster, meter)) == [], meter
        values += len(expected)
    return values


def asker(server: Server):
    def ask(path: str, method: str = "GET"):
        status, text = server.ask(method, path)
        assert status == 200, text
        return json.loads(text)

    return ask


def read_once(server: Server) -> dict:
    """Waits for the pull with which a server begins."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        source = asker(server)("/sources")["rows"][0]
        if source["state"] == "ok" or source["last_error"]:
            return source
        time.sleep(0.05)
    pytest.fail(f"the source was not read: {source}")


def test_namespaces_of_a_cluster_use_what_the_data_says(apportion, prometheus, cluster):
    store: Apportion = apportion(POLICY, config(prometheus))
    assert "configuration is valid" in store.run("check").stderr
    report = store.json("sources", "test", "prod")
    assert (report["dry_run"], report["accepted"], len(report["queries"])) == (True, 0, 6)
    assert store.json("sources", "list")["rows"][0]["state"] == "never"

    server = Server(store).start()
    ask = asker(server)
    try:
        source = read_once(server)
        assert (source["state"], source["last_error"], source["rejected"]) == ("ok", None, 0), source
        values = compare(ask, cluster)
        first = {meter: usage(ask, cluster, meter) for meter in cluster.expected()}
        report = ask("/sources/prod/refresh", "POST")
        assert (report["accepted"], report["changed_later"], report["rejected_total"]) == (0, 0, 0), report
        begin = datetime.fromtimestamp(cluster.begin - 2 * HOUR, UTC)
        again = ask(f"/sources/prod/refresh?from={begin:%Y-%m-%dT%H:%M:%SZ}", "POST")
        assert (again["accepted"], again["changed_later"]) == (0, 0), again
        assert again["duplicates"] == source["rows"] >= values, "every value is known"

        server.kill()
        server.start()
        read_once(server)
        assert {meter: usage(ask, cluster, meter) for meter in cluster.expected()} == first
        assert ask("/sources")["rows"][0]["rows"] == source["rows"]
    finally:
        server.stop()
    print(f"\n{values} values of tenants and hours agree with the data, {source['rows']} were read")


def test_what_nobody_used_is_idle(apportion, prometheus, cluster):
    store: Apportion = apportion(POLICY, config(prometheus))
    day = day_of(cluster)
    (store.folder / "bill.csv").write_text(BILL.format(month=f"{day[:7]}-01", day=day))
    store.run("import", "focus", "bill.csv", "--source", "aws")
    store.run("sources", "refresh", "prod")
    store.run("attribute", "--date", day)
    rows = store.json("costs", "--from", day, "--to", day)["rows"]
    costs = {row["key"]["tenant"]: float(row["cost"]) for row in rows}

    weight = defaultdict(float)
    for meter, each in WEIGHTS.items():
        expected = cluster.expected()
        for (tenant, _), quantity in expected[meter].items():
            weight[tenant] += each * quantity
        used, offered = (sum(expected[name].values()) for name in (meter, f"{meter}_capacity"))
        weight["__idle__"] += each * (offered - used)
    # The minutes of the server's look-back before and after the six hours are a part of the day as well.
    for tenant, part in weight.items():
        assert costs[tenant] == pytest.approx(100 * part / sum(weight.values()), abs=0.5), costs
    assert sum(costs.values()) == pytest.approx(100, abs=1e-9)
    assert "cluster:east" not in costs, "the capacity pays for nothing"


def test_a_kill_in_the_middle_of_a_pull_doubles_nothing(apportion, prometheus, cluster):
    """Every restart reads again; the kills come at other moments of the pull each time."""
    store: Apportion = apportion(POLICY, config(prometheus))
    server = Server(store)
    kills = 20
    for number in range(kills):
        server.start()
        time.sleep(0.01 * number)  # no event tells how far a pull is
        server.kill()
    server.start()
    try:
        read_once(server)
        compare(asker(server), cluster)
        report = asker(server)("/sources/prod/refresh", "POST")
        assert (report["accepted"], report["changed_later"]) == (0, 0), report
    finally:
        server.stop()
    print(f"\n{kills} kills while usage was read: nothing lost, nothing doubled")


def test_a_server_that_goes_away_leaves_what_was_read(apportion, cluster, tmp_path):
    folder = tmp_path / "prometheus"
    folder.mkdir()
    prometheus = Prometheus(folder)
    prometheus.load(cluster.samples())
    prometheus.start()
    store: Apportion = apportion(POLICY, config(prometheus))
    try:
        store.run("sources", "refresh", "prod")
    finally:
        prometheus.stop()
    failed = store.run("sources", "refresh", "prod", exit_code=6)
    assert "source_failed" in failed.stderr and "cannot be reached" in failed.stderr, failed.stderr
    source = store.json("sources", "list")["rows"][0]
    assert source["state"] == "stale" and "cannot be reached" in source["last_error"], source
    server = Server(store).start()
    try:
        compare(asker(server), cluster)
    finally:
        server.stop()
    missing = store.run("sources", "refresh", "west", exit_code=3)
    assert "not_found" in missing.stderr


def test_bad_promql_is_told_by_the_server(apportion, prometheus):
    query = '[[source.query]]\nname = "bad"\nmeter = "log_queries"\nquery = "sum(("\ntenant = "t"'
    store: Apportion = apportion(POLICY, config(prometheus, query))
    store.run("check")
    failed = store.run("sources", "test", "prod", exit_code=6)
    assert "query `bad`: the server refuses the query: bad_data" in failed.stderr, failed.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('cluster = "east"\n', ""), "needs the name of the `cluster`"),
        (('url = "http', 'url = "gopher'), "must begin with http:// or https://"),
        (('preset = "kubernetes"', 'preset = "nomad"'), "unknown value `nomad`"),
        (("chunk", "chunks"), "unknown key `chunks`; did you mean `chunk`?"),
    ],
)
def test_a_bad_source_is_refused_before_anything_is_asked(apportion, prometheus, change, message):
    store: Apportion = apportion(POLICY, config(prometheus).replace(*change))
    for command in (["check"], ["sources", "list"]):
        failed = store.run(*command, exit_code=5)
        assert message in failed.stderr and 'apportion.toml: [[source]] "prod"' in failed.stderr, failed.stderr
