"""Checks a ledger of Apportion without Apportion: files, chain, months, sums and proofs. See README.md.

    python verify.py DATA [--expect-head sha256:…]

Exit codes: 0 the ledger is what was posted, 7 it is not, 3 there is no ledger, 2 wrong usage.
"""

import argparse
import json
import sqlite3
import sys
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from delta_files import Commit, Fault, Table, sha256_of
from ledger_bytes import COLUMNS, ZERO_HASH, posting_hash

SOUND, USAGE, NO_LEDGER, DAMAGED = 0, 2, 3, 7
ROW_COLUMNS = [*COLUMNS, ("prev_hash", "text"), ("hash", "text")]
SAME_IN_ALL_LINES = ("posting", "booked_at", "run", "prev_hash", "hash")
MEASURES = ("amount", "billed_amount", "amount_reporting")
PROVED = ("amount", "billed_amount")
POOL_DAY_COLUMNS = [
    ("run", "text"), ("charge_date", "int32"), ("pool", "text"), ("memo", "bool"), ("state", "text"),
    ("currency", "text"), ("amount", "decimal"), ("billed_amount", "decimal"),
]  # fmt: skip


@dataclass
class Known:
    """What a catalog beside the lake remembers: postings, and pools that could not run."""

    postings: dict[int, tuple[str, int, str]] = field(default_factory=dict)
    not_run: set[tuple[str, str]] = field(default_factory=set)


@dataclass
class Report:
    """What was checked, and what is wrong; the first posting that fails comes first."""

    postings: int = 0
    entries: int = 0
    files: int = 0
    proofs: int = 0
    head: str | None = None
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.faults


class Months:
    """Which billing months are closed: they close in order, and only the latest is reopened."""

    def __init__(self):
        self.first = self.last = None

    def billing_month(self, charge_month: str) -> str:
        return charge_month if self.last is None else max(charge_month, next_month(self.last))

    def accept(self, entries: list[dict]) -> str | None:
        """Follows a posting, and returns what is wrong with it if anything is."""
        for entry in entries:
            month = entry["billing_month"]
            if entry["kind"] == "close":
                if self.last is not None and month != next_month(self.last):
                    return f"it closes {month}, but {self.last} is the latest closed month"
                self.first, self.last = self.first or month, month
            elif entry["kind"] == "reopen":
                if month != self.last:
                    return f"it reopens {month}, but the latest closed month is {self.last}"
                self.last = previous_month(month) if self.first < month else None
                self.first = self.first if self.last else None
            elif month != self.billing_month(entry["charge_month"]):
                return f"line {entry['line']} is billed in {month}, but {self.billing_month(entry['charge_month'])} was open"
        return None

    def check_stated(self, says: dict) -> str | None:
        """Every commit says which months are closed after it; those of releases that closed none say nothing."""
        closed = [self.first, self.last] if self.last is not None else None
        if says.get("closed", closed) != closed:
            return f"its commit says that {says['closed']} are closed, by the postings it is {closed}"
        return None


def next_month(month: str) -> str:
    year, number = map(int, month.split("-"))
    return f"{year + number // 12:04}-{number % 12 + 1:02}"


def previous_month(month: str) -> str:
    year, number = map(int, month.split("-"))
    return f"{year - (number == 1):04}-{(number - 2) % 12 + 1:02}"


def verify(folder: Path, expect_head: str | None = None, use_catalog: bool = True) -> Report:
    """Returns what is wrong with the ledger in a data folder, in a lake, or in a copy of one."""
    lake = folder / "lake" if (folder / "lake").is_dir() else folder
    ledger, pool_days = Table(lake / "ledger", append_only=True), Table(lake / "pool_days", append_only=False)
    report, known = Report(), Known()
    if use_catalog and (folder / "catalog.db").is_file():
        known = read_catalog(folder / "catalog.db", report)
    else:
        report.notes.append("no catalog was read: postings that were cut off at the end show only with --expect-head")
    ledger.read_log()
    chain = Chain(ledger, report)
    chain.walk()
    ledger.check_with_deltalake()
    report.faults += ledger.faults
    report.files = ledger.files_checked
    report.faults += missing_heads(chain, known, expect_head)
    report.faults += damaged_evidence(chain, lake / "evidence")
    if report.ok:
        pool_days.read_log()
        pool_days.check_with_deltalake()
        prove(pool_days, chain, known, report)
        report.faults += pool_days.faults
    report.faults.sort(key=lambda fault: (fault.posting is None, fault.posting or 0))
    return report


