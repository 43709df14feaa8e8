"""Pushed metrics from programs that nobody here wrote: the OpenTelemetry SDK and Prometheus. Usage is exact."""

import http.client
import json
import shutil
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from requests.adapters import HTTPAdapter
from live_server import END_SECONDS_MAX, TOKEN, Server
from ports import free_address

CONFIG = """
[ingest]
flush_every = "1s"

[[ingest.metric]]
name = "gen_ai.client.token.usage"
meter = "llm_tokens"
tenant = "tenant.id"
attributes = { user = "enduser.id", model = "gen_ai.request.model" }

[[ingest.metric]]
name = "job.duration"
meter = "reviewer_minutes"
unit = "Seconds"

[[ingest.metric]]
name = "queries_total"
meter = "log_queries"

[[ingest.metric]]
name = "members"
meter = "member_count"
"""
WAIT_SECONDS_MAX = 180
pytestmark = pytest.mark.usefixtures("within_a_day")


@pytest.fixture
def server(apportion):
    server = Server(apportion(config=CONFIG)).start()
    yield server
    if server.process.poll() is None:
        server.stop()


def totals(server: Server, meter: str, *keys: str) -> dict:
    """Quantities by the keys given, else by tenant, of yesterday and today: the test may run at midnight."""
    today = datetime.now(UTC).date()
    query = f"from={today - timedelta(days=1)}&to={today}&meter={meter}"
    rows = server.usage(query + (f"&group_by={','.join(keys)}" if keys else ""))
    name = (lambda row: tuple(row["key"][key] for key in keys)) if keys else (lambda row: row["key"]["tenant"])
    return {name(row): Decimal(row["quantity"]) for row in rows}


class Twice(HTTPAdapter):
    """Sends each request twice, as a sender does that lost the first answer."""

    def send(self, request, **more):
        first = super().send(request, **more)
        assert first.status_code == 200, first.text
        return super().send(request, **more)


def provider(server: Server, temporality: AggregationTemporality, compression: Compression) -> MeterProvider:
    session = requests.Session()
    session.mount("http://", Twice())
    exporter = OTLPMetricExporter(
        endpoint=f"http://{server.address}/api/v1/otlp/v1/metrics",
        headers={"Authorization": f"Bearer {TOKEN}"},
        compression=compression,
        session=session,
        preferred_temporality={Counter: temporality, Histogram: temporality},
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    resource = Resource.create({"service.name": "proxy", "tenant.id": "acme", "tenant": "acme"})
    return MeterProvider(metric_readers=[reader], resource=resource)


@pytest.mark.parametrize("temporality", [AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE])
@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_opentelemetry_sdk_is_counted_exactly(server, temporality, compression):
    metrics = provider(server, temporality, compression)
    meter = metrics.get_meter("proxy", "1.0")
    tokens = meter.create_counter("gen_ai.client.token.usage", unit="{token}")
    duration = meter.create_histogram("job.duration", unit="s")
    other = meter.create_counter("not.counted")
    small, large = ({"gen_ai.request.model": name, "enduser.id": "ann", "request.id": "dropped"} for name in ("small", "large"))
    for number in range(1, 6):
        tokens.add(number * 100, small)
        tokens.add(2**53 + number, large)
        duration.record(1.5 * number)
        other.add(1)
        assert metrics.force_flush()
        expected = {"small": sum(range(1, number + 1)) * 100, "large": number * 2**53 + sum(range(1, number + 1))}
        found = totals(server, "llm_tokens", "tenant", "user", "label:model")
        assert found == {("acme", "ann", model): Decimal(count) for model, count in expected.items()}
    assert totals(server, "reviewer_minutes") == {"acme": Decimal("0.375")}, "22.5 seconds"
    server.kill()
    server.start()
    tokens.add(7, small)
    metrics.shutdown()
    assert totals(server, "llm_tokens") == {"acme": sum(expected.values()) + 7}
    assert totals(server, "llm_tokens", "origin") == {("metrics_server",): sum(expected.values()) + 7}


def reading(server: Server, seconds: int, value: int) -> int:
    """Pushes a cumulative reading so many seconds after its start, which is an hour ago; returns the status."""
    start = int(server.began.timestamp()) * 10**9
    point = {"startTimeUnixNano": str(start), "timeUnixNano": str(start + seconds * 10**9), "asInt": str(value)}
    tenant = {"key": "tenant.id", "value": {"stringValue": "acme"}}
    counted = {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point]}
    metrics = [{"name": "gen_ai.client.token.usage", "sum": counted}]
    export = {"resourceMetrics": [{"resource": {"attributes": [tenant]}, "scopeMetrics": [{"metrics": metrics}]}]}
    body = json.dumps(export).encode()
    return server.ask("POST", "/otlp/v1/metrics", body, {"Content-Type": "application/json"})[0]


