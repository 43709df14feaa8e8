"""Statements, seen from outside: cents as an independent reference hands them out, a journal that balances, bytes that stay,
and bills that are compared with invoices. The reference shares no code with the product."""

import csv
import hashlib
import io
import json
import random
import re
import shutil
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

import pytest
from conftest import FIXTURES, Apportion
from test_crash import killed

BILLS = {"aws": FIXTURES / "focus-1.2-aws-cut.csv", "gcp": FIXTURES / "focus-1.3-gcp-cut.csv"}
MONTH, DAYS = "2026-05", "2026-05-01..2026-05-31"
POLICY = """
version = "statements"
valid_from = 2020-01-01

[[tenant_rule]]
when = {}
tenant = "{sub_account}"

[[pool]]
name = "compute"
select = { charge_category = "Usage" }
split = { method = "direct" }

[[pool]]
name = "rest"
select = {}
split = { method = "by_cost" }
"""
LINE = ("pool", "category", "charge_category")
CLOSE = ("period", "close", MONTH, "--force", "--reason", "a test")


@pytest.fixture
def attributed(apportion) -> Apportion:
    store = apportion(POLICY, '[journal]\nclearing_cost_center = "IT"\nclearing_gl_account = "4000"\n')
    for source, bill in BILLS.items():
        store.run("import", "focus", bill, "--source", source)
    store.run("attribute", "--range", DAYS)
    return store


def half_even(amount: Fraction, digits: int) -> Fraction:
    # round() of a fraction goes to the even neighbour of a half.
    return Fraction(round(amount * 10**digits), 10**digits)


def handed_out(total: Fraction, weights: list[Fraction], digits: int) -> list[Fraction]:
    """The split rule over minor units: floors, then one unit each to the largest remainders, ties to the first."""
    units, whole = abs(total) * 10**digits, sum(weights)
    assert units.denominator == 1
    if not whole:
        assert not units
        return [Fraction(0)] * len(weights)
    floors = [units * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda at: (-(units * weights[at] % whole), at))
    for at in order[: int(units - sum(floors))]:
        floors[at] += 1
    sign = -1 if total < 0 else 1
    return [Fraction(sign * floor, 10**digits) for floor in floors]


def rounded(amounts: list[Fraction], total: Fraction, digits: int) -> list[Fraction]:
    """Positive and negative parts apart: the negative ones to their rounded sum, the positive ones to what is left."""
    below = half_even(sum((amount for amount in amounts if amount < 0), Fraction(0)), digits)
    if not any(amount > 0 for amount in amounts) or (any(amount < 0 for amount in amounts) and total < below):
        below = total
    positive = handed_out(total - below, [max(amount, Fraction(0)) for amount in amounts], digits)
    negative = handed_out(below, [max(-amount, Fraction(0)) for amount in amounts], digits)
    return [plus + minus for plus, minus in zip(positive, negative)]


