"""What J8 and J10 share: a lake of snapshots, the server over it, and what DuckDB sees of it."""

import os
from datetime import date, timedelta
from pathlib import Path

from common import measure
from deltalake import DeltaTable
from server import Server

LAST = date(2026, 5, 31)
FIELDS = [
    "member_count", "api_call_count_24h", "storage_bytes", "change_count_24h", "incident_count_24h",
    "monitored_host_count", "audit_event_count_24h", "webhook_delivery_count_24h", "celery_task_count_24h",
]  # fmt: skip
# The prices of the built-in card for one unit of each meter.
STARTER = {
    "member_count": "5", "storage_bytes": "0.0000000001", "api_call_count_24h": "0.000002",
    "celery_task_count_24h": "0.0001", "monitored_host_count": "0.5", "webhook_delivery_count_24h": "0.00005",
}  # fmt: skip


def make_snapshots(folder: Path, tenants: int, days: int) -> tuple[Server, list[str]]:
    """Returns a server, not started yet, and the files of its snapshots."""
    server = Server(folder)
    made = measure([os.environ["SNAPSHOT_ROWS_BIN"], str(folder / "data"), str(tenants), str(days), LAST.isoformat()])
    files = [uri.removeprefix("file://") for uri in DeltaTable(str(folder / "data/lake/snapshots")).file_uris()]
    size = sum(Path(file).stat().st_size for file in files)
    rows = tenants * days * len(FIELDS)
    print(f"{rows:,} snapshot rows, {tenants:,} tenants, {days} days, {size / 2**20:.0f} MiB, made in {made.seconds:.0f} s")
    return server, files


def days_of(days: int) -> str:
    """The range as a query: all days that were made."""
    return f"from={LAST - timedelta(days=days - 1)}&to={LAST}"
