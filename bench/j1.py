"""J1: durable ingest over HTTP in batches of 1,000 events, one in ten sent before, against PostgreSQL.

Both sides store the same events once per tenant, source and id, and answer a batch when it is on stable storage. Apportion
gets CloudEvents as NDJSON and parses, checks, measures and rolls them up; PostgreSQL gets rows that are parsed already, by
COPY into a temporary table and INSERT … ON CONFLICT DO NOTHING, or by one INSERT with many VALUES, over 1, 2 and 4
connections: its best counts. All bytes are made before the clock starts. Apportion is then sent more days of events, to
show what an event costs as the stored ids grow.
"""

import multiprocessing
import os
import time
from pathlib import Path

import psycopg

from common import (
    append_result,
    check_equal,
    check_free_space,
    cpu_seconds,
    exponent,
    memory_mib,
    print_table,
    run_job,
    verdict,
)
from events import DAY, NDJSON, Batches, make_batches
from postgres import Postgres
from server import LOAD_COLUMNS, Load, Server, percentile, send, write_requests

EVENTS = int(os.environ.get("EVENTS", 1_000_000))
STEPS = int(os.environ.get("STEPS", 5))
BATCH = int(os.environ.get("BATCH", 1_000))
CONNECTIONS = int(os.environ.get("CONNECTIONS", 4))
PEER_CONNECTIONS = (1, 2, 4)
PEER_SECONDS_MAX = 900
RATIO_MIN, EVENTS_PER_CPU_SECOND_MIN = 5.0, 300_000
COPY = 'COPY incoming (tenant, source, id, type, time, "user", data) FROM STDIN'
FROM_INCOMING = "INSERT INTO events SELECT * FROM incoming ON CONFLICT DO NOTHING"


def job(folder: Path, opened: list) -> None:
    check_free_space(folder, EVENTS * (STEPS + 2) * 1_500)
    server = Server(folder / "apportion")
    opened.append(server)
    server.start()
    first, growth = grow(server, folder)
    settled_mib, peak_mib = memory_mib(server.pid), memory_mib(server.pid, "VmHWM")
    server.stop()

    made = make_batches(0, EVENTS, BATCH, step=0)
    postgres = Postgres(folder / "postgres")
    opened.append(postgres)
    postgres.start()
    rounds = {}
    for method in ("copy", "values"):
        for connections in PEER_CONNECTIONS:
            postgres.reset()
            rounds[f"PostgreSQL, {method} over {connections}"] = peer(postgres, made, method, connections)
            check_equal("events and tokens", {"PostgreSQL": postgres.totals(), "expected": (made.accepted, made.tokens)})
    postgres.stop()
    report(first, growth, rounds, (settled_mib, peak_mib))


def grow(server: Server, folder: Path) -> tuple[Load, list[dict]]:
    """Sends one day after the other; returns what the first took, and the curve."""
    first, growth, accepted, tokens = None, [], 0, 0
    requests = folder / "requests"
    for step in range(STEPS):
        made = make_batches(accepted, EVENTS, BATCH, step)
        body_bytes = write_requests(requests, made.bodies(), NDJSON)
        if step == 0:
            print(f"{EVENTS:,} events a step in batches of {BATCH:,}, {body_bytes / EVENTS:.0f} bytes each")
        server.settle()
        before = cpu_seconds(server.pid)
        load = send(server, requests, CONNECTIONS)
        server.settle()
        accepted, tokens = accepted + made.accepted, tokens + made.tokens
        answered, expected = (load.accepted, load.duplicates), (made.accepted, made.duplicates)
        check_equal("events accepted and repeated", {"answers": answered, "expected": expected})
        answers = {"Apportion": server.usage(days=step + 1), "expected": (accepted, tokens)}
        check_equal(f"events and tokens of {step + 1} days", answers)
        growth.append({
            "stored": accepted,
            "events_per_second": EVENTS / load.seconds,
            "cpu_us": load.server_cpu / EVENTS * 1e6,
            "cpu_us_with_tables": (cpu_seconds(server.pid) - before) / EVENTS * 1e6,
            "p99_ms": load.p99_ms,
            "rss_mib": memory_mib(server.pid),
        })  # fmt: skip
        first = first or load
    requests.unlink()
    return first, growth


# The peer


