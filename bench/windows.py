"""A history of gathers and reads for the jobs about windows, and the runs over it."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from common import Ended, measure

# The last day is the day before the first of May: windows of all days are closed.
LAST = datetime(2026, 4, 30, tzinfo=UTC)
GATHERS = int(os.environ.get("GATHERS", 48))  # of a day
READS = int(os.environ.get("READS", 2_000))  # of a day
WORKFLOWS = int(os.environ.get("WORKFLOWS", 200))
POLICY = """
version = "bench"
valid_from = 2020-01-01

[[pool]]
name = "gather"
tier = "amortized"
source = { event_type = "gather.completed", key = "$.gather_id", cost = "$.cost_usd", currency = "USD" }
split = { method = "window", by = ["tenant", "workflow"], event_type = "repo_context.read", key = "$.gather_id", window = "24h" }
"""
DAY = timedelta(days=1)


class Store:
    """A data folder with so many days of gathers, all of them attributed."""

    def __init__(self, folder: Path, days: int):
        folder.mkdir()
        self.folder, self.days = folder, days
        (folder / "apportion.toml").write_text(f'[storage]\ndata = "{folder / "data"}"\n[schedule]\nafter_import = "off"\n')
        (folder / "policy.toml").write_text(POLICY)
        self.first = LAST - (days - 1) * DAY
        self.add("history", (line for number in range(days) for line in day_lines(self.first + number * DAY)))
        self.attribute_due()

    def run(self, *arguments: str) -> Ended:
        command = [os.environ["APPORTION_BIN"], "--config", str(self.folder / "apportion.toml"), *arguments]
        return measure(command)

    def add(self, name: str, lines: Iterator[str]) -> None:
        file = self.folder / f"{name}.ndjson"
        with file.open("w") as out:
            out.writelines(lines)
        printed = json.loads(self.run("import", "events", str(file), "-o", "json").printed)
        assert not printed["rejected"], printed
        file.unlink()

    def attribute_due(self) -> tuple[Ended, int]:
        """Runs what is due; returns what that took and how many days ran."""
        ended = self.run("attribute", "--due", "-o", "json")
        runs = json.loads(ended.printed)["runs"]
        days = [datetime.fromisoformat(run["to"]) - datetime.fromisoformat(run["from"]) for run in runs]
        return ended, sum(length.days + 1 for length in days)

    def balances(self) -> dict[str, Fraction]:
        """What the ledger says of each day."""
        return self.query("ledger", "SELECT charge_date::VARCHAR, sum(amount)::VARCHAR FROM read_parquet(?) GROUP BY 1")

    def costs(self) -> dict[str, Fraction]:
        """What the events say that the gathers of each day cost."""
        return self.query(
            "usage_events",
            """SELECT event_date::VARCHAR, sum((data::JSON ->> 'cost_usd')::DECIMAL(38, 15))::VARCHAR FROM read_parquet(?)
               WHERE type = 'gather.completed' GROUP BY 1""",
        )

    def query(self, table: str, sql: str) -> dict[str, Fraction]:
        files = [uri.removeprefix("file://") for uri in DeltaTable(str(self.folder / "data/lake" / table)).file_uris()]
        with duckdb.connect() as connection:
            return {day: Fraction(total) for day, total in connection.execute(sql, [files]).fetchall()}


def day_lines(day: datetime) -> Iterator[str]:
    """The gathers of a day, every so many minutes, and their reads, most of them on the same day and many on the next."""
    for number in range(GATHERS):
        yield gather(day, number)
    for number in range(READS):
        spread = (day.toordinal() * READS + number) * 0x9E3779B97F4A7C15 % 2**64
        yield read(day, spread % GATHERS, f"r{day:%Y%m%d}-{number}", spread // GATHERS)


def gather(day: datetime, number: int) -> str:
    at = day + number * DAY / GATHERS
    data = {"gather_id": f"g{day:%Y%m%d}-{number}", "cost_usd": "0.0123"}
    return line(f"g{day:%Y%m%d}-{number}", "gather.completed", at, "platform", data)


def read(day: datetime, gathered: int, name: str, spread: int) -> str:
    at = day + gathered * DAY / GATHERS + timedelta(seconds=spread % 86_400)
    workflow = spread // 86_400 % WORKFLOWS
    data = {"gather_id": f"g{day:%Y%m%d}-{gathered}"}
    return line(name, "repo_context.read", at, f"team-{workflow % 10}", data, workflow=f"wf-{workflow}")


def line(name: str, kind: str, at: datetime, tenant: str, data: dict, **more: str) -> str:
    time = at.isoformat(timespec="seconds").replace("+00:00", "Z")
    event = {"specversion": "1.0", "id": name, "source": "/bench", "type": kind, "time": time, "tenant": tenant, "data": data}
    return json.dumps({**event, **more}) + "\n"


def histories() -> list[int]:
    """Days of history, the sizes that a job is measured at."""
    return [int(days) for days in os.environ.get("HISTORIES", "30,90,180,365,730").split(",")]
