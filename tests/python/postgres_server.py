"""A real PostgreSQL server of the test's own, and a proxy before it that cuts connections at a commit."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psycopg
from ports import free_port

VERSIONS = Path("/usr/lib/postgresql")


def programs() -> Path:
    """The programs of the newest version that is installed."""
    found = [path.parent for path in VERSIONS.glob("*/bin/initdb") if path.parent.parent.name.isdigit()]
    assert found, "PostgreSQL is missing; scripts/setup test installs the Debian package postgresql"
    return max(found, key=lambda path: int(path.parent.name))


class Postgres:
    """Debian's programs on temporary data. As root it runs as `nobody`, because it refuses to run as root.

    Texts are ordered by language unless a statement says otherwise. Nothing is synced: what it promises holds when its
    processes are killed, not when the machine is.
    """

    def __init__(self):
        # Not below the test's own folder, into which nobody but its owner may look.
        self.programs, self.folder, self.port = programs(), Path(tempfile.mkdtemp(prefix="postgres-")), free_port()
        self.owner: dict = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("nobody")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self.owner = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        language = ["--locale-provider=icu", "--icu-locale=en", "--locale=C.UTF-8", "--encoding=UTF8"]
        self.run("initdb", "--no-sync", "--username=apportion", "--auth=trust", *language, "--pgdata", self.data)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def run(self, program: str, *arguments) -> str:
        command = [self.programs / program, *arguments]
        # A file, because the server keeps what it inherits: a pipe would never end.
        output = self.folder / f"{program}.txt"
        with output.open("w") as out:
            streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out}
            done = subprocess.run(command, cwd=self.folder, timeout=120, **streams, **self.owner)
        assert done.returncode == 0, f"{program} {arguments}: {output.read_text()[-4000:]}"
        return output.read_text()

    def start(self) -> "Postgres":
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self.run("pg_ctl", "start", "--silent", "--wait", "-o", options, "--pgdata", self.data, "--log", self.folder / "log")
        return self

    def crash(self) -> None:
        """Ends every process of the server at once."""
        self.run("pg_ctl", "stop", "--silent", "--mode=immediate", "--pgdata", self.data)

    def close(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.crash()
        shutil.rmtree(self.folder)

    def url(self, port: int | None = None) -> str:
        return f"postgres://apportion@127.0.0.1:{port or self.port}/postgres"

    def sql(self, statements: str) -> list[str]:
        """The rows that statements answer, columns separated by `|`."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            answered = connection.execute(statements)
            return ["|".join(map(str, row)) for row in answered.fetchall()] if answered.description else []

    def dump(self) -> str:
        return self.run("pg_dump", self.url())


class CuttingProxy:
    """Stands between a client and the server. Armed, it cuts the connection at the next COMMIT, so that the client does not
    know whether it was committed: it lets the COMMIT pass and keeps the answer, or keeps the COMMIT itself, and the server
    rolls back what was stated before."""

    COMMIT = re.compile(rb"COMMIT\0")

    def __init__(self, server_port: int):
        self.server_port = server_port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cuts, self.lost, self.armed = 0, 0, threading.Event()
        self.loses_commit = False
        self.cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, loses_commit: bool = False) -> None:
        self.loses_commit = loses_commit
        self.cut.clear()
        self.armed.set()

    def close(self) -> None:
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.server_port), timeout=120)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            doomed = threading.Event()
            threading.Thread(target=self._to_server, args=(client, server, doomed), daemon=True).start()
            threading.Thread(target=self._to_client, args=(server, client, doomed), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, doomed: threading.Event) -> None:
        try:
            while data := client.recv(65536):
                if self.COMMIT.search(data) and self.armed.is_set():
                    self.armed.clear()
                    doomed.set()
                    if self.loses_commit:
                        self.lost += 1
                        break
                server.sendall(data)
        except OSError:
            pass
        finally:
            _hang_up(client, server)

    def _to_client(self, server: socket.socket, client: socket.socket, doomed: threading.Event) -> None:
        try:
            while data := server.recv(65536):
                if doomed.is_set():
                    break
                client.sendall(data)
        except OSError:
            pass
        finally:
            _hang_up(client, server)
            if doomed.is_set():
                self.cuts += 1
                self.cut.set()


def _hang_up(*sockets: socket.socket) -> None:
    for one in sockets:
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        one.close()


def eventually(condition, seconds: float, what: str):
    """Returns what the condition returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} within {seconds} s"
        time.sleep(0.1)
    return found