class Chain:
    """The postings in the order of the log, each recomputed from its stored rows up to the first that fails."""

    def __init__(self, ledger: Table, report: Report):
        self.ledger, self.report = ledger, report
        self.hashes: dict[int, str] = {}
        self.versions: dict[int, Commit] = {}
        self.booked_at: int | None = None
        # The number that the rows of the posting at hand have.
        self.found: int | None = None
        self.months = Months()
        # (run, days) of every posting of a run, and Σ of entries of kind cost by day, pool, currency and memo.
        self.runs: list[tuple[str, list[str]]] = []
        self.sums: dict[tuple, dict[str, int]] = defaultdict(lambda: dict.fromkeys(PROVED, 0))
        self.last_posting: dict[tuple, int] = {}

    def walk(self) -> None:
        broken = False
        for commit in self.ledger.commits:
            number = commit.says.get("posting")
            number = number if isinstance(number, int) else None
            whole = all([self.ledger.check_file(added, number) for added in commit.added])
            if broken or not (commit.added or number is not None):
                continue
            self.found = None
            try:
                wrong = self.check(commit) if whole else "a file of it is damaged"
            except Exception as error:  # rows that cannot be read or hold what was never written
                wrong = f"its rows cannot be read: {error}"
            if wrong is not None:
                self.report.faults.append(Fault(wrong, self.found or number))
                broken = True

    def check(self, commit: Commit) -> str | None:
        """Accepts the posting of a commit, or returns what is wrong with it."""
        entries = [row for added in commit.added for row in self.ledger.rows(added, ROW_COLUMNS)]
        entries.sort(key=lambda entry: (entry["posting"], entry["line"]))
        if not entries:
            return "it has no entries"
        first, expected = entries[0], len(self.hashes) + 1
        self.found = first["posting"]
        before = self.hashes.get(expected - 1, ZERO_HASH)
        wrong = (
            self.check_order(entries, expected, before)
            or check_stated(commit, entries)
            or check_kinds(entries)
            or self.months.accept(entries)
            or self.months.check_stated(commit.says)
        )
        if wrong is not None:
            return wrong
        self.hashes[expected], self.versions[expected] = first["hash"], commit
        self.booked_at = first["booked_at"]
        self.report.postings, self.report.head = expected, f"sha256:{first['hash']}"
        self.report.entries += len(entries)
        self.note(commit, entries)
        return None

    def check_order(self, entries: list[dict], expected: int, before: str) -> str | None:
        first = entries[0]
        if first["posting"] != expected:
            return f"posting {expected} should come here; postings are missing, doubled or out of order"
        if first["prev_hash"] != before:
            return f"prev_hash is {first['prev_hash']}, but the posting before has hash {before}"
        if self.booked_at is not None and first["booked_at"] <= self.booked_at:
            return "booked_at is not later than that of the posting before"
        for number, entry in enumerate(entries, 1):
            if entry["line"] != number:
                return f"line {number} should come here; lines are missing, doubled or out of order"
            for name in SAME_IN_ALL_LINES:
                if entry[name] != first[name]:
                    return f"line {number} has another {name} than line 1"
        found = posting_hash(before, entries)
        if found != first["hash"]:
            return f"the entries have hash {found}, but {first['hash']} is stored"
        return None

    def note(self, commit: Commit, entries: list[dict]) -> None:
        if commit.says.get("run") is not None:
            self.runs.append((commit.says["run"], commit.says.get("days", [])))
        for entry in entries:
            if entry["kind"] != "cost":
                continue
            key = (entry["charge_date"], entry["pool"], entry["currency"], bool(entry["memo"]))
            for measure in PROVED:
                self.sums[key][measure] += entry[measure]
            self.last_posting[key] = entry["posting"]


