"""Several servers on one PostgreSQL catalog and one lake (S1 to S5): each night has one effect, whoever dies meanwhile.

A night is made by hand: the day's row in `jobs` is put back to "failed, try again", and every server sees that it is due.
"""

import datetime
import json
import os
import signal
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from conftest import Apportion
from live_server import TOKEN, Budget, Server, event
from postgres_server import CuttingProxy, Postgres, eventually

pytestmark = pytest.mark.usefixtures("within_a_day")
# Longer than the lease of a job or run (40 s), the look at what others left behind (5 s) and a start.
NIGHT_SECONDS_MAX = 240
WAIT_SECONDS_MAX = 120
NIGHT = """
INSERT INTO jobs (id, kind, target, status, run_after, attempts, body)
SELECT 'attribute/' || day, 'attribute', day, 'succeeded', 0, 0, ''
FROM (SELECT to_char((now() AT TIME ZONE 'UTC')::date - 1, 'YYYY-MM-DD') AS day) AS yesterday ON CONFLICT DO NOTHING;
UPDATE jobs SET status = 'failed', run_after = 0 WHERE kind = 'attribute' AND attempts >= 0
AND target = (SELECT max(target) FROM jobs WHERE kind = 'attribute')
AND target > to_char((now() AT TIME ZONE 'UTC')::date - 1, 'YYYY-MM-DD');
"""
STATUS = "SELECT status FROM jobs WHERE kind = 'attribute' ORDER BY target DESC LIMIT 1"


def yesterday() -> str:
    return (datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=1)).isoformat()


class Fleet:
    """Servers with a data folder each, over one lake and one catalog."""

    def __init__(self, binary: str, folder: Path, postgres: Postgres):
        self.binary, self.folder, self.postgres = binary, folder, postgres
        self.servers: list[Server] = []
        self.day, self.costs = yesterday(), 0

    def add(self, catalog: str | None = None) -> Server:
        folder = self.folder / f"server-{len(self.servers)}"
        folder.mkdir()
        url = catalog or self.postgres.url()
        config = (
            f'lake = "{self.folder}/lake"\ncatalog = "{url}"\n'
            '[schedule]\nattribute = "00:00"\nafter_import = "off"\n[ingest]\nflush_every = "2s"\nsegment = "256KiB"\npast_days = 36500\n'
        )
        server = Server(Apportion(self.binary, folder, None, config))
        self.servers.append(server)
        return server.start()

    def alive(self) -> list[Server]:
        return [server for server in self.servers if server.process.poll() is None]

    def add_cost(self, server: Server) -> None:
        """Enters a cost of 1.00 on yesterday, also if it is not clear whether it was entered."""
        self.costs += 1
        name = f"night-{self.costs}"
        cost = {
            "provider": "own", "service": name, "amount": "1.00", "currency": "USD", "per": "once",
            "from": self.day, "to": self.day,
        }  # fmt: skip
        kind = {"Content-Type": "application/json"}

        def entered() -> bool:
            found = self.postgres.sql(f"SELECT count(*) FROM fixed_costs WHERE service = '{name}'")
            return found == ["1"] or server.ask("POST", "/fixed-costs", json.dumps(cost).encode(), kind)[0] == 201

        eventually(entered, WAIT_SECONDS_MAX, f"{name} is entered")

    def begin_night(self) -> None:
        eventually(lambda: self.postgres.sql(STATUS), WAIT_SECONDS_MAX, "the schedule begins")
        self.postgres.sql(NIGHT)

    def night_is_over(self) -> bool:
        return self.postgres.sql(STATUS) == ["succeeded"]

    def stop(self) -> None:
        for server in self.alive():
            server.stop()

    def close(self) -> None:
        for server in self.alive():
            server.kill()

    def check(self, nights: int) -> None:
        """Every cost is in the ledger once, in as many postings as there were nights; chain and proof hold."""
        store = self.servers[0].store
        store.run("ledger", "verify")
        rows = store.export_ledger(f"{self.day}..{self.day}")
        assert sum(Decimal(row["amount"]) for row in rows) == self.costs
        assert self.postgres.sql("SELECT count(*) FROM postings") == [str(nights)]
        assert all(Decimal(row["difference"]) == 0 for row in store.proof(f"{self.day}..{self.day}"))
        assert self.postgres.sql("SELECT count(*) FROM runs WHERE status IN ('queued', 'running')") == ["0"]


