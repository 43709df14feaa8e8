"""Exports of Azure and Google Cloud in their buckets: read with the rights that they need and no other, added up
independently, replaced and never doubled, and not before they are whole."""

import json
from decimal import Decimal

import pytest
import requests
from azure_server import ACCOUNT, CONTAINER, Azure
from conftest import Apportion
from cryptography.hazmat.primitives.asymmetric import rsa
from deltalake import DeltaTable
from google_server import BUCKET, KEY_ID, Google

HEADER = (
    "BilledCost,EffectiveCost,BillingCurrency,BillingAccountId,BillingPeriodStart,BillingPeriodEnd,"
    "ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ServiceName\n"
)
EUROS = "EUR"


def costs(count: int, factor: str = "1") -> list[Decimal]:
    """Amounts that have, restated by a factor of two decimals, fifteen of them, as many as money has."""
    return [Decimal(factor) * Decimal(f"{number + 1}.0000000000{number + 1:03}") for number in range(count)]


def bill(month: str, amounts: list[Decimal]) -> bytes:
    """A FOCUS file: effective cost is twice the billed one."""
    year, number = map(int, month.split("-"))
    end = f"{year + number // 12}-{number % 12 + 1:02}-01"
    lines = [
        f"{amount:f},{amount * 2:f},{EUROS},account-1,{month}-01,{end},{month}-{at % 28 + 1:02}T00:00:00Z,"
        f"{month}-{at % 28 + 1:02}T01:00:00Z,Usage,Virtual Machines\n"
        for at, amount in enumerate(amounts)
    ]
    return (HEADER + "".join(lines)).encode()


def stored(store: Apportion) -> tuple[Decimal, Decimal]:
    table = DeltaTable(str(store.lake / "cost_lines")).to_pyarrow_table()
    return tuple(sum(table.column(name).to_pylist(), Decimal(0)) for name in ("billed_cost", "effective_cost"))


def twice(*months: list[Decimal]) -> tuple[Decimal, Decimal]:
    billed = sum((sum(amounts) for amounts in months), Decimal(0))
    return billed, billed * 2


def read(report: dict) -> list[tuple[str, int]]:
    return [(one["billing_period"], one["lines"]) for one in report["periods"]]


def failed(store: Apportion, name: str, cause: str, *secrets: str, state: str = "stale") -> None:
    done = store.run("sources", "refresh", name, exit_code=None)
    source = store.json("sources", "list")["rows"][0]
    assert done.returncode != 0 and source["state"] == state and f"({cause})" in source["last_error"], source
    for secret in secrets:
        assert secret not in done.stdout + done.stderr + json.dumps(source)


