"""Every number explained on the real server: cells recomputed by a reference of its own, changes that add up, drafts tried."""

import json
import random
import tomllib
from collections import defaultdict
from datetime import date, timedelta
from fractions import Fraction

import pytest
from conftest import Apportion
from live_server import TOKEN, Budget, Server
from reference import ATOMS, UNATTRIBUTED, split

FIRST, DAYS, TENANTS = date(2026, 5, 4), 14, 12
LAST = FIRST + timedelta(days=DAYS - 1)
FROM_TO = f"from={FIRST}&to={LAST}"
SEED = 23
WEIGHTS = {"cpu_core_hours": Fraction("0.5"), "memory_gib_hours": Fraction("0.3")}
PERCENT = {"team-00": Fraction(60), "team-01": Fraction(25)}
PRICE, ABOVE, PRICE_ABOVE = Fraction("0.002"), 2000, Fraction("0.0011")
BASES = ("shared", "logs", "own")
SPLITS = ("weighted", "proportional", "even", "fixed", "by_cost")
METERS = (*WEIGHTS, "log_queries", "mcp_reads")


def policy_of(version: str, percent: str = "60") -> str:
    return f"""
version = "{version}"
valid_from = 2026-01-01

[[tenant_rule]]
when = {{ provider = "D" }}
tenant = "{{sub_account}}"

[[pool]]
name = "shared"
select = {{ provider = "W" }}
split = {{ method = "weighted", weights = {{ cpu_core_hours = "0.5", memory_gib_hours = "0.3" }} }}

[[pool]]
name = "logs"
select = {{ provider = "P" }}
split = {{ method = "proportional", meter = "log_queries" }}

[[pool]]
name = "seats"
select = {{ provider = "E" }}
split = {{ method = "even" }}

[[pool]]
name = "agreed"
select = {{ provider = "F" }}
split = {{ method = "fixed", percent = {{ team-00 = "{percent}", team-01 = "25" }} }}

[[pool]]
name = "llm"
recovers = {{ provider = "L" }}
split = {{ method = "rated", meters = ["mcp_reads"] }}

[[pool]]
name = "own"
select = {{ provider = "D" }}
split = {{ method = "direct" }}

[[pool]]
name = "tax"
select = {{ provider = "T" }}
split = {{ method = "by_cost", of = ["shared", "logs", "own"] }}

[[pool]]
name = "rent"
tier = "overhead"
select = {{ provider = "O" }}
"""


RATES = f"""
version = "card"
currency = "USD"
valid_from = 2026-01-01

[[price]]
meter = "mcp_reads"
price = "0.002"
per = "unit"
tiers = [{{ above = "{ABOVE}", price = "0.0011" }}]
"""
HEADER = (
    "BillingAccountId,SubAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,"
    "ChargeCategory,BilledCost,EffectiveCost,ListCost,ContractedCost,ProviderName,ServiceName,ServiceCategory,Tags"
)


