"""Live events against the real binary: acknowledged is kept and counted once, whatever happens to the process."""

import gzip
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import pytest
from conftest import Apportion
from deltalake import DeltaTable

TOKEN = "apn_events_0123456789abcdef0123456789abcdef"
KILLS = int(os.environ.get("APPORTION_KILLS", 100))
KILL_SECONDS_MAX = float(os.environ.get("APPORTION_KILL_SECONDS", 240))
CLIENTS = 32
TENANTS = ("acme", "globex", "initech")
START_SECONDS_MAX = 30
# Small segments and frequent flushes: the kills hit every step of the way to the lake.
CONFIG = '[ingest]\nsegment = "256KiB"\nflush_every = "1s"\npast_days = 36500\nevents_per_second_per_tenant = 1000000\n'
DAY = "2026-05-03"


class Server:
    """The binary as a server that may be killed and started again on the same folder."""

    def __init__(self, store: Apportion):
        self.store = store
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.process: subprocess.Popen | None = None
        self.variables: dict[str, str] = {}

    def start(self) -> "Server":
        command = [self.store.binary, "--config", str(self.store.folder / "apportion.toml"), "serve", "--listen", self.address]
        environment = {"APPORTION_ADMIN_TOKEN": TOKEN, "PATH": "/usr/bin:/bin", **self.variables}
        with (self.store.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(command, cwd=self.store.folder, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.ask("GET", "/readyz", base="")[0] == 200:
                    return self
            except OSError:
                time.sleep(0.02)
        pytest.fail(f"the server did not get ready: {(self.store.folder / 'server.log').read_text()[-4000:]}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict | None = None, base: str = "/api/v1"):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, base + path, body, {"Authorization": f"Bearer {TOKEN}", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def send(self, events: list[dict], query: str = "") -> tuple[int, dict]:
        lines = "".join(json.dumps(event) + "\n" for event in events).encode()
        status, text = self.ask("POST", f"/events{query}", lines, {"Content-Type": "application/x-ndjson"})
        return status, json.loads(text)

    def usage(self, query: str) -> list[dict]:
        status, text = self.ask("GET", f"/usage?{query}")
        assert status == 200, text
        return json.loads(text)["rows"]


def event(number: int, tenant: str = "acme", value: int | str = 1, **more) -> dict:
    hour = number % 24
    return {
        "specversion": "1.0", "id": f"e{number}", "source": "test", "type": "log_queries", "tenant": tenant,
        "time": f"{DAY}T{hour:02}:10:00Z", "data": {"value": value}, **more,
    }  # fmt: skip


@pytest.fixture
def server(apportion):
    server = Server(apportion(config=CONFIG)).start()
    yield server
    if server.process.poll() is None:
        server.stop()


def totals(server: Server, query: str = f"range={DAY}..{DAY}&meter=log_queries") -> dict[str, int]:
    return {row["key"]["tenant"]: int(row["quantity"]) for row in server.usage(query)}


def test_an_event_is_visible_in_the_answer_after_its_own(server):
    status, body = server.send([event(1, value=5), event(2, "globex", 7)])
    assert (status, body) == (200, {"accepted": 2, "duplicates": 0, "rejected": []})
    assert totals(server) == {"acme": 5, "globex": 7}
    status, body = server.send([event(1, value=5)])
    assert (status, body["duplicates"]) == (200, 1)
    status, body = server.send([event(1, value=6), event(3)])
    assert (status, body["accepted"], body["rejected"][0]["code"]) == (207, 1, "id_conflict")
    rows = server.usage(f"range={DAY}..{DAY}&meter=log_queries&granularity=hour&filter=tenant:acme")
    assert [(row["start"], row["quantity"]) for row in rows] == [
        (f"{DAY}T01:00:00Z", "5"), (f"{DAY}T03:00:00Z", "1")
    ]  # fmt: skip


def test_what_is_stopped_and_started_again_says_the_same(server):
    server.send([event(number, TENANTS[number % 3], number) for number in range(100)])
    before = totals(server)
    server.stop()
    server.start()
    assert totals(server) == before
    status, body = server.send([event(number, TENANTS[number % 3], number) for number in range(100)])
    assert (status, body["duplicates"]) == (200, 100)
    server.stop()
    tables = {name: DeltaTable(str(server.store.lake / name)) for name in ("usage", "usage_events")}
    files = tables["usage"].file_uris()
    with duckdb.connect() as connection:
        rows = connection.execute('SELECT tenant, sum("sum")::BIGINT FROM read_parquet(?) GROUP BY 1', [files]).fetchall()
    assert dict(rows) == before
    assert tables["usage_events"].to_pyarrow_table().num_rows == 100


def test_one_request_is_as_good_as_its_content_type_says(server):
    one = json.dumps(event(1)).encode()
    batch = json.dumps([event(2), event(3)]).encode()
    lines = b"\n".join(json.dumps(event(number)).encode() for number in (4, 5)) + b"\n"
    for content_type, body, encoding in [
        ("application/cloudevents+json; charset=utf-8", one, None),
        ("application/cloudevents-batch+json", batch, None),
        ("application/json", one, None),
        ("application/json", batch, None),
        ("application/x-ndjson", lines, None),
        ("application/x-ndjson", gzip.compress(lines), "gzip"),
    ]:
        headers = {"Content-Type": content_type} | ({"Content-Encoding": encoding} if encoding else {})
        status, text = server.ask("POST", "/events", body, headers)
        assert (status, json.loads(text)["rejected"]) == (200, []), (content_type, text)
    assert totals(server) == {"acme": 5}
    for content_type, body, expected in [
        ("text/plain", one, (415, "unsupported_media_type")),
        ("application/json", b"{", (400, "invalid_json")),
        ("application/json", b'[{"specversion":', (400, "invalid_json")),
        ("application/cloudevents+json", batch, (400, "invalid_body")),
        ("application/json", json.dumps(event(6, value="x")).encode(), (400, "invalid_event")),
        ("application/json", json.dumps(event(1, value=9)).encode(), (409, "id_conflict")),
        ("application/json", json.dumps(event(7, value=-1)).encode(), (400, "negative_quantity")),
        ("application/json", json.dumps(event(8, tenant="")).encode(), (400, "tenant_missing")),
    ]:
        status, text = server.ask("POST", "/events", body, {"Content-Type": content_type})
        assert (status, json.loads(text)["code"]) == expected, text
    status, body = server.send([event(9), {"no": "event"}], "?atomic=true")
    assert (status, body["code"], body["errors"][0]["pointer"]) == (422, "events_refused", "/1")
    status, text = server.ask("POST", "/events", b"{\n" + one + b"\n", {"Content-Type": "application/x-ndjson"})
    assert (status, [item["code"] for item in json.loads(text)["rejected"]]) == (207, ["invalid_event"])
    assert totals(server) == {"acme": 5}


class Client(threading.Thread):
    """Sends its own events, each until it is acknowledged, sometimes again although it was."""

    def __init__(self, server: Server, number: int, stop: threading.Event):
        super().__init__(daemon=True)
        self.server, self.number, self.stop_asked = server, number, stop
        self.random = random.Random(number)
        self.acknowledged: dict[str, tuple[str, int]] = {}
        self.attempted: dict[str, tuple[str, int]] = {}
        self.deliveries = 0
        self.problems: list[str] = []

    def run(self) -> None:
        number, waiting = 0, []
        while not self.stop_asked.is_set():
            if not waiting:
                for _ in range(self.random.randint(1, 20)):
                    number += 1
                    waiting.append(event(number, TENANTS[number % 3], number % 7, id=f"c{self.number}-{number}"))
                again = self.random.sample(sorted(self.acknowledged), min(2, len(self.acknowledged)))
                waiting += [self.again(name) for name in again]
            for sent in waiting:
                self.attempted[sent["id"]] = (sent["tenant"], sent["data"]["value"])
            self.deliveries += len(waiting)
            try:
                status, body = self.server.send(waiting)
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                time.sleep(0.01)  # the server is down; nothing says when it is back
                continue
            if status == 200 and not body["rejected"]:
                self.acknowledged |= {sent["id"]: (sent["tenant"], sent["data"]["value"]) for sent in waiting}
                waiting = []
            elif status < 500:
                self.problems.append(f"{status} {body}")
                return

    def again(self, name: str) -> dict:
        tenant, value = self.attempted[name]
        number = int(name.split("-")[1])
        return event(number, tenant, value, id=name)


def test_d1_no_kill_loses_or_doubles_an_acknowledged_event(apportion):
    """D1: SIGKILL at random moments under clients that retry; then every acknowledged id is there once."""
    server = Server(apportion(config=CONFIG)).start()
    stop = threading.Event()
    clients = [Client(server, number, stop) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    seed = random.randrange(2**32)
    moments, begun, kills = random.Random(seed), time.monotonic(), 0
    while kills < KILLS and time.monotonic() - begun < KILL_SECONDS_MAX:
        time.sleep(moments.uniform(0.02, 0.6))
        server.kill()
        kills += 1
        server.start()
    stop.set()
    for client in clients:
        client.join(timeout=60)
    assert [problem for client in clients for problem in client.problems] == []
    acknowledged = {name: facts for client in clients for name, facts in client.acknowledged.items()}
    attempted = {name: facts for client in clients for name, facts in client.attempted.items()}
    found = totals(server)
    server.stop()
    rows = DeltaTable(str(server.store.lake / "usage_events")).to_pyarrow_table(columns=["id", "tenant", "data"]).to_pylist()
    stored = Counter(row["id"] for row in rows)
    sums = Counter()
    for row in rows:
        sums[row["tenant"]] += json.loads(row["data"])["value"]
    lost = acknowledged.keys() - stored.keys()
    doubled = [name for name, times in stored.items() if times > 1]
    deliveries = sum(client.deliveries for client in clients)
    print(f"\nD1: seed {seed}, {kills} kills of {KILLS}, {deliveries} deliveries, {len(acknowledged)} acknowledged ids: "
          f"{len(lost)} lost, {len(doubled)} doubled")  # fmt: skip
    assert not lost and not doubled
    assert stored.keys() <= attempted.keys()
    assert found == dict(sums), "the usage is the sum of the stored events"
    assert kills >= KILLS / 4
