"""J2: requests with one event each over 256 connections, one in ten sent before, against PostgreSQL's pgbench.

Both sides answer when the event is on stable storage. pgbench makes its rows from a number in a prepared INSERT … ON
CONFLICT DO NOTHING, so that the peer parses no JSON text and its client is one of C; it runs with 256 and with 64 connections
and its best counts.
"""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from common import POSTGRES_BIN, append_result, check_equal, print_table, run_job, verdict
from events import DAY
from postgres import Postgres
from server import LOAD_COLUMNS, Load, Server, percentile, send, write_requests

REQUESTS = int(os.environ.get("REQUESTS", 102_400))
CONNECTIONS = int(os.environ.get("CONNECTIONS", 256))
# So few that all are known after the first round: a new one is entered into the catalog, which takes a write of its own.
TENANTS = int(os.environ.get("TENANTS", 100))
PEER_CONNECTIONS = (256, 64)
RATIO_MIN = 5.0
# Request i of a client repeats the one before if i ends in 9.
SCRIPT = """
\\set i :i + 1
\\set k case when :i % 10 = 9 then :i - 1 else :i end
\\set n :client_id * {each} + :k
\\set t (:client_id + :k) % {tenants}
INSERT INTO events VALUES ('tenant-' || :t::int, '/bench', 'id-' || :n::int, 'llm.completion',
  timestamptz '2026-05-03 00:00:00Z' + :n::int * interval '1 millisecond', 'user-' || :n::int % 5,
  jsonb_build_object('model', 'model-1', 'direction', 'output', 'tokens', :n::int % 1000 + 1)) ON CONFLICT DO NOTHING;
"""


@dataclass(frozen=True)
class Request:
    number: int
    tenant: int

    def line(self) -> str:
        at = (DAY + timedelta(milliseconds=self.number)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return (
            f'{{"specversion":"1.0","id":"id-{self.number}","source":"/bench","type":"llm.completion","time":"{at}",'
            f'"tenant":"tenant-{self.tenant}","user":"user-{self.number % 5}",'
            f'"data":{{"model":"model-1","direction":"output","tokens":{self.number % 1000 + 1}}}}}'
        )


def requests_of(connections: int) -> list[list[Request]]:
    """What each connection sends, in this order."""
    each = REQUESTS // connections
    kept = [i - 1 if i % 10 == 9 else i for i in range(each)]
    return [[Request(client * each + i, (client + i) % TENANTS) for i in kept] for client in range(connections)]


def expected(connections: int) -> tuple[int, int]:
    sent = {request.number for share in requests_of(connections) for request in share}
    return len(sent), sum(number % 1000 + 1 for number in sent)


def job(folder: Path, opened: list) -> None:
    server = Server(folder / "apportion")
    opened.append(server)
    server.start()
    requests = folder / "requests"
    in_turn = (request for turn in zip(*requests_of(CONNECTIONS), strict=True) for request in turn)
    write_requests(requests, (request.line().encode() for request in in_turn), "application/cloudevents+json")
    ours = send(server, requests, CONNECTIONS)
    check_equal("events accepted", {"answers": ours.accepted, "expected": expected(CONNECTIONS)[0]})
    check_equal("events and tokens", {"Apportion": server.usage(), "expected": expected(CONNECTIONS)})
    server.stop()
    with Bare() as server:
        bare = send(server, requests, CONNECTIONS)
    requests.unlink()

    postgres = Postgres(folder / "postgres")
    opened.append(postgres)
    postgres.start()
    rounds = {}
    for connections in PEER_CONNECTIONS:
        postgres.reset()
        rounds[f"PostgreSQL over {connections}"] = peer(postgres, folder, connections)
        check_equal("events and tokens", {"PostgreSQL": postgres.totals(), "expected": expected(connections)})
    postgres.stop()
    report(ours, bare, rounds)


class Bare:
    """A server that answers the same requests and does nothing: what HTTP and this machine leave to any server."""

    def __enter__(self) -> "Bare":
        command = [os.environ["LOAD_BIN"], "bare"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid, self.address = self.process.pid, self.process.stdout.readline().strip()
        return self

    def __exit__(self, *_) -> None:
        self.process.communicate()


def peer(postgres: Postgres, folder: Path, connections: int) -> Load:
    each = REQUESTS // connections
    (folder / "insert.sql").write_text(SCRIPT.format(each=each, tenants=TENANTS))
    (folder / "log").mkdir(exist_ok=True)
    command = [
        POSTGRES_BIN / "pgbench", "-h", postgres.folder, "-U", "postgres", "-n", "-M", "prepared", "-f", folder / "insert.sql",
        "-D", "i=-1", "-c", connections, "-j", 2, "-t", each, "-l", "--log-prefix", folder / "log" / f"{connections}", "postgres",
    ]  # fmt: skip
    cpu_before = postgres.cpu()
    times_before = os.times()
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    times = os.times()
    if done.returncode != 0:
        sys.exit(f"pgbench ended with {done.returncode}: {done.stderr}")
    time.sleep(0.1)  # the server's processes end behind their connections
    server_cpu = postgres.cpu() - cpu_before
    client_cpu = times.children_user + times.children_system - times_before.children_user - times_before.children_system
    per_second = float(re.search(r"tps = ([0-9.]+)", done.stdout)[1])
    logs = [log.read_text().splitlines() for log in (folder / "log").glob(f"{connections}.*")]
    latencies_ms = [int(row.split()[2]) / 1000 for log in logs for row in log]
    p50, p99 = percentile(latencies_ms, 0.50), percentile(latencies_ms, 0.99)
    sent, accepted = len(latencies_ms), expected(connections)[0]
    return Load(sent / per_second, client_cpu, server_cpu, sent, accepted, sent - accepted, p50, p99)


def report(ours: Load, bare: Load, rounds: dict[str, Load]) -> None:
    best_name = min(rounds, key=lambda name: rounds[name].seconds / rounds[name].requests)
    best = rounds[best_name]
    sides = {f"Apportion over {CONNECTIONS}": ours, f"HTTP alone over {CONNECTIONS}": bare, **rounds}
    print_table(
        f"J2, {REQUESTS:,} requests", LOAD_COLUMNS, [(name, *load.figures(load.requests)) for name, load in sides.items()]
    )
    ratio = (ours.requests / ours.seconds) / (best.requests / best.seconds)
    bare_ratio = (bare.requests / bare.seconds) / (best.requests / best.seconds)
    cpu_ratio = (ours.requests / ours.server_cpu) / (best.requests / best.server_cpu)
    met = verdict(ratio >= RATIO_MIN)
    print(
        f"\n{ratio:.2f} × the best of PostgreSQL ({best_name}) by the clock (target ≥ {RATIO_MIN}), "
        f"{cpu_ratio:.2f} × by server CPU: {met}\n"
        f"HTTP alone reaches {bare_ratio:.2f} × PostgreSQL here; Apportion reaches {ratio / bare_ratio:.0%} of that"
    )
    append_result("J2", {
        "requests": REQUESTS, "connections": CONNECTIONS, "apportion": vars(ours), "peer": best_name,
        "postgresql_best": vars(best), "bare_http": vars(bare), "ratio": ratio, "cpu_ratio": cpu_ratio, "target": met,
    })  # fmt: skip


if __name__ == "__main__":
    run_job("J2", job)
