"""The public CloudEvents SDK sends its events to us unmodified."""

import gzip
import json
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from live_server import DAY, Server

CONFIG = "[ingest]\npast_days = 36500\n"


@pytest.fixture
def server(apportion):
    server = Server(apportion(config=CONFIG)).start()
    yield server
    server.stop()


def made(number: int, value: int | str, **more) -> CloudEvent:
    attributes = {
        "id": f"sdk-{number}", "type": "log_queries", "source": "https://example.com/billing", "specversion": "1.0",
        "time": datetime(2026, 5, 3, 10, tzinfo=UTC), "datacontenttype": "application/json", "tenant": "acme", **more,
    }  # fmt: skip
    return CloudEvent(attributes=attributes, data={"value": value})


def post(server: Server, message: HTTPMessage) -> tuple[int, dict]:
    status, text = server.ask("POST", "/events", bytes(message.body), dict(message.headers))
    return status, json.loads(text)


def quantities(server: Server) -> dict[str, str]:
    return {row["key"]["tenant"]: row["quantity"] for row in server.usage(f"range={DAY}..{DAY}&meter=log_queries")}


def test_a_structured_event_of_the_sdk_counts_once(server):
    message = to_structured_event(made(1, 5))
    assert message.headers["content-type"].startswith("application/cloudevents+json")
    assert post(server, message) == (200, {"accepted": 1, "duplicates": 0, "rejected": []})
    assert post(server, message) == (200, {"accepted": 0, "duplicates": 1, "rejected": []})
    status, problem = post(server, to_structured_event(made(1, 6)))
    assert (status, problem["code"]) == (409, "id_conflict")
    assert quantities(server) == {"acme": "5"}


def test_the_tenant_of_an_sdk_event_may_be_its_subject(server):
    assert post(server, to_structured_event(made(1, "0.25", tenant="", subject="globex")))[0] == 200
    assert quantities(server) == {"globex": "0.25"}


def test_a_batch_of_sdk_events_is_taken(server):
    """The SDK writes events one by one; a batch is the list of what it wrote (CloudEvents HTTP binding, section 3.3)."""
    written = [JSONFormat().write(made(number, number)) for number in range(1, 101)]
    assert all(isinstance(text, bytes) for text in written)
    headers = {"content-type": "application/cloudevents-batch+json; charset=UTF-8"}
    status, body = post(server, HTTPMessage(headers, b"[" + b",".join(written) + b"]"))
    assert (status, body) == (200, {"accepted": 100, "duplicates": 0, "rejected": []})
    assert quantities(server) == {"acme": "5050"}


def test_a_binary_event_of_the_sdk_is_the_same_as_a_structured_one(server):
    """Attributes are headers, percent-encoded; the data are the body (CloudEvents HTTP binding, section 3.1)."""
    event = made(1, 5, tenant="Zürich \"west\" 100%", user="jörg", subject="ignored", workflow="nightly")
    message = to_binary_event(event)
    assert message.headers["ce-tenant"] == "Z%C3%BCrich%20%22west%22%20100%25"
    assert post(server, message) == (200, {"accepted": 1, "duplicates": 0, "rejected": []})
    assert post(server, to_structured_event(event)) == (200, {"accepted": 0, "duplicates": 1, "rejected": []})
    assert quantities(server) == {'Zürich "west" 100%': "5"}
    rows = server.usage(f"range={DAY}..{DAY}&meter=log_queries&group_by=user,workflow")
    assert [row["key"] for row in rows] == [{"user": "jörg", "workflow": "nightly"}]
    status, problem = post(server, to_binary_event(made(1, 6, tenant='Zürich "west" 100%')))
    assert (status, problem["code"]) == (409, "id_conflict")


def test_a_binary_event_may_be_compressed_and_its_subject_may_be_its_tenant(server):
    message = to_binary_event(made(1, "0.25", tenant="", subject="globex"))
    headers = {name: value for name, value in message.headers.items() if name != "ce-tenant"}
    zipped = HTTPMessage(headers | {"content-encoding": "gzip"}, gzip.compress(bytes(message.body)))
    assert post(server, zipped)[0] == 200
    assert quantities(server) == {"globex": "0.25"}


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({}, b'{"value": 1}, "tenant": "globex"', 400, "invalid_json"),
        ({}, b'{"value": "x"}', 400, "invalid_event"),
        ({"ce-user": "%ff"}, b'{"value": 1}', 400, "invalid_event"),
        ({"ce-task_class": "x"}, b'{"value": 1}', 400, "invalid_event"),
        ({"ce-specversion": "0.3"}, b'{"value": 1}', 400, "invalid_event"),
        ({"content-encoding": "gzip"}, gzip.compress(b" " * (64 << 20)), 400, "invalid_event"),
        ({"content-type": "image/png"}, b"\x89PNG", 415, "unsupported_media_type"),
    ],
)
def test_a_binary_event_that_is_none_is_refused_and_nothing_is_stored(server, headers, body, status, code):
    message = to_binary_event(made(1, 5))
    answered, problem = post(server, HTTPMessage(dict(message.headers) | headers, body))
    assert (answered, problem["code"]) == (status, code), problem
    assert quantities(server) == {}