@pytest.mark.parametrize("step", ["metric-streams-written", "metric-events-appended"])
@pytest.mark.parametrize("again", [True, False])
def test_a_server_that_dies_at_any_step_counts_once(server, step, again):
    server.began = datetime.now(UTC) - timedelta(hours=1)
    server.stop()
    server.variables = {"APPORTION_FAILPOINT": f"{step}@2"}
    server.start()
    assert reading(server, 10, 100) == 200
    with pytest.raises((http.client.HTTPException, OSError)):
        reading(server, 20, 150)
    server.process.wait(timeout=END_SECONDS_MAX)
    server.variables = {}
    server.start()
    assert totals(server, "llm_tokens") == {"acme": 150 if step == "metric-events-appended" else 100}
    if again:
        assert reading(server, 20, 150) == 200
        assert totals(server, "llm_tokens") == {"acme": 150}
    assert reading(server, 30, 175) == 200
    assert totals(server, "llm_tokens") == {"acme": 175}


class Page:
    """What Prometheus scrapes: a tiny HTTP server whose text the test sets."""

    def __init__(self):
        self.text = ""
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = page.text.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def show(self, queries: int, members: int) -> None:
        self.text = (
            "# TYPE queries_total counter\n"
            f'queries_total{{tenant="acme"}} {queries}\n'
            "# TYPE members gauge\n"
            f'members{{tenant="acme"}} {members}\n'
            'other_total{tenant="acme"} 1\n'
        )


@pytest.fixture
def page():
    page = Page()
    yield page
    page.server.shutdown()
    page.server.server_close()


@pytest.fixture
def prometheus(server, page, tmp_path):
    """Debian's Prometheus, which scrapes the page every second and writes to the server."""
    binary = shutil.which("prometheus")
    assert binary, "install Debian's package prometheus (scripts/setup test does)"
    page.show(100, 3)
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: { scrape_interval: 1s }\n"
        f"scrape_configs: [{{ job_name: app, static_configs: [{{ targets: ['{page.address}'] }}] }}]\n"
        f"remote_write: [{{ url: 'http://{server.address}/api/v1/write', authorization: {{ credentials: '{TOKEN}' }},\n"
        "  queue_config: { batch_send_deadline: 1s, max_backoff: 1s } }]\n"
    )
    address = free_address()
    data = f"--storage.tsdb.path={tmp_path / 'prometheus'}"
    command = [binary, f"--config.file={config}", data, f"--web.listen-address={address}"]
    with (tmp_path / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
    yield process
    process.terminate()
    process.wait(timeout=END_SECONDS_MAX)


def until(server: Server, meter: str, expected: dict, log) -> None:
    """Waits until the usage is as expected."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        found = totals(server, meter)
        if found == expected:
            return
        time.sleep(0.1)  # Prometheus tells nobody when it has written
    pytest.fail(f"{meter}: {found}, expected {expected}; {log.read_text()[-3000:]}")


def test_prometheus_is_counted_exactly_through_resets_and_a_kill(server, page, prometheus, tmp_path):
    log = tmp_path / "prometheus.log"
    until(server, "log_queries", {"acme": 0}, log)  # the first sample is the baseline
    until(server, "member_count", {"acme": 3}, log)
    page.show(150, 5)
    until(server, "log_queries", {"acme": 50}, log)
    until(server, "member_count", {"acme": 5}, log)
    page.show(7, 4)  # the program was started again
    until(server, "log_queries", {"acme": 57}, log)
    server.kill()
    page.show(20, 4)
    server.start()  # Prometheus tries again by itself
    until(server, "log_queries", {"acme": 70}, log)
    page.show(21, 2)
    until(server, "log_queries", {"acme": 71}, log)
    until(server, "member_count", {"acme": 2}, log)
    prometheus.terminate()
    prometheus.wait(timeout=END_SECONDS_MAX)
    assert totals(server, "log_queries") == {"acme": 71}
    assert "non-recoverable" not in log.read_text()