@pytest.fixture
def postgres():
    server = Postgres()
    yield server.start()
    server.close()


@pytest.fixture
def fleet(binary, tmp_path, postgres):
    fleet = Fleet(binary, tmp_path, postgres)
    yield fleet
    fleet.close()


def test_s1_s2_s3_each_night_has_one_effect_whoever_is_killed_or_stopped(fleet):
    budget = Budget("s1", count=(24, 1000), seconds=(240, 7200))
    for _ in range(budget.random.randint(2, 8 if os.cpu_count() > 4 else 4)):
        fleet.add()
    happened = Counter()
    while budget.goes_on():
        for server in fleet.servers:
            if server.process.poll() is not None:
                server.start()
        fleet.add_cost(budget.random.choice(fleet.servers))
        fleet.begin_night()
        victim = budget.random.choice(fleet.servers)
        chance = budget.random.random()
        time.sleep(budget.random.uniform(0, 3))
        if chance < 0.2:
            happened["kills"] += 1
            victim.kill()
        elif chance < 0.35:
            happened["stops"] += 1
            victim.process.send_signal(signal.SIGSTOP)
        try:
            # Another server takes over what the victim had begun, after its lease.
            eventually(fleet.night_is_over, NIGHT_SECONDS_MAX, "the night is over")
        finally:
            if 0.2 <= chance < 0.35:
                victim.process.send_signal(signal.SIGCONT)
        budget.done += 1
    fleet.stop()
    workers = fleet.postgres.sql("SELECT count(DISTINCT holder) FROM leases")
    print(f"\n{len(fleet.servers)} servers, {dict(happened)}, leases left of {workers[0]} of them")
    budget.ends("nights")
    fleet.check(budget.done)


def test_s4_a_commit_that_is_lost_or_its_answer_has_one_effect(fleet, postgres):
    budget = Budget("s4", count=(50, 2000), seconds=(240, 7200))
    proxy = CuttingProxy(postgres.port)
    server = fleet.add(postgres.url(proxy.port))
    crashes = 0
    while budget.goes_on():
        fleet.add_cost(server)
        fleet.begin_night()
        proxy.arm(loses_commit=budget.random.random() < 0.5)
        if budget.done % 5 == 4:
            eventually(proxy.cut.is_set, WAIT_SECONDS_MAX, "a commit is cut")
            crashes += 1
            postgres.crash()
            postgres.start()

        def over() -> bool:
            # What failed is tried at once rather than in a minute.
            postgres.sql("UPDATE jobs SET run_after = 0 WHERE status = 'failed'")
            return fleet.night_is_over()

        eventually(over, NIGHT_SECONDS_MAX, "the night is over")
        budget.done += 1
    proxy.armed.clear()
    fleet.stop()
    proxy.close()
    # The checks read the catalog past the proxy.
    text = (server.store.folder / "apportion.toml").read_text()
    (server.store.folder / "apportion.toml").write_text(text.replace(postgres.url(proxy.port), postgres.url()))
    print(f"\n{proxy.cuts} commits cut, {proxy.lost} of them before the server had them, {crashes} crashes of the server")
    budget.ends("nights")
    assert proxy.cuts * 2 >= budget.done
    assert 0 < proxy.lost < proxy.cuts, "both happened"
    fleet.check(budget.done)


