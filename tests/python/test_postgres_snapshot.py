"""The source `postgres_snapshot` against a real PostgreSQL: every value is counted independently, and every way around
row-level security (T4) gives no foreign row or a refusal that says why."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from alerting import ask
from conftest import REPOSITORY, Apportion
from deltalake import DeltaTable
from live_server import TOKEN, Server
from ports import free_address
from postgres_server import Postgres, eventually
from workspaces_database import PASSWORD, SUPERUSER, connect, make_application, make_roles

pytestmark = pytest.mark.usefixtures("within_a_day")
COUNT = 200
FAILURE, UNREACHABLE, PARTIAL = 1, 6, 7
WAIT_SECONDS_MAX = 180
# Longer than others believe that a run goes on after its server said so last (40 s), and their next look (5 s).
LEASE_SECONDS = 47
LIST = "SELECT id, slug, name, plan FROM app.workspaces WHERE active"
EVENT = "SELECT count(*) FROM app.{} WHERE at >= :from AND at < :to"
STORAGE = "SELECT sum(octet_length(body)) FROM app.documents"
METRICS = {
    "member_count": "SELECT count(*) FROM app.members",
    "api_call_count_24h": EVENT.format("api_calls"),
    "storage_bytes": STORAGE,
    "change_count_24h": EVENT.format("changes"),
    "incident_count_24h": EVENT.format("incidents"),
    "monitored_host_count": "SELECT count(*) FROM app.hosts -- every host",
    "audit_event_count_24h": EVENT.format("audit_events"),
    "webhook_delivery_count_24h": EVENT.format("webhook_deliveries") + ";",
    "celery_task_count_24h": EVENT.format("tasks"),
}
GAUGES = {"member_count", "storage_bytes", "monitored_host_count"}
TABLES = {
    "member_count": "members", "monitored_host_count": "hosts", "api_call_count_24h": "api_calls", "change_count_24h": "changes",
    "incident_count_24h": "incidents", "audit_event_count_24h": "audit_events",
    "webhook_delivery_count_24h": "webhook_deliveries", "celery_task_count_24h": "tasks",
}  # fmt: skip


class Application:
    """A database of one test, copied from the one that was made once."""

    def __init__(self, postgres: Postgres, database: str):
        self.postgres, self.database = postgres, database
        self.admin = connect(postgres, database)

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.admin.execute(statement)

    def rows(self, statement: str, *values) -> list[tuple]:
        return self.admin.execute(statement, values).fetchall()

    def url(self, role: str = "reader") -> str:
        return f"postgres://{role}:{PASSWORD}@127.0.0.1:{self.postgres.port}/{self.database}"

    def config(self, role: str = "reader", metrics: dict[str, str] = METRICS, keys: str = "", variable="app.workspace_id") -> str:
        lines = "\n".join(f"{name} = '''{sql}'''" for name, sql in metrics.items())
        return f"""