class World:
    """What was billed and used, and what each cell must cost by the written method alone."""

    def __init__(self, chance):
        self.days = [FIRST + timedelta(days=number) for number in range(DAYS)]
        self.tenants = [f"team-{number:02}" for number in range(TENANTS)]
        self.bills, self.used = {}, {}
        for day in self.days:
            for provider in "WPEFLTO":
                self.bills[day, provider, ""] = chance.randrange(1, 10**9)  # millionths
            for tenant in self.tenants:
                self.bills[day, "D", tenant] = chance.randrange(1, 10**8)
                for meter in METERS:
                    self.used[day, tenant, meter] = chance.randrange(1, 900)

    def bill(self) -> str:
        lines = [HEADER]
        for (day, provider, account), millionths in self.bills.items():
            cost = f"{millionths // 10**6}.{millionths % 10**6:06}"
            times = f"2026-05-01T00:00:00Z,2026-06-01T00:00:00Z,{day}T00:00:00Z,{day + timedelta(days=1)}T00:00:00Z"
            lines.append(f"acct,{account},USD,{times},Usage,{cost},{cost},{cost},{cost},{provider},Service,Compute,{{}}")
        return "\n".join(lines) + "\n"

    def events(self) -> str:
        lines = []
        for (day, tenant, meter), quantity in self.used.items():
            event = {
                "specversion": "1.0", "type": meter, "source": "test", "id": f"{tenant}-{day}-{meter}", "tenant": tenant,
                "time": f"{day}T10:00:00Z", "data": {"value": quantity},
            }  # fmt: skip
            lines.append(json.dumps(event))
        return "\n".join(lines) + "\n"

    def cost(self, day: date, provider: str, account: str = "") -> int:
        return self.bills[day, provider, account] * (ATOMS // 10**6)

    def graduated(self, quantity: int) -> Fraction:
        return min(quantity, ABOVE) * PRICE + max(quantity - ABOVE, 0) * PRICE_ABOVE

    def cells(self) -> dict[tuple, int]:
        """Atoms by day, pool, consumer and meter."""
        cells = {}
        for day in self.days:
            used = {(tenant, meter): self.used[day, tenant, meter] for tenant in self.tenants for meter in METERS}
            weights = {key: used[key] * WEIGHTS[key[1]] for key in used if key[1] in WEIGHTS}
            of_day = {("shared", *key): share for key, share in split(self.cost(day, "W"), weights).items()}
            queries = {key: used[key] for key in used if key[1] == "log_queries"}
            of_day |= {("logs", *key): share for key, share in split(self.cost(day, "P"), queries).items()}
            heads = split(self.cost(day, "E"), dict.fromkeys(self.tenants, 1))
            of_day |= {("seats", tenant, None): share for tenant, share in heads.items()}
            percent = {**PERCENT, UNATTRIBUTED: 100 - sum(PERCENT.values())}
            of_day |= {("agreed", tenant, None): share for tenant, share in split(self.cost(day, "F"), percent).items()}
            for tenant in self.tenants:
                before = sum(self.used[other, tenant, "mcp_reads"] for other in self.days if other < day)
                rated = self.graduated(before + used[tenant, "mcp_reads"]) - self.graduated(before)
                of_day["llm", tenant, "mcp_reads"] = int(rated * ATOMS)
                of_day["own", tenant, None] = self.cost(day, "D", tenant)
            recovered = sum(share for (pool, *_), share in of_day.items() if pool == "llm")
            of_day["llm", "__variance__", None] = self.cost(day, "L") - recovered
            bases = defaultdict(int)
            for (pool, consumer, _), share in of_day.items():
                if pool in BASES:
                    bases[consumer] += share
            of_day |= {("tax", tenant, None): share for tenant, share in split(self.cost(day, "T"), bases).items()}
            of_day["rent", "__overhead__", None] = self.cost(day, "O")
            cells |= {(day, *key): share for key, share in of_day.items()}
        return {key: share for key, share in cells.items() if share}


@pytest.fixture(scope="module")
def world() -> World:
    return World(random.Random(SEED))


@pytest.fixture(scope="module")
def server(binary, tmp_path_factory, world):
    store = Apportion(binary, tmp_path_factory.mktemp("explain"), policy_of("first"), '[schedule]\nafter_import = "off"\n')
    (store.folder / "rates.toml").write_text(RATES)
    (store.folder / "bill.csv").write_text(world.bill())
    (store.folder / "events.ndjson").write_text(world.events())
    store.run("import", "focus", "bill.csv", "--source", "bill")
    store.run("import", "events", "events.ndjson")
    store.run("attribute", "--from", FIRST, "--to", LAST)
    server = Server(store).start()
    yield server
    if server.process.poll() is None:
        server.kill()


def ask(server: Server, method: str, path: str, body=None, status_expected: int = 200) -> dict:
    data = None if body is None else json.dumps(body).encode()
    status, text = server.ask(method, path, data, {"Content-Type": "application/json"})
    assert status == status_expected, text
    return json.loads(text)


def pages(server: Server, path: str) -> list[dict]:
    rows, cursor = [], ""
    while True:
        answer = ask(server, "GET", f"{path}&limit=1000{cursor}")
        rows += answer["rows"]
        if not answer["next_cursor"]:
            return rows
        cursor = f"&cursor={answer['next_cursor']}"


def atoms(text: str | None) -> int:
    value = Fraction(text or 0) * ATOMS
    assert value.denominator == 1
    return int(value)


def document_of(text: str) -> dict:
    """Returns a policy as the API takes it in JSON."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(member) for key, member in value.items()}
        if isinstance(value, list):
            return [plain(member) for member in value]
        return str(value) if isinstance(value, date) else value

    return plain(tomllib.loads(text))


def posted_cells(server: Server) -> dict[tuple, int]:
    cells = defaultdict(int)
    for entry in pages(server, f"/ledger/entries?{FROM_TO}"):
        day = date.fromisoformat(entry["charge_date"])
        cells[day, entry["pool"], entry["tenant"] or entry["consumer"], entry["meter"]] += atoms(entry["amount"])
    return {key: amount for key, amount in cells.items() if amount}


def test_random_cells_explain_to_the_stored_amount_and_to_the_reference(server, world):
    posted = posted_cells(server)
    assert posted == world.cells(), "the whole ledger is what the written method gives"
    keys = sorted(posted, key=str)
    budget = Budget("explain-cells", (1000, 10_000), (180, 1_800))
    methods = defaultdict(int)
    while budget.goes_on():
        day, pool, consumer, _ = budget.random.choice(keys)
        # One pool of a consumer's day, or all of them in one answer.
        only = budget.random.random() < 0.25
        answer = ask(server, "GET", f"/explain?tenant={consumer}&date={day}" + (f"&pool={pool}" if only else ""))
        wanted = {
            (key[1], key[3]): amount
            for key, amount in posted.items()
            if (key[0], key[2]) == (day, consumer) and (key[1] == pool or not only)
        }
        found = defaultdict(int)
        for explained in answer["pools"]:
            for meter, amount in explained_cells(explained, consumer).items():
                found[explained["pool"], meter] += amount
                if amount:
                    methods[explained["method"]] += 1
        assert {key: amount for key, amount in found.items() if amount} == wanted, answer
        budget.done += len(wanted)
    budget.ends(f"cells ({dict(methods)})")
    expected = {"weighted", "proportional", "even", "fixed", "rated", "direct", "by_cost"}
    assert expected <= set(methods), methods


def explained_cells(explained: dict, consumer: str) -> dict[str | None, int]:
    """Atoms by meter of one pool, each recomputed from what it says that it comes from."""
    assert explained["matches"] is True, explained
    cells = [(component, cell) for component in explained["components"] for cell in component["cells"]]
    assert all("inputs" in cell["recomputed_from"] and cell["matches"] for _, cell in cells), explained
    stored, recomputed = defaultdict(int), defaultdict(int)
    is_split = consumer.startswith("team-") and explained["method"] in SPLITS
    assert not is_split or len(explained["components"]) == 1, explained
    for component, cell in cells:
        stored[cell["meter"]] += atoms(cell["amount"])
        recomputed[cell["meter"]] += atoms(cell["recomputed"])
        if is_split:
            assert set(cell["recomputed_from"]) == {"inputs", "entries"}
            own, whole = map(Fraction, cell["ratio"].split("/"))
            exact = own / whole * atoms(component["pool_amount"])
            assert abs(exact - atoms(cell["amount"])) < 1 and own == Fraction(cell["weight"])
            assert cell["rounding_atom"] is (atoms(cell["amount"]) > exact)
    assert recomputed == stored, explained
    assert not is_split or len(cells) == len(stored), "one cell of each meter"
    return stored


def test_the_terms_of_random_pairs_of_ranges_add_up(server, world):
    ask(server, "POST", "/policies", document_of(policy_of("second", "20")), 201)
    middle = FIRST + timedelta(days=7)
    ask(server, "POST", "/runs?wait=true", {"from": str(middle), "to": str(LAST)})
    by_day = defaultdict(int)
    for (day, _, consumer, _), amount in posted_cells(server).items():
        by_day[consumer, day] += amount
    consumers = [*world.tenants, UNATTRIBUTED, "__variance__"]

    def days(chance) -> tuple[date, date]:
        first, last = sorted(chance.randrange(DAYS) for _ in range(2))
        return FIRST + timedelta(days=first), FIRST + timedelta(days=last)

    def total(consumer: str, first: date, last: date) -> int:
        return sum(amount for (other, day), amount in by_day.items() if other == consumer and first <= day <= last)

    budget = Budget("cost-changes", (1000, 10_000), (180, 1_800))
    told = defaultdict(int)
    while budget.goes_on():
        consumer = budget.random.choice(consumers)
        (first, last), (earlier, later) = days(budget.random), days(budget.random)
        path = f"/costs/changes?tenant={consumer}&from={first}&to={last}&compare={earlier}..{later}"
        answer = ask(server, "GET", path)
        cost, previous = atoms(answer["cost"]), atoms(answer["previous"])
        assert (cost, previous) == (total(consumer, first, last), total(consumer, earlier, later)), path
        assert atoms(answer["change"]) == cost - previous
        sums = defaultdict(int)
        for pool in answer["pools"]:
            assert sum(atoms(term["amount"]) for term in pool["terms"]) == atoms(pool["change"]), (path, pool)
            for term in pool["terms"]:
                sums[term["term"]] += atoms(term["amount"])
        assert {term["term"]: atoms(term["amount"]) for term in answer["terms"]} == sums, path
        assert sum(sums.values()) == cost - previous, path
        for term, amount in sums.items():
            told[term] += amount != 0
        budget.done += 1
    budget.ends(f"pairs of ranges ({dict(told)})")
    expected = {"own_volume", "price_or_pool_amount", "others_volume", "policy_or_rate_version"}
    assert expected <= {term for term, count in told.items() if count}, told


def test_what_was_booked_between_any_two_postings_is_the_difference_of_their_answers(server):
    head = ask(server, "GET", "/ledger/postings")["rows"][0]["posting"]
    costs = {}
    for posting in range(head + 1):
        costs[posting] = atoms(ask(server, "GET", f"/costs?{FROM_TO}&as_of=posting:{posting}&limit=1000")["totals"]["cost"])
    for earlier in range(head + 1):
        for later in range(earlier, head + 1):
            path = f"/ledger/changes?from_booked=posting:{earlier}&to_booked=posting:{later}"
            rows = pages(server, path)
            assert sum(atoms(row["amount_reporting"]) for row in rows if not row["memo"]) == costs[later] - costs[earlier]
            assert all(row["cause"] for row in rows)
    assert costs[head] > 0


def test_a_draft_is_tried_from_the_command_line_and_nothing_is_written(server):
    ask(server, "POST", "/runs?wait=true", {"from": str(FIRST), "to": str(LAST)})
    before = pages(server, f"/ledger/entries?{FROM_TO}")
    (server.store.folder / "draft.toml").write_text(policy_of("draft", "10"))
    remote = ["--server", f"http://{server.address}", "--token", TOKEN, "--from", FIRST, "--to", LAST]
    answer = json.loads(server.store.run("policy", "simulate", "draft.toml", "-o", "json", *remote).stdout)
    same = ask(server, "POST", f"/policies/simulate?{FROM_TO}", document_of(policy_of("draft", "10")))
    assert answer == same
    by_name = {row["tenant"]: atoms(row["change"]) for row in answer["rows"]}
    assert by_name["team-00"] < 0 and by_name[UNATTRIBUTED] > 0 and sum(by_name.values()) == 0
    assert atoms(answer["totals"]["posted"]) == sum(atoms(row["posted"]) for row in answer["rows"])
    assert pages(server, f"/ledger/entries?{FROM_TO}") == before
    rates = server.store.run("rates", "simulate", "rates.toml", "--view", "posted", "-o", "json", *remote)
    assert {row["change"] for row in json.loads(rates.stdout)["rows"]} == {"0.00"}, "the card in force changes nothing"
    changes = server.store.run("costs", "changes", "--tenant", "team-03", "-o", "json", *remote)
    assert json.loads(changes.stdout) == ask(server, "GET", f"/costs/changes?tenant=team-03&{FROM_TO}")
    table = server.store.run("costs", "changes", "--tenant", "team-03", *remote).stdout
    assert "PRICE_OR_POOL_AMOUNT" in table or "NEW_OR_REMOVED_POOLS" in table, table


def test_a_caller_who_goes_away_makes_room_for_the_next(server):
    draft = json.dumps(document_of(policy_of("draft", "10"))).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", "Accept": "text/event-stream"}
    for _ in range(20):
        connection = server.connect()
        connection.request("POST", f"/api/v1/policies/simulate?{FROM_TO}", draft, headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        assert answer.read(1) == b"e", "the first event begins"
        connection.close()
        budget = Budget("what-if-room", (1, 1), (30, 30))
        status = 429
        while status == 429 and budget.goes_on():
            status, text = server.ask("POST", f"/policies/simulate?{FROM_TO}", draft, {"Content-Type": "application/json"})
        assert status == 200, text