def test_s5_events_go_on_while_the_catalog_is_away(fleet, postgres):
    server = fleet.add()
    away = 300 if os.environ.get("APPORTION_SOAK") == "1" else 15
    status, text = server.ask("POST", "/tokens", b'{"name":"app","role":"ingest"}', {"Content-Type": "application/json"})
    assert status == 201, text
    minted = {"Authorization": f"Bearer {json.loads(text)['token']}"}
    sent = accepted = 0

    def send(headers: dict | None = None) -> None:
        nonlocal sent, accepted
        line = json.dumps(event(sent)).encode() + b"\n"
        status, text = server.ask("POST", "/events", line, {"Content-Type": "application/x-ndjson", **(headers or {})})
        assert status == 200, text
        sent, accepted = sent + 1, accepted + json.loads(text)["accepted"]

    # The tenant, the meter and both tokens are known before.
    send()
    send(minted)
    postgres.crash()
    deadline = time.monotonic() + away
    while time.monotonic() < deadline:
        send()
        send(minted)
    assert server.ask("GET", "/fixed-costs")[0] >= 500, "what needs the catalog says so"
    postgres.start()
    eventually(lambda: server.ask("GET", "/readyz", base="")[0] == 200, WAIT_SECONDS_MAX, "the server is ready again")

    assert accepted == sent
    fleet.add_cost(server)
    fleet.begin_night()
    eventually(fleet.night_is_over, NIGHT_SECONDS_MAX, "the night is over")
    usage = server.usage("range=2026-05-03..2026-05-03&meter=log_queries")
    assert sum(Decimal(row["quantity"]) for row in usage) == sent
    fleet.stop()
    print(f"\nS5: {sent} events in {away} s without a catalog")


def test_what_one_server_is_told_the_others_know(fleet):
    first, second = fleet.add(), fleet.add()
    status, text = first.ask("POST", "/tokens", b'{"name":"app","role":"admin"}', {"Content-Type": "application/json"})
    assert status == 201, text
    minted = json.loads(text)
    bearer = {"Authorization": f"Bearer {minted['token']}"}
    assert second.ask("GET", "/runs", headers=bearer)[0] == 403
    assert second.ask("GET", "/costs", headers=bearer)[0] == 200
    assert first.ask("DELETE", f"/tokens/{minted['id']}")[0] in (200, 204)
    assert second.ask("GET", "/costs", headers=bearer)[0] == 401

    fleet.add_cost(first)
    run = json.dumps({"from": fleet.day, "to": fleet.day}).encode()
    status, text = second.ask("POST", "/runs?wait=true", run, {"Content-Type": "application/json"})
    assert (status, json.loads(text)["status"]) == (200, "succeeded"), text
    answers = [server.ask("GET", f"/costs?range={fleet.day}..{fleet.day}") for server in fleet.servers]
    rows = [json.loads(text)["rows"] for _, text in answers]
    assert rows[0] and rows[0] == rows[1]
    rows = json.loads(first.ask("GET", "/schedule")[1])["rows"]
    assert [row["job"] for row in rows] == ["attribute"]
    assert rows[0]["next_run_at"] > datetime.datetime.now(datetime.UTC).date().isoformat()
    fleet.stop()


def test_a_dump_of_the_catalog_holds_no_token_and_no_secret(fleet, postgres):
    secret = fleet.folder / "catalog-url"
    postgres.sql("CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 'hunter2-in-the-url'")
    secret.write_text(postgres.url().replace("apportion@", "keeper:hunter2-in-the-url@") + "\n")
    server = fleet.add()
    server.stop()
    server.variables["APPORTION__STORAGE__CATALOG_FILE"] = str(secret)
    server.start()
    status, text = server.ask("POST", "/tokens", b'{"name":"app","role":"finance"}', {"Content-Type": "application/json"})
    assert status == 201, text
    fleet.add_cost(server)
    fleet.begin_night()
    eventually(fleet.night_is_over, NIGHT_SECONDS_MAX, "the night is over")

    dump = postgres.dump()
    log = server.log.read_text()
    fleet.stop()

    for hidden in (json.loads(text)["token"], TOKEN, "hunter2-in-the-url"):
        assert hidden not in dump and hidden not in log
    assert "night-1" in dump and json.loads(text)["id"] in dump


def test_a_catalog_that_does_not_answer_ends_with_its_own_exit_code(binary, tmp_path):
    config = 'catalog = "postgres://me:hunter2@127.0.0.1:9/none"\n'
    done = Apportion(binary, tmp_path, None, config).run("tenants", "list", exit_code=6)
    assert "storage.catalog" in done.stderr and "hunter2" not in done.stderr
