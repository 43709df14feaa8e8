"""An independent reference: from the raw text of a FOCUS CSV to what the ledger must say.

It shares no code and no idea with the product but the written method (docs/method.md): plain loops over
`fractions.Fraction` and Python integers, slow and short enough to be checked by reading.
"""

import csv
import io
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path

ATOMS = 10**15
NULL_WORDS = {"", "NULL"}
UNATTRIBUTED = "__unattributed__"


@dataclass(frozen=True)
class Line:
    """One charge row, with times as instants (UTC) and money in atoms."""

    tenant: str | None
    service: str
    charge_category: str
    currency: str
    start: datetime
    end: datetime
    billing_start: datetime
    billing_end: datetime
    effective: int
    billed: int


def parse_time(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def parse_atoms(text: str) -> int:
    if text in NULL_WORDS:
        return 0
    atoms = Fraction(text) * ATOMS
    assert atoms.denominator == 1, f"{text} has more digits than the lake keeps; choose other fixtures"
    return int(atoms)


def read_lines(path: Path) -> list[Line]:
    rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
    return [
        Line(
            tenant=None if row["SubAccountId"] in NULL_WORDS else row["SubAccountId"],
            service=row["ServiceName"],
            charge_category=row["ChargeCategory"],
            currency=row["BillingCurrency"],
            start=parse_time(row["ChargePeriodStart"]),
            end=parse_time(row["ChargePeriodEnd"]),
            billing_start=parse_time(row["BillingPeriodStart"]),
            billing_end=parse_time(row["BillingPeriodEnd"]),
            effective=parse_atoms(row["EffectiveCost"]),
            billed=parse_atoms(row["BilledCost"]),
        )
        for row in rows
    ]


def quantities_beyond_scale(path: Path) -> int:
    """How many quantities of the file have more than nine fractional digits that are not zeros."""
    columns = ("ConsumedQuantity", "PricingQuantity", "CommitmentDiscountQuantity")
    rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
    values = (row[column] for row in rows for column in columns if row.get(column) not in (None, *NULL_WORDS))
    return sum((Fraction(value) * 10**9).denominator != 1 for value in values)


def split(pool: int, weights: dict) -> dict:
    """Largest remainders; ties go to the key that sorts first. `weights` are non-negative and not all zero."""
    total = sum(weights.values())
    exact = {key: Fraction(abs(pool)) * weight / total for key, weight in weights.items()}
    shares = {key: share.numerator // share.denominator for key, share in exact.items()}
    left_over = abs(pool) - sum(shares.values())
    for key in sorted(weights, key=lambda key: (shares[key] - exact[key], key))[:left_over]:
        shares[key] += 1
    sign = -1 if pool < 0 else 1
    return {key: sign * share for key, share in shares.items()}


def overlap_seconds(line: Line) -> dict[date, int]:
    """Days (UTC) that the charge period touches; an empty period lies on the day of its start."""
    if line.end <= line.start:
        return {line.start.date(): 1}
    days, day = {}, line.start.date()
    while True:
        midnight = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
        begin, end = max(midnight, line.start), min(midnight + timedelta(days=1), line.end)
        if end <= begin:
            return days
        days[day] = int((end - begin).total_seconds())
        day += timedelta(days=1)


def spread(line: Line) -> tuple[dict[date, int], dict[date, int]]:
    """What of the line's effective and of its billed cost falls on each day."""
    seconds = overlap_seconds(line)
    inside = {day: weight for day, weight in seconds.items() if line.billing_start.date() <= day < line.billing_end.date()}
    billed_weights = inside or {line.billing_start.date(): 1}
    return split(line.effective, seconds), split(line.billed, billed_weights)


def day_range(lines: list[Line]) -> tuple[date, date]:
    """From the earliest to the latest charge or billing-period day, both inclusive."""
    starts = [min(line.start, line.billing_start).date() for line in lines]
    last_moment = max(max(line.end, line.billing_end) for line in lines) - timedelta(microseconds=1)
    return min(starts), last_moment.date()


@dataclass(frozen=True)
class Policy:
    """The three pools of the test: `shared` evenly, `tax` by cost, everything else direct by sub-account."""

    even_service: str
    by_cost_categories: tuple[str, ...]

    def pool_of(self, line: Line) -> str:
        if line.charge_category in self.by_cost_categories:
            return "tax"
        return "shared" if line.service == self.even_service else "direct"

    def to_toml(self) -> str:
        categories = ", ".join(f'"{category}"' for category in self.by_cost_categories)
        return f"""
version = "reference"
valid_from = 2020-01-01

[[tenant_rule]]
when = {{}}
tenant = "{{sub_account}}"

[[pool]]
name = "tax"
kind = "service"
tier = "direct"
select = {{ charge_category = [{categories}] }}
split = {{ method = "by_cost", of = ["shared", "direct"] }}

[[pool]]
name = "shared"
kind = "service"
tier = "direct"
select = {{ service = "{self.even_service}" }}
split = {{ method = "even", of = "active" }}

[[pool]]
name = "direct"
kind = "service"
tier = "direct"
select = {{}}
split = {{ method = "direct" }}
"""


def attribute(lines: list[Line], policy: Policy) -> dict[tuple, list[int]]:
    """Returns [amount, billed] in atoms by (day, pool, consumer, charge category, currency); no zero rows."""
    components: dict[tuple, list[int]] = defaultdict(lambda: [0, 0])  # (day, pool, category, currency)
    direct: dict[tuple, list[int]] = defaultdict(lambda: [0, 0])  # the same and the consumer
    active: dict[date, set[str]] = defaultdict(set)
    for line in lines:
        pool = policy.pool_of(line)
        for measure, days in enumerate(spread(line)):
            for day, atoms in days.items():
                if line.tenant:
                    active[day].add(line.tenant)
                components[day, pool, line.charge_category, line.currency][measure] += atoms
                if pool == "direct":
                    key = (day, pool, line.tenant or UNATTRIBUTED, line.charge_category, line.currency)
                    direct[key][measure] += atoms

    result: dict[tuple, list[int]] = defaultdict(lambda: [0, 0])
    for key, measures in direct.items():
        result[key] = list(measures)
    for (day, pool, category, currency), measures in components.items():
        if pool == "shared":
            divide(result, (day, pool, category, currency), measures, {(tenant,): 1 for tenant in active[day]})
    bases = dict(result)
    for (day, pool, category, currency), measures in components.items():
        if pool == "tax":
            divide(result, (day, pool, category, currency), measures, cost_weights(bases, day))
    return {key: measures for key, measures in result.items() if any(measures)}


def cost_weights(bases: dict[tuple, list[int]], day: date) -> dict[tuple[str], int]:
    weights: dict[tuple[str], int] = defaultdict(int)
    for (base_day, _, consumer, category, _), (amount, _) in bases.items():
        if base_day == day and category in ("Usage", "Purchase"):
            weights[(consumer,)] += amount
    return {key: max(weight, 0) for key, weight in weights.items()}


def divide(result: dict, component: tuple, measures: list[int], weights: dict[tuple[str], int]) -> None:
    day, pool, category, currency = component
    if sum(weights.values()) == 0:
        weights = {(UNATTRIBUTED,): 1}
    for measure, atoms in enumerate(measures):
        for (consumer,), share in split(atoms, weights).items():
            result[day, pool, consumer, category, currency][measure] += share
