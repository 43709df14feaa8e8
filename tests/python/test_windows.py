"""Windows seen from outside: a month of agent workflows, night by night, against a reference of plain loops and fractions."""

import json
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
from conftest import Apportion
from reference import ATOMS, parse_atoms, split

POLICY = """
version = "agents"
valid_from = 2020-01-01

[[pool]]
name = "gather"
tier = "amortized"
source = { event_type = "gather.completed", key = "$.gather_id", cost = "$.cost_usd", currency = "USD" }
split = { method = "window", by = ["tenant", "workflow", "repo", "task_class"], event_type = "repo_context.read", key = "$.gather_id", window = "24h" }

[[pool]]
name = "sandbox"
tier = "amortized"
source = { event_type = "vm.warmed", key = "$.vm", cost = "$.cost_usd", currency = "USD" }
split = { method = "window", by = ["tenant", "workflow", "repo", "task_class"], event_type = "sandbox_seconds", key = "$.vm", window = "until:vm.cooled", each = "sandbox_seconds" }
"""
SEED = 20_260_401
START = datetime(2026, 4, 1, tzinfo=UTC)
NIGHTS = 30
LATE_NIGHTS_MAX = 5
DAY, HOUR, HALF_HOUR = timedelta(days=1), timedelta(hours=1), timedelta(minutes=30)
REPOS = [f"repo-{number}" for number in range(6)]
TASK_CLASSES = ["migration", "refactor", "upgrade", "fix"]
UNCONSUMED = "__unconsumed__"


@dataclass(frozen=True)
class Workflow:
    tenant: str
    name: str
    repo: str
    task_class: str


WORKFLOWS = [
    Workflow(f"team-{number % 3}", f"wf-{number:02}", REPOS[number % 6], TASK_CLASSES[number % 4]) for number in range(50)
]


@dataclass(frozen=True)
class Event:
    """What happens, and in which night it is known."""

    kind: str
    time: datetime
    night: int
    key: str
    value: str = ""
    workflow: Workflow | None = None
    named: bool = True  # whether the event names repo and task class

    @property
    def consumer(self) -> str:
        own = [self.workflow.tenant, self.workflow.name]
        return "/".join(own + ([self.workflow.repo, self.workflow.task_class] if self.named else ["", ""]))

    def line(self, number: int) -> str:
        field_of = {"gather.completed": "gather_id", "repo_context.read": "gather_id"}.get(self.kind, "vm")
        value_of = "value" if self.kind == "sandbox_seconds" else "cost_usd"
        data = {field_of: self.key, **({value_of: self.value} if self.value else {})}
        event = {
            "specversion": "1.0", "id": f"e{number}", "source": "/agents", "type": self.kind, "tenant": "platform",
            "time": self.time.isoformat().replace("+00:00", "Z"), "data": data,
        }  # fmt: skip
        if self.workflow is not None:
            event |= {"tenant": self.workflow.tenant, "workflow": self.workflow.name}
            event |= {"repo": self.workflow.repo, "taskclass": self.workflow.task_class} if self.named else {}
        return json.dumps(event) + "\n"


@dataclass
class Month:
    """Thirty days of gathers, reads and sandboxes, made from one seed."""

    draw: random.Random
    events: list[Event] = field(default_factory=list)

    def add(self, kind: str, time: datetime, key: str, value: str = "", workflow: Workflow | None = None, late: float = 0.0) -> None:
        # In the night after the day on which it happened; a late one some nights after that.
        night = (time - START) // DAY
        if self.draw.random() < late:
            night += self.draw.randrange(1, LATE_NIGHTS_MAX)
        named = self.draw.random() < 0.9
        self.events.append(Event(kind, time, night, key, value, workflow, named))

    def make(self) -> "Month":
        slots = NIGHTS * DAY // HALF_HOUR
        for slot in range(slots):
            self.gather(f"g{slot}", START + slot * HALF_HOUR)
        for number in range(NIGHTS * 8):
            self.sandbox(f"vm{number % 37}", START + self.draw.randrange(NIGHTS * 24 * 60) * timedelta(minutes=1))
        self.events.sort(key=lambda event: (event.night, event.time))
        return self

    def gather(self, key: str, time: datetime) -> None:
        cost = self.draw.choice(["0.0123", "0.01", "1", "0.333333", "0"])
        self.add("gather.completed", time, key, cost, late=0.02)
        for _ in range(self.draw.choice([0, 1, 2, 3, 7])):
            # Some before it, some at the very ends of its window, most inside, many after midnight.
            after = self.draw.choice([0, 1440, 1439, -1, self.draw.randrange(1440), self.draw.randrange(1440), 1500])
            at = time + after * timedelta(minutes=1)
            if START <= at:
                self.add("repo_context.read", at, key, workflow=self.draw.choice(WORKFLOWS), late=0.1)

    def sandbox(self, key: str, time: datetime) -> None:
        self.add("vm.warmed", time, key, self.draw.choice(["0.05", "0.0007", "2.5"]))
        users = self.draw.sample(WORKFLOWS, self.draw.randrange(5))
        for number, workflow in enumerate(users):
            seconds = self.draw.choice(["12.5", "300", "0.000000001", "0"])
            self.add("sandbox_seconds", time + number * timedelta(minutes=7), key, seconds, workflow, late=0.05)
        if self.draw.random() < 0.85:
            self.add("vm.cooled", time + self.draw.choice([1, 8, 60, 1440, 2000]) * timedelta(minutes=1), key, late=0.05)


