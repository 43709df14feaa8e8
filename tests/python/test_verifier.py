"""The verifier of examples/verify/ agrees with `apportion ledger verify`, on sound ledgers and on every kind of damage."""

import json
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from conftest import FIXTURES, REPOSITORY, Apportion
from forge import Forger, copy_of, flip, ledger_bytes, swap, verify

BILL = FIXTURES / "focus-1.2-aws-cut.csv"
DAYS = "2026-05-01..2026-05-31"
POLICY = """
version = "verifier"
valid_from = 2020-01-01

[[tenant_rule]]
when = {}
tenant = "{sub_account}"

[[pool]]
name = "by-usage"
kind = "service"
tier = "direct"
select = { charge_category = "Purchase" }
split = { method = "proportional", meter = "cpu_core_hours" }

[[pool]]
name = "all"
kind = "service"
tier = "direct"
select = {}
split = { method = "direct" }
"""
# Postings of the ledger that is damaged; version n of the log is posting n.
FIRST, RESTATED, LATE, ADJUSTED, CLOSED, LAST = 1, 2, 3, 4, 5, 6


def event(tenant: str, quantity: str) -> dict:
    return {
        "specversion": "1.0", "type": "cpu_core_hours", "source": "tests", "id": f"{tenant}-{quantity}", "tenant": tenant,
        "time": "2026-05-01T12:00:00Z", "data": {"value": quantity},
    }  # fmt: skip


def use(store: Apportion, *events: dict) -> None:
    path = store.folder / "usage.ndjson"
    path.write_text("".join(json.dumps(each) + "\n" for each in events))
    store.run("import", "events", path)


def restate(store: Apportion, to: str) -> None:
    text = BILL.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if ",36.43540560000000,36.43540560000000," in line)
    changed = line.replace(",36.43540560000000,36.43540560000000,", f",36.43540560000000,{to},", 1)
    path = store.folder / "restated.csv"
    path.write_text(text.replace(line, changed))
    store.run("import", "focus", path, "--source", "aws")


def by_both(store: Apportion, data=None) -> tuple[verify.Report, dict | None]:
    """What both verifiers say of a data folder; nothing of ours for a store that does not even open. The other one goes
    first, because it only reads."""
    other = verify.verify(data or store.folder / "data")
    command = ("ledger", "verify", "-o", "json")
    if data is not None:
        store = Apportion(store.binary, data.parent)
    done = store.run(*command, exit_code=None)
    try:
        ours = json.loads(done.stdout)
    except ValueError:
        ours = None
    assert (done.returncode == 0) == (ours is not None and ours["ok"]), done.stderr
    return other, ours


def agree_that_it_is_sound(store: Apportion) -> verify.Report:
    other, ours = by_both(store)
    assert other.ok and ours["ok"], (other.faults, ours["faults"])
    assert (other.head, other.postings, other.entries) == (ours["head"], ours["postings"], ours["entries"])
    assert other.proofs == ours["proofs_checked"]
    return other


@pytest.fixture(scope="module")
def sound(binary, tmp_path_factory) -> Apportion:
    """Six postings: a month, a restated bill, late usage, an adjustment, a close and a correction. Sound after each."""
    store = Apportion(binary, tmp_path_factory.mktemp("verifier"), POLICY)
    use(store, event("acme", "1.5"), event("globex", "0.25"))
    store.run("import", "focus", BILL, "--source", "aws")
    steps = [
        lambda: store.run("attribute", "--range", DAYS),
        lambda: (restate(store, "36.5"), store.run("attribute", "--range", DAYS)),
        lambda: (use(store, event("acme", "2")), store.run("attribute", "--range", DAYS)),
        lambda: store.run(
            "adjust", "--date", "2026-05-03", "--from-tenant", "acme", "--to-tenant", "globex", "--amount", "1.000000000000001",
            "--currency", "USD", "--reason", "charged twice", "--reference", "T-1",
        ),
        lambda: store.run("period", "close", "2026-05", "--force", "--reason", "a test"),
        lambda: (restate(store, "40.25"), store.run("attribute", "--range", DAYS)),
    ]  # fmt: skip
    for posting, step in enumerate(steps, 1):
        step()
        assert agree_that_it_is_sound(store).postings == posting
    return store


