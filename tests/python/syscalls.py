"""What strace saw of the event log: which events a sync covered, and when the answer was sent."""

import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SEGMENTS_MAX = 40
EXIT_SECONDS_MAX = 180
# The first words of a traced call. A call that others interrupt has its arguments at its beginning, its result at its end.
CALL = re.compile(r"^(\d+) +(\w+)\((.*)$", re.DOTALL)
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$", re.DOTALL)
RESULT = re.compile(r"= (-?\d+)(?: [A-Z]+ \(.*\))?(?: \(INJECTED\))?$")
SEGMENT = re.compile(r"^\d+<([^>]*\.wal)>")
PEER = re.compile(r"^\d+<TCP:\[[^\]]*->127\.0\.0\.1:(\d+)\]>")
# Wide enough to be unique, and of one width, so that none is the beginning of another.
EVENT_ID = re.compile(r"ev\d{2}-\d{6}")


def event_id(client: int, number: int) -> str:
    return f"ev{client:02}-{number:06}"


def can_trace() -> bool:
    """Whether strace is there and may attach."""
    try:
        return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, timeout=120).returncode == 0
    except FileNotFoundError:
        return False


def all_calls(trace: Path) -> list[str]:
    """The launcher that notes writes, syncs and answers of the whole process."""
    calls = "trace=fdatasync,fsync,pwrite64,pwritev,write,writev,sendto,sendmsg"
    return ["strace", "-D", "-f", "-yy", "-s", "1048576", "-o", str(trace), "-e", calls]


def failing(trace: Path, log: Path, call: str, error: str, when: str) -> list[str]:
    """The launcher under which the n-th such call of a thread on a segment fails; other files are left alone.

    strace counts by thread, so that the n-th is that of the thread that writes groups, and of each that makes a segment.
    """
    segments = [word for number in range(1, SEGMENTS_MAX) for word in ("-P", str(log / f"{number:020}.wal"))]
    calls = ["-e", "trace=fdatasync,pwrite64", "-e", f"inject={call}:error={error}:when={when}"]
    return ["strace", "-D", "-f", "-yy", "-s", "1048576", "-o", str(trace), *segments, *calls]


def finished(trace: Path, pid: int) -> list[str]:
    """The lines of the trace once the process is gone: strace is nobody's child here, so its last line says so."""
    deadline, last = time.monotonic() + EXIT_SECONDS_MAX, re.compile(rf"^{pid} +\+\+\+ (exited|killed)", re.MULTILINE)
    while time.monotonic() < deadline:
        text = trace.read_text(errors="replace")
        if last.search(text):
            return text.splitlines()
        time.sleep(0.02)
    raise AssertionError(f"strace did not end its trace of {pid}: {text[-500:]}")


@dataclass
class Call:
    """One system call: at which line it began and ended, and what it returned (None: it never did)."""

    name: str
    arguments: str
    begun: int
    ended: int | None = None
    result: int | None = None


def read_calls(lines: Iterable[str]) -> list[Call]:
    """All calls in the order they began."""
    calls: list[Call] = []
    open_calls: dict[str, Call] = {}
    for number, line in enumerate(lines):
        if started := CALL.match(line):
            thread, name, rest = started.groups()
            call = Call(name, rest, number)
            calls.append(call)
            if rest.endswith("<unfinished ...>"):
                open_calls[thread] = call
                continue
        elif resumed := RESUMED.match(line):
            thread, name, rest = resumed.groups()
            call = open_calls.pop(thread)
            assert call.name == name, f"line {number}: {line[:200]}"
        else:
            continue
        call.ended = number
        if result := RESULT.search(rest):
            call.result = int(result[1])
    return calls


def covered_from(calls: Iterable[Call]) -> dict[str, int]:
    """By event id, the line at which a sync of its segment had succeeded that began after its write had ended."""
    written: dict[str, dict[str, int]] = defaultdict(dict)
    covered: dict[str, int] = {}
    for call in calls:
        segment = SEGMENT.match(call.arguments)
        if segment is None:
            continue
        if call.name.startswith("pwrite") and call.ended is not None and (call.result or 0) > 0:
            written[segment[1]].update(dict.fromkeys(EVENT_ID.findall(call.arguments), call.ended))
        if call.name in ("fdatasync", "fsync") and call.result == 0:
            for name, ended in written[segment[1]].items():
                if ended < call.begun:
                    covered[name] = min(covered.get(name, call.ended), call.ended)
    return covered


def answers(calls: Iterable[Call]) -> dict[int, list[tuple[int, bool]]]:
    """By the client's port, the line at which each answer began to be written, and whether it was a 2xx."""
    sent: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for call in calls:
        peer = PEER.match(call.arguments)
        if peer and call.name in ("write", "writev", "sendto", "sendmsg") and '"HTTP/1.1 ' in call.arguments:
            sent[int(peer[1])].append((call.begun, '"HTTP/1.1 2' in call.arguments))
    return sent


def uncovered(calls: list[Call], requests: dict[int, list[list[str]]]) -> list[str]:
    """What is wrong: each event that was acknowledged before a sync covered it.

    `requests` says by client's port which ids its requests carried, in order.
    """
    covered, sent, wrong = covered_from(calls), answers(calls), []
    for port, batches in requests.items():
        if len(sent[port]) != len(batches):
            wrong.append(f"port {port}: {len(batches)} requests, {len(sent[port])} answers in the trace")
        for batch, (answered, is_good) in zip(batches, sent[port], strict=False):
            late = [name for name in batch if is_good and covered.get(name, answered) >= answered]
            wrong += [f"port {port}: {name} was answered at line {answered}, covered from {covered.get(name)}" for name in late]
    return wrong


def has_simulated_disk(repository: Path) -> bool:
    """Whether the tests are there that stand in where strace cannot attach."""
    folder = repository / "crates" / "metering" / "src" / "wal" / "tests"
    return all((folder / name).is_file() for name in ("crash.rs", "faults.rs"))
