"""Providers on this machine: each answers as its documentation says, with amounts of its own, and knows the sum of a month.

`bill(month)` is that sum, billed and effective, worked out here and not taken from the binary."""

import calendar
import http.server
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

CANARY = "canary-of-every-provider-b81f"
# Lines stay clear of a month's last days, so that a month of one zone has none in the next one of another.
CHARGED_DAYS = 25
ATOM = Decimal("1e-15")

Sums = tuple[Decimal, Decimal]


def days_of(month: str) -> int:
    return calendar.monthrange(*map(int, month.split("-")))[1]


def rounded(exact: Fraction) -> Decimal:
    """The nearest fifteenth decimal, half to even."""
    return Decimal(round(exact * 10**15)).scaleb(-15).quantize(ATOM, ROUND_HALF_EVEN)


def as_json(value) -> bytes:
    """JSON in which a Decimal keeps its digits."""
    marks: list[str] = []

    def mark(number: Decimal) -> str:
        marks.append(f"{number:f}")
        return f"@{len(marks) - 1}@"

    text = json.dumps(value, default=mark)
    for at, number in enumerate(marks):
        text = text.replace(f'"@{at}@"', number)
    return text.encode()


class StandIn:
    """What all of them share. `factor` restates everything that is told from then on."""

    kind, keys, credentials = "", "", ("token",)
    zone, currency = "UTC", "USD"

    def __init__(self):
        self.factor = Decimal(1)
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                url = urlsplit(self.path)
                stand_in.refuse_strangers(self.headers)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                body = as_json(stand_in.answer(url.path, query))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def refuse_strangers(self, headers) -> None:
        assert any(CANARY in value for value in headers.values()), "nobody sent a credential"

    def config(self) -> str:
        secrets = "\n".join(f'{name} = "{CANARY}-{name}"' for name in self.credentials)
        where = f'url = "http://127.0.0.1:{self.server.server_port}"\nstand_in = true\nretries = 0'
        org = f'[org]\ntimezone = "{self.zone}"\nreporting_currency = "{self.currency}"\n'
        return f'{org}\n[[source]]\nname = "it"\nkind = "{self.kind}"\n{secrets}\n{where}\n{self.keys}\n'

    def amount(self, day: date | str, places: int = 12) -> Decimal:
        """An amount of a day, with a digit in its last place."""
        number = int(str(day)[8:10]) if len(str(day)) > 7 else 30
        return self.factor * (Decimal(number) + Decimal(3).scaleb(-places))

    def charged(self, month: str) -> list[date]:
        return [date.fromisoformat(f"{month}-{day:02}") for day in range(1, CHARGED_DAYS + 1)]

    def answer(self, path: str, query: dict[str, str]):
        raise NotImplementedError

    def bill(self, month: str) -> Sums:
        raise NotImplementedError

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def asked_days(first: date, end: date) -> list[date]:
    """The days from the first to before the end on which anything is charged."""
    days = [first + timedelta(days=number) for number in range((end - first).days)]
    return [day for day in days if day.day <= CHARGED_DAYS]


