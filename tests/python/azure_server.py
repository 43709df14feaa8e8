"""Azure's blob storage on this machine: azurite, Microsoft's emulator, which checks signatures and what a SAS token allows.
scripts/setup installs it; azurite/package-lock.json pins it."""

import base64
import hashlib
import hmac
import os
import secrets
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import requests
from alerting import until
from ports import free_address

ACCOUNT = "acmecost"
CONTAINER = "exports"
VERSION = "2021-08-06"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "apportion"
PROGRAM = CACHE / "tools" / "azurite" / "node_modules" / ".bin" / "azurite-blob"


class Azure:
    """A storage account with one container, and an owner who may do everything."""

    def __init__(self, folder: Path):
        program = shutil.which("azurite-blob") or (str(PROGRAM) if PROGRAM.exists() else None)
        assert program, "azurite is missing; scripts/setup test installs it"
        self.key = secrets.token_bytes(64)
        host, port = free_address().split(":")
        self.url = f"http://{host}:{port}/{ACCOUNT}"
        command = [
            program, "--blobHost", host, "--blobPort", port, "--inMemoryPersistence", "--disableTelemetry", "--silent",
        ]  # fmt: skip
        environment = os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{base64.b64encode(self.key).decode()}"}
        self.log = folder / "azurite.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            until(self.answers, "azurite answers")
            self.owner = self.sas("rwdlac")
            made = self.ask("PUT", "", {"restype": "container"})
            assert made.status_code == 201, made.text
        except BaseException:
            self.stop()
            raise

    def answers(self) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"azurite ended: {self.log.read_text()[-2000:]}")
        try:
            return requests.get(self.url, timeout=5).status_code > 0
        except (requests.ConnectionError, requests.Timeout):
            return False

    def sas(self, permissions: str, key: bytes | None = None) -> str:
        """A token of the account for containers and blobs, as the documentation puts it together."""
        expiry = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        parts = [ACCOUNT, permissions, "b", "co", "", expiry, "", "https,http", VERSION, "", ""]
        signature = hmac.new(key or self.key, "\n".join(parts).encode(), hashlib.sha256).digest()
        pairs = {"sv": VERSION, "ss": "b", "srt": "co", "sp": permissions, "se": expiry, "spr": "https,http"}
        return urlencode(pairs | {"sig": base64.b64encode(signature).decode()})

    def ask(self, method: str, key: str, query: dict | None = None, sas: str | None = None, body: bytes = b"") -> requests.Response:
        headers = {"x-ms-version": VERSION} | ({"x-ms-blob-type": "BlockBlob"} if key and method == "PUT" else {})
        address = f"{self.url}/{CONTAINER}{'/' if key else ''}{quote(key)}?{urlencode(query or {})}&{sas or self.owner}"
        return requests.request(method, address, headers=headers, data=body, timeout=120)

    def put(self, key: str, content: bytes) -> None:
        answer = self.ask("PUT", key, body=content)
        assert answer.status_code == 201, answer.text

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=120)