def check_stated(commit: Commit, entries: list[dict]) -> str | None:
    """What the commit says of its posting must be what the rows say."""
    first = entries[0]
    stated = {"posting": first["posting"], "booked_at": first["booked_at"], "entries": len(entries),
              "hash": first["hash"], "prev_hash": first["prev_hash"], "run": first["run"]}  # fmt: skip
    for name, value in stated.items():
        if commit.says.get(name) != value:
            return f"its commit says {name} {commit.says.get(name)}, its rows say {value}"
    return None


def check_kinds(entries: list[dict]) -> str | None:
    adjusted = defaultdict(lambda: [0, 0, 0])
    for entry in entries:
        amounts = [entry[measure] for measure in MEASURES]
        if entry["kind"] == "adjustment":
            adjusted[entry["currency"]] = [sum(pair) for pair in zip(adjusted[entry["currency"]], amounts, strict=True)]
        elif entry["kind"] in ("close", "reopen"):
            if len(entries) != 1 or any(amounts):
                return "it closes or reopens a month, and is not one line without amounts"
        elif entry["kind"] != "cost":
            return f"`{entry['kind']}` is no kind of entry"
    if any(sum(map(abs, sums)) for sums in adjusted.values()):
        return "it is an adjustment, and its entries do not cancel out"
    return None


def missing_heads(chain: Chain, known: Known, expect_head: str | None) -> list[Fault]:
    """A ledger cut short is whole in itself: heads that are known from elsewhere must be in the chain."""
    faults = []
    for posting, (sha256, version, log_sha256) in sorted(known.postings.items()):
        commit = chain.versions.get(posting)
        if chain.hashes.get(posting) != sha256:
            faults.append(Fault(f"the catalog knows this posting as {sha256}, the stored ledger does not hold it", posting))
            break
        if log_sha256 and (commit.version, commit.sha256) != (version, log_sha256):
            faults.append(Fault("its commit is not the one that the catalog knows", posting))
            break
    expected = expect_head.removeprefix("sha256:") if expect_head else None
    if expected is not None and expected not in chain.hashes.values():
        faults.append(Fault(f"the expected head sha256:{expected} is not in the stored ledger: postings were cut off or rewritten"))
    return faults


def damaged_evidence(chain: Chain, folder: Path) -> list[Fault]:
    """What a closed month rests on and no table keeps lies in files under the hash of their bytes, which the close names."""
    faults = []
    for posting, commit in chain.versions.items():
        for file in commit.says.get("evidence") or []:
            path = folder / f"{file['sha256']}.jsonl"
            if not path.is_file() or sha256_of(path) != file["sha256"]:
                faults.append(Fault(f"the evidence of {file.get('day')} that the close names is missing or changed", posting))
    return faults


def prove(pool_days: Table, chain: Chain, known: Known, report: Report) -> None:
    """What went into each pool and day must be what its entries of kind cost add up to, per currency and measure."""
    rows = []
    for added in pool_days.active.values():
        if pool_days.check_file(added, None):
            try:
                rows += pool_days.rows(added, POOL_DAY_COLUMNS)
            except Exception as error:  # as for the ledger's rows
                pool_days.fault(f"pool_days: {added.path} cannot be read: {error}")
    report.files += pool_days.files_checked
    if pool_days.faults:
        return
    put_in, not_run = went_in(rows, chain.runs)
    for key in sorted(set(put_in) | set(chain.sums), key=repr):
        day, pool, currency, memo = key
        report.proofs += len(PROVED)
        if key in not_run or (iso(day), pool) in known.not_run:
            continue
        for measure in PROVED:
            difference = put_in[key][measure] - chain.sums[key][measure]
            if difference:
                what = f"pool `{pool}` on {iso(day)}: {measure} in {currency} differs from what went in by {decimal(difference)}"
                report.faults.append(Fault(what, chain.last_posting.get(key)))


