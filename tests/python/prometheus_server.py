"""A real Prometheus server on data of the past, and what the data says: both computed from the same functions of time."""

import http.client
import math
import shutil
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import pytest
from ports import free_address

START_SECONDS_MAX = 120
MINUTE, HOUR = 60, 3600
GIB = 2**30


class Prometheus:
    """The server of the Debian package, with data of its own, never as a service of the system."""

    def __init__(self, folder: Path):
        for program in ("prometheus", "promtool"):
            assert shutil.which(program), f"{program} is missing; scripts/setup test installs the Debian package prometheus"
        self.folder = folder
        self.address = free_address()
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def load(self, openmetrics: str) -> None:
        (self.folder / "samples.txt").write_text(openmetrics)
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "samples.txt", "tsdb"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> "Prometheus":
        (self.folder / "prometheus.yml").write_text("scrape_configs: []\n")
        command = [
            "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", "--storage.tsdb.retention.time=10y",
            f"--web.listen-address={self.address}",
        ]  # fmt: skip
        with (self.folder / "prometheus.log").open("a") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                connection = http.client.HTTPConnection(self.address, timeout=5)
                connection.request("GET", "/-/ready")
                if connection.getresponse().status == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        pytest.fail(f"prometheus did not get ready: {(self.folder / 'prometheus.log').read_text()[-4000:]}")

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=120)


