"""A bill whose sender goes away: nothing of it is imported while it is on its way, and all of it once it has arrived."""

import json
import time
from collections.abc import Callable, Iterator
from decimal import Decimal

import focus
import pytest
from deltalake import DeltaTable
from live_server import TOKEN, Server

WAIT_SECONDS_MAX = 180
ROWS = 20_000
PATH = "/cost-lines/imports?source=cut"


@pytest.fixture
def server(apportion) -> Iterator[Server]:
    server = Server(apportion()).start()
    yield server
    server.stop()


def bill() -> bytes:
    return focus.bill([focus.Charge(f"2026-05-{1 + row % 28:02}", "1.25", sub_account=f"a{row}") for row in range(ROWS)])


def until(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.02)


def spooled(server: Server) -> list[str]:
    return [path.name for path in (server.store.folder / "data" / "spool").iterdir()]


def imports(server: Server) -> list[dict]:
    status, text = server.ask("GET", "/imports")
    assert status == 200, text
    return json.loads(text)["rows"]


def version(server: Server) -> int:
    return DeltaTable(str(server.store.lake / "cost_lines")).version()


def begun(server: Server, header: tuple[str, str]):
    """A request whose head was sent."""
    connection = server.connect()
    connection.putrequest("POST", f"/api/v1{PATH}")
    for name, value in (("Authorization", f"Bearer {TOKEN}"), ("Content-Type", "text/csv"), header):
        connection.putheader(name, value)
    connection.endheaders()
    return connection


def sent_whole(server: Server, body: bytes) -> dict:
    status, text = server.ask("POST", PATH, body, {"Content-Type": "text/csv"})
    assert status == 200, text
    return json.loads(text)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_an_upload_that_breaks_off_leaves_nothing_even_where_the_half_would_be_a_bill(server, is_chunked):
    body, before = bill(), version(server)
    half = body[: body.rindex(b"\n", 0, len(body) // 2) + 1]
    if is_chunked:
        connection = begun(server, ("Transfer-Encoding", "chunked"))
        connection.send(b"%x\r\n%s\r\n" % (len(half), half))
    else:
        connection = begun(server, ("Content-Length", str(len(body))))
        connection.send(half)
    until("the half has come", lambda: bool(spooled(server)))
    connection.close()
    until("the half is gone", lambda: not spooled(server))
    assert (imports(server), version(server)) == ([], before)
    report = sent_whole(server, body)
    assert (report["rows"], report["unchanged"]) == (ROWS, False), report
    assert [Decimal(total["billed"]) for total in report["totals"]] == [ROWS * Decimal("1.25")], report["totals"]


def test_an_upload_that_has_arrived_is_imported_whole_although_nobody_waits_for_the_answer(server):
    body = bill()
    connection = begun(server, ("Content-Length", str(len(body))))
    connection.send(body)
    connection.close()
    until("it is imported", lambda: bool(imports(server)))
    report = sent_whole(server, body)
    assert (report["rows"], report["unchanged"], len(imports(server))) == (ROWS, True, 1), report
    until("nothing waits any more", lambda: not spooled(server))
