"""What the jobs share: sample events, the two servers under measurement, processes, tables and results."""

import http.client
import json
import os
import platform
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
TENANTS = int(os.environ.get("TENANTS", 1_000))
DAY = datetime(2026, 5, 3, tzinfo=UTC)
TOKEN = "apn_bench_0123456789abcdef0123456789abcdef"
DUPLICATE_LAG_BATCHES = 8  # a multiple of every number of connections: who sends an event again sent it before
START_SECONDS_MAX = 120
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
POSTGRES_BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda path: int(path.parent.name))
POSTGRES_SETTINGS = {
    "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "2GB", "max_wal_size": "16GB",
    "checkpoint_timeout": "1h", "max_connections": "300", "jit": "off", "autovacuum": "on", "listen_addresses": "",
}  # fmt: skip
EVENTS_TABLE = """
CREATE TABLE events (tenant text NOT NULL, source text NOT NULL, id text NOT NULL, type text NOT NULL,
    time timestamptz NOT NULL, "user" text, data jsonb NOT NULL, PRIMARY KEY (tenant, source, id))"""


# Sample events


@dataclass(frozen=True)
class Event:
    tenant: str
    id: str
    time: str
    user: str
    data: str
    tokens: int

    def line(self) -> str:
        """One CloudEvent."""
        return (
            f'{{"specversion":"1.0","id":"{self.id}","source":"/bench","type":"llm.completion","time":"{self.time}",'
            f'"tenant":"{self.tenant}","user":"{self.user}","data":{self.data}}}\n'
        )

    def row(self) -> str:
        """The same as a row of PostgreSQL's COPY, parsed already."""
        return f"{self.tenant}\t/bench\t{self.id}\tllm.completion\t{self.time}\t{self.user}\t{self.data}\n"


def event(number: int, day: datetime, second: float) -> Event:
    """Ids are spread like random ones; times run through the day, as they do when events come as they happen."""
    spread = number * 0x9E3779B97F4A7C15 % 2**64
    tenant, user, tokens = spread % TENANTS, spread // TENANTS % 5, spread // 7 % 1000 + 1
    direction = "input" if spread // 11 % 2 else "output"
    data = f'{{"model":"model-{user % 3}","direction":"{direction}","tokens":{tokens}}}'
    at = (day + timedelta(milliseconds=int(second * 1000))).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Event(f"tenant-{tenant:05}", f"{spread:016x}", at, f"user-{user}", data, tokens)


@dataclass
class Batches:
    """Batches of one day's events; what they hold together is known, so that answers can be checked."""

    batches: list[list[Event]] = field(default_factory=list)
    accepted: int = 0
    duplicates: int = 0
    tokens: int = 0