def peer(postgres: Postgres, made: Batches, method: str, connections: int) -> Load:
    """Sends the same batches over so many connections, each in a process of its own."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(connections + 1), context.Queue()
    shares = [made.batches[at::connections] for at in range(connections)]
    arguments = [(postgres.conninfo, share, method, barrier, results) for share in shares]
    workers = [context.Process(target=peer_worker, args=each, daemon=True) for each in arguments]
    for worker in workers:
        worker.start()
    barrier.wait(timeout=PEER_SECONDS_MAX)
    cpu, begun = postgres.cpu(), time.monotonic()
    told = [results.get(timeout=PEER_SECONDS_MAX) for _ in workers]
    seconds, server_cpu = time.monotonic() - begun, postgres.cpu() - cpu
    for worker in workers:
        worker.join()
    latencies_ms = [latency * 1000 for latencies, _, _ in told for latency in latencies]
    accepted, client_cpu = sum(accepted for *_, accepted in told), sum(cpu for _, cpu, _ in told)
    p50, p99 = percentile(latencies_ms, 0.50), percentile(latencies_ms, 0.99)
    sent = sum(map(len, made.batches))
    return Load(seconds, client_cpu, server_cpu, len(latencies_ms), accepted, sent - accepted, p50, p99)


def peer_worker(conninfo: str, batches: list, method: str, barrier, results) -> None:
    if method == "copy":
        bodies = ["".join(one.row() for one in batch).encode() for batch in batches]
    else:
        bodies = [values_statement(batch) for batch in batches]
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE incoming (LIKE events) ON COMMIT DELETE ROWS")
        barrier.wait()
        cpu, latencies, accepted = time.process_time(), [], 0
        cursor = connection.cursor()
        for body in bodies:
            sent = time.monotonic()
            if method == "copy":
                with connection.transaction():
                    with cursor.copy(COPY) as copy:
                        copy.write(body)
                    accepted += cursor.execute(FROM_INCOMING).rowcount
            else:
                accepted += cursor.execute(body).rowcount
            latencies.append(time.monotonic() - sent)
        results.put((latencies, time.process_time() - cpu, accepted))


def values_statement(batch: list) -> bytes:
    rows = ",".join("('" + "','".join(one.row().rstrip("\n").split("\t")) + "')" for one in batch)
    return f"INSERT INTO events VALUES {rows} ON CONFLICT DO NOTHING".encode()


def report(first: Load, growth: list[dict], rounds: dict[str, Load], memory: tuple[float, float]) -> None:
    best_name = min(rounds, key=lambda name: rounds[name].seconds)
    best = rounds[best_name]
    sides = {f"Apportion over {CONNECTIONS}": first, **rounds}
    print_table(f"J1, {EVENTS:,} events", LOAD_COLUMNS, [(name, *load.figures(EVENTS)) for name, load in sides.items()])
    print_table(
        "stored ids after the step",
        ["events/s", "server CPU µs/event", "with flush to the tables", "p99 ms", "RSS MiB"],
        [(f"{stored:,}", *values) for stored, *values in (point.values() for point in growth)],
    )
    power = exponent([(point["stored"], point["cpu_us"]) for point in growth])
    if power is not None:
        print(f"server CPU per event grows as (stored ids)^{power:.2f}; flat is 0")
    ratio, per_cpu = best.seconds / first.seconds, EVENTS / first.server_cpu
    cpu_ratio = best.server_cpu / first.server_cpu
    met = verdict(ratio >= RATIO_MIN, per_cpu >= EVENTS_PER_CPU_SECOND_MIN)
    print(
        f"\n{ratio:.2f} × the best of PostgreSQL ({best_name}) by the clock (target ≥ {RATIO_MIN}), "
        f"{cpu_ratio:.2f} × by server CPU; {per_cpu:,.0f} events per server CPU second (target ≥ {EVENTS_PER_CPU_SECOND_MIN:,}); peak {memory[1]:.0f} MiB: {met}"
    )
    append_result("J1", {
        "events": EVENTS, "batch": BATCH, "connections": CONNECTIONS, "duplicates": first.duplicates, "day": f"{DAY:%Y-%m-%d}",
        "apportion": vars(first), "growth": growth, "exponent": power, "peak_mib": memory[1], "settled_mib": memory[0],
        "peer": best_name, "postgresql_best": vars(best), "ratio": ratio, "cpu_ratio": cpu_ratio, "target": met,
    })  # fmt: skip


if __name__ == "__main__":
    run_job("J1", job)