[[source]]
name = "app"
kind = "postgres_snapshot"
url = "{self.url(role)}"
workspaces = "{LIST}"
rls_variable = "{variable}"
{keys}
[source.metrics]
{lines}
"""

    def counted(self, day: datetime) -> dict[tuple[str, str], Decimal]:
        """What each active workspace has, counted by somebody whom no policy concerns, with GROUP BY."""
        found = {}
        for metric in METRICS:
            value, table, condition, values = "count(*)", TABLES.get(metric, "documents"), "true", ()
            if metric == "storage_bytes":
                value = "sum(octet_length(body))"
            if metric not in GAUGES:
                condition, values = "at >= %s AND at < %s", (day - timedelta(days=1), day)
            sql = f"SELECT workspace_id::text, {value} FROM app.{table} WHERE {condition} GROUP BY 1"
            by_workspace = dict(self.rows(sql, *values))
            for (workspace,) in self.rows("SELECT id::text FROM app.workspaces WHERE active"):
                found[workspace, metric] = Decimal(by_workspace.get(workspace, 0))
        return found

    def workspace(self, slug: str) -> str:
        return self.rows("SELECT id::text FROM app.workspaces WHERE slug = %s", slug)[0][0]


def midnight() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture(scope="module")
def postgres():
    postgres = Postgres().start()
    try:
        make_roles(postgres)
        yield postgres
    finally:
        postgres.close()


@pytest.fixture(scope="module")
def template(postgres):
    """Returns a function that names the database of today, made once: at midnight what happened in it is too old."""
    made = set()

    def of_today() -> str:
        today = midnight()
        name = f"app_{today:%Y%m%d}"
        if name not in made:
            make_application(postgres, name, today.isoformat(), COUNT)
            made.add(name)
        return name

    return of_today


@pytest.fixture
def application(postgres, template, request, within_a_day):
    """Roles belong to the server: what a test grants them it takes back."""
    database = f"app_{abs(hash(request.node.nodeid)):x}"
    origin = template()
    with connect(postgres, "postgres") as connection:
        connection.execute(f"CREATE DATABASE {database} TEMPLATE {origin}")
    application = Application(postgres, database)
    yield application
    application.admin.close()
    with connect(postgres, "postgres") as connection:
        connection.execute(f"DROP DATABASE {database} WITH (FORCE)")


def stored(store: Apportion) -> dict[tuple[str, str], dict]:
    """Every row of the table, as another reader of Delta sees it."""
    if not (store.lake / "snapshots").exists():
        return {}
    rows = DeltaTable(str(store.lake / "snapshots")).to_pyarrow_table().to_pylist()
    return {(row["tenant"], row["metric"]): row for row in rows}


def quantities(store: Apportion) -> dict[tuple[str, str], Decimal]:
    rows = stored(store)
    assert {row["quality"] for row in rows.values()} == {"ok"}
    return {key: row["quantity"] for key, row in rows.items()}


def no_secret(*texts: str) -> None:
    assert not any(PASSWORD in text for text in texts)


def test_200_workspaces_are_measured_as_somebody_else_counts_them(apportion, application):
    store, day = apportion(config=application.config()), midnight()
    check = store.run("check")
    run = store.json("snapshot", "run")
    assert (run["status"], run["tenants"], run["failed"], run["degraded"]) == ("succeeded", COUNT, [], 0)
    assert run["date"] == day.date().isoformat()
    counted = application.counted(day)
    assert quantities(store) == counted
    assert len(counted) == COUNT * 9 and sum(value > 0 for value in counted.values()) > COUNT * 8
    tenants = {row["id"]: row for row in json.loads(store.run("tenants", "list", "-o", "json").stdout)["rows"]}
    for workspace, slug, name, plan in application.rows("SELECT id::text, slug, name, plan FROM app.workspaces WHERE active"):
        if workspace in tenants:  # one page of them
            row = tenants[workspace]
            assert (row["slug"], row["name"], row["plan"]) == (slug, name, plan)
    print(f"\nT4: {len(counted)} values of {COUNT} workspaces equal an independent count")
    no_secret(check.stdout, check.stderr, json.dumps(run), store.run("config", "show").stdout)


def test_a_later_run_of_the_day_gives_the_same_counters_and_the_levels_of_its_time(apportion, application):
    store, day = apportion(config=application.config()), midnight()
    store.run("snapshot", "run")
    before = stored(store)
    workspace = application.workspace("ws-7")
    application.run(
        f"INSERT INTO app.api_calls (workspace_id, at) SELECT '{workspace}', now() FROM generate_series(1, 50)",
        f"INSERT INTO app.members (workspace_id, name) VALUES ('{workspace}', 'new')",
    )
    store.run("snapshot", "run", "--date", day.date().isoformat())
    after = stored(store)
    assert quantities(store) == application.counted(day)
    changed = {key for key in after if after[key]["quantity"] != before[key]["quantity"]}
    assert changed == {(workspace, "member_count")}


def test_of_a_past_day_counters_are_measured_and_levels_are_missing(apportion, application):
    store, day = apportion(config=application.config()), midnight() - timedelta(days=1)
    store.run("snapshot", "run", "--date", day.date().isoformat())
    counted, rows = application.counted(day), stored(store)
    assert rows.keys() == counted.keys()
    for (workspace, metric), row in rows.items():
        expected = (None, "missing") if metric in GAUGES else (counted[workspace, metric], "ok")
        assert (row["quantity"], row["quality"]) == expected, metric
    tomorrow = (midnight() + timedelta(days=1)).date().isoformat()
    assert "future" in store.run("snapshot", "run", "--date", tomorrow, exit_code=None).stderr


def test_a_dry_run_stores_nothing_and_a_renamed_workspace_is_renamed(apportion, application):
    store = apportion(config=application.config())
    run = json.loads(store.run("snapshot", "run", "--dry-run", "-o", "json").stdout)
    assert run["tenants"] == COUNT and stored(store) == {}
    assert store.json("sources", "test", "app")["accepted"] == COUNT and stored(store) == {}
    store.run("snapshot", "run")
    workspace = application.workspace("ws-3")
    application.run(f"UPDATE app.workspaces SET slug = 'renamed' WHERE id = '{workspace}'")
    store.run("sources", "refresh", "app")
    assert store.json("tenants", "show", workspace)["slug"] == "renamed"
    assert [run["status"] for run in store.json("snapshot", "status")["rows"]] == ["succeeded", "succeeded"]
    sources = store.json("sources", "list")["rows"]
    assert [(source["name"], source["kind"], source["state"]) for source in sources] == [("app", "postgres_snapshot", "ok")]


def test_a_refresh_of_the_exporter_measures_workspaces_like_every_other_source(apportion, application):
    store = apportion(config=application.config())
    server = Server(store)
    server.exporter = free_address()
    server.start()
    try:
        status, text = ask(server.exporter, "POST", "/refresh")
        assert (status, json.loads(text)) == (200, {"sources": [{"name": "app", "error": None}]}), text
        rows = json.loads(server.ask("GET", "/audit")[1])["rows"]
        assert ("snapshots.run", "loopback") in {(row["action"], row["actor"]) for row in rows}
        application.run("REVOKE SELECT ON app.workspaces FROM reader")
        status, text = ask(server.exporter, "POST", "/refresh")
        assert (status, "permission denied" in json.loads(text)["sources"][0]["error"]) == (207, True), text
        no_secret(text, server.log.read_text())
    finally:
        server.stop()
    assert quantities(store) == application.counted(midnight()), "what was measured stays"


SIZE = """
SELECT trunc(pg_total_relation_size('app.documents') * (SELECT count(*) FROM app.documents)
    / (SELECT greatest(reltuples, 1)::numeric FROM pg_class WHERE oid = 'app.documents'::regclass))"""
SIZE_FUNCTION = """
CREATE FUNCTION app.size() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT sum(octet_length(body)) FROM app.documents'"""


