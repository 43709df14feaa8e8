"""A store of every earlier format opens, answers as it did, and goes on."""

import json
import tarfile
from decimal import Decimal

import pytest
from conftest import REPOSITORY, Apportion

ARCHIVES = sorted((REPOSITORY / "tests" / "fixtures" / "folders").glob("*.tar.gz"))
DAYS = "2026-04-01..2026-05-31"


def event(identity: str, tenant: str, value: str) -> str:
    return json.dumps({
        "specversion": "1.0", "id": identity, "source": "t", "type": "cpu_core_hours", "time": "2026-05-05T10:00:00Z",
        "tenant": tenant, "cluster": "shared", "data": {"value": value},
    })  # fmt: skip


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def old(request, binary, tmp_path):
    store = Apportion(binary, tmp_path)
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    expected = json.loads((request.param.parent / request.param.name.replace(".tar.gz", ".json")).read_text())
    return store, expected


def costs(store: Apportion, *more: str) -> dict[str, str]:
    answer = store.json("costs", "--range", DAYS, "--by", "tenant,pool", *more)
    assert answer["meta"]["conservation"] is None or answer["meta"]["conservation"]["difference"] == "0.00"
    return {" ".join(row["key"].values()): row["cost"] for row in answer["rows"]}


def test_there_is_a_store_of_the_first_format():
    assert [path.name for path in ARCHIVES][:1] == ["format-1.tar.gz"]


def test_an_old_store_answers_as_it_did_and_goes_on(old, tmp_path):
    store, expected = old
    verified = store.json("ledger", "verify", "--expect-head", expected["head"])
    assert (verified["ok"], verified["head"]) == (True, expected["head"])
    assert costs(store) == expected["costs"]
    assert costs(store, "--as-of", "posting:1") == expected["costs_before"]
    assert store.json("statement", "2026-04")["totals"][0]["exact"] == expected["statement"]
    usage = store.run("export", "usage", "--range", DAYS, "--format", "ndjson").stdout.splitlines()
    snapshot = {key: value for key, value in json.loads(usage[0]).items() if key in expected["snapshot"]}
    assert (len(usage), snapshot) == (1, expected["snapshot"])
    explained = store.json("explain", "--tenant", "acme", "--date", "2026-05-06")["pools"]
    assert {pool["pool"]: pool["matches"] for pool in explained} == {"direct": True, "gather": True, "llm": True}
    bills = json.loads(store.run("ledger", "proof", "--independent", "-o", "json").stdout)["bills"]
    assert {bill["source"]: bill["state"] for bill in bills} == {"aws": "proved", "fixed": "no_files"}

    # The same inputs give the same ledger today.
    assert store.json("attribute", "--range", DAYS)["posting"] is None
    # Ids are known for ever, and what is new counts once.
    (tmp_path / "events.ndjson").write_text(event("c2026-05-05acme", "acme", "3") + "\n" + event("new", "globex", "1") + "\n")
    taken = store.json("import", "events", "events.ndjson")
    assert (taken["accepted"], taken["duplicates"]) == (1, 1)
    assert store.json("attribute", "--range", DAYS)["posting"] == 5
    assert store.json("ledger", "verify")["ok"]
    assert sum(map(Decimal, costs(store).values())) == sum(map(Decimal, expected["costs"].values()))
