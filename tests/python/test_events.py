"""Live events against the real binary: acknowledged is kept and counted once, whatever happens to the process."""

import gzip
import http.client
import json
import random
import threading
import time
from collections import Counter

import duckdb
import pytest
from deltalake import DeltaTable
from live_server import ANSWER_SECONDS_MAX, DAY, Budget, Server, event

CLIENTS = 32
TENANTS = ("acme", "globex", "initech")
# Small segments and frequent flushes: the kills hit every step of the way to the lake.
CONFIG = '[ingest]\nsegment = "256KiB"\nflush_every = "1s"\npast_days = 36500\nevents_per_second_per_tenant = 1000000\n'


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
    budget = Budget("D1", (100, 10_000), (240, 8 * 3600))
    while budget.goes_on():
        time.sleep(budget.random.uniform(0.02, 0.6))
        server.kill()
        budget.done += 1
        server.start()
    stop.set()
    for client in clients:
        client.join(timeout=2 * ANSWER_SECONDS_MAX)
        assert not client.is_alive(), "a request got no answer"
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
    found_out = f"{len(lost)} lost, {len(doubled)} doubled"
    budget.ends(f"kills under {deliveries} deliveries, {len(acknowledged)} acknowledged ids: {found_out}")
    assert not lost and not doubled
    assert stored.keys() <= attempted.keys()
    assert found == dict(sums), "the usage is the sum of the stored events"