def make_batches(first: int, count: int, size: int, step: int) -> Batches:
    """`count` events from this number on; one in ten was sent some batches before."""
    made, number, day = Batches(), first, DAY + timedelta(days=step)
    again = size // 10
    for at in range(count // size):
        new = size if at < DUPLICATE_LAG_BATCHES else size - again
        batch = [event(number + i, day, (at * size + i) / count * 86_399) for i in range(new)]
        number += new
        made.accepted += new
        made.tokens += sum(one.tokens for one in batch)
        if new < size:
            batch += made.batches[at - DUPLICATE_LAG_BATCHES][:again]
            made.duplicates += again
        made.batches.append(batch)
    return made


# Processes


def cpu_seconds(pid: int, with_children: bool = False) -> float:
    """User and system time of a process, of its children too if asked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(map(int, fields[11:15] if with_children else fields[11:13]))
    below = of_living(cpu_seconds, children(pid)) if with_children else []
    return ticks / TICKS_PER_SECOND + sum(below)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def of_living(ask: Callable[[int], float], pids: list[int]) -> list[float]:
    """Asks about each process, but for those that end meanwhile."""
    found = []
    for pid in pids:
        try:
            found.append(ask(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def memory_mib(pid: int, name: str = "VmRSS") -> float:
    """VmRSS (now) or VmHWM (peak)."""
    return int(re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def proportional_mib(pid: int) -> float:
    """Memory of a process; what it shares with others by its part."""
    return int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)[1]) / 1024


@dataclass
class Ended:
    """What a process took from start to end."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    printed: str


def measure(command: list[str], environment: dict[str, str] | None = None) -> Ended:
    """Runs one process to its end; a failure of it ends everything."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=errors, text=True, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), errors.seek(0)
        printed, complaints = out.read(), errors.read()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command[:6])} … ended with {process.returncode}\n{complaints}{printed}")
    return Ended(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, printed)


# Apportion


class Server:
    """Apportion serving a folder; it may be killed and started again."""

    def __init__(self, folder: Path, ingest: str = ""):
        self.folder, self.binary = folder, os.environ["APPORTION_BIN"]
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
        environment = {"APPORTION_ADMIN_TOKEN": TOKEN, "PATH": "/usr/bin:/bin"}
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


# The load


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


def send(server: Server, requests: Path, connections: int) -> Load:
    """Sends all requests of the file; any answer but 200 ends everything."""
    before = cpu_seconds(server.pid)
    ended = measure([os.environ["LOAD_BIN"], server.address, str(connections), str(requests)])
    told = json.loads(ended.printed)
    return Load(server_cpu=cpu_seconds(server.pid) - before, **told)


# PostgreSQL


class Postgres:
    """A PostgreSQL server of our own in a folder, reached by a socket in it; root starts it as `postgres`."""

    def __init__(self, folder: Path):
        if POSTGRES_BIN is None:
            sys.exit("PostgreSQL is missing; `scripts/setup bench` installs it")
        self.folder, self.log = folder, folder / "server.log"
        folder.mkdir()
        self.owner: dict = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
            folder.parent.chmod(0o755)
            self.owner = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        command = [POSTGRES_BIN / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **self.owner)
        self.process: subprocess.Popen | None = None

    @property
    def conninfo(self) -> str:
        return f"host={self.folder} user=postgres dbname=postgres"

    def connect(self):
        import psycopg

        return psycopg.connect(self.conninfo, autocommit=True)

    def start(self) -> float:
        """Returns the seconds from exec to the first answer."""
        import psycopg

        settings = [part for name, value in POSTGRES_SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [POSTGRES_BIN / "postgres", "-D", self.folder / "data", "-k", self.folder, *settings]
        with self.log.open("a") as out:
            begun = time.monotonic()
            self.process = subprocess.Popen(command, stdout=out, stderr=out, cwd=self.folder, **self.owner)
        while time.monotonic() < begun + START_SECONDS_MAX and self.process.poll() is None:
            try:
                with self.connect() as connection:
                    connection.execute("SELECT 1")
                return time.monotonic() - begun
            except psycopg.OperationalError:
                time.sleep(0.001)
        self.close()
        sys.exit(f"PostgreSQL did not get ready: {self.log.read_text()[-4000:]}")

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid, with_children=True)

    def memory_mib(self) -> float:
        return sum(of_living(proportional_mib, [self.process.pid, *children(self.process.pid)]))

    def totals(self) -> tuple[int, int]:
        """Number of events and Σ tokens."""
        with self.connect() as connection:
            return connection.execute("SELECT count(*), sum((data->>'tokens')::bigint)::bigint FROM events").fetchone()

    def reset(self) -> None:
        with self.connect() as connection:
            connection.execute("DROP TABLE IF EXISTS events")
            connection.execute(EVENTS_TABLE)
            connection.execute("CHECKPOINT")

    def kill(self) -> None:
        """As a loss of power does, but for the caches of the system."""
        family = [self.process.pid, *children(self.process.pid)]
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(timeout=60)
        while any(Path(f"/proc/{pid}").exists() for pid in family[1:]):
            time.sleep(0.01)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)  # the fast shutdown, with a checkpoint
        self.process.wait(timeout=600)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)  # the immediate one; its processes end with it
            self.process.wait(timeout=60)


# The report


def run_job(name: str, job: Callable[[Path, list], None]) -> None:
    """Runs the job in a temporary folder; what it put into the list of things to close is ended in any case."""
    print(f"{name} on {machine()}")
    opened: list = []
    with tempfile.TemporaryDirectory(prefix="apportion-bench-") as folder:
        try:
            job(Path(folder), opened)
        finally:
            for one in opened:
                one.close()


def machine() -> str:
    models = re.findall(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} × {models[0] if models else platform.machine()}, load {load:.1f} before the start"


def versions() -> dict[str, str]:
    """Of everything that is measured and can be asked."""
    import duckdb

    ours = subprocess.run([os.environ["APPORTION_BIN"], "version"], capture_output=True, text=True, check=True).stdout
    found = {"apportion": ours.splitlines()[0], "profile": os.environ.get("PROFILE", "release"), "duckdb": duckdb.__version__}
    if POSTGRES_BIN is not None:
        text = subprocess.run([POSTGRES_BIN / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
        found["postgresql"] = text.split()[2]
    return found


def check_equal(what: str, answers: dict[str, object]) -> None:
    """Ends everything unless all answers are the same."""
    if len(set(answers.values())) != 1:
        told = ", ".join(f"{name} {answer}" for name, answer in answers.items())
        sys.exit(f"{what} differ: {told}: no times are printed for a wrong answer")
    print(f"answers agree: {what} {next(iter(answers.values()))} ({', '.join(answers)})")


def print_table(title: str, columns: list[str], rows: list[tuple]) -> None:
    """Numbers to the right, each with as many digits as say something."""
    shown = [[str(name), *map(number_text, values)] for name, *values in rows]
    width = max(len(title), *(len(row[0]) for row in shown)) + 2
    widths = [max(len(column), *(len(row[at + 1]) for row in shown)) + 2 for at, column in enumerate(columns)]
    print(f"\n{title:<{width}}" + "".join(f"{column:>{size}}" for column, size in zip(columns, widths, strict=True)))
    for name, *values in shown:
        print(f"{name:<{width}}" + "".join(f"{value:>{size}}" for value, size in zip(values, widths, strict=True)))


def number_text(value: object) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value if value is not None else "")
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


def verdict(*met: bool) -> str:
    return "met" if all(met) else "MISSED"


def append_result(job: str, values: dict) -> None:
    """Appends one line to `results/`, unless RECORD=no says that the machine was not quiet enough to keep it."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}
    row = {"at": at, "job": job, "load": round(os.getloadavg()[0], 1), **versions(), **rounded}
    if os.environ.get("RECORD", "yes") == "no":
        print("not appended to bench/results (RECORD=no)")
        return
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{job.lower()}.jsonl"
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(f"appended to bench/results/{path.name}")


def free_space_needed(folder: Path, bytes_needed: int) -> None:
    """Ends everything before a disk gets full."""
    if shutil.disk_usage(folder).free < bytes_needed:
        sys.exit(f"{folder} has less than {bytes_needed / 2**30:.0f} GiB free; set TMPDIR or smaller sizes")
