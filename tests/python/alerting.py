"""A real Prometheus and a real Alertmanager around a server, with the exported scrape job and rules, and who is told."""

import http.client
import http.server
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from ports import free_address

START_SECONDS_MAX = 120
# Seconds in place of the minutes of the exported job, so that a test need not wait for them.
QUICK = "global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }\n"


def ask(address: str, method: str, path: str, headers: dict | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=120)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Webhook:
    """Keeps what Alertmanager delivers."""

    def __init__(self):
        delivered = self.delivered = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                delivered.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def alerts(self, name: str, status: str = "firing") -> list[dict]:
        alerts = [alert for message in self.delivered for alert in message["alerts"]]
        return [alert for alert in alerts if alert["labels"]["alertname"] == name and alert["status"] == status]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Alerting:
    """Both programs of the Debian packages, with data of their own, never as services of the system."""

    def __init__(self, folder: Path, scrape: str, rules: str):
        for program in ("prometheus", "prometheus-alertmanager", "promtool"):
            package = program.replace("promtool", "prometheus")
            assert shutil.which(program), f"{program} is missing; scripts/setup test installs the Debian package {package}"
        self.folder, self.webhook = folder, Webhook()
        self.prometheus, self.alertmanager = free_address(), free_address()
        folder.mkdir()
        (folder / "rules").mkdir()
        (folder / "rules" / "costs.yml").write_text(rules)
        quick = scrape.replace("scrape_interval: 1m", "scrape_interval: 1s").replace("scrape_timeout: 10s", "scrape_timeout: 1s")
        assert quick.count(": 1s") == 2, "the exported job names its interval and timeout"
        targets = f'alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: ["{self.alertmanager}"] }}] }}] }}\n'
        (folder / "prometheus.yml").write_text(f"{QUICK}rule_files: [rules/*.yml]\n{targets}{quick}")
        (folder / "alertmanager.yml").write_text(
            "route: { receiver: test, group_wait: 0s, group_interval: 1s, group_by: ['...'] }\n"
            f"receivers: [{{ name: test, webhook_configs: [{{ url: '{self.webhook.url}', send_resolved: true }}] }}]\n"
        )
        self.processes: list[subprocess.Popen] = []

    def start(self) -> "Alerting":
        self.launch("alertmanager", self.alertmanager, [
            "prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alerts", "--cluster.listen-address=",
            f"--web.listen-address={self.alertmanager}",
        ])  # fmt: skip
        self.launch("prometheus", self.prometheus, [
            "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", f"--web.listen-address={self.prometheus}",
        ])  # fmt: skip
        return self

    def launch(self, name: str, address: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("a") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        self.processes.append(process)

        def is_ready() -> bool:
            if process.poll() is not None:
                pytest.fail(f"{name} ended: {(self.folder / f'{name}.log').read_text()[-4000:]}")
            try:
                return ask(address, "GET", "/-/ready")[0] == 200
            except OSError:
                return False

        until(is_ready, f"{name} is ready", START_SECONDS_MAX)

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(timeout=120)
        self.webhook.stop()

    def targets(self) -> list[dict]:
        return json.loads(ask(self.prometheus, "GET", "/api/v1/targets?state=active")[1])["data"]["activeTargets"]

    def value(self, query: str) -> str | None:
        """The one value of a query, as the server prints it; none if there is none."""
        status, text = ask(self.prometheus, "GET", f"/api/v1/query?query={quote(query)}")
        assert status == 200, text
        found = json.loads(text)["data"]["result"]
        assert len(found) <= 1, found
        return found[0]["value"][1] if found else None

    def pending_or_firing(self) -> list[str]:
        alerts = json.loads(ask(self.prometheus, "GET", "/api/v1/alerts")[1])["data"]["alerts"]
        return sorted(alert["labels"]["alertname"] for alert in alerts)


def until(is_true: Callable[[], object], what: str, seconds_max: float = 180) -> None:
    """Asks again and again; fails the test if it never comes true."""
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline:
        if is_true():
            return
        time.sleep(0.05)
    pytest.fail(f"after {seconds_max} s it is not so that {what}")


def promtool(arguments: list[str], text: str = "", folder: Path | None = None) -> str:
    """What promtool says; fails the test unless it is content."""
    done = subprocess.run(["promtool", *arguments], cwd=folder, input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