@pytest.mark.parametrize("way", ["whole tables", "a function"])
def test_storage_is_0_and_degraded_without_the_privilege_and_mended_after_the_grant(apportion, application, way):
    if way == "whole tables":
        sql, says, grant = SIZE, "pg_read_all_stats", "GRANT pg_read_all_stats TO reader"
    else:
        sql, says, grant = "SELECT app.size()", "permission denied", "GRANT EXECUTE ON FUNCTION app.size TO reader"
        application.run(SIZE_FUNCTION, "REVOKE EXECUTE ON FUNCTION app.size FROM PUBLIC")
    store = apportion(config=application.config(metrics=METRICS | {"storage_bytes": sql}))
    run = store.run("snapshot", "run")
    assert says in run.stderr
    rows = stored(store)
    sizes = [row for (_, metric), row in rows.items() if metric == "storage_bytes"]
    assert len(sizes) == COUNT
    assert {(row["quantity"], row["quality"]) for row in sizes} == {(Decimal(0), "degraded")}
    assert all(says in row["note"] for row in sizes)
    others = {key: row["quantity"] for key, row in rows.items() if key[1] != "storage_bytes"}
    counted = application.counted(midnight())
    assert others == {key: value for key, value in counted.items() if key[1] != "storage_bytes"}
    try:
        application.run(grant)
        assert store.json("snapshot", "run")["degraded"] == 0
    finally:
        application.run("REVOKE pg_read_all_stats FROM reader")
    mended = quantities(store)
    if way == "whole tables":
        [(whole, rows_of_all)] = application.rows(
            "SELECT pg_total_relation_size('app.documents'), reltuples::numeric FROM pg_class WHERE oid = 'app.documents'::regclass"
        )
        of_each = dict(application.rows("SELECT workspace_id::text, count(*) FROM app.documents GROUP BY 1"))
        for workspace, _ in counted:
            assert mended[workspace, "storage_bytes"] == whole * of_each.get(workspace, 0) // rows_of_all
        assert sum(value for (_, metric), value in mended.items() if metric == "storage_bytes") <= whole
    else:
        assert mended == counted


