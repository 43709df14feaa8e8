"""Bad input gets a message that says what, where and what to do, the right exit code, and changes nothing."""

import fcntl
from pathlib import Path

import pytest
from conftest import FIXTURES, Apportion

USAGE, NOT_FOUND, CONFLICT, PARTIAL = 2, 3, 5, 7
BILL = FIXTURES / "focus-1.2-aws-cut.csv"
HEADER, *ROWS = BILL.read_text(encoding="utf-8").splitlines(keepends=True)

POOL = """
version = "bad"
valid_from = 2020-01-01

[[pool]]
name = "all"
kind = "service"
tier = "direct"
select = {}
split = { method = "even" }
"""


def stored(apportion: Apportion) -> dict[Path, bytes]:
    """Everything that is kept in the lake and among the imports."""
    folders = (apportion.folder / "data" / "lake", apportion.folder / "data" / "imports")
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def refused(apportion: Apportion, *arguments, exit_code: int, says: list[str]) -> None:
    before = stored(apportion)
    done = apportion.run(*arguments, exit_code=exit_code)
    for word in says:
        assert word.lower() in done.stderr.lower(), f"`{word}` is not in: {done.stderr}"
    assert done.stdout == "", "an error belongs on stderr"
    assert stored(apportion) == before


@pytest.fixture(scope="module")
def original(binary, tmp_path_factory) -> Apportion:
    made = Apportion(binary, tmp_path_factory.mktemp("original"), POOL)
    made.run("import", "focus", BILL, "--source", "aws")
    made.run("attribute", "--range", "2026-05-01..2026-05-31")
    return made


@pytest.fixture
def store(original, tmp_path) -> Apportion:
    return original.copy_to(tmp_path / "store")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (HEADER + ROWS[0] + ROWS[1].replace(",", ";"), ["bill.csv", "3"]),
        (HEADER.replace("BilledCost", "Cost") + ROWS[0], ["BilledCost"]),
        (HEADER + ROWS[0].replace("36.43540560000000", "thirty-six"), ["bill.csv", "2", "thirty-six"]),
        (HEADER + ROWS[0].replace("2026-05-01T00:00:00Z", "yesterday"), ["bill.csv", "2", "yesterday"]),
        (HEADER + ROWS[0].replace("36.43540560000000", "1e13"), ["bill.csv", "2", "bound"]),
        (HEADER + ROWS[0].replace(",USD,", ",EURO,"), ["bill.csv", "2", "EURO"]),
        ("", ["bill.csv"]),
    ],
    ids=["ragged row", "missing column", "no number", "no time", "out of bound", "no currency", "empty"],
)
def test_a_broken_bill_is_refused_with_its_place(store, content, says):
    bill = store.folder / "bill.csv"
    bill.write_text(content)
    refused(store, "import", "focus", bill, "--source", "other", exit_code=CONFLICT, says=says)


def test_a_missing_file_is_not_found(store):
    refused(store, "import", "focus", "nowhere.csv", "--source", "aws", exit_code=NOT_FOUND, says=["nowhere.csv"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("select = {}", "selct = {}"), ["policy.toml", "selct", "select"]),
        (("select = {}", 'select = { servce = "x" }'), ["policy.toml", "servce", "service"]),
        (('{ method = "even" }', '{ method = "weighted", weights = { cpu_core_hours = "-0.5" } }'), ["-0.5"]),
        (('{ method = "even" }', '{ method = "evenly" }'), ["policy.toml", "evenly"]),
        (('{ method = "even" }', '{ method = "fixed", percent = { a = "60", b = "50" } }'), ["100"]),
        (("[[pool]]", "[[pool]"), ["policy.toml"]),
    ],
    ids=["unknown key", "unknown condition", "negative weight", "unknown method", "over 100 percent", "no TOML"],
)
def test_a_wrong_policy_is_refused_with_its_place(store, change, says):
    (store.folder / "policy.toml").write_text(POOL.replace('"bad"', '"worse"').replace(*change))
    for command in (["check"], ["attribute", "--date", "2026-05-03"]):
        refused(store, *command, exit_code=CONFLICT, says=says)


def test_a_used_policy_version_cannot_change(store):
    (store.folder / "policy.toml").write_text(POOL.replace('name = "all"', 'name = "everything"'))
    refused(store, "attribute", "--date", "2026-05-03", exit_code=CONFLICT, says=["version_in_use"])


def test_an_unknown_key_of_the_configuration_names_the_nearest(store):
    (store.folder / "apportion.toml").write_text('[storage]\ndata = "data"\n[server]\nlissten = "x"\n')
    refused(store, "costs", exit_code=CONFLICT, says=["apportion.toml", "4", "lissten", "listen"])


def test_a_missing_rate_of_exchange_leaves_the_pool_as_it_was(store):
    euro = store.folder / "euro.csv"
    euro.write_text("".join([HEADER, *ROWS]).replace(",USD,", ",EUR,"))
    store.run("import", "focus", euro, "--source", "euro")
    ledger = {path: content for path, content in stored(store).items() if "ledger" in path.parts}
    done = store.run("attribute", "--range", "2026-05-01..2026-05-31", exit_code=PARTIAL)
    assert "fx_missing" in done.stderr
    assert {path: content for path, content in stored(store).items() if "ledger" in path.parts} == ledger
    assert "not_run" in {row["state"] for row in store.proof("2026-05-01..2026-05-31")}


def test_a_folder_in_use_says_to_ask_the_server(store):
    locks = [path for path in (store.folder / "data").glob("*") if "lock" in path.name]
    assert len(locks) == 1, f"which of these is the lock? {locks}"
    with locks[0].open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = store.run("costs", exit_code=None)
    assert done.returncode in (1, CONFLICT, 6)
    assert "--server" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["costs", "--range", "30x"], ["30x"]),
        (["costs", "--filter", "colour:red"], ["colour"]),
        (["costs", "--by", "colour"], ["colour"]),
        (["attribute", "--date", "2026-02-30"], ["2026-02-30"]),
    ],
)
def test_a_wrong_question_is_refused(store, arguments, says):
    before = stored(store)
    done = store.run(*arguments, exit_code=None)
    assert done.returncode in (USAGE, CONFLICT)
    assert all(word in done.stderr for word in says), done.stderr
    assert stored(store) == before


def test_an_unknown_flag_is_a_usage_error(store):
    assert "--colour" in store.run("costs", "--colour", exit_code=USAGE).stderr


@pytest.mark.parametrize("arguments", [["executor"], ["scheduler"]])
def test_what_a_later_release_brings_says_so(store, arguments):
    refused(store, *arguments, exit_code=CONFLICT, says=["not_available"])
