"""The four ways in which a provider corrects a bill, FOCUS 1.4: of a billing period that is still open or of one that is
closed, by replacing its rows or by rows that state the difference. What FOCUS says of them here:

* A billing period is open until its invoice is issued; until then its rows may change, and ChargeClass is null.
* Rows that correct an invoiced billing period are of ChargeClass "Correction". They stand in the billing period in which they
  are billed (BillingPeriodStart), and their ChargePeriodStart says when the corrected charge arose.
* Replacing: the provider delivers the billing period's data anew, and the new set stands in place of the old.
* Delta: what was delivered stays; further rows hold the difference, and all rows together are right.
"""

from collections import defaultdict
from fractions import Fraction

import pytest
from conftest import Apportion
from focus import Charge, total, write
from forge import verify

POLICY = """
version = "corrections"
valid_from = 2020-01-01

[[tenant_rule]]
when = {}
tenant = "{sub_account}"

[[pool]]
name = "shared"
kind = "service"
tier = "direct"
select = { sub_account = "shared" }
split = { method = "fixed", percent = { acme = "60", globex = "40" } }

[[pool]]
name = "own"
kind = "service"
tier = "direct"
select = {}
split = { method = "direct" }
"""
SPRING = "2026-03-01..2026-05-31"
MARCH = [
    Charge("2026-03-05", "10.00"),
    Charge("2026-03-10", "20.00", "globex"),
    Charge("2026-03-15", "100.00", "shared"),
]
APRIL = [Charge("2026-04-02", "5.00"), Charge("2026-04-20", "50.00", "shared")]
# What was wrong with March: acme paid 2.50 too much on the 5th, and the shared service 30.00 too little on the 15th.
RIGHT = [Charge("2026-03-05", "7.50"), MARCH[1], Charge("2026-03-15", "130.00", "shared")]
DIFFERENCE = [Charge("2026-03-05", "-2.50"), Charge("2026-03-15", "30.00", "shared")]
CHANGED = {
    ("2026-03-05", "acme"): Fraction("-2.50"),
    ("2026-03-15", "acme"): Fraction(18),
    ("2026-03-15", "globex"): Fraction(12),
}


@pytest.fixture
def store(apportion) -> Apportion:
    """March as the provider billed it first, attributed."""
    store = apportion(POLICY)
    bring(store, MARCH)
    return store


def bring(store: Apportion, *files: list[Charge], exit_code: int = 0) -> None:
    """Imports files as one set, and attributes all days."""
    paths = [write(store.folder / f"bill-{number}.csv", charges) for number, charges in enumerate(files)]
    store.run("import", "focus", *paths, "--source", "cloud", exit_code=exit_code)
    if exit_code == 0:
        store.run("attribute", "--range", SPRING)


def close(store: Apportion, month: str) -> None:
    """The provider has issued its invoice, and so do we."""
    store.run("period", "source", "cloud", month, "closed")
    store.run("period", "close", month)


def new_entries(store: Apportion, before: list[dict]) -> list[dict]:
    """Entries posted since; what was there before is there unchanged."""
    now = store.export_ledger(SPRING)
    assert [entry for entry in now if entry in before] == before
    return [entry for entry in now if entry not in before]


def sums(entries: list[dict], measure: str, *keys: str) -> dict[tuple, Fraction]:
    """Σ of a measure by some columns, without what is 0."""
    found: dict[tuple, Fraction] = defaultdict(Fraction)
    for entry in entries:
        found[tuple(entry[key] for key in keys)] += Fraction(entry[measure])
    return {key: value for key, value in found.items() if value}


def check_books(store: Apportion, *bills: list[Charge]) -> None:
    """All that was billed is in the ledger, once; nothing is left over, and both verifiers say so."""
    entries = store.export_ledger(SPRING)
    for measure in ("amount", "billed_amount"):
        assert sum(Fraction(entry[measure]) for entry in entries) == sum(map(total, bills))
    proof = store.proof(SPRING)
    assert {(row["state"], Fraction(row["difference"])) for row in proof} == {("proved", 0)}
    store.run("ledger", "verify")
    assert not verify.verify(store.folder / "data").faults


