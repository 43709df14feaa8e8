"""Apportion as a server under measurement, and the load it gets."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from common import START_SECONDS_MAX, cpu_seconds, measure
from events import DAY

TOKEN = "apn_bench_0123456789abcdef0123456789abcdef"


class Server:
    """Apportion serving a folder; it may be killed and started again."""

    def __init__(self, folder: Path, ingest: str = "", exporter: str = "off"):
        self.folder, self.binary, self.exporter = folder, os.environ["APPORTION_BIN"], exporter
        folder.mkdir(exist_ok=True)
        self.config = folder / "apportion.toml"
        self.config.write_text(
            f'[storage]\ndata = "{folder / "data"}"\n[schedule]\nafter_import = "off"\n'
            f"[ingest]\npast_days = 36500\nevents_per_second_per_tenant = 1000000000\n{ingest}"
        )
        self.process: subprocess.Popen | None = None
        self.address = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def start(self) -> float:
        """Returns the seconds from exec to the first answer that it is ready."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        command = [self.binary, "--config", str(self.config), "serve", "--listen", self.address]
        exporter = {"APPORTION__SERVER__EXPORTER_LISTEN": self.exporter}
        environment = {"APPORTION_ADMIN_TOKEN": TOKEN, "PATH": "/usr/bin:/bin", **exporter}
        log = self.folder / "server.log"
        with log.open("a") as out:
            begun = time.monotonic()
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=out, stderr=out)
        while time.monotonic() < begun + START_SECONDS_MAX and self.process.poll() is None:
            try:
                if self.ask("/readyz")[0] == 200:
                    return time.monotonic() - begun
            except OSError:
                time.sleep(0.001)
        self.close()
        sys.exit(f"the server did not get ready: {log.read_text()[-4000:]}")

    def ask(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.address, timeout=600)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def usage(self, days: int = 1) -> tuple[int, int]:
        """Number of events and Σ tokens of so many days."""
        last = DAY + timedelta(days=days - 1)
        path = f"/api/v1/usage?range={DAY:%Y-%m-%d}..{last:%Y-%m-%d}&meter=llm_tokens&group_by=meter"
        status, text = self.ask(path)
        if status != 200:
            sys.exit(f"{path}: {status} {text}")
        rows = json.loads(text)["rows"]
        return sum(row["events"] for row in rows), sum(int(row["quantity"]) for row in rows)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=60)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=600)

    def close(self) -> None:
        """Ends it for good, whatever it does."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def settle(self, seconds_max: float = 120) -> None:
        """Returns when it has done what it does behind the answers."""
        deadline = time.monotonic() + seconds_max
        before = cpu_seconds(self.pid)
        while time.monotonic() < deadline:
            time.sleep(1)
            now = cpu_seconds(self.pid)
            if now - before < 0.03:
                return
            before = now


def write_requests(path: Path, bodies: Iterator[bytes], content_type: str) -> int:
    """Writes whole requests for the load generator, each with its length before it; returns the bytes of the bodies."""
    total = 0
    with path.open("wb") as file:
        for body in bodies:
            head = (
                f"POST /api/v1/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {TOKEN}\r\n"
                f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
            ).encode()
            file.write((len(head) + len(body)).to_bytes(4, "little") + head + body)
            total += len(body)
    return total


@dataclass
class Load:
    """What sending requests took and brought."""

    seconds: float
    client_cpu: float
    server_cpu: float
    requests: int
    accepted: int
    duplicates: int
    p50_ms: float
    p99_ms: float

    def figures(self, items: int) -> tuple[float, ...]:
        """The columns of [`LOAD_COLUMNS`] for so many events or requests."""
        rates = items / self.seconds, items / self.server_cpu
        return *rates, self.server_cpu, self.client_cpu, self.p50_ms, self.p99_ms


LOAD_COLUMNS = ["per second", "per server CPU s", "server CPU s", "client CPU s", "p50 ms", "p99 ms"]


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def send(server: Server, requests: Path, connections: int) -> Load:
    """Sends all requests of the file; any answer but 200 ends everything."""
    before = cpu_seconds(server.pid)
    ended = measure([os.environ["LOAD_BIN"], server.address, str(connections), str(requests)])
    told = json.loads(ended.printed)
    return Load(server_cpu=cpu_seconds(server.pid) - before, **told)
