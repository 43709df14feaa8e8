"""Each event counts once, however often, by whom and when it is delivered (E1–E6); one process per folder (E9)."""

import http.client
import json
import select
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from live_server import ANSWER_SECONDS_MAX, DAY, END_SECONDS_MAX, TOKEN, Budget, Server, event, stored_events

CONFIG = '[ingest]\nsegment = "4MiB"\nflush_every = "2s"\npast_days = 36500\nevents_per_second_per_tenant = 100000000\n'
TENANTS = ("acme", "globex", "initech", "umbrella")
SOURCES = ("eu", "us")
CONNECTIONS = 8
SAME_ID_CLIENTS = 64
BATCH_EVENTS, ROUND_EVENTS = 1_000, 5_000
COPIES_MAX = 20
# Two requests in ten are cut off before their answer is read, and sent again later.
CUTS = ["at once", "answered", *[None] * 8]
DOWN_SECONDS_MAX = 180
CONFLICT_EXIT = 5


@pytest.fixture
def server(apportion):
    server = Server(apportion(config=CONFIG)).start()
    yield server
    if server.process.poll() is None:
        server.stop()


def usage(server: Server) -> tuple[int, Decimal]:
    """Number of events and exact sum of their values, as GET /usage says."""
    rows = server.usage(f"range={DAY}..{DAY}&meter=log_queries")
    return sum(row["events"] for row in rows), sum((Decimal(row["quantity"]) for row in rows), Decimal(0))