def test_an_open_period_is_replaced(store):
    before = store.export_ledger(SPRING)
    bring(store, RIGHT)
    new = new_entries(store, before)
    for measure in ("amount", "billed_amount"):
        assert sums(new, measure, "charge_date", "tenant") == CHANGED
    booked = {(entry["billing_month"], entry["charge_class"], entry["cause"]) for entry in new}
    assert booked == {("2026-03", None, "bill_restated")}
    check_books(store, RIGHT)


def test_an_open_period_gets_rows_with_the_difference(store):
    before = store.export_ledger(SPRING)
    # By themselves these rows would take the place of the whole period, which is refused.
    bring(store, DIFFERENCE, exit_code=5)
    assert store.export_ledger(SPRING) == before
    bring(store, MARCH, DIFFERENCE)
    new = new_entries(store, before)
    for measure in ("amount", "billed_amount"):
        assert sums(new, measure, "charge_date", "tenant") == CHANGED
    assert {(entry["billing_month"], entry["charge_class"]) for entry in new} == {("2026-03", None)}
    check_books(store, MARCH, DIFFERENCE)


def test_a_closed_period_is_replaced(store):
    close(store, "2026-03")
    bring(store, APRIL)
    before = store.export_ledger(SPRING)
    billed_before = sums(before, "billed_amount", "billing_month", "tenant")
    bring(store, RIGHT)
    new = new_entries(store, before)
    for measure in ("amount", "billed_amount"):
        assert sums(new, measure, "charge_date", "tenant") == CHANGED
    booked = {(entry["charge_month"], entry["billing_month"], entry["charge_class"]) for entry in new}
    assert booked == {("2026-03", "2026-04", "correction")}
    # What was billed in March stays as it was billed; April has its own cost and the correction, once.
    billed = sums(store.export_ledger(SPRING), "billed_amount", "billing_month", "tenant")
    for tenant in ("acme", "globex"):
        assert billed["2026-03", tenant] == billed_before["2026-03", tenant]
        corrected = sum(value for (_, of), value in CHANGED.items() if of == tenant)
        assert billed["2026-04", tenant] == billed_before.get(("2026-04", tenant), 0) + corrected
    check_books(store, RIGHT, APRIL)
    before = store.export_ledger(SPRING)
    store.run("attribute", "--range", SPRING)
    assert store.export_ledger(SPRING) == before


def test_a_closed_period_is_corrected_by_rows_of_the_next_one(store):
    close(store, "2026-03")
    before = store.export_ledger(SPRING)
    corrections = [
        Charge(charge.day, charge.cost, charge.sub_account, billing_month="2026-04", charge_class="Correction")
        for charge in DIFFERENCE
    ]
    bring(store, APRIL + corrections)
    new = new_entries(store, before)
    # The cost is corrected on the days on which it arose, and stands on the statement of the month that is open.
    corrected = [entry for entry in new if entry["charge_month"] == "2026-03"]
    assert sums(corrected, "amount", "charge_date", "tenant") == CHANGED
    assert {(entry["billing_month"], entry["charge_class"]) for entry in corrected} == {("2026-04", "correction")}
    # Money that the provider bills in April is billed in April: on its first day, because the days that it is for are not
    # in that billing period. What was billed in March stays as it was.
    assert not sums(corrected, "billed_amount", "charge_date", "tenant")
    first = [entry for entry in new if entry["charge_date"] == "2026-04-01"]
    assert sums(first, "billed_amount", "tenant") == {("acme",): Fraction("15.50"), ("globex",): Fraction(12)}
    assert not sums(first, "amount", "tenant")
    billed = sums(store.export_ledger(SPRING), "billed_amount", "billing_month")
    assert billed == {("2026-03",): total(MARCH), ("2026-04",): total(APRIL) + total(DIFFERENCE)}
    check_books(store, MARCH, APRIL, corrections)
    # April is closed in its turn, and a further delta in May corrects March once more.
    close(store, "2026-04")
    before = store.export_ledger(SPRING)
    bring(store, [Charge("2026-03-05", "0.25", billing_month="2026-05", charge_class="Correction")])
    new = new_entries(store, before)
    assert {(entry["billing_month"], entry["charge_class"]) for entry in new if Fraction(entry["amount"])} == {
        ("2026-05", "correction")
    }
    assert sums(new, "billed_amount", "charge_date") == {("2026-05-01",): Fraction("0.25")}