def test_the_example_measures_every_field(apportion, application):
    lines = (REPOSITORY / "examples" / "sources" / "postgres.toml").read_text().splitlines()
    text = "\n".join(line.removeprefix("# ") for line in lines[5:])
    address = "postgres://apportion_reader@db.example:5432/app?sslmode=verify-full"
    assert address in text
    store = apportion(config=text.replace(address, application.url()))
    application.run("GRANT pg_read_all_stats TO reader")
    try:
        store.run("snapshot", "run")
    finally:
        application.run("REVOKE pg_read_all_stats FROM reader")
    counted = application.counted(midnight())
    measured = quantities(store)
    assert measured.keys() == counted.keys()
    assert all(value == counted[key] for key, value in measured.items() if key[1] != "storage_bytes")
    assert sum(value for (_, metric), value in measured.items() if metric == "storage_bytes") > 0


# What a workspace with a poisoned member makes of its connection, and the key that matters for it.
POISON = "CASE WHEN EXISTS (SELECT 1 FROM app.members WHERE name = 'poison') THEN {} ELSE 0 END"
FAILING = {
    "error": ("1 / (SELECT count(*) FROM app.members WHERE name = 'absent')", "", "division by zero"),
    "timeout": ("(SELECT 1 FROM pg_sleep(100))", 'statement_timeout = "3s"', "no answer within 3s"),
    "cancel": ("(SELECT 1 FROM pg_sleep(100))", "", "no answer within"),
}


@pytest.mark.parametrize("kind", FAILING)
def test_a_workspace_that_fails_keeps_its_rows_and_spoils_no_other(apportion, application, kind):
    """One connection serves all workspaces in turn, so what a failure leaves behind would show in the next one."""
    poison, keys, says = FAILING[kind]
    metrics = METRICS | {"member_count": f"SELECT count(*) + {POISON.format(poison)} FROM app.members"}
    store = apportion(config=application.config(metrics=metrics, keys=f"concurrency = 1\n{keys}"))
    store.run("snapshot", "run")
    before, workspace = stored(store), application.workspace("ws-100")
    application.run(
        f"INSERT INTO app.members (workspace_id, name) VALUES ('{workspace}', 'poison')",
        "INSERT INTO app.members (workspace_id, name) SELECT id, 'new' FROM app.workspaces",
    )
    with Canceller(application, kind == "cancel"):
        done = store.run("snapshot", "run", "-o", "json", exit_code=PARTIAL)
    run = json.loads(done.stdout)
    assert (run["status"], run["tenants"], run["failed_total"]) == ("succeeded", COUNT - 1, 1)
    [failed] = run["failed"]
    assert failed["tenant"] == workspace and failed["reason"].startswith("member_count: ") and says in failed["reason"]
    assert workspace in done.stderr
    after, counted = stored(store), application.counted(midnight())
    for key, row in after.items():
        expected = before[key] if key[0] == workspace else row | {"quantity": counted[key], "quality": "ok"}
        assert row == expected, key
    application.run("DELETE FROM app.members WHERE name = 'poison'")
    store.run("snapshot", "run")
    assert quantities(store) == application.counted(midnight())


class Canceller:
    """Cancels what sleeps, again and again, until it is told to stop."""

    def __init__(self, application: Application, is_wanted: bool, function: str = "pg_cancel_backend"):
        self.application, self.function = application, function
        self.thread = threading.Thread(target=self.work) if is_wanted else None
        self.stopped, self.hit = threading.Event(), 0

    def work(self) -> None:
        sql = f"SELECT {self.function}(pid) FROM pg_stat_activity WHERE application_name = 'apportion' AND wait_event = 'PgSleep'"
        with connect(self.application.postgres, self.application.database) as connection:
            while not self.stopped.wait(0.05) and (self.hit == 0 or self.function == "pg_cancel_backend"):
                self.hit += len(connection.execute(sql).fetchall())

    def __enter__(self) -> "Canceller":
        if self.thread:
            self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stopped.set()
        if self.thread:
            self.thread.join()
            assert self.hit > 0


def test_a_connection_that_is_cut_is_made_anew(apportion, application):
    metrics = METRICS | {"member_count": f"SELECT count(*) + 0 * {POISON.format('(SELECT 1 FROM pg_sleep(3))')} FROM app.members"}
    application.run(f"INSERT INTO app.members (workspace_id, name) VALUES ('{application.workspace('ws-50')}', 'poison')")
    store = apportion(config=application.config(metrics=metrics))
    with Canceller(application, True, "pg_terminate_backend"):
        run = store.json("snapshot", "run")
    assert (run["tenants"], run["failed"]) == (COUNT, [])
    assert quantities(store) == application.counted(midnight())


