"""Unit costs on the real server against exact fractions of the exported entries and of the events that were sent."""

import csv
import io
import json
import random
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from conftest import Apportion
from live_server import TOKEN, Server

SEED = 11
FIRST, LAST = date(2026, 5, 4), date(2026, 5, 24)
WORKFLOWS, REPOS, CLASSES = 50, 6, 4
ATOMS = 10**15
POLICY = f"""
version = "agents"
valid_from = 2026-01-01

[[pool]]
name = "llm"
tier = "direct"
split = {{ method = "rated", by = ["tenant", "workflow"], meters = ["llm_tokens"] }}

[[pool]]
name = "gather"
tier = "amortized"
fixed = {{ provider = "own", amount = "7.00", currency = "USD", per = "day", from = {FIRST}, to = {LAST} }}
split = {{ method = "proportional", by = ["tenant", "workflow"], meter = "repo_context_reads" }}

[[pool]]
name = "temporal"
tier = "overhead"
fixed = {{ provider = "temporal", amount = "10.00", currency = "USD", per = "day", from = {FIRST}, to = {LAST} }}

[[cap]]
task_class = "class-0"
amount = "100.00"
per = "month"
"""
RATES = 'version = "agents"\ncurrency = "USD"\nvalid_from = 2026-01-01\n[[price]]\nmeter = "llm_tokens"\nprice = "0.0000137"\nper = "unit"\n'


