"""Bytes from outside at POST /events (B1–B3): never a 5xx, the right refusal, bounded memory, nothing stored that was refused."""

import gzip
import http.client
import json
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow
import pytest
from conftest import REPOSITORY, Apportion
from live_server import ANSWER_SECONDS_MAX, TOKEN, Budget, Server, stored_events

CORPUS = sorted(path for path in (REPOSITORY / "tests" / "fixtures" / "events").iterdir() if path.suffix != ".md")
MIB = 1 << 20
BODY_BYTES, DECODED_BYTES, EVENTS_MAX, EVENT_BYTES_MAX = 2 * MIB, 8 * MIB, 10_000, 1 * MIB
CONFIG = f"""
[ingest]
events_per_second_per_tenant = 1000000000
id_memory = "16MiB"
flush_every = "600s"
[limits]
events_body = "{BODY_BYTES // MIB}MiB"
events_decoded = "{DECODED_BYTES // MIB}MiB"
upload_idle = "3s"
"""
FUZZ_CONFIG = CONFIG.replace("[ingest]", "[ingest]\npast_days = 36500")
CLIENTS = 4
# How much memory bodies may take over the base, in multiples of `limits.events_memory`, which bounds what is in work: the
# guarantee of B3.
MEMORY_FACTOR = 2
NDJSON, JSON, ONE, BATCH = "application/x-ndjson", "application/json", "application/cloudevents+json", "application/cloudevents-batch+json"
ITEM_CODES = {
    "invalid_event", "tenant_missing", "time_in_future", "time_too_old", "negative_quantity", "out_of_bound", "id_conflict", "not_available",
}  # fmt: skip
BUSY = (503, "events_busy")
REFUSALS = {(400, code) for code in ITEM_CODES - {"id_conflict"} | {"invalid_json", "invalid_body"}} | {
    (409, "id_conflict"), (413, "payload_too_large"), (415, "unsupported_media_type"), (422, "unreadable_file"), (422, "events_refused"),
}  # fmt: skip


@pytest.fixture
def server(apportion):
    server = Server(apportion(config=CONFIG)).start()
    yield server
    if server.process.poll() is None:
        server.stop()