def test_a_database_that_cannot_be_reached_or_lets_nobody_in_fails_the_run_and_changes_nothing(apportion, application):
    store = apportion(config=application.config())
    store.run("snapshot", "run")
    before, right = stored(store), (store.folder / "apportion.toml").read_text()
    port = application.postgres.port
    away = (f":{port}/", ":1/", "cannot be reached", UNREACHABLE)
    nowhere = (f"/{application.database}", "/nowhere", "does not exist", FAILURE)
    for wrong, other, says, code in (away, nowhere):
        (store.folder / "apportion.toml").write_text(right.replace(wrong, other))
        done = store.run("snapshot", "run", exit_code=code)
        assert says in done.stderr, done.stderr
        refused = store.run("sources", "refresh", "app", exit_code=UNREACHABLE)
        assert "source_failed" in refused.stderr and says in refused.stderr, refused.stderr
        no_secret(done.stderr, done.stdout)
        source = store.json("sources", "list")["rows"][0]
        assert source["state"] == "stale" and says in source["last_error"]
    assert stored(store) == before


# T4: what was set up, by whom the database is read, what else differs, and why the run refuses to start.
NO_FORCE = "ALTER TABLE app.members NO FORCE ROW LEVEL SECURITY"
DEFINER = "CREATE FUNCTION app.all_members() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM app.members'"
INVOKER = "CREATE FUNCTION app.hidden() RETURNS bigint LANGUAGE sql AS 'SELECT app.all_members()'"
MEMBERS = "member_count"
TRAPS = {
    "superuser": ([], SUPERUSER, {}, "superuser"),
    "bypassrls": ([], "bypasser", {}, "BYPASSRLS"),
    "owner": ([NO_FORCE], "owner", {}, "its policies do not apply"),
    "member of the owner": ([NO_FORCE], "colleague", {}, "its policies do not apply"),
    "variable nobody reads": ([], "reader", {"variable": "app.tenant"}, "policies read app.workspace_id"),
    "table without policies": (["ALTER TABLE app.members DISABLE ROW LEVEL SECURITY"], "reader", {}, "no row-level security"),
    "policy for all rows": (["CREATE POLICY open ON app.members USING (true)"], "reader", {}, "does not exist, so it counts rows of others"),
    "policy open when unset": (
        ["CREATE POLICY open ON app.members USING (current_setting('app.other', true) IS NULL)"],
        "reader", {}, "does not exist, so it counts rows of others"),
    "view": (["CREATE VIEW app.v AS SELECT * FROM app.members", "GRANT SELECT ON app.v TO reader"], "reader",
             {MEMBERS: "SELECT count(*) FROM app.v"}, f"the view app.v reads app.members with the rights of {SUPERUSER}"),
    "view of a view": (
        ["CREATE VIEW app.v AS SELECT * FROM app.members", "CREATE VIEW app.w WITH (security_invoker = true) AS SELECT * FROM app.v",
         "GRANT SELECT ON app.v, app.w TO reader"], "reader", {MEMBERS: 'SELECT count(*) FROM app."w"'}, "the view app.v"),
    "materialized view": (
        ["CREATE MATERIALIZED VIEW app.m AS SELECT * FROM app.members", "GRANT SELECT ON app.m TO reader"], "reader",
        {MEMBERS: "SELECT count(*) FROM app.m"}, "the materialized view app.m"),
    "security definer": ([DEFINER], "reader", {MEMBERS: "SELECT app.all_members()"}, "SECURITY DEFINER"),
    "hidden security definer": ([DEFINER, INVOKER], "reader", {MEMBERS: "SELECT app.hidden()"}, "does not exist, so it counts rows of others"),
    "size of a shared table": (
        [], "statistician", {"storage_bytes": "SELECT pg_total_relation_size('app.documents')"}, "does not exist, so it counts rows of others"),
}  # fmt: skip


