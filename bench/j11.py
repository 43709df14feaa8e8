"""J11: cold start, from exec to the first answer that it is ready, against PostgreSQL's recovery after a kill.

Three folders: an empty one that was started before; one with ROWS events in the lake; one whose server was killed with
EVENTS acknowledged events in its log and none of them in the lake. The peer has the same EVENTS rows behind its last
checkpoint when it is killed. What the system caches stays cached for both.
"""

import os
import shutil
import sys
from pathlib import Path

from deltalake import DeltaTable

from common import (
    append_result,
    check_equal,
    check_free_space,
    cpu_seconds,
    measure,
    memory_mib,
    print_table,
    run_job,
    verdict,
)
from events import NDJSON, Batches, make_batches
from j1 import peer
from postgres import Postgres
from server import Server, send, write_requests

EVENTS = int(os.environ.get("EVENTS", 1_000_000))
ROWS = int(os.environ.get("ROWS", 1_000_000))
ROUNDS = 3
EMPTY_SECONDS_MAX, LAKE_SECONDS_MAX, WAL_SECONDS_MAX = 0.1, 0.2, 1.0
# Nothing goes to the lake: neither is the segment full nor does the clock say so.
KEEP_IN_LOG = 'flush_every = "24h"\nsegment = "{mib}MiB"\n'


def job(folder: Path, opened: list) -> None:
    check_free_space(folder, (EVENTS + ROWS) * 3_000)
    seconds = {
        "Apportion, empty": (best_start(empty(folder, opened)), EMPTY_SECONDS_MAX),
        f"Apportion, {ROWS:,} events in the lake": (best_start(in_lake(folder, opened)), LAKE_SECONDS_MAX),
    }
    made = make_batches(0, EVENTS, 1_000, step=0)
    ready, cpu, mib = in_log(folder, opened, made)
    seconds[f"Apportion, {made.accepted:,} events in the log"] = (ready, WAL_SECONDS_MAX)
    seconds |= {name: (value, None) for name, value in postgres_starts(folder, opened, made).items()}
    report(seconds, cpu, mib)


def empty(folder: Path, opened: list) -> Server:
    server = Server(folder / "empty")
    opened.append(server)
    server.start()
    server.stop()
    return server


def in_lake(folder: Path, opened: list) -> Server:
    server = Server(folder / "lake")
    opened.append(server)
    file = folder / "events.ndjson"
    made = make_batches(0, ROWS, 1_000, step=0)
    with file.open("wb") as out:
        out.writelines(made.bodies())
    measure([server.binary, "--config", str(server.config), "import", "events", str(file)])
    file.unlink()
    server.start()
    check_equal("events and tokens in the lake", {"Apportion": server.usage(), "expected": (made.accepted, made.tokens)})
    server.stop()
    return server


def best_start(server: Server) -> float:
    found = []
    for _ in range(ROUNDS):
        found.append(server.start())
        server.stop()
    return min(found)


def in_log(folder: Path, opened: list, made: Batches) -> tuple[float, float, float]:
    """Returns seconds until ready, CPU seconds and peak MiB of the best round."""
    killed = Server(folder / "log", KEEP_IN_LOG.format(mib=EVENTS * 300 // 2**20 + 64))
    opened.append(killed)
    killed.start()
    requests = folder / "requests"
    write_requests(requests, made.bodies(), NDJSON)
    send(killed, requests, connections=4)
    requests.unlink()
    killed.kill()
    if DeltaTable(str(killed.folder / "data" / "lake" / "usage_events")).file_uris():
        sys.exit("some events are in the lake: the log was not all that had them")
    rounds = []
    for turn in range(ROUNDS):
        # A copy each time: a started server begins at once to bring the log to the lake. The next segment is as large
        # as usual, because a server makes room for it when it starts.
        shutil.copytree(killed.folder, folder / f"log-{turn}")
        os.sync()  # what was acknowledged is on the disk when a server dies, and the copy is not: its start would wait for it
        server = Server(folder / f"log-{turn}")
        opened.append(server)
        rounds.append((server.start(), cpu_seconds(server.pid), memory_mib(server.pid, "VmHWM")))
        answers = {"Apportion": server.usage(), "expected": (made.accepted, made.tokens)}
        check_equal("events and tokens after the kill", answers)
        server.kill()
        shutil.rmtree(server.folder)
    return min(rounds)


def postgres_starts(folder: Path, opened: list, made: Batches) -> dict[str, float]:
    postgres = Postgres(folder / "postgres")
    opened.append(postgres)
    postgres.start()
    postgres.stop()
    found = {"PostgreSQL, empty": postgres.start()}
    postgres.reset()
    peer(postgres, made, "copy", connections=2)
    postgres.kill()
    found[f"PostgreSQL, {made.accepted:,} rows behind the checkpoint"] = postgres.start()
    check_equal(
        "events and tokens after the kill", {"PostgreSQL": postgres.totals(), "expected": (made.accepted, made.tokens)}
    )
    postgres.stop()
    return found


def report(seconds: dict[str, tuple[float, float | None]], cpu: float, mib: float) -> None:
    print_table("J11, cold start", ["seconds", "target ≤"], [(name, *values) for name, values in seconds.items()])
    times = [value for value, _ in seconds.values()]
    ratio = times[2] / times[4]
    met = verdict(*(value <= limit for value, limit in seconds.values() if limit is not None))
    print(
        f"\nrecovery of the log: {ratio:.2f} × PostgreSQL's, {cpu:.2f} CPU seconds, peak {mib:.0f} MiB; all targets: {met}"
    )
    append_result("J11", {
        "events_in_log": EVENTS, "events_in_lake": ROWS, "seconds": {name: round(value, 4) for name, (value, _) in seconds.items()},
        "recovery_cpu_seconds": cpu, "recovery_peak_mib": mib, "ratio": ratio, "target": met,
    })  # fmt: skip


if __name__ == "__main__":
    run_job("J11", job)
