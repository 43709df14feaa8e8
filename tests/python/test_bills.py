"""Bills that nobody here wrote: what the ledger says is what the files say, to the last atom.

The committed cuts always run. The full files run as well when the material folder lies beside the checkout.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path
from urllib.parse import unquote

import pytest
import reference
from conftest import FIXTURES, REPOSITORY
from reference import ATOMS, Policy

FULL = REPOSITORY.parent / "shared" / "data"
NO_TAX = ("Tax", "Credit", "Adjustment")  # the real sample has no tax rows; its credits follow cost instead


@dataclass(frozen=True)
class Bill:
    path: Path
    policy: Policy


def bills() -> list[Bill]:
    by_prefix = {
        "focus-1.0": Policy("Elastic Load Balancing", NO_TAX),
        "focus-1.2": Policy("AmazonS3", ("Tax",)),
        "focus-1.3": Policy("Cloud SQL", ("Tax",)),
    }
    paths = sorted(FIXTURES.glob("*.csv")) + sorted(FULL.glob("*.csv"))
    return [Bill(path, by_prefix[path.name[:9]]) for path in paths]


def atoms(text: str | None) -> int:
    value = Fraction(text or 0) * ATOMS
    assert value.denominator == 1
    return int(value)


def consumer_of(entry: dict) -> str:
    return unquote(entry["consumer"])


def sums(entries: list[dict], key) -> dict[tuple, list[int]]:
    result: dict[tuple, list[int]] = defaultdict(lambda: [0, 0])
    for entry in entries:
        measures = result[key(entry)]
        measures[0] += atoms(entry["amount"])
        measures[1] += atoms(entry["billed_amount"])
    return {key: measures for key, measures in result.items() if any(measures)}


def regroup(cells: dict[tuple, list[int]], key) -> dict[tuple, list[int]]:
    result: dict[tuple, list[int]] = defaultdict(lambda: [0, 0])
    for cell, measures in cells.items():
        for measure in (0, 1):
            result[key(cell)][measure] += measures[measure]
    return {key: measures for key, measures in result.items() if any(measures)}


@pytest.fixture(scope="module", params=bills(), ids=lambda bill: bill.path.stem)
def attributed(request, binary, tmp_path_factory):
    """The bill imported and every one of its days attributed, with the lines as the reference reads them."""
    from conftest import Apportion

    bill = request.param
    apportion = Apportion(binary, tmp_path_factory.mktemp(bill.path.stem), bill.policy.to_toml())
    report = apportion.json("import", "focus", bill.path, "--source", "bill")
    lines = reference.read_lines(bill.path)
    first, last = reference.day_range(lines)
    days = f"{first}..{last}"
    run = apportion.json("attribute", "--range", days)
    return apportion, bill, lines, days, report, run, apportion.export_ledger(days)


def test_the_import_reports_the_totals_of_the_file(attributed):
    _, bill, lines, _, report, _, _ = attributed
    assert report["rows"] == len(lines)
    # Money of these files fits; quantities with more digits than the lake keeps are rounded and counted.
    assert report["rounded_values"] == reference.quantities_beyond_scale(bill.path)
    assert report["unchanged"] is False
    totals = {total["currency"]: (atoms(total["billed"]), atoms(total["effective"])) for total in report["totals"]}
    expected: dict[str, tuple[int, int]] = {}
    for line in lines:
        billed, effective = expected.get(line.currency, (0, 0))
        expected[line.currency] = (billed + line.billed, effective + line.effective)
    assert totals == expected


def test_every_bill_adds_up_again_from_its_file(attributed):
    apportion, _, lines, *_ = attributed
    done = apportion.run("ledger", "proof", "--independent", "-o", "json", exit_code=None)
    counted = json.loads(done.stdout)["bills"]
    assert {bill["state"] for bill in counted} == {"proved"}, counted
    assert sum(bill["lines_in_files"] for bill in counted) == len(lines)
    assert sum(atoms(bill["billed"]) for bill in counted) == sum(line.billed for line in lines)


def test_the_ledger_sums_to_the_file_per_currency_and_charge_category(attributed):
    _, _, lines, _, _, run, entries = attributed
    assert run["status"] == "succeeded"
    expected: dict[tuple, list[int]] = defaultdict(lambda: [0, 0])
    for line in lines:
        expected[line.currency, line.charge_category][0] += line.effective
        expected[line.currency, line.charge_category][1] += line.billed
    expected = {key: measures for key, measures in expected.items() if any(measures)}
    assert sums(entries, lambda e: (e["currency"], e["charge_category"])) == expected


def test_each_day_has_the_cost_of_its_lines(attributed):
    """Where every line lies within one day no spreading is involved: the file's own days must come back."""
    _, _, lines, _, _, _, entries = attributed
    long_days = {day for line in lines if len(reference.overlap_seconds(line)) > 1 for day in reference.overlap_seconds(line)}
    # Billed cost of a line outside its own billing period moves to the first day of that period.
    long_days |= {line.billing_start.date() for line in lines}
    long_days |= {line.start.date() for line in lines if not line.billing_start <= line.start < line.billing_end}
    expected: dict[tuple, list[int]] = defaultdict(lambda: [0, 0])
    for line in lines:
        day = line.start.date()
        if day not in long_days:
            expected[str(day), line.currency][0] += line.effective
            expected[str(day), line.currency][1] += line.billed
    found = sums(entries, lambda e: (e["charge_date"], e["currency"]))
    for key, measures in expected.items():
        if any(measures):
            assert found.get(key) == measures, key


def test_every_cell_equals_the_slow_reference(attributed):
    _, bill, lines, _, _, _, entries = attributed
    expected = reference.attribute(lines, bill.policy)
    found = sums(
        entries,
        lambda e: (date.fromisoformat(e["charge_date"]), e["pool"], consumer_of(e), e["charge_category"], e["currency"]),
    )
    by_day = lambda cell: (cell[0], cell[1])  # noqa: E731
    assert regroup(found, by_day) == regroup(expected, by_day), "days and pools differ already"
    wrong = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
    assert not wrong, f"{len(wrong)} of {len(expected)} cells differ, first: " + "; ".join(
        f"{key}: expected {expected.get(key)}, found {found.get(key)}" for key in sorted(wrong, key=str)[:5]
    )


def test_the_proof_says_zero_for_every_day_pool_and_measure(attributed):
    apportion, bill, lines, days, _, _, _ = attributed
    rows = apportion.proof(days)
    assert {row["measure"] for row in rows} == {"amount", "billed_amount"}
    assert all(row["state"] == "proved" and atoms(row["difference"]) == 0 for row in rows if not row["memo"])
    expected = regroup(reference.attribute(lines, bill.policy), lambda cell: (str(cell[0]), cell[1]))
    for measure, name in enumerate(("amount", "billed_amount")):
        found: dict[tuple, int] = defaultdict(int)
        for row in rows:
            if row["measure"] == name and not row["memo"]:
                found[row["charge_date"], row["pool"]] += atoms(row["amount_in"])
        non_zero = {key: value for key, value in found.items() if value}
        assert non_zero == {key: measures[measure] for key, measures in expected.items() if measures[measure]}


def test_running_again_posts_nothing(attributed):
    apportion, bill, _, days, _, _, entries = attributed
    assert apportion.json("import", "focus", bill.path, "--source", "bill")["unchanged"] is True
    assert apportion.json("attribute", "--range", days)["posting"] is None
    assert apportion.export_ledger(days) == entries
    apportion.run("ledger", "verify")