def reference(entries: list[dict], digits: int) -> dict[tuple, Fraction]:
    """What every line of the month prints, from the ledger's exported entries."""
    exact: dict[str, dict[tuple, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for entry in entries:
        if entry["billing_month"] == MONTH and entry["kind"] in ("cost", "adjustment") and not entry["memo"]:
            line = tuple(entry[column] or "" for column in LINE)
            exact[entry["tenant"] or entry["consumer"]][line] += Fraction(entry["billed_amount"])
    # Byte order, as UTF-8 sorts.
    by_bytes = lambda key: tuple(text.encode() for text in key)
    lines = {
        consumer: {line: of[line] for line in sorted(of, key=by_bytes) if of[line]}
        for consumer, of in sorted(exact.items(), key=lambda item: item[0].encode())
    }
    lines = {consumer: of for consumer, of in lines.items() if of}
    sums = [sum(of.values()) for of in lines.values()]
    printed = {}
    for (consumer, of), total in zip(lines.items(), rounded(sums, half_even(sum(sums), digits), digits)):
        for line, amount in zip(of, rounded(list(of.values()), total, digits)):
            printed[consumer, *line] = amount
    return printed


def statement(store: Apportion, *more: str) -> dict:
    return store.json("statement", MONTH, *more)


def test_the_reference_rounds_as_its_rule_says():
    """The check itself: cases that can be worked out by hand."""
    cents = lambda *texts: [Fraction(text) for text in texts]
    assert rounded(cents("0.004", "0.004", "0.004"), Fraction("0.01"), 2) == cents("0.01", "0", "0")
    assert rounded(cents("10.005", "-0.005"), Fraction("10.00"), 2) == cents("10.00", "0")
    assert rounded(cents("0.001", "-10.006"), Fraction("-10.02"), 2) == cents("0", "-10.02")


def test_c8_a_statement_prints_what_an_independent_reference_prints(attributed):
    attributed.run(*CLOSE)
    document = statement(attributed)
    printed = {(row["consumer"], *(row[column] for column in LINE)): Fraction(row["amount"]) for row in document["rows"]}
    expected = reference(attributed.export_ledger(DAYS), 2)
    assert printed == expected and len(printed) > 8
    total = sum(printed.values())
    assert [Fraction(row["amount"]) for row in document["totals"]] == [total]
    billed = sum(Decimal(line["BilledCost"]) for bill in BILLS.values() for line in csv.DictReader(bill.open()))
    assert total == half_even(Fraction(billed), 2) and Fraction(document["totals"][0]["exact"]) == Fraction(billed)
    for consumer in document["consumers"]:
        of = [row for row in document["rows"] if row["consumer"] == consumer["consumer"]]
        for column in ("amount", "exact", "rounding"):
            assert sum(Decimal(row[column]) for row in of) == Decimal(consumer[column]), (consumer, column)
    rows = list(csv.DictReader(io.StringIO(attributed.run("statement", MONTH, "-o", "csv").stdout)))
    assert sum(Fraction(row["amount"]) for row in rows) == total
    assert all(Decimal(row["exact"]) + Decimal(row["rounding"]) == Decimal(row["amount"]) for row in rows)
    print(f"C8: {len(printed)} lines of {len(document['consumers'])} consumers equal the reference")


def test_the_journal_balances_and_has_the_accounts_of_the_month(attributed):
    names = sorted({entry["tenant"] for entry in attributed.export_ledger(DAYS) if entry["tenant"]})
    first, second = names[:2]
    account = ("--billing-mode", "chargeback", "--valid-from", "2026-01-01")
    attributed.run("tenants", "set", first, "--cost-center", "CC-1", "--gl-account", "6000", *account)
    # A fact of a later month is not that of this one.
    attributed.run("tenants", "set", second, "--cost-center", "CC-2", "--valid-from", "2026-06-01")
    attributed.run(*CLOSE)
    done = attributed.run("statement", MONTH, "--journal")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    debit, credit = (sum(Decimal(row[side]) for row in rows) for side in ("debit", "credit"))
    assert debit == credit and debit >= Decimal(statement(attributed)["totals"][0]["amount"])
    by_consumer = defaultdict(Decimal)
    for row in rows:
        by_consumer[row["consumer"]] += Decimal(row["debit"]) - Decimal(row["credit"])
    assert set(by_consumer.values()) == {Decimal(0)}, "every pair balances"
    accounts = {(row["consumer"], row["cost_center"], row["gl_account"], row["missing"]) for row in rows}
    assert (first, "CC-1", "6000", "") in accounts and (first, "IT", "4000", "") in accounts
    assert (second, "", "", "cost_center gl_account") in accounts
    assert "lack a cost centre or an account" in done.stderr


def test_what_was_issued_stays_and_the_next_version_tells_the_difference(attributed, tmp_path):
    attributed.run("statement", MONTH, exit_code=5)
    attributed.run(*CLOSE)
    forms = {form: attributed.run("statement", MONTH, "-o", form) for form in ("json", "csv")}
    said = re.search(r"statement (\S+), SHA-256 ([0-9a-f]{64})", forms["json"].stderr)
    assert said[1] == f"ST-{MONTH}-1" and said[2] == hashlib.sha256(forms["json"].stdout.encode()).hexdigest()
    journal = attributed.run("statement", MONTH, "--journal").stdout

    lines = list(csv.DictReader(BILLS["aws"].open()))
    dearest = max(range(len(lines)), key=lambda at: Decimal(lines[at]["BilledCost"]))
    for column in ("BilledCost", "EffectiveCost"):
        lines[dearest][column] = str(Decimal(lines[dearest][column]) + Decimal("12.345"))
    restated = tmp_path / "restated.csv"
    with restated.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)
    attributed.run("period", "reopen", MONTH, "--reason", "the bill was restated")
    attributed.run("import", "focus", restated, "--source", "aws")
    attributed.run("attribute", "--range", DAYS)
    for form, first in forms.items():
        assert attributed.run("statement", MONTH, "-o", form).stdout == first.stdout, "open again, and still what it was"
    attributed.run(*CLOSE)

    second, first = statement(attributed), json.loads(forms["json"].stdout)
    assert (second["number"], second["replaces"]) == (f"ST-{MONTH}-2", first["number"])
    change = Decimal(second["totals"][0]["amount"]) - Decimal(first["totals"][0]["amount"])
    differences = sum(Decimal(row["difference"]) for row in second["differences"])
    assert differences == change == Decimal(second["totals"][0]["difference"]) and abs(change - Decimal("12.345")) < Decimal("0.01")
    known = {(row["consumer"], *(row[column] for column in LINE)): row["amount"] for row in first["rows"]}
    for row in second["differences"]:
        assert known.get((row["consumer"], *(row[column] for column in LINE)), "0.00") == row["previous"]
    for form, issued in forms.items():
        assert attributed.run("statement", MONTH, "-o", form, "--issue", "1").stdout == issued.stdout
    assert attributed.run("statement", MONTH, "--journal", "--issue", "1").stdout == journal
    rows = list(csv.DictReader(io.StringIO(attributed.run("statement", MONTH, "-o", "csv").stdout)))
    assert sum(Decimal(row["previous"]) + Decimal(row["difference"]) - Decimal(row["amount"]) for row in rows) == 0


def test_d2_a_close_that_dies_before_its_statement_leaves_a_closed_month_and_the_statement_comes(attributed, tmp_path):
    folder = tmp_path.parent / f"{tmp_path.name}-sound"
    shutil.copytree(attributed.folder, folder)
    sound = Apportion(attributed.binary, folder, POLICY, '[journal]\nclearing_cost_center = "IT"\nclearing_gl_account = "4000"\n')
    sound.run(*CLOSE)
    assert killed(attributed, "period-closed", *CLOSE)
    attributed.run(*CLOSE, exit_code=5)
    found, expected = statement(attributed), statement(sound)
    for part in ("number", "version", "posting", "totals", "consumers", "rows", "differences"):
        assert found[part] == expected[part], part
    assert attributed.run("statement", MONTH, "--journal").stdout == sound.run("statement", MONTH, "--journal").stdout
    attributed.run("ledger", "verify")


def test_a_mark_needs_an_invoice_that_ties(attributed):
    rows = attributed.json("reconciliation", "--range", MONTH)
    assert len(rows) == 4 and {row["mark"] for row in rows} == {"no invoice to compare"}
    totals: dict[tuple, Decimal] = defaultdict(Decimal)
    for source, bill in BILLS.items():
        for line in csv.DictReader(bill.open()):
            totals[source, line["InvoiceId"]] += Decimal(line["BilledCost"])
    for (source, number), total in totals.items():
        enter = ("invoices", "add", "--source", source, "--period", MONTH, "--id", number, "--currency", "USD")
        attributed.run(*enter, "--total", total)
    assert len(attributed.json("invoices", "list")["rows"]) == len(totals) == 4
    rows = attributed.json("reconciliation", "--range", MONTH)
    assert [row["mark"] for row in rows] == ["✓"] * 4
    for row in rows:
        assert Decimal(row["invoice_total"]) == Decimal(row["billed"]) == Decimal(row["attributed"])

    one = random.Random(1).choice(sorted(totals))
    enter = ("invoices", "add", "--source", one[0], "--period", MONTH, "--id", one[1], "--currency", "USD")
    attributed.run(*enter, "--total", totals[one] + Decimal("0.01"))
    done = attributed.run("reconciliation", "--range", MONTH, "-o", "json", exit_code=7)
    off = [row for row in json.loads(done.stdout) if row["mark"] != "✓"]
    assert [(row["source"], row["invoice_id"], row["invoice_difference"]) for row in off] == [(*one, "0.01")]


def test_costs_in_minor_units_sum_to_the_rounded_total(attributed):
    for by in ("tenant", "tenant,pool", "pool,charge_category", "category"):
        asked = ("costs", "--by", by, "--range", DAYS, "--measure", "billed_amount", "--clock", "billed")
        exact, minor = attributed.json(*asked), attributed.json(*asked, "--round", "minor")
        total = half_even(Fraction(exact["totals"]["cost"]), 2)
        assert Fraction(minor["totals"]["cost"]) == total
        assert sum(Fraction(row["cost"]) for row in minor["rows"]) == total
        assert all(re.fullmatch(r"-?\d+\.\d\d", row["cost"]) for row in minor["rows"]), by
        reserved = {f"__{name}__": cost for name, cost in minor["totals"].items()}
        for row in minor["rows"]:
            for word in set(row["key"].values()) & set(reserved):
                same = [Fraction(other["cost"]) for other in minor["rows"] if word in other["key"].values()]
                assert sum(same) == Fraction(reserved[word]), (by, word)
    attributed.run(*CLOSE)
    tenants = {row["key"]["tenant"]: row["cost"] for row in attributed.json(
        "costs", "--by", "tenant", "--range", DAYS, "--measure", "billed_amount", "--clock", "billed", "--round", "minor"
    )["rows"]}
    charged = {row["consumer"]: row["amount"] for row in statement(attributed)["consumers"]}
    assert {name: cost for name, cost in tenants.items() if Decimal(cost)} == {
        name: amount for name, amount in charged.items() if Decimal(amount)
    }, "a statement's sums are what /costs rounds to"