@pytest.fixture(scope="module")
def roles(postgres):
    with connect(postgres, "postgres") as connection:
        for role in ("bypasser", "owner", "colleague", "statistician"):
            connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute("ALTER ROLE bypasser BYPASSRLS")
        connection.execute("GRANT app_owner TO owner, colleague")
        connection.execute("GRANT reader TO bypasser, statistician")
        connection.execute("GRANT pg_read_all_stats TO statistician")


def give_away(application: Application, role: str) -> None:
    """Makes the role the owner of every table."""
    application.run("GRANT USAGE ON SCHEMA app TO owner")
    for (table,) in application.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'app'"):
        application.run(f"ALTER TABLE app.{table} OWNER TO {role}")


@pytest.mark.parametrize("trap", TRAPS)
def test_t4_a_way_around_the_policies_is_refused_and_the_reason_given(apportion, application, roles, trap):
    statements, role, different, says = TRAPS[trap]
    application.run(*statements)
    if role == "owner":
        give_away(application, role)
    variable = different.get("variable", "app.workspace_id")
    metrics = METRICS | {name: sql for name, sql in different.items() if name != "variable"}
    store = apportion(config=application.config(role, metrics, variable=variable))
    done = store.run("snapshot", "run", exit_code=FAILURE)
    assert "refused to start" in done.stderr and says in done.stderr, done.stderr
    no_secret(done.stderr, done.stdout)
    assert stored(store) == {}
    assert store.json("snapshot", "status")["rows"][0]["status"] == "failed"
    print(f"\nT4 {trap}: {done.stderr.splitlines()[-1]}")