def event(name: str, **more) -> dict:
    """A good event of this moment."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "specversion": "1.0", "id": name, "source": "odd", "type": "log_queries", "tenant": "acme", "time": now, "data": {"value": 1},
    } | more  # fmt: skip


def text(name: str, **more) -> bytes:
    return json.dumps(event(name, **more)).encode()


def with_value(value: str) -> bytes:
    return text("value", data={"value": "@"}).replace(b'"@"', value.encode())


def padded(name: str, length: int) -> bytes:
    """A good event of exactly so many bytes."""
    short = text(name, data={"value": 1, "pad": ""})
    return text(name, data={"value": 1, "pad": "x" * (length - len(short))})


def zstd(body: bytes) -> bytes:
    return pyarrow.compress(body, codec="zstd", asbytes=True)


def deep(levels: int) -> bytes:
    """An event so many levels deep: the event itself and its data are the first two."""
    return text("deep", data={"value": 1, "deep": "@"}).replace(b'"@"', b"[" * (levels - 2) + b"]" * (levels - 2))


SHIFTED = (datetime.now(UTC) + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
# Name, body, content type, status, code (of the problem, or of the only refused item), content encoding.
ODD = [
    ("an event of 64 KiB", padded("64k", 64 << 10), JSON, 200, None, None),
    ("an event of 1 MiB", padded("1m", EVENT_BYTES_MAX), JSON, 200, None, None),
    ("an event of 1 MiB in a list", b"[" + padded("1m-list", EVENT_BYTES_MAX) + b"]", BATCH, 200, None, None),
    ("an event of more than 1 MiB", padded("more", EVENT_BYTES_MAX + 1), JSON, 400, "invalid_event", None),
    ("a line of more than 1 MiB", padded("more", EVENT_BYTES_MAX + 1), NDJSON, 207, "invalid_event", None),
    ("a body of more than its limit", b" " * (BODY_BYTES + 1), NDJSON, 413, "payload_too_large", None),
    ("1970", text("1970", time="1970-01-01T00:00:00Z"), JSON, 400, "time_too_old", None),
    ("2100", text("2100", time="2100-01-01T00:00:00Z"), JSON, 400, "time_in_future", None),
    ("in three hours", text("3h", time=SHIFTED), JSON, 400, "time_in_future", None),
    ("1970 in a list", b"[" + text("1970-list", time="1970-01-01T00:00:00Z") + b"]", JSON, 207, "time_too_old", None),
    ("10^300", with_value("1e300"), JSON, 400, "out_of_bound", None),
    ("10^300 as text", with_value('"1e300"'), JSON, 400, "out_of_bound", None),
    ("500 nines", with_value("9" * 500), JSON, 400, "out_of_bound", None),
    ("10,000 nines are no number", with_value("9" * 10_000), JSON, 400, "invalid_event", None),
    ("an exponent of 20 digits", with_value("1e99999999999999999999"), JSON, 400, "out_of_bound", None),
    ("NaN", with_value("NaN"), JSON, 400, "invalid_json", None),
    ("NaN on a line", with_value("NaN"), NDJSON, 207, "invalid_event", None),
    ("NaN as text", with_value('"NaN"'), JSON, 400, "invalid_event", None),
    ("Infinity", with_value("-Infinity"), JSON, 400, "invalid_json", None),
    ("a negative counter", with_value("-1e-9"), JSON, 400, "negative_quantity", None),
    ("a key twice", text("twice").replace(b'"tenant"', b'"tenant": "globex", "tenant"'), JSON, 400, "invalid_event", None),
    ("a key twice in data", with_value('1, "value": 2'), JSON, 400, "invalid_event", None),
    ("a key twice by an escape", with_value('1, "v\\u0061lue": 2'), JSON, 400, "invalid_event", None),
    ("NUL in the tenant", text("nul", tenant="a\0b"), JSON, 400, "invalid_event", None),
    ("NUL in the id", text("nul\0"), JSON, 400, "invalid_event", None),
    ("NUL between tokens", b"\0" + text("nul"), JSON, 400, "invalid_json", None),
    ("no UTF-8", text("utf8").replace(b"acme", b"ac\xff\xfeme"), JSON, 400, None, None),
    ("no UTF-8 on a line", text("utf8").replace(b"acme", b"ac\xffme"), NDJSON, 207, "invalid_event", None),
    ("half a surrogate pair", text("pair").replace(b"acme", b"\\ud800"), NDJSON, 207, "invalid_event", None),
    ("64 levels", deep(64), JSON, 200, None, None),
    ("65 levels", deep(65), JSON, 400, "invalid_event", None),
    ("a million brackets", b"[" * MIB, JSON, 400, "invalid_json", None),
    ("a million open objects", b'{"a":' * (MIB // 5), JSON, 400, None, None),
    ("10,001 events", b"[" + b",".join([text("same")] * (EVENTS_MAX + 1)) + b"]", JSON, 413, "payload_too_large", "gzip"),
    ("100,000 values", text("values", data={"value": 1, "list": [1] * 100_000}), JSON, 400, "invalid_event", None),
    ("300 attributes", text("many", **{f"a{number}": "" for number in range(300)}), JSON, 400, "invalid_event", None),
    ("a bomb of zeros", b"\0" * (64 * MIB), NDJSON, 413, "payload_too_large", "gzip"),
    ("a bomb of blank lines", b"\n" * (64 * MIB), NDJSON, 413, "payload_too_large", "gzip"),
    ("a bomb of brackets", b"[" * (64 * MIB), JSON, 413, "payload_too_large", "zstd"),
    ("a bomb of zeros, zstd", b"\0" * (256 * MIB), NDJSON, 413, "payload_too_large", "zstd"),
    ("gzip without its end", gzip.compress(text("cut"))[:-9], JSON, 422, "unreadable_file", "as it is: gzip"),
    ("gzip that says zstd", gzip.compress(text("other")), JSON, 200, None, "as it is: zstd"),
    ("gzip that says nothing", gzip.compress(text("mute")), JSON, 400, "invalid_body", None),
    ("plain that says gzip", text("liar"), JSON, 400, "invalid_body", "as it is: gzip"),
    ("an unknown encoding", text("br"), JSON, 415, "unsupported_media_type", "as it is: br"),
    ("nothing", b"", JSON, 400, None, None),
    ("nothing as lines", b"", NDJSON, 200, None, None),
    ("an empty list", b"[]", BATCH, 200, None, None),
    ("a number", b"17", JSON, 400, None, None),
]  # fmt: skip


def encoded(body: bytes, encoding: str | None) -> tuple[bytes, dict]:
    if encoding is None:
        return body, {}
    if encoding.startswith("as it is: "):
        return body, {"Content-Encoding": encoding.removeprefix("as it is: ")}
    return gzip.compress(body, 1) if encoding == "gzip" else zstd(body), {"Content-Encoding": encoding}


@pytest.fixture(scope="module")
def odd_server(binary, tmp_path_factory):
    server = Server(Apportion(binary, tmp_path_factory.mktemp("odd"), config=CONFIG)).start()
    yield server
    server.stop()


@pytest.mark.parametrize(("name", "body", "content_type", "status", "code", "encoding"), ODD, ids=[case[0] for case in ODD])
def test_an_odd_input_gets_its_answer(odd_server, name, body, content_type, status, code, encoding):
    sent, headers = encoded(body, encoding)
    answered, said = odd_server.ask("POST", "/events", sent, {"Content-Type": content_type, **headers})
    assert answered == status, said
    answer = json.loads(said)
    if status == 207:
        assert [item["code"] for item in answer["rejected"]] == [code]
    elif status != 200:
        assert answer["code"] == code or code is None
        assert answer["code"] in ITEM_CODES | {code for _, code in REFUSALS}


def raw(server: Server, request: bytes, then: str) -> bytes:
    """Sends bytes as they are; `then` the connection is closed for writing, or kept until the server answers."""
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS_MAX) as connection:
        connection.sendall(request)
        if then == "close":
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
                if b"\r\n\r\n" in answer:
                    break
        except ConnectionResetError:
            pass
        return answer


def head(*lines: str, content_type: str = NDJSON) -> bytes:
    fixed = ["POST /api/v1/events HTTP/1.1", "Host: test", f"Authorization: Bearer {TOKEN}", f"Content-Type: {content_type}"]
    return "\r\n".join([*fixed, *lines, "", ""]).encode()


def status_of(answer: bytes) -> int | None:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def test_a_body_that_breaks_off_stores_nothing_not_even_its_whole_lines(server):
    lines = [text(f"cut{number}") + b"\n" for number in range(3)]
    body = b"".join(lines)
    chunked = head("Transfer-Encoding: chunked")
    broken = [
        chunked + chunk(lines[0]) + chunk(lines[1]),
        chunked + chunk(lines[0]) + chunk(lines[1])[:-20],
        chunked + chunk(lines[0]) + b"zz\r\n" + lines[1],
        chunked + chunk(lines[0]) + b"ffffffffffffffffff\r\n" + lines[1],
        head(f"Content-Length: {len(body) + 1}") + body,
        head(f"Content-Length: {len(body) + MIB}") + body,
    ]
    for request in broken:
        status = status_of(raw(server, request, "close"))
        assert status is None or 400 <= status < 500, (status, request[-60:])
    for length in ("-1", "x", "99999999999999999999", "1, 2"):
        status = status_of(raw(server, head(f"Content-Length: {length}") + body, "close"))
        assert status is None or 400 <= status < 500, (status, length)
    status, answer = server.send_lines(body)
    assert (status, answer["accepted"]) == (200, 3), "a broken request left something behind"


def test_a_body_longer_than_it_says_is_cut_and_the_rest_is_no_event(server):
    body = text("long")
    short = raw(server, head(f"Content-Length: {len(body) - 10}", content_type=JSON) + body, "close")
    assert status_of(short) == 400 and b"invalid_json" in short
    assert server.send_lines(body)[1]["accepted"] == 1


def test_a_slow_client_waits_alone_and_one_that_stands_still_is_told(server):
    host, port = server.address.split(":")
    body = text("slow") + b"\n"
    with ThreadPoolExecutor(8) as pool:
        # Each stands still for longer than limits.upload_idle.
        still = [pool.submit(raw, server, head(f"Content-Length: {len(body)}") + body[:10], "wait") for _ in range(8)]
        for number in range(50):
            assert server.send_lines(text(f"other{number}"))[0] == 200
        assert {status_of(answer.result()) for answer in still} == {408}
    with socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS_MAX) as connection:
        connection.sendall(head(f"Content-Length: {len(body)}"))
        for at in range(0, len(body), 20):
            connection.sendall(body[at : at + 20])
            time.sleep(0.05)  # slow, and never still
        assert status_of(connection.recv(65536)) == 200


def resident(server: Server, field: str) -> int:
    """Bytes of memory the process has now (VmRSS) or had at most (VmHWM)."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) << 10


