"""A quarter's books: bills restated, usage late, prices, rates of exchange and tenants corrected after months were closed.

Whatever comes later, a closed month's statement stays as it was issued, byte for byte; every correction stands once, in the
month that was open when it was found; and every answer that was ever given can be had again by its posting.
"""

import csv
import hashlib
import io
import json
from collections import Counter, defaultdict
from datetime import date, timedelta
from fractions import Fraction
from urllib.parse import quote

import pytest
from conftest import Apportion
from focus import Charge, bill
from forge import verify
from live_server import TOKEN, Server

FIRST, LAST = "2026-01-01", "2026-04-30"
DAYS = f"from={FIRST}&to={LAST}"
ASK_SECONDS_MAX = 600
TENANTS = ("acme", "globex", "initech")
# Digits of the minor unit.
MINOR = {"USD": 2, "EUR": 2, "JPY": 0}
POLICY = """
version = "quarter"
valid_from = 2020-01-01

[[tenant_rule]]
when = {}
tenant = "{sub_account}"

[[pool]]
name = "llm"
kind = "ai"
tier = "direct"
recovers = { service = "LLM" }
split = { method = "rated", by = ["tenant"], meters = ["llm_tokens"] }

[[pool]]
name = "shared"
kind = "service"
tier = "direct"
select = { sub_account = "shared" }
split = { method = "proportional", by = ["tenant"], meter = "cpu_core_hours" }

[[pool]]
name = "own"
kind = "service"
tier = "direct"
select = {}
split = { method = "direct" }
"""
CONFIG = """
[schedule]
after_import = "off"
[periods]
materiality = "0.00"
"""
CARD = """
version = "{version}"
currency = "USD"
valid_from = 2026-01-01
[[price]]
meter = "llm_tokens"
price = "{price}"
per = "unit"
"""
QUESTIONS = [
    "/costs?{days}&group_by=tenant",
    "/costs?{days}&group_by=pool,charge_category,basis",
    "/costs?{days}&group_by=tenant&granularity=month",
    "/costs?{days}&group_by=tenant&clock=billed&granularity=month",
    "/costs?{days}&group_by=tenant&measure=billed_amount&currency=EUR",
    "/ledger/proof?{days}&limit=1000",
    "/ledger/entries?{days}&limit=1000&tenant=acme",
]


def month_of(number: int) -> str:
    return f"2026-{number:02}"


def days_of(number: int) -> list[date]:
    first = date(2026, number, 1)
    return [day for day in (first + timedelta(days=at) for at in range(31)) if day.month == number]


def bill_of(number: int) -> list[Charge]:
    """A month's bill: three currencies, a shared service, a model that usage recovers."""
    month = month_of(number)
    llm = [Charge(day.isoformat(), "6.60", "llm", service="LLM") for day in days_of(number)]
    return [
        *llm,
        *[Charge(f"{month}-{day:02}", f"{90 + day}.{number}7", "shared") for day in (3, 10, 17, 24)],
        Charge(f"{month}-05", "10.001", "acme"),
        Charge(f"{month}-06", "20.002", "globex"),
        Charge(f"{month}-07", "12.345", "acme", currency="EUR"),
        Charge(f"{month}-21", "7.774", "globex", currency="EUR"),
        Charge(f"{month}-08", "1000.4", "initech", currency="JPY"),
    ]


def events_of(number: int) -> list[dict]:
    """Every tenant uses cores and tokens every day, each another amount."""
    found = []
    for day in days_of(number):
        for weight, tenant in enumerate(TENANTS, 1):
            for kind, data in (
                ("cpu_core_hours", {"value": f"{weight}.{day.day:03}"}),
                ("llm.completion", {"tokens": 40_000 * weight + day.day}),
            ):
                found.append({
                    "specversion": "1.0", "type": kind, "source": "quarter", "id": f"{tenant}-{day}-{kind}", "tenant": tenant,
                    "time": f"{day}T12:00:00Z", "data": data,
                })  # fmt: skip
    return found


