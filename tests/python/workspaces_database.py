"""A real PostgreSQL server of the test's own, and in it an application with workspaces under row-level security."""

import os
import pwd
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

START_SECONDS_MAX = 60
PASSWORD = "hunter2-of-the-reader"
# Nothing is synced: what is asked here holds when a process is killed, not when the machine is.
SETTINGS = {"fsync": "off", "listen_addresses": "127.0.0.1", "max_connections": "60", "autovacuum": "off", "timezone": "Asia/Kolkata"}
BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda path: int(path.parent.name))


class Postgres:
    """Debian's programs on temporary data and a free loopback port; root starts them as `postgres`."""

    def __init__(self):
        assert BIN is not None, "PostgreSQL is missing; scripts/setup test installs the Debian package postgresql"
        # Not below pytest's own folder, which nobody but its user may enter.
        self.temporary = tempfile.TemporaryDirectory(prefix="apportion-postgres-")
        folder = self.folder = Path(self.temporary.name)
        self.log = folder / "server.log"
        self.owner: dict = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
            self.owner = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        command = [BIN / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, **self.owner)
        assert done.returncode == 0, done.stdout + done.stderr
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen | None = None

    def start(self) -> "Postgres":
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [BIN / "postgres", "-D", self.folder / "data", "-k", self.folder, "-p", str(self.port), *settings]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **self.owner)
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.connect("postgres").close()
                return self
            except psycopg.OperationalError:
                time.sleep(0.02)
        pytest.fail(f"PostgreSQL did not get ready: {self.log.read_text()[-4000:]}")

    def connect(self, database: str, role: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(f"host=127.0.0.1 port={self.port} user={role} dbname={database}", autocommit=True)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # the fast shutdown
            self.process.wait(timeout=60)
        self.temporary.cleanup()


# Every table belongs to a role that cannot log in, has policies, and forces them upon its owner too.
TABLES = {
    "members": "name text",
    "hosts": "name text",
    "documents": "body text",
    "api_calls": "at timestamptz",
    "changes": "at timestamptz",
    "incidents": "at timestamptz",
    "audit_events": "at timestamptz",
    "webhook_deliveries": "at timestamptz",
    "tasks": "at timestamptz",
}
SCHEMA = """
CREATE SCHEMA app AUTHORIZATION app_owner;
SET ROLE app_owner;
GRANT USAGE ON SCHEMA app TO reader;
CREATE TABLE app.workspaces (id uuid PRIMARY KEY, slug text, name text, plan text, active boolean NOT NULL);
GRANT SELECT ON app.workspaces TO reader;
"""
TABLE = """
CREATE TABLE app.{name} (id bigserial PRIMARY KEY, workspace_id uuid NOT NULL, {column});
ALTER TABLE app.{name} ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.{name} FORCE ROW LEVEL SECURITY;
CREATE POLICY of_workspace ON app.{name} USING (workspace_id = current_setting('app.workspace_id')::uuid);
GRANT SELECT ON app.{name} TO reader;
"""
# How many rows a workspace has of each table follows from both by arithmetic; times lie on three days around yesterday,
# some on its very first and last microsecond.
ROWS = """
RESET ROLE;
INSERT INTO app.workspaces SELECT md5('workspace' || n)::uuid, 'ws-' || n, 'Workspace ' || n,
    CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN 'team' ELSE 'enterprise' END, n <= {count}
    FROM generate_series(1, {count} + 20) AS n;
"""
LEVELS = """
INSERT INTO app.{name} (workspace_id, {column})
    SELECT w.id, repeat('x', (length(w.slug) * n) % 50) FROM app.workspaces w,
        generate_series(1, (substr(w.slug, 4)::int * {factor}) % 17) AS n;
"""
EVENTS = """
INSERT INTO app.{name} (workspace_id, at)
    SELECT w.id, {today}::timestamptz + CASE n % 5
        WHEN 0 THEN -interval '1 day' WHEN 1 THEN -interval '1 microsecond' WHEN 2 THEN interval '0'
        WHEN 3 THEN -interval '1 day 1 microsecond' ELSE -interval '1 second' * (n * 7919 % 172800) END
    FROM app.workspaces w, generate_series(1, (substr(w.slug, 4)::int * {factor}) % 29) AS n;
"""


def make_application(postgres: Postgres, today: str, count: int) -> None:
    """Makes the database `app`: `count` active workspaces, and twenty that left. `today` is the day's first moment."""
    with postgres.connect("postgres") as connection:
        connection.execute("CREATE ROLE app_owner NOLOGIN")
        connection.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
        connection.execute("CREATE DATABASE app")
    with postgres.connect("app") as connection:
        connection.execute("GRANT CREATE ON DATABASE app TO app_owner")
        connection.execute(SCHEMA)
        for name, column in TABLES.items():
            connection.execute(TABLE.format(name=name, column=column))
        connection.execute(ROWS.format(count=count))
        for factor, (name, column) in enumerate(TABLES.items(), start=3):
            rows = EVENTS if column.startswith("at") else LEVELS
            connection.execute(rows.format(name=name, column=column.split()[0], factor=factor, today=f"'{today}'"))
        connection.execute("ANALYZE")