def went_in(rows: list[dict], runs: list[tuple[str, list[str]]]) -> tuple[dict, set]:
    """Sums the rows that count: those of the newest run that posted the day, or, where it could not run the pool, of the
    newest one before that could. Returns them by day, pool, currency and memo, and which of these were not run."""
    by_day: dict[str, list[str]] = defaultdict(list)
    for run, days in reversed(runs):
        for day in days:
            by_day[day].append(run)
    states: dict[tuple, tuple[set, set]] = defaultdict(lambda: (set(), set()))
    for row in rows:
        states[row["charge_date"], row["pool"]][row["state"] != "run"].add(row["run"])
    put_in, not_run = defaultdict(lambda: dict.fromkeys(PROVED, 0)), set()
    for row in rows:
        newest_first = by_day.get(iso(row["charge_date"]))
        if not newest_first:
            continue
        ran, could_not = states[row["charge_date"], row["pool"]]
        counted = newest_first[0]
        if counted in could_not:
            counted = next((run for run in newest_first if run in ran), counted)
        if row["run"] != counted:
            continue
        key = (row["charge_date"], row["pool"], row["currency"], bool(row["memo"]))
        for measure in PROVED:
            put_in[key][measure] += row[measure]
        if row["state"] != "run":
            not_run.add(key)
    return put_in, not_run


def read_catalog(path: Path, report: Report) -> Known:
    known = Known()
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as catalog:
            for posting, sha256, version, log_sha256 in catalog.execute(
                "SELECT posting, hash, version, log_sha256 FROM postings"
            ):
                known.postings[posting] = (sha256, version, log_sha256)
            known.not_run.update(catalog.execute("SELECT day, pool FROM run_pool_states WHERE state = 'not_run'"))
    except sqlite3.Error as error:
        report.notes.append(f"the catalog cannot be read: {error}")
    return known


def iso(epoch_days: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=epoch_days)).isoformat()


def decimal(atoms: int) -> str:
    sign, units = "-" if atoms < 0 else "", abs(atoms)
    fraction = f"{units % 10**15:015}".rstrip("0").ljust(2, "0")
    return f"{sign}{units // 10**15}.{fraction}"


def print_report(report: Report) -> None:
    print(f"{report.postings} postings, {report.entries} entries, {report.files} files, {report.proofs} proofs; head {report.head}")
    for fault in report.faults:
        where = f"posting {fault.posting}: " if fault.posting is not None else ""
        print(f"WRONG  {where}{fault.what}")
    for note in report.notes:
        print(f"note   {note}")
    first = next((fault.posting for fault in report.faults if fault.posting is not None), None)
    print("sound" if report.ok else "damaged" if first is None else f"damaged; the first posting that fails is {first}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Checks a ledger of Apportion without Apportion.")
    parser.add_argument("folder", type=Path, help="a data folder, its lake, or a copy of one")
    parser.add_argument("--expect-head", metavar="HASH", help="a head recorded elsewhere, which the ledger must contain")
    parser.add_argument("--without-catalog", action="store_true", help="do not read catalog.db beside the lake")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    asked = parser.parse_args(arguments)
    if not any((root / "ledger" / "_delta_log").is_dir() for root in (asked.folder / "lake", asked.folder)):
        print(f"there is no ledger in {asked.folder}: name a data folder or its lake", file=sys.stderr)
        return NO_LEDGER
    report = verify(asked.folder, asked.expect_head, not asked.without_catalog)
    if asked.json:
        faults = [{"posting": fault.posting, "what": fault.what} for fault in report.faults]
        print(json.dumps({"ok": report.ok, "head": report.head, "postings": report.postings, "entries": report.entries,
                          "files": report.files, "proofs": report.proofs, "faults": faults, "notes": report.notes}))  # fmt: skip
    else:
        print_report(report)
    return SOUND if report.ok else DAMAGED


if __name__ == "__main__":
    sys.exit(main())