@pytest.fixture
def azure(tmp_path):
    server = Azure(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def google():
    server = Google()
    yield server
    server.stop()


def azure_config(azure: Azure, sas: str) -> str:
    return f"""
[[source]]
name = "azure"
kind = "azure_export"
bucket = "az://{CONTAINER}/focus"
account = "{ACCOUNT}"
endpoint = "{azure.url}"
sas_token = "{sas}"
retries = 0
"""


def put_azure_run(azure: Azure, month: str, run: str, submitted: str, amounts: list[Decimal]) -> None:
    """Two parts and then the manifest, below a folder of the run."""
    folder = f"focus/acme-mtd/{month.replace('-', '')}01-{month.replace('-', '')}30/{run}"
    blobs = []
    for part, piece in enumerate((amounts[::2], amounts[1::2])):
        key, content = f"{folder}/part_{part}_0001.csv", bill(month, piece)
        azure.put(key, content)
        blobs.append({"blobName": key, "byteCount": len(content), "dataRowCount": len(piece)})
    manifest = {
        "blobCount": len(blobs), "dataRowCount": len(amounts), "blobs": blobs,
        "exportConfig": {"exportName": "acme-mtd", "type": "FocusCost", "dataVersion": "1.2"},
        "runInfo": {"submittedTime": submitted, "runId": run, "startDate": f"{month}-01T00:00:00"},
    }  # fmt: skip
    azure.put(f"{folder}/manifest.json", json.dumps(manifest).encode())


def test_exports_of_azure_are_read_with_a_token_that_lists_and_reads(apportion, azure):
    months = {"2026-10": costs(40), "2026-11": costs(60)}
    put_azure_run(azure, "2026-10", "aaaa", "2026-11-01T03:00:00Z", months["2026-10"])
    put_azure_run(azure, "2026-11", "ffff", "2026-11-19T03:00:00Z", costs(60, "3"))
    put_azure_run(azure, "2026-11", "bbbb", "2026-11-20T03:00:00Z", months["2026-11"])
    sas = azure.sas("rl")
    assert azure.ask("PUT", "focus/x", sas=sas, body=b"x").status_code == 403, "the token can only read"

    store = apportion(None, azure_config(azure, sas))
    assert read(store.json("sources", "refresh", "azure")) == [("2026-11", 60), ("2026-10", 40)]
    assert stored(store) == twice(*months.values())
    assert read(store.json("sources", "refresh", "azure")) == [], "nothing changed, so nothing is read"

    months["2026-10"] = costs(40, "1.05")
    put_azure_run(azure, "2026-10", "cccc", "2026-11-21T03:00:00Z", months["2026-10"])
    assert read(store.json("sources", "refresh", "azure")) == [("2026-10", 40)]
    assert stored(store) == twice(*months.values()), "a restated month replaces, and is never added"

    wrong = azure.sas("rl", key=b"another key")
    (store.folder / "apportion.toml").write_text(f'[storage]\ndata = "data"\n{azure_config(azure, wrong)}')
    failed(store, "azure", "auth", wrong, wrong.split("sig=")[1])
    assert stored(store) == twice(*months.values()), "what was read stays"


def google_config(google: Google, account: str, more: str = "") -> str:
    return f"""
[[source]]
name = "google"
kind = "gcp_export"
bucket = "gs://{BUCKET}/focus"
endpoint = "{google.url}"
service_account = '''{account}'''
retries = 0
{more}
"""


def put_google_run(google: Google, month: str, run: str, amounts: list[Decimal], is_whole: bool = True) -> None:
    """Three shards, and then the mark that the export writes last."""
    folder = f"focus/billing_period={month}/run={run}"
    for shard in range(3):
        google.put(f"{folder}/shard-{shard:012}.csv", bill(month, amounts[shard::3]))
    if is_whole:
        google.put(f"{folder}/_SUCCESS", b"")


def test_exports_of_google_are_read_with_a_key_and_only_whole(apportion, google):
    months = {"2026-10": costs(30), "2026-11": costs(50)}
    put_google_run(google, "2026-10", "2026-11-01", months["2026-10"])
    put_google_run(google, "2026-11", "2026-11-19", costs(50, "3"))
    put_google_run(google, "2026-11", "2026-11-20", months["2026-11"])
    put_google_run(google, "2026-11", "2026-11-21", costs(7), is_whole=False)
    store = apportion(None, google_config(google, google.account()))
    assert read(store.json("sources", "refresh", "google")) == [("2026-11", 50), ("2026-10", 30)]
    assert stored(store) == twice(*months.values())
    assert read(store.json("sources", "refresh", "google")) == [], "nothing changed, so nothing is read"

    months["2026-10"] = costs(30, "0.95")
    put_google_run(google, "2026-10", "2026-11-22", months["2026-10"])
    assert read(store.json("sources", "refresh", "google")) == [("2026-10", 30)]
    assert stored(store) == twice(*months.values()), "a restated month replaces, and is never added"
    assert google.asked and all(asked.startswith("GET ") for asked in google.asked), google.asked

    stranger = google.account(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    configured = google_config(google, stranger)
    (store.folder / "apportion.toml").write_text(f'[storage]\ndata = "data"\n{configured}')
    failed(store, "google", "auth", json.loads(stranger)["private_key"].splitlines()[1], KEY_ID)
    assert stored(store) == twice(*months.values()), "what was read stays"


def test_files_without_a_mark_are_read_once_they_rest(apportion, google):
    """A shard that comes just after the first listing is part of what is read."""
    folder, amounts = "focus/billing_period=2026-11", costs(20)
    google.put(f"{folder}/shard-0.csv", bill("2026-11", amounts[:10]))
    store = apportion(None, google_config(google, google.account(), 'settle = "2s"'))
    listing = google.listing

    def first_listing(*asked) -> bytes:
        found, google.listing = listing(*asked), listing
        google.put(f"{folder}/shard-1.csv", bill("2026-11", amounts[10:]))
        return found

    google.listing = first_listing
    report = store.json("sources", "refresh", "google")
    assert read(report) == [("2026-11", 20)]
    assert stored(store) == twice(amounts)


def test_an_address_of_a_bucket_is_https_or_on_this_machine(apportion, google):
    store = apportion(None, google_config(google, google.account()).replace(google.url, "http://169.254.169.254"))
    failed(store, "google", "not_allowed", state="never")
    assert google.asked == [], "nothing was sent, neither there nor here"


def test_the_stand_in_of_google_lets_in_nobody_else(google):
    google.put("focus/a", b"x")
    for authorization in ("", "Bearer ", "Bearer a.b.c", "Basic eDp4"):
        answer = requests.get(f"{google.url}/{BUCKET}?list-type=2", headers={"Authorization": authorization}, timeout=120)
        assert answer.status_code == 403, authorization