def refused_bodies() -> list[tuple[bytes, str, str | None]]:
    """Much in little: bombs, and what is over one limit or another."""
    return [
        (b"\0" * (256 * MIB), NDJSON, "zstd"),
        (b"\n" * (64 * MIB), NDJSON, "gzip"),
        (b"[" * (256 * MIB), JSON, "zstd"),
        (b"{}\n" * EVENTS_MAX, NDJSON, None),
        (b"[" + b"{}," * 100_000 + b"{}]", JSON, None),
        (b"\n".join([text("values", data=[1] * 250_000)] * 7), NDJSON, "zstd"),
        (b"x" * BODY_BYTES, NDJSON, None),
        (b'{"a":' * (BODY_BYTES // 5), NDJSON, None),
    ]


def large_bodies() -> list[tuple[bytes, str, str | None]]:
    """What takes the most memory although it is within all limits."""
    labels = {f"label{number}": "v" for number in range(30)}
    many = b"\n".join(text(f"many{number}", data={"value": 1, "labels": labels}) for number in range(EVENTS_MAX))
    return [(many[: DECODED_BYTES - 1], NDJSON, "zstd"), (padded("1m", EVENT_BYTES_MAX), JSON, None)]


def peak_over_base(
    server: Server, budget: Budget, clients: int, bodies: list[tuple[bytes, str, str | None]]
) -> tuple[int, dict[tuple[int, str], int]]:
    """Bytes of memory at most while so many clients send these bodies at once, over what it was before; and the answers."""
    requests = [(*encoded(body, encoding), kind) for body, kind, encoding in bodies]
    answers: dict[tuple[int, str], int] = {}
    lock = threading.Lock()

    def send(number: int) -> None:
        body, headers, kind = requests[number % len(requests)]
        status, said = server.ask("POST", "/events", body, {"Content-Type": kind, **headers})
        key = (status, json.loads(said).get("code", ""))
        with lock:
            answers[key] = answers.get(key, 0) + 1

    with ThreadPoolExecutor(clients) as pool:
        # Threads and their heaps belong to the base: ordinary events of as many clients need them too.
        list(pool.map(lambda number: server.send_lines(text(f"warm{number}")), range(50 * clients)))
        base = resident(server, "VmRSS")
        Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the peak begins anew
        while budget.goes_on():
            list(pool.map(send, range(budget.done, budget.done + clients)))
            budget.done += clients
    assert all(status < 500 or (status, code) == BUSY for status, code in answers), answers
    return resident(server, "VmHWM") - base, answers


@contextmanager
def with_memory(apportion, mebibytes: int) -> Iterator[Server]:
    """A server whose events in work may take so much."""
    config = CONFIG.replace("[limits]", f'[limits]\nevents_memory = "{mebibytes}MiB"')
    server = Server(apportion(config=config)).start()
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


@pytest.mark.alone
@pytest.mark.parametrize("clients", [8, 32])
def test_refused_bodies_take_twice_the_memory_of_events_at_most(apportion, clients):
    """B3: bombs and other bodies over a limit, by more clients than there is memory for."""
    memory = 64
    with with_memory(apportion, memory) as server:
        budget = Budget("B3", (200, 10_000), (60, 900))
        peak, answers = peak_over_base(server, budget, clients, refused_bodies())
    sizes = f"{peak >> 20} MiB at most over the base, {MEMORY_FACTOR * memory} allowed"
    budget.ends(f"refused bodies by {clients} clients; {sizes}; answers {answers}")
    assert peak <= MEMORY_FACTOR * memory * MIB
    assert any(code == "payload_too_large" for _, code in answers), "nothing was over a limit"


@pytest.mark.alone
@pytest.mark.parametrize("clients", [4, 16])
def test_bodies_within_all_limits_take_twice_the_memory_of_events_at_most(apportion, clients):
    """B3: events that are taken are kept as structures until all of their batch are: many times their text."""
    memory = 192
    with with_memory(apportion, memory) as server:
        budget = Budget("B3-taken", (40, 1_000), (60, 600))
        bodies = large_bodies()
        peak, answers = peak_over_base(server, budget, clients, bodies)
        # Whoever found no room is taken later, as it is.
        body, headers = encoded(*bodies[0][::2])
        assert server.ask("POST", "/events", body, {"Content-Type": NDJSON, **headers})[0] == 200
    sizes = f"{peak >> 20} MiB at most over the base, {MEMORY_FACTOR * memory} allowed"
    budget.ends(f"large bodies by {clients} clients; {sizes}; answers {answers}")
    assert peak <= MEMORY_FACTOR * memory * MIB
    assert answers.get((200, "")), "nothing was taken"


TOKENS = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"null", b"true", b"1e308", b"-1",
          b"-0", b"0.1", b"NaN", b"9" * 40, b"\\ud800", b'"id"', b'"tenant"', b'"specversion"', b'"1.0"', b'"data"', b'"time"',
          b'"2100-01-01T00:00:00Z"', b'"data_base64"', b"apportion.retract", "💶".encode(), b"[" * 80, b" " * 70_000]  # fmt: skip


def mutated(body: bytes, chance: random.Random) -> bytes:
    """The body after one random change."""
    at, length = chance.randrange(len(body) + 1), chance.choice([1, 1, 2, 4, 16, 64])
    match chance.randrange(6):
        case 0:
            return body[:at] + bytes(byte ^ 1 << chance.randrange(8) for byte in body[at : at + length]) + body[at + length :]
        case 1:
            return body[:at]
        case 2:
            return body[:at] + body[at + length :]
        case 3:
            return body[:at] + chance.choice(TOKENS) + body[at:]
        case 4:
            other = chance.randrange(len(body) + 1)
            return body[:at] + body[other : other + 4 * length] + body[at:]
        case _:
            return body[:at] + chance.choice(TOKENS) + body[at + length :]


def case_of(chance: random.Random) -> tuple[bytes, dict, str]:
    """One request: a body of the corpus, changed, perhaps compressed and changed again, under a type that may not fit."""
    path = chance.choice(CORPUS)
    body = path.read_bytes()
    # Ids of the corpus come again and again; a new one lets a changed event be accepted.
    body = body.replace(b"corpus-", b"%x-" % chance.randrange(2**32)) if chance.random() < 0.5 else body
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3, 8])):
        body = mutated(body, chance)
    encoding = chance.choice([None, None, None, "gzip", "zstd"])
    body, headers = encoded(body, encoding)
    if encoding and chance.random() < 0.4:
        body = mutated(body, chance)
    if chance.random() < 0.05:
        headers["Content-Encoding"] = chance.choice(["gzip", "zstd", "identity", "br", "gzip, gzip", ""])
    fitting = {".ndjson": [NDJSON], ".json": [JSON, JSON, BATCH if body[:1] == b"[" else ONE]}[path.suffix]
    kind = chance.choice(fitting if chance.random() < 0.85 else [NDJSON, JSON, ONE, BATCH, "text/plain", ""])
    query = chance.choice(["", "", "", "?atomic=true", "?atomic=false"])
    return body, {"Content-Type": kind, **headers}, query