def reference(known: list[Event]) -> dict:
    """What each consumer pays of each day and pool, in atoms, if this is all that is known."""
    by_kind: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in known:
        by_kind[event.kind, event.key].append(event)
    balances: dict = defaultdict(int)
    for cost in known:
        if cost.kind not in ("gather.completed", "vm.warmed"):
            continue
        pool, uses = ("gather", "repo_context.read") if cost.kind == "gather.completed" else ("sandbox", "sandbox_seconds")
        end = cost.time + DAY
        if pool == "sandbox":
            end = min([end, *(cooled.time for cooled in by_kind["vm.cooled", cost.key] if cost.time < cooled.time)])
        weights: dict = defaultdict(Fraction)
        for use in by_kind[uses, cost.key]:
            if cost.time <= use.time < end:
                key = tuple(use.consumer.split("/"))
                weights[key] = Fraction(1) if pool == "gather" else weights[key] + Fraction(use.value)
        amount = parse_atoms(cost.value)
        shares = split(amount, weights) if sum(weights.values()) > 0 else {(UNCONSUMED,): amount}
        for consumer, share in shares.items():
            balances[cost.time.date(), pool, "/".join(consumer)] += share
    return {key: atoms for key, atoms in balances.items() if atoms}


def posted(rows: list[dict]) -> dict:
    balances: dict = defaultdict(int)
    for row in rows:
        atoms = Fraction(row["amount"]) * ATOMS
        assert atoms.denominator == 1
        balances[date.fromisoformat(row["charge_date"]), row["pool"], row["consumer"]] += int(atoms)
    return {key: atoms for key, atoms in balances.items() if atoms}


def import_events(store: Apportion, name: str, lines: list[str]) -> None:
    file = store.folder / f"{name}.ndjson"
    file.write_text("".join(lines))
    assert not store.json("import", "events", file)["rejected"]


def run_days(done: dict) -> set[date]:
    days: set[date] = set()
    for run in done["runs"]:
        first, last = date.fromisoformat(run["from"]), date.fromisoformat(run["to"])
        days |= {first + timedelta(days=after) for after in range((last - first).days + 1)}
    return days


def test_after_each_night_of_a_month_every_balance_equals_the_reference(apportion):
    month = Month(random.Random(SEED)).make()
    store = apportion(POLICY, '[schedule]\nafter_import = "off"\n')
    whole = f"{START:%Y-%m-%d}..{START + (NIGHTS + 40) * DAY:%Y-%m-%d}"
    known: list[Event] = []
    seen_days: set[date] = set()
    restated = 0
    for night in range(NIGHTS + LATE_NIGHTS_MAX + 2):
        came = [event for event in month.events if event.night == night]
        if came:
            import_events(store, f"night-{night}", [event.line(len(known) + at) for at, event in enumerate(came)])
        known += came
        done = store.json("attribute", "--due")
        touched = {event.time.date() for event in came}
        seen_days |= touched
        # A window reaches at most into the day after its cost.
        before = {day - timedelta(days=1) for day in touched} & seen_days
        assert run_days(done) == touched | before, f"night {night}"
        rows = store.export_ledger(whole)
        assert {row["status"] for row in rows} <= {"final"} and all(row["memo"] in (True, "true") for row in rows)
        assert posted(rows) == reference(known), f"night {night}"
        restated = sum(row["cause"] == "late_usage" for row in rows)
    assert restated > 0 and len(known) == len(month.events)
    assert any(row["consumer"] == UNCONSUMED and row["tier"] == "overhead" for row in rows)
    proofs = store.proof(whole)
    assert proofs and all(Fraction(row["difference"]) == 0 for row in proofs)
    assert store.json("attribute", "--due")["runs"] == []
    store.run("ledger", "verify")
    print(f"\nseed {SEED}: {len(known)} events, {NIGHTS} days, {len(rows)} entries, {restated} of them restatements")


@pytest.mark.usefixtures("within_a_day")
def test_a_window_that_is_still_open_is_pending_and_is_explained(apportion):
    store = apportion(POLICY)
    now = datetime.now(UTC).replace(microsecond=0)
    gathered = now - 2 * HOUR
    one, two = WORKFLOWS[0], WORKFLOWS[3]
    assert one.tenant == two.tenant
    events = [
        Event("gather.completed", gathered, 0, "g", "0.30"),
        Event("repo_context.read", gathered + HOUR, 0, "g", workflow=one),
        Event("repo_context.read", gathered + HOUR, 0, "g", workflow=two),
        Event("repo_context.read", gathered + HOUR, 0, "g", workflow=WORKFLOWS[1]),
    ]
    import_events(store, "open", [event.line(at) for at, event in enumerate(events)])
    day = f"{gathered:%Y-%m-%d}"
    store.run("attribute", "--date", day)
    rows = store.export_ledger(f"{day}..{day}")
    assert {(row["consumer"], row["status"], row["amount"]) for row in rows} == {
        (workflow, "pending", "0.10") for workflow in (events[1].consumer, events[2].consumer, events[3].consumer)
    }
    explained = store.json("explain", "--tenant", one.tenant, "--date", day, "--pool", "gather")["pools"][0]
    assert (explained["method"], explained["basis"], explained["memo"], explained["matches"]) == ("window", "event", True, True)
    window = explained["window"]
    assert (window["window"], window["each"], window["costs_used"]) == ("24h", "consumer", 1)
    shown = window["shown"][0]
    assert (shown["status"], shown["readers"], shown["weight"], shown["part"]) == ("pending", 3, "2", "0.20")
    assert store.json("attribute", "--date", day)["posting"] is None
