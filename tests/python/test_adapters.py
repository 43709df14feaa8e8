"""Adapters against the real server: webhooks signed by another program, exports, OTLP metrics of an agent; counted once."""

import gzip
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from live_server import Server

SECRET = "a-secret-of-both-sides"
CONFIG = f"""
[[ingest.adapter]]
kind = "github"
secret_file = "github-secret"
workflow = ["$.pull_request.labels[*].name", "$.pull_request.head.ref"]
workflow_pattern = "wf:*"
task_class = "migration"

[[ingest.adapter]]
kind = "gitlab"
secret = "{SECRET}"
tenant = "acme"

[[ingest.adapter]]
kind = "litellm"
tenant = "$.metadata.user_api_key_org_id"
workflow = "$.trace_id"

[[ingest.metric]]
name = "gen_ai.client.token.usage"
meter = "llm_tokens"
tenant = "tenant.id"
[ingest.metric.attributes]
model = "gen_ai.request.model"
direction = "gen_ai.token.type"
workflow = "workflow.id"
cache = "gen_ai.token.cache"
"""
# Yesterday at ten, so that the test may run at any time of the day.
TIME = (datetime.now(UTC) - timedelta(days=1)).replace(hour=10, minute=0, second=0, microsecond=0)


@pytest.fixture
def server(apportion):
    store = apportion(config=CONFIG)
    (store.folder / "github-secret").write_text(SECRET + "\n")
    server = Server(store).start()
    yield server
    if server.process.poll() is None:
        server.stop()


def post(server: Server, path: str, body: bytes, **headers: str) -> tuple[int, dict]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    status, text = server.ask("POST", path, body, {"Content-Type": "application/json", **named})
    return status, json.loads(text)


def counts(answer: tuple[int, dict]) -> tuple[int, int, int]:
    status, body = answer
    assert status == 200, body
    return body["accepted"], body["duplicates"], body["skipped"]


def usage(server: Server, meter: str, *keys: str) -> dict[tuple, Decimal]:
    rows = server.usage(f"range={TIME.date()}&meter={meter}&group_by={','.join(keys)}")
    return {tuple(row["key"].get(key) or "" for key in keys): Decimal(row["quantity"]) for row in rows}


def pull_request(number: int, **more) -> bytes:
    request = {
        "id": 1000 + number, "number": number, "html_url": f"https://github.com/acme/shop/pull/{number}", "merged": True,
        "merged_at": TIME.strftime("%Y-%m-%dT%H:%M:%SZ"), "user": {"login": "agent-bot"}, "head": {"ref": "feature"},
        "labels": [{"name": "bug"}, {"name": f"wf:{number}"}], **more,
    }
    repository = {"full_name": "acme/shop", "owner": {"login": "acme"}}
    return json.dumps({"action": "closed", "pull_request": request, "repository": repository}).encode()


def github(server: Server, body: bytes, secret: str = SECRET) -> tuple[int, dict]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return post(server, "/webhooks/github", body, X_GitHub_Event="pull_request", X_Hub_Signature_256=f"sha256={signature}")


def test_merges_count_once_also_after_a_kill(server):
    bodies = [pull_request(number) for number in range(1, 6)]
    for body in bodies:
        assert counts(github(server, body)) == (1, 0, 0)
    status, problem = github(server, bodies[0], "another-secret-of-one")
    assert (status, problem["code"]) == (401, "bad_signature")
    server.kill()
    server.start()
    for body in bodies:
        assert counts(github(server, body)) == (0, 1, 0)
    assert counts(github(server, pull_request(7, merged=False))) == (0, 0, 1)
    merged = usage(server, "prs_merged", "tenant", "repo", "workflow", "task_class")
    assert merged == {("acme", "acme/shop", str(number), "migration"): Decimal(1) for number in range(1, 6)}


def test_gitlab_sends_its_token(server):
    attributes = {
        "id": 7, "iid": 1, "action": "merge", "state": "merged", "source_branch": "wf-1",
        "updated_at": f"{TIME:%Y-%m-%d %H:%M:%S} UTC",
    }
    body = {"object_kind": "merge_request", "project": {"path_with_namespace": "acme/api"}, "object_attributes": attributes}
    body = json.dumps(body).encode()
    assert counts(post(server, "/webhooks/gitlab", body, X_Gitlab_Token=SECRET)) == (1, 0, 0)
    assert counts(post(server, "/webhooks/gitlab", body, X_Gitlab_Token=SECRET)) == (0, 1, 0)
    assert post(server, "/webhooks/gitlab", body, X_Gitlab_Token=SECRET + "x")[0] == 401
    assert usage(server, "prs_merged", "tenant", "repo", "workflow") == {("acme", "acme/api", "wf-1"): Decimal(1)}


