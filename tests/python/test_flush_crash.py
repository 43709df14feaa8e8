"""The server kills itself at every step on the way from the log to the tables (D2): nothing is lost, nothing doubled."""

import http.client
import json
import os
import signal
from collections import Counter

import pytest
from conftest import Apportion
from live_server import DAY, END_SECONDS_MAX, Server, event, stored_events

STEPS = (
    "after-data-file", "before-commit", "mid-commit", "after-commit", "flush-committed", "ids-persisted", "log-truncated",
    "retraction-noted",
)  # fmt: skip
ROUNDS = int(os.environ.get("APPORTION_FLUSH_CRASH_ROUNDS", 5))
EVENTS = 40
DEATHS_MAX = 3
CONFIG = '[ingest]\nsegment = "256KiB"\nflush_every = "1s"\npast_days = 36500\n'


def send_until_acknowledged(server: Server, events: list[dict], failpoint: str) -> int:
    """Sends the events one by one; starts the server again when it has killed itself. Returns how often it died."""
    deaths = 0
    for one in events:
        while True:
            try:
                status, _ = server.send([one])
                assert status == 200
                break
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                is_ready = False
                # What the log holds is flushed at once, so it may die again before it answers.
                while not is_ready:
                    assert server.process.wait(timeout=END_SECONDS_MAX) == -signal.SIGABRT, server.log.read_text()[-2000:]
                    deaths += 1
                    server.variables = {"APPORTION_FAILPOINT": failpoint} if deaths < DEATHS_MAX else {}
                    is_ready = server.launch().becomes_ready()
    return deaths


def retraction(number: int) -> dict:
    return {
        "specversion": "1.0", "id": f"r{number}", "source": "test", "type": "apportion.retract", "tenant": "acme",
        "data": {"source": "test", "id": f"e{number}"},
    }  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_a_flush_is_whole_or_absent_wherever_the_process_dies(binary, tmp_path, step):
    deaths = Counter()
    for hit in range(1, ROUNDS + 1):
        folder = tmp_path / str(hit)
        folder.mkdir()
        server = Server(Apportion(binary, folder, config=CONFIG))
        server.variables = {"APPORTION_FAILPOINT": f"{step}@{hit}"}
        server.start()
        events = [event(number, value=number) for number in range(EVENTS)]
        for at in range(5, EVENTS, 7):
            events.insert(at + 3, retraction(at))
        deaths[hit] = send_until_acknowledged(server, events, f"{step}@{hit}")
        expected = sum(range(EVENTS)) - sum(range(5, EVENTS, 7))
        remaining = EVENTS - len(range(5, EVENTS, 7))
        server.variables = {}
        if server.process.poll() is not None:
            server.start()
        rows = server.usage(f"range={DAY}..{DAY}&meter=log_queries")
        assert [(row["quantity"], row["events"]) for row in rows] == [(str(expected), remaining)], f"{step}@{hit}"
        if server.process.poll() is None:
            server.process.terminate()
            server.process.wait(timeout=END_SECONDS_MAX)
        server.start()
        again = server.usage(f"range={DAY}..{DAY}&meter=log_queries")
        assert [(row["quantity"], row["events"]) for row in again] == [(str(expected), remaining)], f"{step}@{hit}"
        server.stop()
        assert stored_events(server.store) == (len(events), len(events))
    print(f"\n{step}: died {sum(deaths.values())} times at hits {dict(deaths)}")
    assert sum(deaths.values()) > 0, f"{step} is never reached"
