"""An answer means stable storage (D6), a failed sync ends the process (D7), a full disk does not (D8): on a real disk."""

import http.client
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
import syscalls
from conftest import REPOSITORY, Apportion
from live_server import ANSWER_SECONDS_MAX, DAY, END_SECONDS_MAX, TOKEN, Budget, Server, stored_events
from syscalls import event_id

CONFIG = '[ingest]\nsegment = "64KiB"\nflush_every = "1s"\npast_days = 36500\nevents_per_second_per_tenant = 1000000\n'
TRACE_CLIENTS, FAULT_CLIENTS = 8, 4
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson"}
NO_STRACE = "strace cannot attach here; the simulated-disk tests of the event log (wal/tests) stand in for it"
SPACE_MIB, FREE_KIB = 24, 40
RESUMES_SECONDS_MAX = 60
# What a request may answer while the disk fails: stored, no room, stopped, or a file that could not be made.
FAULT_STATUSES = {200, 500, 503, 507}


def line(name: str, tenant: str = "acme") -> dict:
    return {
        "specversion": "1.0", "id": name, "source": "durability", "type": "log_queries", "tenant": tenant,
        "time": f"{DAY}T10:00:00Z", "data": {"value": 1},
    }  # fmt: skip


def body_of(names: list[str]) -> bytes:
    return "".join(json.dumps(line(name)) + "\n" for name in names).encode()


class Sender(threading.Thread):
    """Sends its own events over one connection after the other; remembers by port what each request carried."""

    def __init__(self, server: Server, number: int, goes_on):
        super().__init__(daemon=True)
        self.server, self.number, self.goes_on = server, number, goes_on
        self.requests: dict[int, list[list[str]]] = {}
        self.acknowledged: set[str] = set()
        self.attempted: set[str] = set()
        self.statuses: list[int] = []
        self.broke_off = False

    def run(self) -> None:
        connection = self.server.connect()
        try:
            connection.connect()
            batches = self.requests.setdefault(connection.sock.getsockname()[1], [])
            while self.goes_on(self):
                first = len(self.attempted)
                names = [event_id(self.number, first + step) for step in range(1 + len(self.statuses) % 5)]
                self.attempted.update(names)
                connection.request("POST", "/api/v1/events", body_of(names), HEADERS)
                answer = connection.getresponse()
                answer.read()
                batches.append(names)
                self.statuses.append(answer.status)
                if answer.status == 200:
                    self.acknowledged.update(names)
                if answer.status == 503:
                    return
        except (OSError, http.client.HTTPException):
            self.broke_off = True  # the server ended
        finally:
            connection.close()


