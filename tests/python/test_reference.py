"""The reference itself is held to the worked example of docs/method.md, so that two wrongs cannot agree."""

from datetime import date

import reference
from conftest import FIXTURES


def test_the_split_rule_gives_the_worked_example():
    weights = {
        ("acme", "cpu_core_hours"): 50,
        ("acme", "memory_gib_hours"): 120,
        ("acme", "network_gib"): 1,
        ("acme", "storage_gib_hours"): 150,
        ("globex", "cpu_core_hours"): 150,
        ("globex", "memory_gib_hours"): 60,
        ("globex", "network_gib"): 4,
        ("globex", "storage_gib_hours"): 75,
    }
    shares = reference.split(100 * reference.ATOMS, weights)
    assert list(shares.values()) == [
        8_196721311475410, 19_672131147540984, 163934426229508, 24_590163934426229,
        24_590163934426229, 9_836065573770492, 655737704918033, 12_295081967213115,
    ]  # fmt: skip


def test_ties_go_to_the_key_that_sorts_first_and_the_sign_is_kept():
    assert reference.split(-5, {("b",): 1, ("a",): 1, ("c",): 0}) == {("b",): -2, ("a",): -3, ("c",): 0}


def test_a_billed_amount_stays_inside_its_billing_period():
    stray = [line for line in reference.read_lines(FIXTURES / "focus-1.0-sample-cut.csv") if line.billing_start.month == 10]
    assert len(stray) == 1
    effective, billed = reference.spread(stray[0])
    assert {day.month for day in effective} == {9}
    assert list(billed) == [date(2024, 10, 1)]