def test_the_test_vector_of_the_page_gives_its_hashes():
    page = (REPOSITORY / "docs" / "ledger-format.md").read_text(encoding="utf-8")
    kinds = dict(ledger_bytes.COLUMNS)
    postings: dict[int, list[dict]] = {}
    for number, block in re.findall(r"Posting (\d+), line \d+:\n\n```text\n(.*?)```", page, re.DOTALL):
        given = dict(line.split() for line in block.splitlines())
        assert list(given) == [name for name, _ in ledger_bytes.COLUMNS]
        entry = {name: decoded(kinds[name], bytes.fromhex(text)) for name, text in given.items()}
        for name, text in given.items():
            assert ledger_bytes.column_bytes(kinds[name], entry[name]).hex() == text, name
        postings.setdefault(int(number), []).append(entry)
    before = ledger_bytes.ZERO_HASH
    for number, entries in postings.items():
        before = ledger_bytes.posting_hash(before, entries)
        assert f"posting {number}  {before}\n" in page
    assert len(postings) == 2


def decoded(kind: str, content: bytes):
    """The value of some bytes, by the page's rules read backwards."""
    if content == b"\x00":
        return None
    content = content[1:]
    if kind == "text":
        return content[4:].decode()
    if kind == "bool":
        return content == b"\x01"
    if kind == "map":
        pairs, at = [], 4
        for _ in range(int.from_bytes(content[:4], "big")):
            pair = []
            for _ in range(2):
                length = int.from_bytes(content[at : at + 4], "big")
                pair.append(content[at + 4 : at + 4 + length].decode())
                at += 4 + length
            pairs.append(tuple(pair))
        return pairs
    return int.from_bytes(content, "big", signed=True)


# --- damage -------------------------------------------------------------------------------------------------------------


def file_of(forger: Forger, version: int):
    return forger.files(version)[0]


def first_row(**changes):
    """Changes columns of a posting's first row."""
    return lambda rows: rows[0].update(changes)


def added_to(column: str, what):
    def change(rows: list[dict]) -> None:
        rows[0][column] += what

    return change


def info_of(actions: list[dict]) -> dict:
    return next(action["commitInfo"] for action in actions if "commitInfo" in action)


def add_of(actions: list[dict]) -> dict:
    return next(action["add"] for action in actions if "add" in action)


def without_last(forger: Forger) -> None:
    forger.entry(LAST).unlink()
    (forger.log / "_last_checkpoint").unlink(missing_ok=True)


def without_the_middle(forger: Forger) -> None:
    """The third posting never was: the later ones take its place, with right hashes, seals and links."""
    for version in range(LATE, LAST):
        forger.entry(version).write_bytes(forger.entry(version + 1).read_bytes())
    forger.entry(LAST).unlink()
    for version in range(LATE, LAST):
        for file in range(len(forger.files(version))):
            rows = forger.rows(version, file)
            for row in rows:
                row["posting"] = version
            forger.write_rows(version, rows, file)
        forger.says(version, posting=version)
    forger.rehash()


def appended(forger: Forger) -> None:
    """A seventh posting that nobody made: the last one once more, rightly numbered, dated and hashed."""
    forger.entry(LAST + 1).write_bytes(forger.entry(LAST).read_bytes())
    new = forger.folder / "charge_month=2026-05" / "forged.zstd.parquet"
    new.write_bytes(file_of(forger, LAST).read_bytes())
    forger.change_entry(LAST + 1, lambda actions: add_of(actions).update(path="charge_month=2026-05/forged.zstd.parquet"))
    rows = forger.rows(LAST + 1)
    for row in rows:
        row["posting"] = LAST + 1
        row["booked_at"] += timedelta(seconds=1)
    forger.write_rows(LAST + 1, rows)
    micros = round(rows[0]["booked_at"].timestamp() * 10**6)
    forger.says(LAST + 1, posting=LAST + 1, booked_at=micros)
    forger.rehash()