class Story:
    """What happened to the workflows: the events as they are sent, and what the test knows of them."""

    def __init__(self):
        chance = random.Random(SEED)
        self.events, self.outcomes = [], []  # outcomes: (day, moment, unit, kind)
        self.repo, self.task_class = {}, {}
        for number in range(WORKFLOWS):
            unit = (f"tenant-{number % 4}", f"wf-{number % 45}")  # some ids are used by two tenants
            begin = FIRST + timedelta(days=chance.randrange(18))
            last_repo = f"repo-{chance.randrange(REPOS)}"
            self.repo[unit] = last_repo
            self.task_class[unit] = f"class-{number % CLASSES}"
            for step in range(chance.randrange(1, 5)):
                day = begin + timedelta(days=step // 2)
                self.tell(unit, day, step, "llm.completion", {"tokens": chance.randrange(1, 10**6)}, repo=f"old-{number}" if step == 0 else None)
                self.tell(unit, day, step, "repo_context_reads", {"value": chance.randrange(1, 9)})
            self.tell(unit, begin + timedelta(days=1), 20, "note", {}, repo=last_repo, task_class=self.task_class[unit])
            for kind in chance.choice([("pr.merged", "workflow.completed"), ("pr.merged", "pr.merged"), ("workflow.failed",), ()]):
                end = begin + timedelta(days=chance.randrange(1, 6))
                self.outcomes.append((end, self.tell(unit, end, 21, kind, {}), unit, kind))

    def tell(self, unit, day, hour, kind, data, repo=None, task_class=None) -> str:
        number = len(self.events)
        moment = f"{day}T{hour:02}:{number // 60 % 60:02}:{number % 60:02}Z"
        event = {
            "specversion": "1.0", "id": f"e{number}", "source": "/agents", "type": kind, "time": moment,
            "tenant": unit[0], "workflow": unit[1], "data": data,
        }  # fmt: skip
        self.events.append(event | ({"repo": repo} if repo else {}) | ({"taskclass": task_class} if task_class else {}))
        return moment


@pytest.fixture(scope="module")
def story():
    return Story()


@pytest.fixture(scope="module")
def server(binary, tmp_path_factory, story):
    """Tests only read."""
    store = Apportion(binary, tmp_path_factory.mktemp("unit-costs"), POLICY, "[ingest]\npast_days = 36500\n")
    (store.folder / "rates.toml").write_text(RATES)
    server = Server(store).start()
    status, answer = server.send(story.events)
    assert status == 200 and answer["accepted"] == len(story.events), answer
    body = json.dumps({"from": str(FIRST), "to": str(LAST)}).encode()
    status, text = server.ask("POST", "/runs?wait=true", body, {"Content-Type": "application/json"})
    assert status == 200, text
    yield server
    if server.process.poll() is None:
        server.kill()


def ask(server: Server, query: str) -> dict:
    status, text = server.ask("GET", f"/unit-costs?{query}&limit=1000")
    assert status == 200, text
    return json.loads(text)


def entries(server: Server) -> list[dict]:
    found, cursor = [], ""
    while True:
        status, text = server.ask("GET", f"/ledger/entries?from={FIRST}&to={LAST}&limit=1000{cursor}")
        assert status == 200, text
        page = json.loads(text)
        found += page["rows"]
        if not page["next_cursor"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def rounded(value: Fraction) -> Decimal:
    """Half-even to an atom: `round` of a fraction is half-even."""
    return Decimal(round(value * ATOMS)).scaleb(-15)


class Expected:
    """The answer, computed from entries and outcomes one by one."""

    def __init__(self, story: Story, rows: list[dict], by: str, first: date, last: date, cohort: str, mode: str):
        self.story, self.by = story, by
        self.cost = defaultdict(Fraction)
        self.n, self.completed, self.failed, self.in_progress = (defaultdict(int) for _ in range(4))
        self.overhead = Fraction(0)
        tiers = {"direct"} if mode == "workflow_local" else {"direct", "amortized"}
        merged_in_range = [unit for day, _, unit, kind in story.outcomes if kind == "pr.merged" and first <= day <= last]
        states = self.states(last)
        for row in rows:
            amount, inside = Fraction(row["amount_reporting"]), str(first) <= row["charge_date"] <= str(last)
            if row["tier"] == "overhead":
                self.overhead += amount if inside else 0
            if row["tier"] not in tiers or not row["workflow"]:
                continue
            unit = (row["tenant"], row["workflow"])
            if inside and states.get(unit) != "done":
                (self.failed if states.get(unit) == "failed" else self.in_progress)[self.key(unit)] += amount
            if inside if cohort == "period" else unit in merged_in_range:
                self.cost[self.key(unit)] += amount
        for unit in merged_in_range:
            self.n[self.key(unit)] += 1
        for unit in {unit for day, _, unit, kind in story.outcomes if kind == "workflow.completed" and (first <= day <= last or cohort == "merged")}:
            if cohort == "period" or unit in merged_in_range:
                self.completed[self.key(unit)] += 1

    def key(self, unit) -> str:
        return {"workflow": unit[1], "repo": self.story.repo[unit], "task_class": self.story.task_class[unit]}[self.by]

    def states(self, last: date) -> dict:
        known = {}
        for day, moment, unit, kind in self.story.outcomes:
            if day <= last:
                known[unit] = max(known.get(unit, (False, "", "")), (kind == "pr.merged", moment, kind))
        return {unit: "failed" if kind == "workflow.failed" else "done" for unit, (_, _, kind) in known.items()}


def check(row: dict, key: str, expected: Expected) -> None:
    cost, n, completed = expected.cost[key], expected.n[key], expected.completed[key]
    assert Fraction(row["cost"]) == cost, key
    assert (row["n"], row["workflows_completed"]) == (n, completed), key
    for name, count in (("cost_per_merged_pr", n), ("cost_per_completed_workflow", completed)):
        ratio = row[name]
        assert (ratio is None) if count == 0 else (Decimal(ratio) == rounded(cost / count)), (key, name, ratio)
    assert Fraction(row["failed_cost"]) == expected.failed[key], key
    assert Fraction(row["in_progress_cost"]) == expected.in_progress[key], key


@pytest.mark.parametrize("cohort", ["period", "merged"])
@pytest.mark.parametrize("mode", ["tiered", "workflow_local"])
def test_every_row_is_what_entries_and_events_say_one_by_one(server, story, cohort, mode):
    rows = entries(server)
    asked = 0
    for by in ("workflow", "repo", "task_class"):
        for first, last in ((FIRST, LAST), (date(2026, 5, 11), date(2026, 5, 17)), (FIRST, FIRST)):
            answer = ask(server, f"by={by}&from={first}&to={last}&cohort={cohort}&mode={mode}")
            expected = Expected(story, rows, by, first, last, cohort, mode)
            named = {row["key"][by]: row for row in answer["rows"]}
            keys = {key for kept in (expected.cost, expected.n, expected.failed, expected.in_progress) for key in kept}
            assert set(named) >= {key for key in keys if expected.cost[key] or expected.n[key]}, by
            for key, row in named.items():
                check(row, key, expected)
                assert sum(Fraction(week["cost"]) for week in row["series"]) == Fraction(row["cost"])
                assert sum(Fraction(part) for part in row["by_category"].values()) == Fraction(row["cost"])
                asked += 1
            totals = answer["totals"]
            assert Fraction(totals["cost"]) == sum(expected.cost.values())
            assert totals["n"] == sum(expected.n.values())
            assert Fraction(totals["overhead"]) == expected.overhead
    print(f"\n{asked} rows")
    assert asked > 40


def test_overhead_is_divided_in_marginal_only_and_to_the_last_atom(server):
    query = f"by=repo&from={FIRST}&to={LAST}"
    tiered, marginal = ask(server, query), ask(server, f"{query}&mode=marginal")
    assert all(row["overhead_share"] is None for row in tiered["rows"])
    shares = {row["key"]["repo"]: Fraction(row["overhead_share"]) for row in marginal["rows"]}
    assert sum(shares.values()) == Fraction(marginal["totals"]["overhead"]) == 10 * 21
    total = sum(Fraction(row["cost"]) for row in tiered["rows"])
    for row in tiered["rows"]:
        share = shares[row["key"]["repo"]]
        assert abs(share - 210 * Fraction(row["cost"]) / total) < Fraction(1, ATOMS)
        other = next(found for found in marginal["rows"] if found["key"] == row["key"])
        assert Fraction(other["cost"]) == Fraction(row["cost"]) + share


def test_the_cap_of_a_month_is_what_its_class_cost(server, story):
    answer = ask(server, f"by=task_class&from={FIRST}&to={LAST}")
    used = next(Fraction(row["cost"]) for row in answer["rows"] if row["key"]["task_class"] == "class-0")
    (cap,) = answer["caps"]
    assert (cap["task_class"], cap["per"], Fraction(cap["used"])) == ("class-0", "month", used)
    assert Decimal(cap["share_used"]) == Decimal(round(used / 100 * 10**6)).scaleb(-6)


def test_command_line_and_csv_print_the_numbers_of_the_api(server):
    query = f"by=repo&from={FIRST}&to={LAST}&sort=-cost_per_merged_pr"
    answer = ask(server, query)
    remote = ["--server", f"http://{server.address}", "--token", TOKEN, "--from", FIRST, "--to", LAST]
    command = ["unit-costs", "--by", "repo", "--sort=-cost_per_merged_pr", "--top", "1000", *remote]
    assert json.loads(server.store.run(*command, "-o", "json").stdout) == answer
    table = server.store.run(*command).stdout
    assert "COST_PER_MERGED_PR" in table and f"overhead {answer['totals']['overhead']}" in table
    status, text = server.ask("GET", f"/unit-costs?{query}", headers={"Accept": "text/csv"})
    assert status == 200, text
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [(row["repo"], row["cost"], row["cost_per_merged_pr"]) for row in rows] == [
        (row["key"]["repo"], row["cost"], row["cost_per_merged_pr"] or "") for row in answer["rows"]
    ]
    done = server.store.run("unit-costs", "--by", "tenant", *remote, exit_code=None)
    assert done.returncode == 5, done.stderr
