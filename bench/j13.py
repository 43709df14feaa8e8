"""J13: a scrape of 100,000 series, against Python's prometheus_client with the same series and values.

Both are servers of their own and are read by the same client, one connection each time, as Prometheus does without
compression. The series are costs of tenants: one day of usage is attributed, and each tenant has a series of its own. The
answers are compared before the times: every series of the peer must have the value that Apportion printed.
"""

import http.client
import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from common import append_result, check_equal, cpu_seconds, measure, memory_mib, print_table, run_job, verdict
from server import Server

TENANTS = int(os.environ.get("TENANTS", 100_000))
ROUNDS = int(os.environ.get("ROUNDS", 10))
# Rows find their tenant by chance; with so many a tenant nobody is left out.
ROWS_PER_TENANT = 24
FACTOR_MIN = 20.0
NAME = "apportion_tenant_cost_month_to_date"
LABELS = ("tenant", "tier", "currency")
POLICY = """
version = "bench"
valid_from = 2020-01-01

[[pool]]
name = "cluster"
kind = "service"
tier = "direct"
select = {}
split = { method = "weighted", by = ["tenant"], weights = { cpu_core_hours = "0.5", memory_gib_hours = "0.3", storage_gib_hours = "0.15", network_gib = "0.05" } }
"""
BILL = """BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,BilledCost,EffectiveCost,ListCost,ContractedCost,ProviderName,ServiceName,ServiceCategory
bench,USD,{first}T00:00:00Z,{next_month}T00:00:00Z,{day}T00:00:00Z,{next_day}T00:00:00Z,Usage,100000.00,100000.00,100000.00,100000.00,bench,bench,Compute
"""


class Peer:
    """prometheus_client in a process of its own, with the series of a file."""

    def __init__(self, series: Path):
        self.process = subprocess.Popen([sys.executable, __file__, "--peer", series], stdout=subprocess.PIPE, text=True)
        self.address = f"127.0.0.1:{self.process.stdout.readline().strip()}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def close(self) -> None:
        self.process.kill()
        self.process.wait(timeout=60)


def peer(path: str) -> None:
    """Serves the series of the file until it is killed; prints the port when it does."""
    from prometheus_client import CollectorRegistry, Gauge, start_http_server

    registry = CollectorRegistry()
    gauge = Gauge(NAME, "Cost of a tenant this month.", LABELS, registry=registry)
    for labels, value in parse(Path(path).read_text()).items():
        gauge.labels(*labels).set(float(value))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    print(server.server_port, flush=True)
    thread.join()


def parse(text: str) -> dict[tuple[str, ...], str]:
    """Values by labels of the costs of tenants. The generated names need no escapes."""
    found = {}
    for line in text.splitlines():
        if line.startswith(NAME + "{"):
            inside, value = line[len(NAME) + 1 :].rsplit("} ", 1)
            labels = dict(pair.split("=", 1) for pair in inside.split(","))
            found[tuple(labels[name].strip('"') for name in LABELS)] = value
    return found


def scrape(address: str) -> tuple[float, str]:
    begun = time.monotonic()
    connection = http.client.HTTPConnection(address, timeout=600)
    try:
        connection.request("GET", "/metrics", headers={"Accept": "text/plain"})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    seconds = time.monotonic() - begun
    if answer.status != 200:
        sys.exit(f"a scrape was answered {answer.status}: {body[:500]}")
    return seconds, body.decode()


def scrapes(address: str, pid: int) -> tuple[float, float, str]:
    """Seconds of the best of all rounds, CPU seconds of the server per scrape, and the last answer."""
    before, seconds, text = cpu_seconds(pid), [], ""
    for _ in range(ROUNDS):
        took, text = scrape(address)
        seconds.append(took)
    return min(seconds), (cpu_seconds(pid) - before) / ROUNDS, text


def fill(folder: Path, day: date) -> Server:
    """Returns a server, not started, with one attributed day of so many tenants."""
    exporter = "127.0.0.1:0"
    server = Server(folder, f"[exporter]\ntenants_max = {TENANTS}\n", exporter)
    (folder / "policy.toml").write_text(POLICY)
    month = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    bill = BILL.format(first=day.replace(day=1), next_month=month, day=day, next_day=day + timedelta(days=1))
    (folder / "bill.csv").write_text(bill)
    measure([os.environ["USAGE_ROWS_BIN"], str(folder / "data"), str(TENANTS * ROWS_PER_TENANT), str(TENANTS), str(day)])
    command = [server.binary, "--config", str(server.config)]
    measure([*command, "import", "focus", str(folder / "bill.csv"), "--source", "bench"])
    measure([*command, "attribute", "--date", str(day)])
    return server


def address_of(server: Server) -> str:
    """Where the exporter listens, as the server said when it started."""
    lines = (server.folder / "server.log").read_text().splitlines()
    said = [line for line in lines if line.startswith("metrics on ")]
    return said[-1].removeprefix("metrics on http://").removesuffix("/metrics")


def job(folder: Path, opened: list) -> None:
    today = datetime.now(UTC).date()
    if today.day == 1:
        sys.exit("J13 needs a day of this month that is over; run it tomorrow")
    server = fill(folder / "apportion", today - timedelta(days=1))
    opened.append(server)
    server.start()
    address = address_of(server)
    first, text = scrape(address)
    (folder / "series.txt").write_text(text)
    ours_seconds, ours_cpu, ours = scrapes(address, server.pid)
    client = Peer(folder / "series.txt")
    opened.append(client)
    theirs_seconds, theirs_cpu, theirs = scrapes(client.address, client.pid)

    expected, found = parse(ours), parse(theirs)
    check_equal("series", {"Apportion": len(expected), "prometheus_client": len(found), "wanted": TENANTS})
    differing = sum(float(value) != float(found.get(labels, "nan")) for labels, value in expected.items())
    check_equal("values that differ", {"prometheus_client": differing, "wanted": 0})
    report(first, (ours_seconds, ours_cpu, server.pid, len(ours)), (theirs_seconds, theirs_cpu, client.pid, len(theirs)))


def report(first: float, ours: tuple, theirs: tuple) -> None:
    rows = [
        ("Apportion, first scrape", first, None, None, None),
        ("Apportion", ours[0], ours[1], memory_mib(ours[2]), ours[3] / 2**20),
        ("prometheus_client", theirs[0], theirs[1], memory_mib(theirs[2]), theirs[3] / 2**20),
    ]
    print_table(f"J13, {TENANTS:,} series, best of {ROUNDS}", ["seconds", "server CPU s", "MiB", "answer MiB"], rows)
    factor = theirs[0] / ours[0]
    met = verdict(factor >= FACTOR_MIN)
    print(f"\n{factor:.1f} × as fast as prometheus_client (target ≥ {FACTOR_MIN:.0f}): {met}")
    append_result("J13", {
        "series": TENANTS, "seconds": ours[0], "cpu_seconds": ours[1], "first_seconds": first, "mib": rows[1][3],
        "answer_mib": rows[1][4], "prometheus_client_seconds": theirs[0], "prometheus_client_cpu_seconds": theirs[1],
        "prometheus_client_mib": rows[2][3], "factor": factor, "target": met,
    })  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(sys.argv[2])
    else:
        run_job("J13", job)
