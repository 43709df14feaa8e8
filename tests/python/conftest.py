"""Runs the real binary in a folder of its own. APPORTION_BIN says which binary; without it nothing can be tested."""

import copy
import json
import os
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FIXTURES = REPOSITORY / "tests" / "fixtures" / "bills"
COMMAND_SECONDS_MAX = 900
# Longer than any test that must begin and end on one day needs on a slow machine.
DAY_LEFT_MIN = timedelta(minutes=8)
LONGEST = ("test_schedule", "test_explain", "test_postgres_snapshot", "test_events", "test_durability", "test_windows")


class Apportion:
    """One data folder and the command line on it."""

    def __init__(self, binary: str, folder: Path, policy: str | None = None, config: str = ""):
        self.binary, self.folder = binary, folder
        (folder / "apportion.toml").write_text(f'[storage]\ndata = "data"\n{config}')
        if policy is not None:
            (folder / "policy.toml").write_text(policy)

    @property
    def lake(self) -> Path:
        return self.folder / "data" / "lake"

    def copy_to(self, folder: Path) -> "Apportion":
        """The same data, configuration and policy in a folder that is not there yet."""
        copied = copy.copy(self)
        copied.folder = shutil.copytree(self.folder, folder)
        return copied

    def run(self, *arguments: str, exit_code: int | None = 0) -> subprocess.CompletedProcess:
        """Runs a command; fails the test when it ends otherwise than expected (None: any end is fine)."""
        command = [self.binary, "--config", str(self.folder / "apportion.toml"), *map(str, arguments)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("APPORTION")}
        environment["NO_COLOR"] = "1"
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX
        )
        if exit_code is not None and done.returncode != exit_code:
            pytest.fail(
                f"{' '.join(command)}\nended with {done.returncode}, expected {exit_code}\n"
                f"stdout: {done.stdout[-4000:]}\nstderr: {done.stderr[-4000:]}"
            )
        return done

    def json(self, *arguments: str):
        return json.loads(self.run(*arguments, "-o", "json").stdout)

    def proof(self, days: str) -> list[dict]:
        """Every row of the proof; a proof that is not complete ends with 7 and is the caller's business."""
        done = self.run("ledger", "proof", "--range", days, "-o", "ndjson", exit_code=None)
        assert done.returncode in (0, 7), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def export_ledger(self, days: str) -> list[dict]:
        text = self.run("export", "ledger", "--format", "ndjson", "--range", days).stdout
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="session")
def binary() -> str:
    path = os.environ.get("APPORTION_BIN")
    assert path and os.access(path, os.X_OK), "set APPORTION_BIN to a built binary (make test does)"
    return path


@pytest.fixture
def within_a_day():
    """For tests that ask more than once which day it is: they begin tomorrow if too little of today (UTC) is left."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    if midnight - now < DAY_LEFT_MIN:
        time.sleep((midnight - now).total_seconds() + 1)


@pytest.fixture
def apportion(binary, tmp_path):
    """Returns a function that makes an Apportion in the test's own folder."""
    return lambda policy=None, config="": Apportion(binary, tmp_path, policy, config)


def pytest_collection_modifyitems(items):
    """What takes longest begins first, so that no process is left with it alone."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_terminal_summary(terminalreporter):
    """What the tests that passed say they tried."""
    for report in terminalreporter.getreports("passed"):
        if said := report.capstdout.strip():
            terminalreporter.write_line(said)