class Fuzzer(threading.Thread):
    """Sends changed bodies over one connection and counts what the server says it stored."""

    def __init__(self, server: Server, number: int, seed: int, goes_on):
        super().__init__(daemon=True)
        self.server, self.number, self.goes_on = server, number, goes_on
        self.random = random.Random(seed + number)
        self.cases = self.accepted = self.sentinels = 0
        self.answers: dict[tuple[int, str], int] = {}
        self.problems: list[str] = []

    def run(self) -> None:
        connection = self.server.connect()
        while self.goes_on():
            body, headers, query = case_of(self.random)
            self.check(self.ask(connection, body, headers, query), body, headers)
            self.cases += 1
            if self.cases % 50 == 0:
                self.sentinels += 1
                status, said = self.ask(connection, self.sentinel(self.sentinels), {"Content-Type": JSON}, "")
                if status != 200 or json.loads(said)["accepted"] != 1:
                    self.problems.append(f"a good event among bad ones: {status} {said[:300]}")
                self.accepted += 1
        connection.close()

    def sentinel(self, number: int) -> bytes:
        return text(f"sentinel-{self.number}-{number}", time="2026-05-03T10:00:00Z")

    def ask(self, connection: http.client.HTTPConnection, body: bytes, headers: dict, query: str) -> tuple[int | None, str]:
        try:
            connection.request("POST", f"/api/v1/events{query}", body, {"Authorization": f"Bearer {TOKEN}", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return None, repr(error)

    def check(self, answer: tuple[int | None, str], body: bytes, headers: dict) -> None:
        status, said = answer
        found = json.loads(said) if status else {}
        key = (status or 0, found.get("code", ""))
        self.answers[key] = self.answers.get(key, 0) + 1
        is_fine = key in REFUSALS
        if status in (200, 207):
            self.accepted += found["accepted"]
            codes = {item["code"] for item in found["rejected"]}
            is_fine = codes <= ITEM_CODES and bool(codes) == (status == 207)
        if not is_fine:
            self.problems.append(f"{status} {said[:300]} for {headers} {body[:2000]!r}")


def test_changed_bodies_are_refused_or_stored_as_answered(apportion):
    """B1/B2: bodies of the corpus, changed at random."""
    server = Server(apportion(config=FUZZ_CONFIG)).start()
    budget = Budget("B1", (20_000, 5_000_000), (45, 4 * 3600))
    fuzzers: list[Fuzzer] = []

    def goes_on() -> bool:
        budget.done = sum(fuzzer.cases for fuzzer in fuzzers)
        return budget.goes_on() and not any(fuzzer.problems for fuzzer in fuzzers)

    fuzzers += [Fuzzer(server, number, budget.seed, goes_on) for number in range(CLIENTS)]
    for fuzzer in fuzzers:
        fuzzer.start()
    for fuzzer in fuzzers:
        fuzzer.join()
    assert [problem for fuzzer in fuzzers for problem in fuzzer.problems] == [], f"seed {budget.seed}"
    again = b"\n".join(fuzzer.sentinel(number + 1) for fuzzer in fuzzers for number in range(fuzzer.sentinels))
    if again:
        status, body = server.send_lines(again)
        assert (status, body["accepted"], body["rejected"]) == (200, 0, []), "a good event among bad ones was lost"
    server.stop()
    accepted = sum(fuzzer.accepted for fuzzer in fuzzers)
    assert stored_events(server.store) == (accepted, accepted), "the table holds what was answered as accepted, and no more"
    kinds: dict[str, int] = {}
    for fuzzer in fuzzers:
        for (status, code), times in fuzzer.answers.items():
            name = f"{status} {code}".strip()
            kinds[name] = kinds.get(name, 0) + times
    budget.done = sum(fuzzer.cases for fuzzer in fuzzers)
    budget.ends(f"changed bodies of {len(CORPUS)} files; {accepted} events stored; answers {dict(sorted(kinds.items()))}")