class Cluster:
    """Six hours of a cluster, a sample each minute. Every function says what is true at a second after the beginning."""

    hours = 6

    def __init__(self, begin: int):
        assert begin % HOUR == 0
        self.begin = begin

    # What the containers do.
    cores = {"shop": 2, "search": 0.5, "tools": 0.125}
    reset_at = {"shop": 2 * HOUR + 30 * MINUTE}
    cores_asked = {"shop": 1, "search": 4}

    def tenant(self, namespace: str, second: int) -> str:
        """Of the hour that ends then."""
        if namespace == "search":
            return "globex" if second < 4 * HOUR else "initech"
        return {"shop": "acme"}.get(namespace, namespace)

    def memory_used(self, namespace: str, second: int) -> float:
        return {"shop": 3 if second < 2 * HOUR else 6, "search": 1, "tools": 0.5}[namespace]

    memory_asked = {"shop": 4, "search": 2}
    # Claims: what each asks for, and how large its volume is.
    claims = {("shop", "data"): (10, 9.75), ("shop", "logs"): (2, None), ("search", "index"): (None, 20)}
    received_per_second = {"shop": 2**20, "search": 2**18}
    sent_per_second = {"shop": 2**19, "search": 2**17}
    nodes = {"n1": (8, 32), "n2": (4, 16)}

    def is_alive(self, namespace: str, second: int) -> bool:
        """The pod that asks: that of search runs for two and a half hours only."""
        return namespace == "shop" or HOUR + 15 * MINUTE <= second < 3 * HOUR + 45 * MINUTE

    def counter(self, per_second: float, second: int, reset_at: int | None = None) -> float:
        """A counter that starts anew with the minute that ends at its reset."""
        since = 0 if reset_at is None or second < reset_at else reset_at - MINUTE
        return 1000 * (since == 0) + per_second * (second - since)

    def samples(self) -> str:
        lines = defaultdict(list)
        for second in range(0, self.hours * HOUR + 1, MINUTE):
            for name, labels, value in self.sample(second):
                text = ",".join(f'{label}="{word}"' for label, word in labels.items())
                lines[name].append(f"{name}{{{text}}} {value!r} {self.begin + second}")
        return "".join(line + "\n" for family in lines.values() for line in family) + "# EOF\n"

    def sample(self, second: int):
        for namespace, cores in self.cores.items():
            pod = {"namespace": namespace, "pod": f"{namespace}-1"}
            total = self.counter(cores, second, self.reset_at.get(namespace))
            for container in ("app", "", "POD"):
                yield "container_cpu_usage_seconds_total", pod | {"container": container}, total
                memory = self.memory_used(namespace, second) * GIB
                yield "container_memory_working_set_bytes", pod | {"container": container}, memory
            labels = {} if namespace == "tools" else {"label_tenant": self.tenant(namespace, second)}
            yield "kube_namespace_labels", {"namespace": namespace} | labels, 1
        for namespace, cores in self.cores_asked.items():
            pod = {"namespace": namespace, "pod": f"{namespace}-1"}
            if second < HOUR + 15 * MINUTE and namespace == "search":
                continue
            container = pod | {"container": "app", "node": "n1"}
            yield "kube_pod_container_resource_requests", container | {"resource": "cpu", "unit": "core"}, cores
            asked = self.memory_asked[namespace] * GIB
            yield "kube_pod_container_resource_requests", container | {"resource": "memory", "unit": "byte"}, asked
            for phase, is_it in (("Running", True), ("Succeeded", False)):
                alive = self.is_alive(namespace, second)
                yield "kube_pod_status_phase", pod | {"phase": phase}, int(alive == is_it)
        for (namespace, claim), (asked, size) in self.claims.items():
            labels = {"namespace": namespace, "persistentvolumeclaim": claim}
            if asked is not None:
                yield "kube_persistentvolumeclaim_resource_requests_storage_bytes", labels, asked * GIB
            if size is not None:
                for node in ("n1", "n2"):  # mounted twice, paid once
                    yield "kubelet_volume_stats_capacity_bytes", labels | {"node": node}, size * GIB
        for direction, rates in (("receive", self.received_per_second), ("transmit", self.sent_per_second)):
            for namespace, rate in rates.items():
                for interface, times in (("eth0", 1), ("lo", 100)):
                    labels = {"namespace": namespace, "pod": f"{namespace}-1", "interface": interface}
                    yield f"container_network_{direction}_bytes_total", labels, self.counter(rate * times, second)
        for node, (cores, memory) in self.nodes.items():
            for resource, unit, value in (("cpu", "core", cores), ("memory", "byte", memory * GIB)):
                yield "kube_node_status_allocatable", {"node": node, "resource": resource, "unit": unit}, value

    def expected(self) -> dict[str, dict[tuple[str, int], float]]:
        """Quantity by meter, tenant and hour, from the functions alone."""
        found: dict[str, dict[tuple[str, int], float]] = defaultdict(dict)
        for hour in range(self.hours):
            end = (hour + 1) * HOUR
            minutes = [end - MINUTE * back for back in range(60)]
            for namespace, cores in self.cores.items():
                key = (self.tenant(namespace, end), hour)
                alive = sum(namespace in self.cores_asked and self.is_alive(namespace, minute) for minute in minutes) / 60
                found["cpu_core_hours"][key] = max(cores, alive * self.cores_asked.get(namespace, 0))
                used = sum(self.memory_used(namespace, minute) for minute in minutes) / 60
                found["memory_gib_hours"][key] = max(used, alive * self.memory_asked.get(namespace, 0))
                claims = [max(asked or 0, size or 0) for (owner, _), (asked, size) in self.claims.items() if owner == namespace]
                if claims:
                    found["storage_gib_hours"][key] = sum(claims)
                if namespace in self.received_per_second:
                    moved = self.received_per_second[namespace] + self.sent_per_second[namespace]
                    found["network_gib"][key] = moved * HOUR / GIB
            capacity = ("cluster:east", hour)
            found["cpu_core_hours_capacity"][capacity] = sum(cores for cores, _ in self.nodes.values())
            found["memory_gib_hours_capacity"][capacity] = sum(memory for _, memory in self.nodes.values())
        return found


def differences(expected: dict, found: dict) -> list[str]:
    """What differs by more than the noise of the server's floats."""
    keys = sorted(expected.keys() | found.keys())
    near = lambda key: key in expected and key in found and math.isclose(expected[key], found[key], rel_tol=1e-6)  # noqa: E731
    return [f"{key}: expected {expected.get(key)}, found {found.get(key)}" for key in keys if not near(key)]