def rehashed(version: int, change) -> object:
    """A forgery of rows after which every hash, seal and link is right again."""

    def damage(forger: Forger) -> None:
        forger.change_rows(version, change)
        forger.rehash()

    return damage


def moved_between_tenants(rows: list[dict]) -> None:
    rows[0]["amount"] += Decimal("0.000000000000001")
    rows[1]["amount"] -= Decimal("0.000000000000001")


def renumbered(rows: list[dict]) -> None:
    for line, row in enumerate(sorted(rows, key=lambda row: row["line"]), 1):
        row["line"] = line


def billed_in_may(rows: list[dict]) -> None:
    for row in rows:
        row.update(billing_month="2026-05", charge_class=None)


def without_a_row(rows: list[dict]) -> None:
    del rows[0]
    renumbered(rows)


def changed(version: int, change) -> object:
    """Rows that were changed where files, seals and links are right, and the posting's hash is not."""
    return lambda forger: forger.change_rows(version, change)


def in_log(version: int, change, reseal: bool = False) -> object:
    return lambda forger: forger.change_entry(version, change, reseal)


def in_pool_days(change) -> object:
    return lambda forger: change(Forger(forger.folder.parent.parent, "pool_days"))


ATOM = Decimal("0.000000000000001")
# What is done to the stored files: name, and how. Every kind must be found by both, and of files and rows
# both name the same posting, because it alone is damaged. Elsewhere each names what it comes upon first.
FILES = {
    "a bit at the start of a file": lambda f: flip(file_of(f, FIRST), 0),
    "a bit in the middle of a file": lambda f: flip(file_of(f, FIRST), file_of(f, FIRST).stat().st_size // 2),
    "a bit at the end of a file": lambda f: flip(file_of(f, LAST), -1),
    "a file cut short": lambda f: file_of(f, FIRST).write_bytes(file_of(f, FIRST).read_bytes()[:-100]),
    "a file with a byte more": lambda f: file_of(f, RESTATED).write_bytes(file_of(f, RESTATED).read_bytes() + b"\0"),
    "an empty file": lambda f: file_of(f, ADJUSTED).write_bytes(b""),
    "a missing file": lambda f: file_of(f, RESTATED).unlink(),
    "the file of the close is missing": lambda f: file_of(f, CLOSED).unlink(),
    "two files swapped": lambda f: swap(file_of(f, FIRST), file_of(f, RESTATED)),
    "an older file in place of a newer": lambda f: file_of(f, LAST).write_bytes(file_of(f, RESTATED).read_bytes()),
}
LOG = {
    "a bit in a log entry": lambda f: flip(f.entry(RESTATED), f.entry(RESTATED).stat().st_size // 2),
    "a bit in the last log entry": lambda f: flip(f.entry(LAST), f.entry(LAST).stat().st_size // 3),
    "the last log entry is missing": without_last,
    "a log entry in the middle is missing": lambda f: f.entry(LATE).unlink(),
    "a log entry cut short": lambda f: f.entry(LATE).write_bytes(f.entry(LATE).read_bytes()[:-20]),
    "an empty log entry": lambda f: f.entry(LATE).write_bytes(b""),
    "two log entries swapped": lambda f: swap(f.entry(RESTATED), f.entry(LATE)),
    "the last log entry twice": lambda f: f.entry(LAST + 1).write_bytes(f.entry(LAST).read_bytes()),
    "a log entry replaced by an older one": lambda f: f.entry(LAST).write_bytes(f.entry(RESTATED).read_bytes()),
    "a log entry that is no JSON": lambda f: f.entry(LAST).write_text("{\n"),
    "an added file is not named any more": in_log(LATE, lambda actions: actions.remove({"add": add_of(actions)})),
    "an added file is not named, resealed": in_log(LATE, lambda actions: actions.remove({"add": add_of(actions)}), True),
    "a file is taken out": in_log(LAST, lambda actions: actions.append({"remove": {
        "path": add_of(actions)["path"], "dataChange": True, "deletionTimestamp": 0}}), True),
    "another hash of a file": in_log(LAST, lambda actions: add_of(actions)["tags"].update(sha256="0" * 64), True),
    "another size of a file": in_log(LAST, lambda actions: add_of(actions).update(size=1), True),
    "a lost seal": in_log(LAST, lambda actions: info_of(actions).pop("entry_sha256")),
    "a lost link": lambda f: (f.change_entry(LAST, lambda actions: info_of(actions).pop("prev_log_sha256"))),
    "another posting number in a commit": lambda f: f.says(LATE, posting=9),
    "another closed month in a commit": lambda f: f.says(LAST, closed=None),
    "another reason of an adjustment": lambda f: f.says(ADJUSTED, adjustment={"reason": "none"}),
    "another text in the last commit": lambda f: f.says(LAST, note="forged"),
}
ROWS = {  # the hashes of postings stay as they were
    "amount": changed(FIRST, added_to("amount", ATOM)),
    "billed_amount": changed(FIRST, added_to("billed_amount", ATOM)),
    "amount_reporting": changed(FIRST, added_to("amount_reporting", -ATOM)),
    "currency": changed(RESTATED, first_row(currency="EUR")),
    "tenant": changed(RESTATED, first_row(tenant="globex")),
    "consumer": changed(RESTATED, first_row(consumer="globex")),
    "pool": changed(FIRST, first_row(pool="another")),
    "kind": changed(FIRST, first_row(kind="adjustment")),
    "cause": changed(FIRST, first_row(cause="fx")),
    "status": changed(FIRST, first_row(status="pending")),
    "labels": changed(FIRST, first_row(labels=[("team", "x")])),
    "labels_key": changed(FIRST, first_row(labels_key='{"team":"x"}')),
    "charge_date": changed(FIRST, added_to("charge_date", timedelta(days=1))),
    "billing_month": changed(LAST, first_row(billing_month="2026-05")),
    "charge_class": changed(LAST, first_row(charge_class=None)),
    "policy_version": changed(FIRST, first_row(policy_version="other")),
    "run of one line": changed(FIRST, first_row(run="run-0")),
    "booked_at of one line": changed(FIRST, added_to("booked_at", timedelta(microseconds=1))),
    "prev_hash of one line": changed(RESTATED, first_row(prev_hash="0" * 64)),
    "hash of one line": changed(FIRST, first_row(hash="0" * 64)),
    "a null that becomes an empty text": changed(FIRST, first_row(reason="")),
    "a row is gone": changed(FIRST, lambda rows: rows.pop()),
    "a row twice": changed(FIRST, lambda rows: rows.append(dict(rows[0]))),
    "two lines swapped": changed(FIRST, lambda rows: (rows[0].update(line=2), rows[1].update(line=1))),
    "the closed month": changed(CLOSED, first_row(billing_month="2026-04")),
}
FORGED = {  # the chain is whole in itself
    "rehashed: another amount": rehashed(FIRST, added_to("amount", ATOM)),
    "rehashed: an atom moved to a neighbour": rehashed(FIRST, moved_between_tenants),
    "rehashed: another tenant": rehashed(RESTATED, first_row(tenant="globex", consumer="globex")),
    "rehashed: a row is gone": rehashed(FIRST, without_a_row),
    "rehashed: an adjustment that creates cost": rehashed(ADJUSTED, added_to("amount", ATOM)),
    "rehashed: a close with an amount": rehashed(CLOSED, first_row(amount=Decimal(1))),
    "rehashed: a closed month is billed": rehashed(LAST, billed_in_may),
    "rehashed: a posting in the middle is gone": without_the_middle,
    "rehashed: a posting more": appended,
}
POOL_DAYS = {
    "a bit in pool_days": in_pool_days(lambda f: flip(file_of(f, 1), 100)),
    "a file of pool_days is missing": in_pool_days(lambda f: file_of(f, 1).unlink()),
    "another amount went in": in_pool_days(lambda f: f.change_rows(f.versions()[-1], added_to("amount", ATOM))),
}  # fmt: skip
DAMAGE = FILES | LOG | ROWS | FORGED | POOL_DAYS
KINDS_MIN = 50


@pytest.mark.parametrize("name", DAMAGE)
def test_both_find_the_damage(sound, tmp_path, name):
    data = copy_of(sound.folder / "data", tmp_path / "data")
    DAMAGE[name](Forger(data))
    other, ours = by_both(sound, data)
    assert not other.ok, f"{name}: the other verifier finds nothing"
    assert ours is None or not ours["ok"], f"{name}: `ledger verify` finds nothing, the other {other.faults}"
    firsts = [fault.posting for fault in other.faults], [fault["posting"] for fault in ours["faults"]] if ours else [None]
    print(f"{name}: {other.faults[0].what}")
    if name in FILES | ROWS:
        assert firsts[0][0] == firsts[1][0], (other.faults, ours["faults"])


# Forgeries that the rules of a ledger forbid: found in a lake alone, without the heads that a catalog remembers. The
# posting that is named, where one alone breaks the rule.
AGAINST_THE_RULES = {
    "rehashed: another amount": (None, "differs from what went in"),
    "rehashed: an adjustment that creates cost": (ADJUSTED, "do not cancel out"),
    "rehashed: a close with an amount": (CLOSED, "not one line without amounts"),
    "rehashed: a closed month is billed": (LAST, "is billed in 2026-05, but 2026-06 was open"),
    "rehashed: a posting more": (None, "differs from what went in"),
}


@pytest.mark.parametrize("name", AGAINST_THE_RULES)
def test_what_the_rules_forbid_is_found_without_a_catalog(sound, tmp_path, name):
    data = copy_of(sound.folder / "data", tmp_path / "data")
    FORGED[name](Forger(data))
    posting, words = AGAINST_THE_RULES[name]
    faults = verify.verify(data / "lake").faults
    assert faults and words in faults[0].what, faults
    assert posting in (None, faults[0].posting), faults


def test_at_least_fifty_kinds_of_damage_are_tried():
    assert len(DAMAGE) >= KINDS_MIN
    print(f"{len(DAMAGE)} kinds of damage")


def test_a_rewrite_of_everything_shows_only_by_a_head_from_elsewhere(sound, tmp_path):
    head = verify.verify(sound.folder / "data").head
    lake = copy_of(sound.folder / "data", tmp_path / "data") / "lake"
    rehashed(FIRST, moved_between_tenants)(Forger(lake.parent))
    assert verify.main([str(lake)]) == verify.SOUND
    assert verify.main([str(lake), "--expect-head", head]) == verify.DAMAGED
    assert verify.main([str(lake.parent)]) == verify.DAMAGED
    assert verify.main([str(lake.parent), "--without-catalog"]) == verify.SOUND


def test_the_verdict_is_printed_and_the_exit_code_tells_it(sound, tmp_path, capsys):
    assert verify.main([str(sound.folder / "data")]) == verify.SOUND
    assert capsys.readouterr().out.endswith("sound\n")
    data = copy_of(sound.folder / "data", tmp_path / "data")
    DAMAGE["amount"](Forger(data))
    assert verify.main([str(data)]) == verify.DAMAGED
    assert capsys.readouterr().out.endswith(f"damaged; the first posting that fails is {FIRST}\n")
    assert verify.main([str(data), "--json"]) == verify.DAMAGED
    assert json.loads(capsys.readouterr().out)["faults"][0]["posting"] == FIRST
    assert verify.main([str(tmp_path)]) == verify.NO_LEDGER
