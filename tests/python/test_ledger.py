"""Tampering and restatement, seen from outside."""

import sqlite3
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import FIXTURES, Apportion

POLICY = """
version = "ledger"
valid_from = 2020-01-01

[[tenant_rule]]
when = {}
tenant = "{sub_account}"

[[pool]]
name = "all"
kind = "service"
tier = "direct"
select = {}
split = { method = "direct" }
"""
DAYS = "2026-05-01..2026-05-31"
FLIPS_PER_FILE = 12
LAKE_CACHES = ("imports", "postings")
BILL = FIXTURES / "focus-1.2-aws-cut.csv"


@pytest.fixture
def attributed(apportion) -> Apportion:
    store = apportion(POLICY)
    store.run("import", "focus", BILL, "--source", "aws")
    store.run("attribute", "--range", DAYS)
    store.run("ledger", "verify")
    return store


def ledger_files(apportion: Apportion) -> list[Path]:
    return sorted(path for path in (apportion.lake / "ledger").rglob("*") if path.is_file())


@contextmanager
def flipped(path: Path, at: int):
    """One bit of the file is wrong, inside the block only."""
    content = path.read_bytes()
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    try:
        yield
    finally:
        path.write_bytes(content)


def test_verify_finds_a_changed_byte_in_every_stored_file_of_the_ledger(attributed):
    files = ledger_files(attributed)
    assert {path.suffix for path in files} >= {".parquet", ".json"}
    tried = 0
    for path in files:
        size = path.stat().st_size
        for at in sorted({size * part // FLIPS_PER_FILE for part in range(FLIPS_PER_FILE)}):
            with flipped(path, at):
                done = attributed.run("ledger", "verify", exit_code=None)
            tried += 1
            assert done.returncode != 0, f"byte {at} of {path.name} was changed and nobody noticed"
            if path.suffix == ".parquet":
                assert "posting" in (done.stdout + done.stderr).lower()
    print(f"{tried} bits flipped in {len(files)} files, all found")
    attributed.run("ledger", "verify")


def test_damage_to_what_went_into_pools_is_named(attributed):
    path = next((attributed.lake / "pool_days").rglob("*.parquet"))
    with flipped(path, path.stat().st_size // 2):
        proof = attributed.run("ledger", "proof", exit_code=None)
        verified = attributed.run("ledger", "verify", "-o", "json", exit_code=None)
    assert proof.returncode != 0
    assert all(part in proof.stderr for part in ("store_damaged", "pool_days", path.name)), proof.stderr
    assert verified.returncode == 7
    assert path.name in verified.stdout, verified.stdout
    attributed.run("ledger", "verify")


def test_a_changed_bill_posts_only_the_difference(attributed, tmp_path):
    before = attributed.export_ledger(DAYS)
    text = BILL.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if ",36.43540560000000,36.43540560000000," in line)
    changed = line.replace(",36.43540560000000,36.43540560000000,", ",36.43540560000000,36.53540560000000,", 1)
    (tmp_path / "restated.csv").write_text(text.replace(line, changed))

    report = attributed.json("import", "focus", tmp_path / "restated.csv", "--source", "aws")
    assert report["unchanged"] is False
    run = attributed.json("attribute", "--range", DAYS)

    new = [entry for entry in attributed.export_ledger(DAYS) if entry not in before]
    assert run["entries"] == len(new) == 1
    assert Fraction(new[0]["amount"]) == Fraction("0.1")
    assert Fraction(new[0]["billed_amount"]) == 0
    assert new[0]["cause"] == "bill_restated"
    attributed.run("ledger", "verify")


def test_a_bill_half_the_size_is_refused_and_changes_nothing(attributed, tmp_path):
    lines = BILL.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "half.csv").write_text("".join(lines[: len(lines) // 2]))
    before = sorted(path for path in attributed.lake.rglob("*") if path.is_file())
    done = attributed.run("import", "focus", tmp_path / "half.csv", "--source", "aws", exit_code=5)
    assert "would_shrink" in done.stdout + done.stderr or "--confirm" in done.stdout + done.stderr
    assert before == sorted(path for path in attributed.lake.rglob("*") if path.is_file())


def test_rows_of_the_catalog_that_describe_the_lake_are_repaired_at_start(attributed):
    entries = attributed.export_ledger(DAYS)
    before = {table: rows_of(attributed, table) for table in LAKE_CACHES}
    assert all(before.values()), f"nothing is cached: {before}"
    with closing(sqlite3.connect(attributed.folder / "data" / "catalog.db")) as catalog, catalog:
        for table in LAKE_CACHES:
            catalog.execute(f"DELETE FROM {table}")
    assert attributed.export_ledger(DAYS) == entries
    assert {table: rows_of(attributed, table) for table in LAKE_CACHES} == before


def rows_of(apportion: Apportion, table: str) -> list[tuple]:
    with closing(sqlite3.connect(apportion.folder / "data" / "catalog.db")) as catalog:
        return sorted(catalog.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
