"""Google's bucket storage on this machine, as much of its XML API as a reader needs. The emulators in package registries
speak only the JSON API; the client of the binary speaks this one. It lets in who signs with the key of its account."""

import base64
import hashlib
import http.server
import json
import threading
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

BUCKET = "example-billing"
ACCOUNT = "apportion-billing@example.iam.gserviceaccount.com"
KEY_ID = "canary-of-a-key-id-51b7"
PAGE_OBJECTS = 2


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


class Google:
    """One bucket. Listings have two objects a page, so that whoever forgets the pages misses some."""

    def __init__(self):
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.asked: list[str] = []
        google = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                google.answer(self)

            do_PUT = do_POST = do_DELETE = do_PATCH = do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def account(self, key: rsa.RSAPrivateKey | None = None) -> str:
        """The JSON of the account's key, as the console hands it out; a stranger's looks the same."""
        private = (key or self.key).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        facts = {
            "type": "service_account", "project_id": "example", "private_key_id": KEY_ID, "private_key": private.decode(),
            "client_email": ACCOUNT, "client_id": "1", "token_uri": "https://oauth2.googleapis.com/token",
            # What a key says of addresses is not followed: nobody has looked at them.
            "gcs_base_url": "http://169.254.169.254",
        }  # fmt: skip
        return json.dumps(facts)

    def put(self, key: str, content: bytes) -> None:
        self.objects[key] = (content, datetime.now(UTC))

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        self.asked.append(f"{request.command} {request.path}")
        url = urlsplit(request.path)
        path, query = unquote(url.path), {name: values[0] for name, values in parse_qs(url.query).items()}
        if request.command != "GET" or not self.lets_in(request.headers["Authorization"] or ""):
            send(request, 403, b"<Error><Code>AccessDenied</Code></Error>")
        elif path == f"/{BUCKET}" and query.get("list-type") == "2":
            send(request, 200, self.listing(query.get("prefix", ""), query.get("continuation-token", "")))
        elif path.removeprefix(f"/{BUCKET}/") in self.objects:
            content, written = self.objects[path.removeprefix(f"/{BUCKET}/")]
            if request.headers["If-Match"] not in (None, tag(content)):
                send(request, 412, b"")
            else:
                send(request, 200, content, {"ETag": tag(content), "Last-Modified": format_datetime(written, usegmt=True)})
        else:
            send(request, 404, b"<Error><Code>NoSuchKey</Code></Error>")

    def lets_in(self, authorization: str) -> bool:
        """Whether the token is a JWT of the account, signed with its key, for reading and for now."""
        try:
            head, claims, signature = authorization.removeprefix("Bearer ").split(".")
            signed = f"{head}.{claims}".encode()
            self.key.public_key().verify(decoded(signature), signed, padding.PKCS1v15(), hashes.SHA256())
            facts = json.loads(decoded(claims))
            is_ours = json.loads(decoded(head))["kid"] == KEY_ID and facts["iss"] == ACCOUNT
            return is_ours and facts["iat"] <= time.time() + 60 and time.time() < facts["exp"]
        except (ValueError, KeyError, InvalidSignature):
            return False

    def listing(self, prefix: str, after: str) -> bytes:
        keys = [key for key in sorted(self.objects) if key.startswith(prefix) and key > after]
        shown, rest = keys[:PAGE_OBJECTS], keys[PAGE_OBJECTS:]
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Generation>1</Generation><MetaGeneration>1</MetaGeneration>"
            f"<LastModified>{written:%Y-%m-%dT%H:%M:%S.%fZ}</LastModified><ETag>{escape(tag(content))}</ETag>"
            f"<Size>{len(content)}</Size></Contents>"
            for key in shown
            for content, written in [self.objects[key]]
        )
        more = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if rest else ""
        truncated = f"<IsTruncated>{str(bool(rest)).lower()}</IsTruncated>"
        return f"<ListBucketResult><Name>{BUCKET}</Name>{truncated}{contents}{more}</ListBucketResult>".encode()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def tag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def send(request: http.server.BaseHTTPRequestHandler, status: int, body: bytes, headers: dict | None = None) -> None:
    request.send_response(status)
    for name, value in ({"Content-Type": "application/xml", "Content-Length": str(len(body))} | (headers or {})).items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)
