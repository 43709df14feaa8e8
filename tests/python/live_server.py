"""The binary as a live server that a test may kill, trace and start again; its events; and how long a random test goes on."""

import http.client
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest
from conftest import Apportion
from deltalake import DeltaTable
from ports import free_address

TOKEN = "apn_events_0123456789abcdef0123456789abcdef"
# How long anything may take that happens at once on a machine with time to spare.
START_SECONDS_MAX = END_SECONDS_MAX = ANSWER_SECONDS_MAX = 120
DAY = "2026-05-03"
SLOW_FACTOR = 4
SOAK = os.environ.get("APPORTION_SOAK") == "1"


class Server:
    """The binary as a server that may be killed and started again on the same folder."""

    def __init__(self, store: Apportion):
        self.store = store
        self.address = free_address()
        self.process: subprocess.Popen | None = None
        self.exporter = "off"
        self.variables: dict[str, str] = {}

    def launch(self, launcher: Sequence[str] = ()) -> "Server":
        """Starts the process, under another program if one is given; it may not be ready yet."""
        command = [self.store.binary, "--config", str(self.store.folder / "apportion.toml"), "serve", "--listen", self.address]
        exporter = {"APPORTION__SERVER__EXPORTER_LISTEN": self.exporter}
        environment = {"APPORTION_ADMIN_TOKEN": TOKEN, "PATH": "/usr/bin:/bin", **exporter, **self.variables}
        with self.log.open("a") as log:
            self.process = subprocess.Popen([*launcher, *command], cwd=self.store.folder, env=environment, stdout=log, stderr=log)
        return self

    @property
    def log(self) -> Path:
        return self.store.folder / "server.log"

    def start(self, launcher: Sequence[str] = ()) -> "Server":
        if self.launch(launcher).becomes_ready():
            return self
        pytest.fail(f"the server did not get ready: {self.log.read_text()[-4000:]}")

    def becomes_ready(self) -> bool:
        """Returns true when it answers, false when it ended before or takes too long."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.ask("GET", "/readyz", base="")[0] == 200:
                    return True
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.02)
        return False

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=END_SECONDS_MAX)

    def stop(self) -> None:
        """Tells it to stop, which brings all events to the tables."""
        self.process.terminate()
        code = self.process.wait(timeout=END_SECONDS_MAX)
        assert code == 0, f"stopped with {code}: {self.log.read_text()[-2000:]}"

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict | None = None, base: str = "/api/v1"):
        connection = self.connect()
        try:
            connection.request(method, base + path, body, {"Authorization": f"Bearer {TOKEN}", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def connect(self, timeout: float = ANSWER_SECONDS_MAX) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.address, timeout=timeout)

    def send(self, events: list[dict], query: str = "") -> tuple[int, dict]:
        return self.send_lines("".join(json.dumps(event) + "\n" for event in events).encode(), query)

    def send_lines(self, lines: bytes, query: str = "") -> tuple[int, dict]:
        status, text = self.ask("POST", f"/events{query}", lines, {"Content-Type": "application/x-ndjson"})
        return status, json.loads(text)

    def usage(self, query: str) -> list[dict]:
        status, text = self.ask("GET", f"/usage?{query}")
        assert status == 200, text
        return json.loads(text)["rows"]


def event(number: int, tenant: str = "acme", value: int | str = 1, **more) -> dict:
    hour = number % 24
    return {
        "specversion": "1.0", "id": f"e{number}", "source": "test", "type": "log_queries", "tenant": tenant,
        "time": f"{DAY}T{hour:02}:10:00Z", "data": {"value": value}, **more,
    }  # fmt: skip


def stored_events(store: Apportion) -> tuple[int, int]:
    """Rows of `usage_events` and distinct (tenant, source, id) among them, counted by DuckDB. The server must be stopped."""
    files = [uri.removeprefix("file://") for uri in DeltaTable(str(store.lake / "usage_events")).file_uris()]
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        counts = "SELECT count(*), count(DISTINCT (tenant, source, id)) FROM read_parquet(?)"
        return connection.execute(counts, [files]).fetchone()


class Budget:
    """How far a random test goes: to its count or to the end of its time share; less than a quarter of the count is a failure,
    and a slow machine has more time for that quarter.

    `make soak` takes the second of each pair; APPORTION_<NAME> and APPORTION_<NAME>_SECONDS overrule both.
    """

    def __init__(self, name: str, count: tuple[int, int], seconds: tuple[float, float]):
        variable = f"APPORTION_{name.upper().replace('-', '_')}"
        self.name = name
        self.wanted = int(os.environ.get(variable, count[SOAK]))
        self.seconds_max = float(os.environ.get(f"{variable}_SECONDS", seconds[SOAK]))
        self.seed = int(os.environ.get(f"{variable}_SEED", random.randrange(2**32)))
        self.random = random.Random(self.seed)
        self.done, self.begun = 0, time.monotonic()

    def goes_on(self) -> bool:
        factor = 1 if self.has_enough() else SLOW_FACTOR
        return self.done < self.wanted and time.monotonic() - self.begun < factor * self.seconds_max

    def has_enough(self) -> bool:
        return self.done * 4 >= self.wanted

    def ends(self, what: str) -> None:
        """Prints what was tried, and fails if it was too little."""
        seconds = time.monotonic() - self.begun
        print(f"\n{self.name}: seed {self.seed}, {self.done} of {self.wanted} {what}, {seconds:.0f} s")
        assert self.has_enough(), f"only {self.done} of {self.wanted} in {seconds:.0f} s"