class Books:
    """The books over HTTP, and what was promised of them so far."""

    def __init__(self, server: Server):
        self.server = server
        # Charges by billing period, as the provider bills them now.
        self.bills: dict[str, list[Charge]] = {}
        self.posting = 0
        self.closed: list[str] = []
        # Documents by path, answers by path, as they were given first.
        self.issued: dict[str, bytes] = {}
        self.answers: dict[str, bytes] = {}
        # Exact totals of issued statements by currency.
        self.stated: dict[str, Fraction] = defaultdict(Fraction)
        self.causes: Counter = Counter()

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "", expected: int | None = 200):
        connection = self.server.connect(ASK_SECONDS_MAX)
        try:
            headers = {"Authorization": f"Bearer {TOKEN}", **({"Content-Type": kind} if kind else {})}
            connection.request(method, f"/api/v1{path}", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            assert expected in (None, answer.status), f"{method} {path}: {answer.status} {content.decode()}"
            return content, answer
        finally:
            connection.close()

    def get(self, path: str) -> dict:
        return json.loads(self.ask("GET", path)[0])

    def send(self, method: str, path: str, body: object, expected: int = 200) -> dict:
        return json.loads(self.ask(method, path, json.dumps(body).encode(), "application/json", expected)[0])

    def rows(self, path: str) -> list[dict]:
        """Every row of a list."""
        found, cursor = [], ""
        while True:
            page = self.get(f"{path}&limit=1000{cursor}")
            found += page["rows"]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={quote(page['next_cursor'])}"

    # --- what happens -------------------------------------------------------------------------------------------------

    def bill(self, month: str, charges: list[Charge]) -> None:
        self.ask("POST", "/cost-lines/imports?source=cloud&confirm=true", bill(charges), "text/csv")
        self.bills[month] = charges

    def use(self, events: list[dict]) -> None:
        lines = "".join(json.dumps(event) + "\n" for event in events).encode()
        report = json.loads(self.ask("POST", "/events/imports", lines, "application/x-ndjson")[0])
        assert report["rejected_total"] == 0, report

    def rates(self, *rows: tuple[str, str, str]) -> None:
        text = "date,from,to,rate\n" + "".join(f"{day},{currency},USD,{rate}\n" for day, currency, rate in rows)
        self.ask("PUT", "/fx-rates", text.encode(), "text/csv")

    def card(self, version: str, price: str) -> None:
        text = CARD.format(version=version, price=price).encode()
        self.ask("POST", "/rate-cards?confirm=true", text, "application/toml", expected=201)

    def attribute(self) -> int | None:
        run = self.send("POST", "/runs?wait=true", {"from": FIRST, "to": LAST})
        assert (run["status"], run["not_run"]) == ("succeeded", 0), run
        return run["posting"]

    def close(self, month: str) -> None:
        self.send("PUT", "/source-periods", [{"source": "cloud", "billing_period": month, "state": "closed"}])
        done = self.send("POST", f"/periods/{month}/close", {"force": True, "reason": "the quarter's books"})
        # A merged tenant stops being measured; nothing else may stand against the close.
        assert {obstacle["code"] for obstacle in done["forced"]} <= {"driver_gap"}, done
        self.posting = done["posting"]
        self.closed.append(month)
        self.check_statement(month)
        self.keep_answers()
        self.check_promises()

    # --- what must hold -----------------------------------------------------------------------------------------------

    @property
    def open_month(self) -> str:
        return month_of(int(self.closed[-1][5:]) + 1) if self.closed else month_of(1)

    def post(self, *causes: str) -> list[dict]:
        """Attributes everything, and returns what was posted: each correction once, in the month that is open."""
        before = self.totals()
        self.posting = self.attribute()
        assert self.posting is not None, "nothing was posted"
        assert self.attribute() is None, "a second run posted again"
        new = self.rows(f"/ledger/entries?posting={self.posting}")
        self.check_months(new)
        found = {entry["cause"] for entry in new}
        assert set(causes) <= found, f"{causes} are not among {found}"
        self.causes.update(entry["cause"] for entry in new)
        # What was posted is what the bills changed by, per currency, and in all it is the bills.
        posted = billed(new)
        assert {currency: posted.get(currency, 0) for currency in MINOR} == self.change_since(before)
        self.keep_answers()
        self.check_promises()
        return new

    def check_months(self, entries: list[dict]) -> None:
        for entry in entries:
            month = max(entry["charge_month"], self.open_month)
            correction = "correction" if month != entry["charge_month"] else None
            assert (entry["billing_month"], entry["charge_class"]) == (month, correction), entry

    def totals(self) -> dict[str, Fraction]:
        """What the ledger says was billed, by currency."""
        return billed(self.rows(f"/ledger/entries?{DAYS}"))

    def expected(self, last: str = "9999-99") -> dict[str, Fraction]:
        """What the bills up to a billing month say."""
        found: dict[str, Fraction] = defaultdict(Fraction)
        for month, charges in self.bills.items():
            for charge in charges if month <= last else []:
                found[charge.currency] += Fraction(charge.cost)
        return found

    def change_since(self, before: dict[str, Fraction]) -> dict[str, Fraction]:
        now = self.expected()
        return {currency: now[currency] - before.get(currency, 0) for currency in MINOR}

    def keep_answers(self) -> None:
        for question in QUESTIONS:
            path = f"{question.format(days=DAYS)}&as_of=posting:{self.posting}"
            self.answers[path] = self.ask("GET", path)[0]

    def check_promises(self) -> None:
        """Statements are what they were, and the newest state asked by its posting is what is told of now."""
        for path, content in self.issued.items():
            now, answer = self.ask("GET", path)
            assert now == content, f"{path} changed"
            assert answer.getheader("apportion-sha256") == hashlib.sha256(content).hexdigest(), path
        now = self.get(f"/costs?{DAYS}&group_by=tenant")
        told = json.loads(self.answers[f"/costs?{DAYS}&group_by=tenant&as_of=posting:{self.posting}"])
        assert (now["rows"], now["totals"]) == (told["rows"], told["totals"])
        assert Fraction(now["meta"]["conservation"]["difference"]) == 0

    def check_statement(self, month: str) -> None:
        """Every printed sum is the sum of printed lines; exact sums are the ledger's; the journal balances."""
        for path in (f"/statements/{month}.json", f"/statements/{month}.csv", f"/statements/{month}/journal.csv"):
            self.issued[path] = self.ask("GET", path)[0]
        statement = json.loads(self.issued[f"/statements/{month}.json"])
        entries = [entry for entry in self.rows(f"/ledger/entries?{DAYS}")
                   if entry["billing_month"] == month and not entry["memo"]]  # fmt: skip
        ledger, by_consumer = billed(entries), billed(entries, lambda entry: entry["tenant"] or entry["consumer"])
        assert {total["currency"] for total in statement["totals"]} == set(ledger)
        for total in statement["totals"]:
            currency = total["currency"]
            lines = [row for row in statement["rows"] if row["currency"] == currency]
            consumers = [row for row in statement["consumers"] if row["currency"] == currency]
            for measure in ("amount", "exact", "rounding"):
                assert Fraction(total[measure]) == added(lines, measure) == added(consumers, measure), (currency, measure)
            assert Fraction(total["exact"]) == ledger[currency]
            assert total["amount"] == half_even(ledger[currency], MINOR[currency])
            assert all(digits(row["amount"]) == MINOR[currency] for row in [total, *lines, *consumers])
            for row in consumers:
                assert Fraction(row["exact"]) == by_consumer[currency, row["consumer"]], row
        self.check_csv(month, statement)
        # Σ statements + reserved = Σ billed cost of the lines, of all months closed so far and per currency.
        for currency, exact in ledger.items():
            self.stated[currency] += exact
        assert {currency: self.stated[currency] for currency in MINOR} == {
            currency: self.expected(month)[currency] for currency in MINOR
        }

    def check_csv(self, month: str, statement: dict) -> None:
        lines = list(csv.DictReader(io.StringIO(self.issued[f"/statements/{month}.csv"].decode())))
        journal = list(csv.DictReader(io.StringIO(self.issued[f"/statements/{month}/journal.csv"].decode())))
        for total in statement["totals"]:
            of_currency = [row for row in lines if row["currency"] == total["currency"]]
            assert added(of_currency, "amount") == Fraction(total["amount"])
            booked = [row for row in journal if row["currency"] == total["currency"]]
            assert booked and added(booked, "debit") == added(booked, "credit")


def billed(entries: list[dict], more=None) -> dict:
    """Σ billed_amount by currency, or by currency and what `more` says of an entry; memo aside."""
    found: dict = defaultdict(Fraction)
    for entry in entries:
        if entry["kind"] in ("cost", "adjustment") and not entry["memo"]:
            key = entry["currency"] if more is None else (entry["currency"], more(entry))
            found[key] += Fraction(entry["billed_amount"])
    return found


def added(rows: list[dict], measure: str) -> Fraction:
    return sum((Fraction(row[measure]) for row in rows), Fraction(0))


def digits(amount: str) -> int:
    return len(amount.partition(".")[2])


def half_even(amount: Fraction, places: int) -> str:
    """The amount in minor units; `round` of a fraction is half-even."""
    units = round(amount * 10**places)
    sign, text = "-" if units < 0 else "", str(abs(units)).rjust(places + 1, "0")
    return sign + (f"{text[:-places]}.{text[-places:]}" if places else text)


@pytest.fixture
def books(apportion):
    store: Apportion = apportion(POLICY, CONFIG)
    server = Server(store).start()
    try:
        yield Books(server)
    finally:
        if server.process.poll() is None:
            server.kill()


def test_a_quarter_is_closed_month_by_month_and_stays_closed(books):
    weekly = [date(2025, 12, 29) + timedelta(days=7 * week) for week in range(18)]
    books.rates(*[(day.isoformat(), currency, rate) for day in weekly for currency, rate in (("EUR", "1.05"), ("JPY", "0.0066"))])
    books.card("first", "0.00002")
    for tenant in TENANTS:
        facts = {"name": tenant.title(), "cost_center": f"CC-{tenant}", "gl_account": "6000", "billing_mode": "chargeback"}
        books.send("PUT", f"/tenants/{tenant}", facts, 201)

    # January is billed, attributed and closed.
    books.bill("2026-01", bill_of(1))
    books.use(events_of(1))
    books.post("first")
    books.close("2026-01")

    # February: January's usage was not all, and then the provider restates January.
    books.bill("2026-02", bill_of(2))
    books.use(events_of(2))
    books.post("first")
    late = [{**event, "id": f"late-{event['id']}"} for event in events_of(1) if event["time"] < "2026-01-05"]
    books.use([event for event in late if event["tenant"] == "acme"])
    assert {entry["billing_month"] for entry in books.post("late_usage")} == {"2026-02"}
    restated = [Charge(charge.day, "15.5", "acme") if charge.cost == "10.001" else charge for charge in bill_of(1)]
    books.bill("2026-01", [*restated, Charge("2026-01-30", "3.333", "globex")])
    assert {entry["charge_month"] for entry in books.post("bill_restated")} == {"2026-01"}
    books.close("2026-02")

    # March: the price was wrong from the start, so was a rate of exchange; acme has another name, initech belongs to globex.
    books.card("right", "0.00003")
    assert {entry["charge_class"] for entry in books.post("new_rates")} == {"correction"}
    books.rates(("2026-01-05", "EUR", "1.10"))
    corrected = books.post("fx")
    assert {entry["currency"] for entry in corrected} == {"EUR"}
    assert not any(Fraction(entry["billed_amount"]) for entry in corrected)
    books.send("PUT", "/tenants/acme", {"name": "Acme International", "slug": "acme-int", "valid_from": "2026-02-01"})
    assert books.attribute() is None, "a name is no cost"
    books.send("PUT", "/tenants/initech", {"merged_into": "globex", "valid_from": "2026-02-15"})
    moved = books.post("tenant_facts")
    assert {entry["tenant"] for entry in moved} <= {"initech", "globex"}
    assert min(entry["charge_date"] for entry in moved) >= "2026-02-15"
    delta = Charge("2026-02-06", "-1.25", "globex", billing_month="2026-03", charge_class="Correction")
    books.bill("2026-03", [*bill_of(3), delta])
    books.use(events_of(3))
    books.post("first", "bill_restated")
    adjust(books)
    books.close("2026-03")

    # April: what the provider changes in February now is April's.
    february = [Charge(charge.day, "21.002", "globex") if charge.cost == "20.002" else charge for charge in bill_of(2)]
    books.bill("2026-02", february)
    assert {entry["billing_month"] for entry in books.post("bill_restated")} == {"2026-04"}
    reissue(books)
    for path, content in books.answers.items():
        assert books.ask("GET", path)[0] == content, f"{path} answers something else"
    print(f"{len(books.answers)} answers repeated, {len(books.issued)} documents unchanged, causes {dict(books.causes)}")
    assert verified(books)


def adjust(books: Books) -> None:
    """A person moves cost of January, which is billed in March."""
    body = {"charge_date": "2026-01-05", "from_tenant": "acme", "to_tenant": "globex", "amount": "2.50", "currency": "USD",
            "reason": "charged twice", "reference": "Q1"}  # fmt: skip
    booked = books.send("POST", "/adjustments", body, 201)
    assert (booked["billing_month"], booked["charge_class"]) == ("2026-03", "correction")
    books.posting = booked["posting"]
    books.check_months(books.rows(f"/ledger/entries?posting={books.posting}"))
    assert books.attribute() is None, "a run touched an adjustment"
    books.keep_answers()
    books.check_promises()


def reissue(books: Books) -> None:
    """March is opened and closed again: a second version, which names the first; the first is served as it was."""
    first = books.issued["/statements/2026-03.json"]
    books.send("POST", "/periods/2026-03/reopen", {"reason": "a second look"})
    books.send("POST", "/periods/2026-03/close", {"force": True, "reason": "the quarter's books"})
    second = books.get("/statements/2026-03.json")
    assert (second["version"], second["replaces"]) == (2, json.loads(first)["number"])
    assert second["differences"] == []
    for path in [path for path in books.issued if "2026-03" in path]:
        books.issued[f"{path}?version=1"] = books.issued.pop(path)
    own = books.ask("GET", "/statements/2026-01.json?tenant=acme")[0].decode()
    assert "acme" in own and "globex" not in own and "initech" not in own
    for path, content in books.issued.items():
        assert books.ask("GET", path)[0] == content, f"{path} changed"


def verified(books: Books) -> bool:
    """Both verifiers and the proof say that the books are whole."""
    proof = books.rows(f"/ledger/proof?{DAYS}")
    assert {(row["state"], Fraction(row["difference"])) for row in proof} == {("proved", 0)}
    ours = books.get("/ledger/verify")
    assert ours["ok"], ours
    books.server.stop()
    other = verify.verify(books.server.store.folder / "data")
    assert not other.faults, other.faults
    return (other.postings, other.head) == (ours["postings"], ours["head"])