def request_of(body: bytes) -> bytes:
    head = (
        f"POST /api/v1/events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def send_and_hang_up(server: Server, body: bytes, waits: bool) -> None:
    """Sends a whole request and resets the connection without reading: at once, or when the answer has arrived."""
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS_MAX) as connection:
        connection.sendall(request_of(body))
        if waits:
            select.select([connection], [], [], ANSWER_SECONDS_MAX)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Deliveries:
    """Rounds of events, each sent 1 to 20 times in random order, while the server is stopped or killed and started again."""

    def __init__(self, server: Server, budget: Budget):
        self.server, self.budget, self.random = server, budget, budget.random
        self.events, self.sum, self.number = 0, Decimal(0), 0
        self.accepted = self.duplicates = self.cut = self.restarts = 0
        self.lock = threading.Lock()

    def new_event(self) -> bytes:
        """One event of its own; its id may be that of another tenant's or source's event."""
        value = Decimal(self.random.randrange(10**9)).scaleb(-self.random.randrange(7))
        self.number, self.sum = self.number + 1, self.sum + value
        at, each = self.number, len(TENANTS) * len(SOURCES)
        named = {"tenant": TENANTS[at % len(TENANTS)], "source": SOURCES[at // len(TENANTS) % len(SOURCES)]}
        return json.dumps(event(at, id=f"e{at // each}", **named, data={"value": str(value)})).encode() + b"\n"

    def round(self) -> None:
        """Sends one round; the server goes down once in its midst."""
        copies = [line for _ in range(ROUND_EVENTS) for line in [self.new_event()] * self.random.randint(1, COPIES_MAX)]
        self.random.shuffle(copies)
        batches = [b"".join(copies[at : at + BATCH_EVENTS]) for at in range(0, len(copies), BATCH_EVENTS)]
        cuts = [self.random.choice(CUTS) for _ in batches]
        down = threading.Event()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            sent = [pool.submit(self.deliver, batch, cut) for batch, cut in zip(batches, cuts, strict=True)]
            sent[self.random.randrange(len(sent))].add_done_callback(lambda _: down.set())
            assert down.wait(timeout=300)
            self.restart()
            for future in sent:
                future.result()
        self.events += ROUND_EVENTS
        self.budget.done += len(copies)

    def restart(self) -> None:
        self.random.choice([self.server.kill, self.server.stop])()
        self.server.start()
        self.restarts += 1

    def deliver(self, batch: bytes, cut: str | None) -> None:
        """Sends a batch until it is acknowledged; before that perhaps once without waiting for the answer."""
        if cut:
            try:
                send_and_hang_up(self.server, batch, cut == "answered")
                self.cut += 1
            except OSError:
                pass  # the server is down
        deadline = time.monotonic() + DOWN_SECONDS_MAX
        while True:
            try:
                status, body = self.server.send_lines(batch)
                break
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                assert time.monotonic() < deadline, "the server did not come back"
                time.sleep(0.02)  # the server is down; nothing says when it is back
        assert (status, body["rejected"]) == (200, []), body
        with self.lock:
            self.accepted += body["accepted"]
            self.duplicates += body["duplicates"]


def test_e1_to_e4_every_event_counts_once_however_often_it_is_delivered(server):
    """E1–E4: 1–20 deliveries each, shuffled, from many connections, across restarts, with answers cut off."""
    budget = Budget("E1", (1_000_000, 100_000_000), (110, 6 * 3600))
    deliveries = Deliveries(server, budget)
    while budget.goes_on():
        deliveries.round()
        assert usage(server) == (deliveries.events, deliveries.sum), f"seed {budget.seed}"
    server.stop()
    assert stored_events(server.store) == (deliveries.events, deliveries.events)
    assert deliveries.accepted <= deliveries.events
    budget.ends(
        f"deliveries of {deliveries.events} events; {deliveries.duplicates} answered as duplicates, {deliveries.cut} requests "
        f"cut off, {deliveries.restarts} restarts; sum {deliveries.sum}, exact"
    )


def at_once(clients: int, ask) -> list[tuple[int, dict]]:
    """The answers to as many requests, sent by as many clients at the same moment."""
    barrier = threading.Barrier(clients)

    def wait_and_ask(number: int) -> tuple[int, dict]:
        barrier.wait(timeout=ANSWER_SECONDS_MAX)
        return ask(number)

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(wait_and_ask, range(clients)))


def send_one(server: Server, sent: dict) -> tuple[int, dict]:
    status, text = server.ask("POST", "/events", json.dumps(sent).encode(), {"Content-Type": "application/json"})
    return status, json.loads(text)


def test_e5_one_of_64_clients_that_send_the_same_id_is_the_first(server):
    """E5: the same event is accepted once; of 64 contents under one id one is accepted, the others are told."""
    budget, total = Budget("E5", (20, 500), (20, 600)), 0
    while budget.goes_on():
        same, other = event(1, id=f"same{budget.done}", value=3), f"other{budget.done}"
        answers = at_once(SAME_ID_CLIENTS, lambda _, same=same: send_one(server, same))
        assert {status for status, _ in answers} == {200}
        assert sorted(body["accepted"] for _, body in answers) == [0] * (SAME_ID_CLIENTS - 1) + [1]
        answers = at_once(SAME_ID_CLIENTS, lambda number, other=other: send_one(server, event(1, id=other, value=number + 1)))
        won = [number + 1 for number, (status, _) in enumerate(answers) if status == 200]
        assert len(won) == 1 and {body.get("code") for status, body in answers if status != 200} == {"id_conflict"}
        assert {status for status, _ in answers} == {200, 409}
        total += 3 + won[0]
        budget.done += 1
        assert usage(server) == (2 * budget.done, Decimal(total))
    budget.ends(f"times {SAME_ID_CLIENTS} clients with one id, and {SAME_ID_CLIENTS} contents under one id")


def test_e6_an_id_belongs_to_its_tenant_and_source(server):
    """E6: the same id of two tenants and two sources is four events."""
    sent = [event(1, tenant, 2, source=source) for tenant in TENANTS[:2] for source in SOURCES]
    assert server.send(sent)[1] == {"accepted": 4, "duplicates": 0, "rejected": []}
    assert server.send(sent)[1] == {"accepted": 0, "duplicates": 4, "rejected": []}
    server.kill()
    server.start()
    assert server.send(sent)[1] == {"accepted": 0, "duplicates": 4, "rejected": []}
    assert usage(server) == (4, Decimal(8))


def test_e6_a_batch_may_contain_the_same_event_twice(server):
    status, body = server.send([event(1, value=2), event(1, value=2), event(2), event(1, value=2)])
    assert (status, body) == (200, {"accepted": 2, "duplicates": 2, "rejected": []})
    status, body = server.send([event(3, value=2), event(3, value=4), event(3, value=2)])
    assert (status, body["accepted"], body["duplicates"]) == (207, 1, 1)
    assert [(item["index"], item["code"]) for item in body["rejected"]] == [(1, "id_conflict")]
    status, body = server.send([event(4, value=2), event(4, value=4)], "?atomic=true")
    assert (status, body["code"]) == (422, "events_refused")
    assert usage(server) == (3, Decimal(5))


def test_e9_a_second_server_on_the_folder_refuses_and_the_first_goes_on(server):
    """E9: 50 times, while events arrive at the first."""
    budget = Budget("E9", (50, 50), (30, 300))
    while budget.goes_on():
        said_before = server.log.stat().st_size
        other = Server(server.store).launch()
        assert server.send([event(budget.done)])[1]["accepted"] == 1
        code = other.process.wait(timeout=END_SECONDS_MAX)
        said = server.log.read_text()[said_before:]
        assert code == CONFLICT_EXIT and "another process holds the data folder" in said and "--server" in said, said
        budget.done += 1
        assert server.process.poll() is None
    assert usage(server) == (budget.done, Decimal(budget.done))
    budget.ends("second servers, all refused")


def test_e9_of_two_servers_that_start_at_once_one_serves(apportion):
    """E9: both find a folder that nobody holds."""
    store, budget = apportion(config=CONFIG), Budget("E9-race", (20, 50), (30, 300))
    while budget.goes_on():
        one, two = Server(store).launch(), Server(store).launch()
        is_ready = [server.becomes_ready() for server in (one, two)]
        assert sorted(is_ready) == [False, True], store.folder.joinpath("server.log").read_text()[-2000:]
        winner, loser = (one, two) if is_ready[0] else (two, one)
        assert loser.process.wait(timeout=END_SECONDS_MAX) == CONFLICT_EXIT
        assert winner.send([event(budget.done)])[1]["accepted"] == 1
        budget.done += 1
        assert usage(winner) == (budget.done, Decimal(budget.done))
        winner.stop()
    budget.ends("pairs of servers on one folder, one of each served")
