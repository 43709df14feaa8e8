"""Bills in FOCUS, row by row, as a provider would write them."""

import csv
import io
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path

COLUMNS = [
    "BillingAccountId", "SubAccountId", "BillingCurrency", "BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart",
    "ChargePeriodEnd", "ChargeCategory", "ChargeClass", "BilledCost", "EffectiveCost", "ListCost", "ContractedCost",
    "InvoiceId", "ProviderName", "ServiceName", "ServiceCategory", "Tags",
]  # fmt: skip


@dataclass(frozen=True)
class Charge:
    """One row: a day's charge, billed in that day's month unless another one is named."""

    day: str
    cost: str
    sub_account: str = "acme"
    billing_month: str = ""
    charge_class: str = ""
    currency: str = "USD"
    service: str = "Compute"
    account: str = "payer"

    @property
    def month(self) -> str:
        return self.billing_month or self.day[:7]

    def row(self) -> list[str]:
        day = date.fromisoformat(self.day)
        first = date.fromisoformat(self.month + "-01")
        ends = first + timedelta(days=monthrange(first.year, first.month)[1])
        at = [f"{each}T00:00:00Z" for each in (first, ends, day, day + timedelta(days=1))]
        return [
            self.account, self.sub_account, self.currency, *at, "Usage", self.charge_class, *[self.cost] * 4,
            f"INV-{self.month}", "Provider", self.service, "Compute", "{}",
        ]  # fmt: skip


def bill(charges: list[Charge]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(charge.row() for charge in charges)
    return out.getvalue().encode()


def write(path: Path, charges: list[Charge]) -> Path:
    path.write_bytes(bill(charges))
    return path


def total(charges: list[Charge]) -> Fraction:
    return sum((Fraction(charge.cost) for charge in charges), Fraction(0))
