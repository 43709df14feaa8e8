"""An application with workspaces under row-level security, in a PostgreSQL server of the test's own."""

import psycopg
from postgres_server import Postgres

SUPERUSER = "apportion"
PASSWORD = "hunter2-of-the-reader"


def connect(postgres: Postgres, database: str, role: str = SUPERUSER) -> psycopg.Connection:
    return psycopg.connect(f"host=127.0.0.1 port={postgres.port} user={role} dbname={database}", autocommit=True)


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
CREATE INDEX ON app.{name} (workspace_id);
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


def make_roles(postgres: Postgres) -> None:
    with connect(postgres, "postgres") as connection:
        connection.execute("CREATE ROLE app_owner NOLOGIN")
        connection.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
        # Days are those of UTC, whatever zone sessions of the role begin with.
        connection.execute("ALTER ROLE reader SET timezone = 'Asia/Kolkata'")


def make_application(postgres: Postgres, name: str, today: str, count: int) -> None:
    """Makes a database: `count` active workspaces, and twenty that left. `today` is the day's first moment."""
    with connect(postgres, "postgres") as connection:
        connection.execute(f"CREATE DATABASE {name}")
        connection.execute(f"GRANT CREATE ON DATABASE {name} TO app_owner")
    with connect(postgres, name) as connection:
        connection.execute(SCHEMA)
        for table, column in TABLES.items():
            connection.execute(TABLE.format(name=table, column=column))
        connection.execute(ROWS.format(count=count))
        for factor, (table, column) in enumerate(TABLES.items(), start=3):
            rows = EVENTS if column.startswith("at") else LEVELS
            connection.execute(rows.format(name=table, column=column.split()[0], factor=factor, today=f"'{today}'"))
        connection.execute("ANALYZE")