def run_senders(server: Server, number: int, goes_on) -> list[Sender]:
    senders = [Sender(server, sender, goes_on) for sender in range(number)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(timeout=2 * ANSWER_SECONDS_MAX)
        assert not sender.is_alive(), "a request got no answer"
    return senders


def stands_in() -> None:
    print(f"\n{NO_STRACE}")
    assert syscalls.has_simulated_disk(REPOSITORY), "neither strace nor the simulated disk: nothing shows that answers wait"


def acknowledged_of(senders: list[Sender]) -> set[str]:
    return {name for sender in senders for name in sender.acknowledged}


def check_after_restart(server: Server, senders: list[Sender]) -> None:
    """Every acknowledged event counts once, and nothing counts that nobody sent."""
    acknowledged = acknowledged_of(senders)
    attempted = {name for sender in senders for name in sender.attempted}
    server.start()
    if acknowledged:
        status, body = server.send_lines(body_of(sorted(acknowledged)))
        assert (status, body["accepted"], body["duplicates"]) == (200, 0, len(acknowledged)), body
    counted = sum(int(row["quantity"]) for row in server.usage(f"range={DAY}..{DAY}&meter=log_queries"))
    assert len(acknowledged) <= counted <= len(attempted)
    server.stop()
    if counted:
        assert stored_events(server.store) == (counted, counted)


def test_d6_every_answer_is_preceded_by_a_sync_that_covers_it(apportion, tmp_path):
    """D6: the trace of the real server under concurrent clients."""
    if not syscalls.can_trace():
        return stands_in()
    budget, trace = Budget("D6", (2_000, 100_000), (20, 900)), tmp_path / "trace"
    server = Server(apportion(config=CONFIG)).start(syscalls.all_calls(trace))
    share = budget.wanted // TRACE_CLIENTS
    senders = run_senders(
        server, TRACE_CLIENTS, lambda sender: len(sender.statuses) < share and (budget.goes_on() or not sender.statuses)
    )
    pid = server.process.pid
    server.stop()
    calls = syscalls.read_calls(syscalls.finished(trace, pid))
    requests = {port: batches for sender in senders for port, batches in sender.requests.items()}
    assert {status for sender in senders for status in sender.statuses} == {200}
    wrong = syscalls.uncovered(calls, requests)
    syncs = sum(call.name == "fdatasync" and ".wal>" in call.arguments for call in calls)
    budget.done = sum(map(len, requests.values()))
    budget.ends(f"answers with {len(acknowledged_of(senders))} events over {syncs} syncs of the log, {len(wrong)} too early")
    assert wrong == []


@pytest.mark.parametrize(
    ("order", "is_late"),
    [
        (["write", "sync", "answer"], False),
        (["write", "answer", "sync"], True),
        (["write", "answer"], True),
        (["write", "failed sync", "answer"], True),
        (["write", "other file's sync", "answer"], True),
        (["sync begins", "write", "sync ends", "answer"], True),
        (["write", "sync begins", "answer begins", "sync ends"], True),
        (["write", "sync begins", "sync ends", "answer"], False),
    ],
)
def test_a_trace_with_an_early_answer_is_found(order, is_late):
    """The check itself: it must fail on a server that answers too early."""
    segment, name = "7</data/wal/00000000000000000001.wal>", event_id(1, 2)
    lines = {
        "write": f'11 pwrite64({segment}, "\\0{name}\\v", 40, 4096) = 40',
        "sync": f"11 fdatasync({segment}) = 0",
        "failed sync": f"11 fdatasync({segment}) = -1 EIO (Input/output error) (INJECTED)",
        "other file's sync": "11 fdatasync(8</data/wal/00000000000000000002.wal>) = 0",
        "sync begins": f"12 fdatasync({segment} <unfinished ...>",
        "sync ends": "12 <... fdatasync resumed>) = 0",
        "answer": '13 writev(9<TCP:[127.0.0.1:80->127.0.0.1:555]>, [{iov_base="HTTP/1.1 200 OK\\r\\n", iov_len=17}], 1) = 17',
        "answer begins": '13 sendto(9<TCP:[127.0.0.1:80->127.0.0.1:555]>, "HTTP/1.1 200 OK\\r\\n", 17, 0, NULL, 0 <unfinished ...>',
    }
    calls = syscalls.read_calls(lines[step] for step in order)
    assert bool(syscalls.uncovered(calls, {555: [[name]]})) == is_late


def inject(binary: str, folder: Path, call: str, error: str, nth: int) -> tuple[str, int]:
    """One server whose n-th call of the log fails. Returns how it went and how many events were acknowledged."""
    folder.mkdir()
    server, trace = Server(Apportion(binary, folder, config=CONFIG)), folder / "trace"
    # Without the fault no client goes on for ever.
    requests_max = nth + 20
    server.launch(syscalls.failing(trace, folder / "data" / "wal", call, error, str(nth)))
    is_ready = server.becomes_ready()
    senders = run_senders(server, FAULT_CLIENTS, lambda sender: len(sender.statuses) < requests_max) if is_ready else []
    statuses = {status for sender in senders for status in sender.statuses}
    assert statuses <= FAULT_STATUSES, statuses
    pid = server.process.pid
    how = ended(server, not is_ready or 503 in statuses or any(sender.broke_off for sender in senders))
    lines = syscalls.finished(trace, pid)
    calls, injected = syscalls.read_calls(lines), [text for text in lines if "(INJECTED)" in text]
    assert acknowledged_of(senders) <= syscalls.covered_from(calls).keys(), "an answer after a failed sync"
    if how == "went on" and not injected:
        how = "not reached"
    check_after_restart(server, senders)
    return how, len(acknowledged_of(senders))


def ended(server: Server, must_end: bool) -> str:
    """How the server ended: by itself with an error, or because it was told to, as it is unless it must end by itself."""
    if not must_end:
        server.process.terminate()
    try:
        code = server.process.wait(timeout=END_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        pytest.fail("the server goes on after a failed sync")
    if code == 0 and not must_end:
        return "went on"
    assert code == 1, f"ended with {code}: {server.log.read_text()[-2000:]}"
    return "stopped"


@pytest.mark.parametrize(
    ("gate", "call", "error"),
    [("D7", "fdatasync", "EIO"), ("D8", "pwrite64", "ENOSPC")],
    ids=["d7_failing_syncs", "d8_failing_writes"],
)
def test_no_answer_follows_a_failing_call_and_the_acknowledged_is_there_after_it(binary, tmp_path, gate, call, error):
    """D7/D8: the n-th sync of the log says EIO, the n-th write ENOSPC."""
    if not syscalls.can_trace():
        return stands_in()
    budget = Budget(gate, (50, 200), (75, 1800))
    moments = list(range(1, budget.wanted + 1))
    budget.random.shuffle(moments)
    ends, acknowledged = {"stopped": 0, "went on": 0, "not reached": 0}, 0
    while budget.goes_on():
        nth = moments[budget.done]
        how, events = inject(binary, tmp_path / f"{nth}", call, error, nth)
        ends[how] += 1
        acknowledged += events
        budget.done += 1
        shutil.rmtree(tmp_path / f"{nth}")
    budget.ends(f"values of n for {error} from {call}: {ends}, {acknowledged} acknowledged events, each there once")
    assert ends["stopped"] * 4 >= budget.done, "a failing call of the log must end the process"


def mounted(folder: Path, mebibytes: int) -> bool:
    """Mounts a file system of this size, if this user may."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


def fill(folder: Path, leave_bytes: int) -> Path:
    """Takes the space but for so much, as another program's file would."""
    space, filler = os.statvfs(folder), folder / "filler"
    with filler.open("wb") as file:
        left = space.f_bavail * space.f_frsize - leave_bytes
        while left > 0:
            left -= file.write(b"\0" * min(left, 1 << 20))
    return filler


def fill_up(server: Server, senders_from: int) -> tuple[int, set[int]]:
    """Sends until nothing is taken any more; returns how many were acknowledged, and what was answered."""
    acknowledged, statuses, refused = 0, set(), 0
    for number in range(5_000):
        status, _ = server.send_lines(body_of([event_id(senders_from, number)]))
        statuses.add(status)
        acknowledged += status == 200
        refused = refused + 1 if status == 507 else 0
        if refused == 20:
            break
    return acknowledged, statuses


def counted(server: Server) -> int:
    return sum(int(row["quantity"]) for row in server.usage(f"range={DAY}..{DAY}&meter=log_queries"))


def test_d8_a_full_disk_refuses_events_answers_questions_and_goes_on_by_itself(apportion, tmp_path):
    """D8: a real file system without space, filled and emptied again and again while the server runs."""
    folder = tmp_path / "data"
    if not mounted(folder, SPACE_MIB):
        print("\nD8: no small file system can be mounted here; failing writes are injected instead (the test above)")
        assert syscalls.can_trace() or syscalls.has_simulated_disk(REPOSITORY)
        return
    server = Server(apportion(config=CONFIG.replace('flush_every = "1s"', 'flush_every = "600s"')))
    try:
        server.start()
        assert server.send_lines(body_of([event_id(99, 0)]))[0] == 200
        total, budget = 1, Budget("D8-tmpfs", (5, 50), (30, 600))
        while budget.goes_on():
            filler = fill(folder, budget.random.choice([0, FREE_KIB << 10, 200 << 10]))
            acknowledged, statuses = fill_up(server, budget.done)
            total += acknowledged
            assert statuses <= {200, 507} and 507 in statuses, statuses
            assert counted(server) == total, "questions are answered while the disk is full"
            # The catalog has no room for a new tenant either: the event is stored all the same, or refused before the log.
            newcomer = line(event_id(97, budget.done), tenant=f"new-{budget.done}")
            assert server.send([newcomer])[0] in {200, 507}
            filler.unlink()
            deadline = time.monotonic() + RESUMES_SECONDS_MAX
            while (status := server.send_lines(body_of([event_id(98, budget.done)]))[0]) == 507:
                assert time.monotonic() < deadline, "events are still refused although there is space"
            assert status == 200
            status, _ = server.send([newcomer, line(event_id(96, budget.done), tenant=f"later-{budget.done}")])
            assert status == 200, "a new tenant is still refused although there is space"
            total += 3
            assert counted(server) == total
            budget.done += 1
        server.stop()
        server.start()
        assert counted(server) == total
        server.stop()
        assert stored_events(server.store) == (total, total)
        budget.ends(f"times the disk of {SPACE_MIB} MiB was full and had space again; {total} events, each there once")
    finally:
        if server.process.poll() is None:
            server.kill()
        subprocess.run(["umount", str(folder)], check=True)