class Wasabi(StandIn):
    kind, credentials = "wasabi", ("access_key", "secret_key")
    keys = 'terabyte = "TB"\n[[source.price]]\nfrom = 2020-01-01\nper_tb_month = "7.99"'

    def sizes(self) -> list[int]:
        return [int(self.factor * 10**12) * bucket + 301 for bucket in (1, 2, 3)]

    def answer(self, path, query):
        assert path == "/v1/standalone/utilizations/bucket", path
        first, last = (date.fromisoformat(query[name]) for name in ("from", "to"))
        records = [
            {
                "BucketUtilizationNum": day.toordinal() * 10 + at, "AcctNum": 100123, "BucketNum": 7700 + at, "Bucket": f"b{at}",
                "Region": "eu-central-1", "StartTime": f"{day}T00:00:00Z", "EndTime": f"{day + timedelta(days=1)}T00:00:00Z",
                "PaddedStorageSizeBytes": size, "MetadataStorageSizeBytes": 0, "DeletedStorageSizeBytes": 0,
                "OrphanedStorageSizeBytes": 0, "MinStorageChargeBytes": 0, "NumAPICalls": 1, "UploadBytes": 0,
                "DownloadBytes": 0, "NumBillableObjects": 1,
            }
            for day in asked_days(first, last + timedelta(days=1))
            for at, size in enumerate(self.sizes())
        ]  # fmt: skip
        page, size = int(query["pageNum"]), int(query["pageSize"])
        pages = -(-len(records) // size) if page == 0 else 0
        return {"PageInfo": {"PageCount": pages}, "Records": records[page * size : (page + 1) * size]}

    def bill(self, month):
        price = Fraction(Decimal("7.99"))
        day = sum(rounded(size * price / (10**12 * days_of(month))) for size in self.sizes())
        return day * CHARGED_DAYS, day * CHARGED_DAYS


class Supabase(StandIn):
    """It tells the present only, so the month is a period that began days ago, and nothing is ever restated."""

    kind, zone = "supabase", "UTC"
    hourly, monthly = Decimal("0.0206"), Decimal("100")

    def __init__(self):
        super().__init__()
        self.today = datetime.now(UTC).date()
        ago = self.today - timedelta(days=10)
        self.first = ago.replace(day=min(ago.day, 28))
        self.keys = f'organization = "acme"\nbilling_day = {self.first.day}'

    def answer(self, path, query):
        if path == "/v1/organizations/acme/projects":
            project = {"ref": "p1", "name": "shop", "region": "eu-central-1", "cloud_provider": "AWS", "status": "ACTIVE_HEALTHY"}
            return {"projects": [project], "pagination": {"count": 1, "limit": 100, "offset": 0}}
        if path.endswith("/usage.api-counts"):
            return {"result": []}
        if path.endswith("/config/disk/util"):
            now = datetime.now(UTC).isoformat()
            return {"timestamp": now, "metrics": {"fs_size_bytes": 8, "fs_avail_bytes": 5, "fs_used_bytes": 3}}
        assert path == "/v1/projects/p1/billing/addons", path
        price = lambda kind, every, amount: {"type": kind, "interval": every, "amount": amount, "description": ""}  # noqa: E731
        addon = lambda kind, of: {"type": kind, "variant": {"id": kind, "name": kind, "price": of}}  # noqa: E731
        return {
            "selected_addons": [
                addon("compute_instance", price("usage", "hourly", self.hourly)),
                addon("custom_domain", price("fixed", "monthly", self.monthly)),
            ],
            "available_addons": [],
        }

    def bill(self, month):
        begin, end = self.first, self.first.replace(year=self.first.year + self.first.month // 12, month=self.first.month % 12 + 1)
        day = rounded(24 * Fraction(self.hourly)) + rounded(Fraction(self.monthly) / (end - begin).days)
        total = day * (self.today - begin).days
        return total, total


class Anthropic(StandIn):
    kind, credentials, keys = "anthropic", ("api_key",), 'organization = "org-1"'

    def rows(self, query) -> list[dict]:
        first, end = (datetime.fromisoformat(query[name]).date() for name in ("starting_at", "ending_at"))
        return [
            {
                "starting_at": f"{day}T00:00:00Z", "ending_at": f"{day + timedelta(days=1)}T00:00:00Z",
                "group": {"workspace_id": "wrkspc_1", "model": "claude", "token_type": "output_tokens"},
                "cost": {"amount": f"{self.amount(day, 11):f}", "currency": "USD"},
            }
            for day in asked_days(first, end)
        ]  # fmt: skip

    def answer(self, path, query):
        is_cost = path == "/v1/organizations/analytics/cost"
        assert is_cost or path == "/v1/organizations/analytics/usage", path
        return {"data": self.rows(query) if is_cost else [], "has_more": False, "next_page": None}

    def bill(self, month):
        # Amounts are cents.
        dollars = sum(self.amount(day, 11) for day in self.charged(month)) / 100
        return dollars, dollars


class AnthropicAdmin(Anthropic):
    keys = 'organization = "org-1"\napi = "admin"'

    def answer(self, path, query):
        is_cost = path == "/v1/organizations/cost_report"
        assert is_cost or path == "/v1/organizations/usage_report/messages", path
        rows = [
            {name: row[name] for name in ("starting_at", "ending_at")}
            | {"results": [{"cost_type": "tokens", "description": "Claude", **row["cost"], **row["group"]}]}
            for row in (self.rows(query) if is_cost else [])
        ]
        return {"data": rows, "has_more": False, "next_page": None}


class OpenAi(StandIn):
    kind, credentials, keys = "openai", ("api_key",), 'organization = "org-1"'

    def answer(self, path, query):
        is_cost = path == "/v1/organization/costs"
        assert is_cost or path == "/v1/organization/usage/completions", path
        first, end = (datetime.fromtimestamp(int(query[name]), UTC).date() for name in ("start_time", "end_time"))
        start = lambda day: int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())  # noqa: E731
        result = lambda day: {  # noqa: E731
            "amount": {"value": self.amount(day), "currency": "usd"}, "line_item": "input", "project_id": "proj_1",
        }  # fmt: skip
        data = [
            {"object": "bucket", "start_time": start(day), "end_time": start(day) + 86_400, "results": [result(day)]}
            for day in (asked_days(first, end) if is_cost else [])
        ]
        return {"object": "page", "data": data, "has_more": False, "next_page": None}

    def bill(self, month):
        total = sum(self.amount(day) for day in self.charged(month))
        return total, total


class Cloudflare(StandIn):
    kind, keys = "cloudflare", 'account = "023e105f4ecef8ad9ca31a8372d0c353"'

    def answer(self, path, query):
        below = path.removeprefix("/accounts/023e105f4ecef8ad9ca31a8372d0c353/billable-usage")
        if below == "/info":
            anchor = {"id": "sub_1", "billing_cycle_anchor_timestamp": "2026-03-01T00:00:00Z"}
            return {"success": True, "errors": [], "result": {"covered": True, "subscriptions": [anchor]}}
        assert below == "", path
        first, end = (date.fromisoformat(query[name][:10]) for name in ("from", "to"))
        rows = [
            {
                "BilledCost": self.amount(day), "EffectiveCost": 2 * self.amount(day), "ContractedCost": self.amount(day),
                "ListCost": self.amount(day), "BillingCurrency": "USD", "ChargeCategory": "Usage",
                "ChargePeriodStart": f"{day}T00:00:00Z", "ChargePeriodEnd": f"{day + timedelta(days=1)}T00:00:00Z",
                "ConsumedQuantity": 23.4, "ConsumedUnit": "GB-months", "ServiceName": "R2 Data Storage",
            }
            for day in asked_days(first, end)
        ]  # fmt: skip
        return {"success": True, "errors": [], "messages": [], "result": rows}

    def bill(self, month):
        total = sum(self.amount(day) for day in self.charged(month))
        return total, 2 * total


class Ovh(StandIn):
    """Signatures are checked where OVHcloud is tested alone."""

    kind, credentials = "ovhcloud", ("application_key", "application_secret", "consumer_key")
    zone, currency = "Europe/Paris", "EUR"

    def refuse_strangers(self, headers) -> None:
        pass

    def price(self, value: Decimal) -> dict:
        return {"currencyCode": "EUR", "text": "", "value": value}

    def parts(self, month: str) -> tuple[Decimal, Decimal, Decimal]:
        """What the details say, what they leave out, and the tax."""
        return self.amount(month, 2) * 2, Decimal("0.05"), Decimal("2.41")

    def answer(self, path, query):
        details, rest, tax = self.parts("")
        match path.strip("/").split("/"):
            case ["auth", "time"]:
                return int(time.time())
            case ["me"]:
                return {"nichandle": "ab1-ovh"}
            case ["me", "bill"]:
                # The middle of the range that was asked for lies in the month, whatever the zone.
                return [f"{datetime.fromisoformat(query['date.from']) + timedelta(days=14):%Y-%m}"]
            case ["me", "refund"]:
                return []
            case ["me", "bill", month]:
                return {
                    "billId": month, "date": f"{month}-01T12:00:00+01:00", "priceWithTax": self.price(details + rest + tax),
                    "priceWithoutTax": self.price(details + rest), "tax": self.price(tax),
                }  # fmt: skip
            case ["me", "bill", _, "details"]:
                return ["1", "2"]
            case ["me", "bill", _, "details", number]:
                return {"billDetailId": number, "description": "VPS", "domain": "vps", "quantity": "1", "totalPrice": self.price(details / 2)}
            case _:
                raise AssertionError(path)

    def bill(self, month):
        total = sum(self.parts(month))
        return total, total


class OvhConsumption(Ovh):
    keys = 'costs = "consumption"'

    def answer(self, path, query):
        if path.startswith("/me/consumption/usage/"):
            month = query["beginDate"][:7] if path.endswith("history") else f"{datetime.now(UTC):%Y-%m}"
            price = self.price(self.amount(month, 8))
            element = {"planCode": "b3-8.consumption", "planFamily": "instance", "quantity": 456, "price": price, "details": []}
            begin, end = (f"{month}-{day:02}T12:00:00+01:00" for day in (1, CHARGED_DAYS))
            return [{"id": 1, "serviceId": 12345678, "beginDate": begin, "endDate": end, "price": price, "elements": [element]}]
        return super().answer(path, query)

    def bill(self, month):
        return self.amount(month, 8), self.amount(month, 8)


class Ionos(StandIn):
    kind, keys, currency = "ionos", 'contract = "12345678"', "EUR"

    def money(self, quantity: Decimal) -> dict:
        return {"quantity": quantity, "unit": "EUR"}

    def answer(self, path, query):
        match path.strip("/").split("/"):
            case [_, "invoices"]:
                today = datetime.now(UTC).date()
                dates = [(today.replace(day=1) - timedelta(days=31 * months)).replace(day=2) for months in range(6)]
                return {"invoices": [{"id": f"GY{day:%Y%m}", "date": day.isoformat()} for day in dates if day <= today]}
            case [_, "invoices", number]:
                last = date(int(number[2:6]), int(number[6:]), 1) - timedelta(days=1)
                return self.invoice(number, last)
            case [_, "products"]:
                cost = {"quantity": "0.05", "unit": "EUR"}
                return {"products": [{"meterId": "C01000", "meterDesc": "1h core", "unit": "1hour", "unitCost": cost}]}
            case _:
                return {"datacenters": []}

    def invoice(self, number: str, last: date) -> dict:
        amount = self.amount(last)
        meter = {
            "meterId": "C01000", "meterDesc": "1h core", "quantity": {"quantity": 2976, "unit": "1hour"},
            "rate": self.money(Decimal("0.05")), "amount": self.money(amount),
        }  # fmt: skip
        center = {
            "id": "dc-1", "name": "prod", "location": "de/fra", "productGroup": None, "meters": [meter],
            "rebate": self.money(Decimal("1.5")),
        }  # fmt: skip
        metadata = {
            "invoiceId": number, "contractId": "12345678", "postingPeriod": f"{last:%Y-%m}", "finallyPosted": True,
            "startDate": f"{last:%Y-%m}-01", "endDate": last.isoformat(), "createdDate": f"{last + timedelta(days=2)}",
        }  # fmt: skip
        return {"metadata": metadata, "datacenters": [center], "total": self.money(amount - Decimal("1.25"))}

    def bill(self, month):
        total = self.amount(f"{month}-{days_of(month)}") - Decimal("1.25")
        return total, total


APIS: list[Callable[[], StandIn]] = [
    Wasabi, Supabase, Anthropic, AnthropicAdmin, OpenAi, Cloudflare, Ovh, OvhConsumption, Ionos,
]  # fmt: skip


class Export:
    """Files in a folder, as a cloud writes them: a run is added, and the ones before it stay."""

    zone, currency = "UTC", "EUR"

    def __init__(self, kind: str, folder: Path):
        self.kind, self.folder, self.runs = kind, folder, 0
        self.factor = Decimal(1)

    def config(self) -> str:
        where = f'[[source]]\nname = "it"\nkind = "{self.kind}"\npath = "{self.folder}"\nsettle = "0s"\n'
        return f'[org]\nreporting_currency = "{self.currency}"\n{where}'

    def put(self, key: str, content: bytes) -> None:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def write(self, month: str, bill: Callable[[str, list[Decimal]], bytes], amounts: list[Decimal]) -> None:
        self.runs += 1
        run = f"{month}-20T{self.runs:02}:00:00.000Z-run"
        if self.kind == "files":
            self.put(f"billing_period={month}/it.csv", bill(month, amounts))
        elif self.kind == "gcp_export":
            self.put(f"billing_period={month}/run={run[:13]}/shard-0.csv", bill(month, amounts))
            self.put(f"billing_period={month}/run={run[:13]}/_SUCCESS", b"")
        elif self.kind == "aws_export":
            key = f"acme/data/BILLING_PERIOD={month}/{run}/acme-00001.csv"
            self.put(key, bill(month, amounts))
            manifest = {"executionId": run, "dataFiles": [f"s3://acme-billing/{key}"]}
            self.put(f"acme/metadata/BILLING_PERIOD={month}/{run}/acme-Manifest.json", json.dumps(manifest).encode())
        else:
            key = f"mtd/{run}/part_0_0001.csv"
            self.put(key, bill(month, amounts))
            when = {"submittedTime": f"{month}-20T{self.runs:02}:00:00Z", "runId": run, "startDate": f"{month}-01T00:00:00"}
            config = {"exportName": "mtd", "type": "FocusCost"}
            manifest = {"exportConfig": config, "runInfo": when, "blobs": [{"blobName": key}]}
            self.put(f"mtd/{run}/manifest.json", json.dumps(manifest).encode())


EXPORTS = ["files", "aws_export", "azure_export", "gcp_export"]