# T4: what looks like a way around the policies and is none, so it is measured and shows no foreign row.
SAFE = {
    "owner of tables that force their policies": ([], "owner", {}),
    "view with the rights of who asks": (
        ["CREATE VIEW app.v WITH (security_invoker = true) AS SELECT * FROM app.members", "GRANT SELECT ON app.v TO reader"],
        "reader", {MEMBERS: "SELECT count(*) FROM app.v"}),
    "view that is filtered by the query itself": (
        ["CREATE VIEW app.v AS SELECT * FROM app.members", "GRANT SELECT ON app.v TO reader"],
        "reader", {MEMBERS: "SELECT count(*) FROM app.v WHERE workspace_id = :workspace::uuid"}),
    "function with the rights of who asks": (
        [DEFINER.replace("SECURITY DEFINER", "SECURITY INVOKER")], "reader", {MEMBERS: "SELECT app.all_members()"}),
    "policy open as long as the variable is unset": (
        ["DROP POLICY of_workspace ON app.members",
         "CREATE POLICY lazy ON app.members USING (coalesce(current_setting('app.workspace_id', true), '') = ''"
         " OR workspace_id::text = current_setting('app.workspace_id', true))"], "reader", {}),
    "role whose sessions begin with a workspace": (
        ["ALTER ROLE reader IN DATABASE {database} SET app.workspace_id = '{workspace}'"], "reader", {}),
    "role for which policies are errors": (["ALTER ROLE reader IN DATABASE {database} SET row_security = off"], "reader", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", SAFE)
def test_t4_what_is_no_way_around_the_policies_shows_no_foreign_row(apportion, application, roles, case):
    statements, role, different = SAFE[case]
    names = {"database": application.database, "workspace": application.workspace("ws-9")}
    for statement in statements:
        application.run(statement.format(**names) if "{" in statement else statement)
    if role == "owner":
        give_away(application, role)
    store = apportion(config=application.config(role, METRICS | different))
    store.run("snapshot", "run")
    assert quantities(store) == application.counted(midnight())


def test_t4_a_query_cannot_change_the_workspace_or_write(apportion, application):
    other = application.workspace("ws-9")
    application.run(
        f"CREATE FUNCTION app.write() RETURNS bigint LANGUAGE sql AS "
        f"$$INSERT INTO app.hosts (id, workspace_id) VALUES (0, '{other}') RETURNING 0::bigint$$",
        "GRANT INSERT ON app.hosts TO reader",
    )
    switch = f"set_config('app.workspace_id', '{other}', true)"
    for sql, says in (
        (f"SELECT count(*) FROM app.members, {switch}", "it counts rows of others"),
        (f"SELECT 0 FROM {switch}", "it must leave it alone"),
        ("SELECT app.write()", "read-only transaction"),
    ):
        store = apportion(config=application.config(metrics={MEMBERS: sql}))
        done = store.run("snapshot", "run", exit_code=FAILURE)
        assert says in done.stderr, done.stderr
        assert stored(store) == {}


def test_a_run_over_http_has_progress_and_is_joined_by_whoever_asks_meanwhile(apportion, application):
    gate = "SELECT count(*) FROM app.members, pg_advisory_xact_lock_shared(7) AS gate"
    store = apportion(config=application.config(metrics=METRICS | {MEMBERS: gate}))
    server = Server(store).start()
    try:
        application.run("SELECT pg_advisory_lock(7)")
        status, text = server.ask("POST", "/snapshots/run")
        assert status == 202, text
        run = json.loads(text)
        again = json.loads(server.ask("POST", "/snapshots/run")[1])
        assert (run["status"], again["id"]) == ("running", run["id"])
        connection = server.connect(timeout=WAIT_SECONDS_MAX)
        connection.request("GET", f"/api/v1/snapshots/runs/{run['id']}/events", headers={"Authorization": f"Bearer {TOKEN}"})
        events = connection.getresponse()
        application.run("SELECT pg_advisory_unlock(7)")
        steps = []
        while not steps or steps[-1]["status"] == "running":
            line = events.readline()
            assert line, f"the stream ended after {steps[-1:]}"
            if line.startswith(b"data:"):
                steps.append(json.loads(line.removeprefix(b"data:")))
        connection.close()
        assert (steps[-1]["status"], steps[-1]["tenants"]) == ("succeeded", COUNT)
        progress = [(step["done"], step["total"]) for step in steps[:-1]]
        assert progress == sorted(progress) and all(total == COUNT for _, total in progress)
        day, slug = run["date"], "ws-12"
        query = f"/snapshots?from={day}&to={day}&tenant={application.workspace(slug)}"
        [row] = json.loads(server.ask("GET", query)[1])["rows"]
        counted = application.counted(midnight())
        assert {name: Decimal(value) for name, value in row["metrics"].items()} == {
            metric: value for (workspace, metric), value in counted.items() if workspace == row["tenant"]
        }
        server.stop()
        no_secret(server.log.read_text())
    finally:
        if server.process.poll() is None:
            server.kill()


def test_a_run_is_carried_out_by_its_server_and_has_failed_when_that_never_returns(binary, tmp_path, postgres, application):
    """Two servers on one catalog: the run of the first goes on for longer than its lease, then the first is killed."""
    with connect(postgres, "postgres") as connection:
        connection.execute("CREATE DATABASE runs_of_two")
    gate = "SELECT count(*) FROM app.members, pg_advisory_xact_lock_shared(7) AS gate"
    source = application.config(metrics={MEMBERS: gate}, keys='statement_timeout = "300s"')
    catalog = f"postgres://{SUPERUSER}@127.0.0.1:{postgres.port}/runs_of_two"
    servers = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        servers.append(Server(Apportion(binary, folder, None, f'lake = "{tmp_path}/lake"\ncatalog = "{catalog}"\n{source}')).start())
    first, second = servers
    try:
        application.run("SELECT pg_advisory_lock(7)")
        status, text = first.ask("POST", "/snapshots/run")
        assert status == 202, text
        path = f"/snapshots/runs/{json.loads(text)['id']}"

        def seen() -> dict:
            return json.loads(second.ask("GET", path)[1])

        deadline = time.monotonic() + LEASE_SECONDS
        while time.monotonic() < deadline:
            assert seen()["status"] == "running", seen()
            time.sleep(0.5)
        first.kill()
        eventually(lambda: seen()["status"] == "failed", WAIT_SECONDS_MAX, "the run has failed")
        assert "the server that measured stopped" in seen()["error"] and seen()["finished_at"] is not None
        application.run("SELECT pg_advisory_unlock(7)")
        status, text = second.ask("POST", "/snapshots/run?wait=true")
        assert (status, json.loads(text)["status"], json.loads(text)["tenants"]) == (200, "succeeded", COUNT), text
        second.stop()
    finally:
        for server in servers:
            if server.process.poll() is None:
                server.kill()


def test_nothing_is_left_behind_in_the_database(apportion, application):
    """No connection stays open, no transaction writes."""
    store = apportion(config=application.config())
    store.run("snapshot", "run")
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while application.rows("SELECT 1 FROM pg_stat_activity WHERE application_name = 'apportion'"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(psycopg.errors.UndefinedObject):
        application.rows("SELECT current_setting('app.workspace_id')")