def test_an_export_of_litellm_is_exact_in_every_class(server):
    calls = [
        {
            "id": f"call-{number}", "trace_id": f"wf-{number % 3}", "status": "failure" if number % 5 == 0 else "success",
            "model": "large-1", "startTime": TIME.timestamp() + number / 8, "prompt_tokens": 100 * number, "completion_tokens": number,
            "metadata": {
                "user_api_key_org_id": "acme",
                "usage_object": {"cache_read_input_tokens": 60 * number, "cache_creation_input_tokens": 10 * number},
            },
        }
        for number in range(1, 41)
    ]
    packed = gzip.compress(json.dumps(calls).encode())
    # Four classes of each call, and eight calls that failed.
    assert counts(post(server, "/events/litellm", packed, Content_Encoding="gzip")) == (168, 0, 0)
    lines = "\n".join(json.dumps(call) for call in calls[:10]).encode()
    assert counts(post(server, "/events/litellm", lines, Content_Type="application/x-ndjson")) == (0, 42, 0)
    total = sum(range(1, 41))
    assert usage(server, "llm_tokens", "label:direction", "label:cache") == {
        ("input", ""): Decimal(30 * total),
        ("input", "read"): Decimal(60 * total),
        ("input", "write"): Decimal(10 * total),
        ("output", ""): Decimal(total),
    }
    by_workflow = usage(server, "llm_tokens", "workflow")
    assert by_workflow == {(f"wf-{rest}",): Decimal(101 * sum(n for n in range(1, 41) if n % 3 == rest)) for rest in range(3)}


def test_token_metrics_of_an_agent_keep_the_cache_class(server):
    def point(direction: str, cache: str | None, tokens: int) -> dict:
        attributes = {"gen_ai.request.model": "large-1", "gen_ai.token.type": direction, "workflow.id": "wf-1"}
        if cache:
            attributes["gen_ai.token.cache"] = cache
        start = int(TIME.timestamp()) * 10**9
        return {
            "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()],
            "startTimeUnixNano": str(start), "timeUnixNano": str(start + 10**9), "count": "1", "sum": tokens,
            "bucketCounts": ["1"], "explicitBounds": [],
        }

    points = [point("input", None, 300), point("input", "read", 700), point("output", None, 50)]
    histogram = {"aggregationTemporality": 1, "dataPoints": points}
    metric = {"name": "gen_ai.client.token.usage", "unit": "{token}", "histogram": histogram}
    resource = {"attributes": [{"key": "tenant.id", "value": {"stringValue": "acme"}}]}
    export = {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"scope": {"name": "agent"}, "metrics": [metric]}]}]}
    for _ in range(2):
        assert post(server, "/otlp/v1/metrics", json.dumps(export).encode()) == (200, {})
    assert usage(server, "llm_tokens", "workflow", "label:direction", "label:cache") == {
        ("wf-1", "input", ""): Decimal(300),
        ("wf-1", "input", "read"): Decimal(700),
        ("wf-1", "output", ""): Decimal(50),
    }


def test_secrets_do_not_print_and_bad_adapters_are_refused(apportion):
    store = apportion(config=CONFIG)
    (store.folder / "github-secret").write_text(SECRET + "\n")
    shown = store.run("config", "show").stdout
    assert "ingest.adapter" in shown and SECRET not in shown
    for text, says in [
        ('kind = "github"', "a webhook needs `secret` or `secret_file`"),
        ('kind = "github"\nsecret = "short"', "fewer than 16 characters"),
        ('kind = "gitea"\nsecret = "0123456789abcdef"', "unknown value `gitea`"),
        ('kind = "litellm"\nworkflow = "$["', "is not a JSONPath"),
        ('kind = "litellm"\nworkflow_pattern = "wf"', "must have one `*`"),
    ]:
        (store.folder / "apportion.toml").write_text(f"[[ingest.adapter]]\n{text}\n")
        refused = store.run("check", exit_code=5)
        assert says in refused.stderr, refused.stderr
