"""PostgreSQL as a peer: a server of our own with everything on that keeps what it answered."""

import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from common import POSTGRES_BIN, START_SECONDS_MAX, children, cpu_seconds, of_living, proportional_mib

SETTINGS = {
    "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "2GB", "max_wal_size": "16GB",
    "checkpoint_timeout": "1h", "max_connections": "300", "jit": "off", "autovacuum": "on", "listen_addresses": "",
}  # fmt: skip
EVENTS_TABLE = """
CREATE TABLE events (tenant text NOT NULL, source text NOT NULL, id text NOT NULL, type text NOT NULL,
    time timestamptz NOT NULL, "user" text, data jsonb NOT NULL, PRIMARY KEY (tenant, source, id))"""


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
        command = [
            POSTGRES_BIN / "initdb",
            "-D",
            folder / "data",
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **self.owner)
        self.process: subprocess.Popen | None = None

    @property
    def conninfo(self) -> str:
        return f"host={self.folder} user=postgres dbname=postgres"

    def connect(self):
        return psycopg.connect(self.conninfo, autocommit=True)

    def start(self) -> float:
        """Returns the seconds from exec to the first answer."""
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
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
