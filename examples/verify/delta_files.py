"""The Delta log of one table and the files that it names, compared byte by byte with what the log says of them.

Every entry of the log carries its own SHA-256 and that of the entry before it, every `add` that of its file. This reads the
JSON entries itself; the `deltalake` package opens the table as well, and both must name the same files.
"""

import hashlib
import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pyarrow.parquet as parquet
from deltalake import DeltaTable

SEAL = '"entry_sha256":"'
NO_SEAL = "0" * 64


@dataclass
class Fault:
    """One thing that is wrong, and the posting that fails, if one can be named."""

    what: str
    posting: int | None = None


@dataclass
class Added:
    """A data file as the log names it."""

    path: str
    size: int
    sha256: str | None
    partition: dict


@dataclass
class Commit:
    """One entry of the log."""

    version: int
    sha256: str
    says: dict
    added: list[Added] = field(default_factory=list)


class Table:
    """A table's log as it stands; `faults` says what of it is not as it was written."""

    def __init__(self, folder: Path, append_only: bool):
        self.folder, self.append_only = folder, append_only
        self.commits: list[Commit] = []
        self.active: dict[str, Added] = {}
        self.faults: list[Fault] = []
        self.files_checked = 0

    @property
    def name(self) -> str:
        return self.folder.name

    def fault(self, what: str, posting: int | None = None) -> None:
        self.faults.append(Fault(what, posting))

    def read_log(self) -> None:
        log = self.folder / "_delta_log"
        versions = sorted(int(path.stem) for path in log.glob("*.json") if path.stem.isdigit())
        previous = None
        for version in range(versions[-1] + 1 if versions else 0):
            path = log / f"{version:020}.json"
            if not path.is_file():
                self.fault(f"{self.name}: version {version} of the log is missing")
                previous = None
                continue
            content = path.read_bytes()
            try:
                previous = self.read_entry(version, content, previous)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self.fault(f"{self.name}: version {version} of the log cannot be read: {error}")
                previous = None
        if not versions:
            self.fault(f"{self.name}: there is no log")
        self.check_hint(log)

    def read_entry(self, version: int, content: bytes, previous: str | None) -> str:
        actions = [json.loads(line) for line in content.splitlines() if line]
        info = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
        sha256 = hashlib.sha256(content).hexdigest()
        says = json.loads(info.get("apportion") or "null") or {}
        commit = Commit(version, sha256, says)
        self.check_seal(version, content, info)
        named = info.get("prev_log_sha256")
        if named is not None and previous is not None and named != previous:
            self.fault(f"{self.name}: version {version} of the log continues another version {version - 1}")
        if named is None and version > 0 and self.append_only:
            self.fault(f"{self.name}: version {version} of the log was written by another program")
        for action in actions:
            if "remove" in action:
                if self.append_only:
                    self.fault(f"{self.name}: version {version} of the log takes a file out", says.get("posting"))
                self.active.pop(unquote(action["remove"]["path"]), None)
            if "add" in action:
                self.read_add(commit, action["add"])
        self.commits.append(commit)
        return sha256

    def read_add(self, commit: Commit, add: dict) -> None:
        path = unquote(add["path"])
        added = Added(path, add["size"], (add.get("tags") or {}).get("sha256"), add["partitionValues"])
        if path in self.active:
            self.fault(f"{self.name}: {path} is added twice", commit.says.get("posting"))
        self.active[path] = added
        commit.added.append(added)

    def check_seal(self, version: int, content: bytes, info: dict) -> None:
        seal = info.get("entry_sha256")
        if seal is None:
            if "apportionCommit" in info or "prev_log_sha256" in info:
                self.fault(f"{self.name}: version {version} of the log has lost its seal")
            return
        at = content.find(SEAL.encode()) + len(SEAL)
        unsealed = content[:at] + NO_SEAL.encode() + content[at + len(NO_SEAL) :]
        if hashlib.sha256(unsealed).hexdigest() != seal:
            self.fault(f"{self.name}: version {version} of the log is not what was committed")

    def check_hint(self, log: Path) -> None:
        """A checkpoint stands for many entries, so its bytes must be those that the hint names."""
        hint = log / "_last_checkpoint"
        if not hint.is_file():
            return
        try:
            named = json.loads(hint.read_bytes())
            expected = named.get("sha256")
            path = log / f"{named['version']:020}.checkpoint.parquet"
            if expected is not None and (not path.is_file() or sha256_of(path) != expected):
                self.fault(f"{self.name}: {path.name} is not the checkpoint that _last_checkpoint names")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.fault(f"{self.name}: _last_checkpoint cannot be read: {error}")

    def check_file(self, added: Added, posting: int | None) -> bool:
        """Returns whether the file is what was committed; otherwise notes why not."""
        path = self.folder / added.path
        self.files_checked += 1
        if not path.is_file():
            self.fault(f"{self.name}: {added.path} is missing", posting)
        elif path.stat().st_size != added.size:
            self.fault(f"{self.name}: {added.path} has {path.stat().st_size} bytes, the log says {added.size}", posting)
        elif added.sha256 is None:
            self.fault(f"{self.name}: the log has no SHA-256 of {added.path}", posting)
        elif sha256_of(path) != added.sha256:
            self.fault(f"{self.name}: {added.path} is not what was committed", posting)
        else:
            return True
        return False

    def check_with_deltalake(self) -> None:
        """The `deltalake` package must see the version and the files that the log says."""
        try:
            table = DeltaTable(str(self.folder))
            root = str(self.folder.resolve())
            found = {unquote(urlparse(uri).path) if "://" in uri else uri for uri in table.file_uris()}
            found = {str(Path(path).resolve().relative_to(root)) for path in found}
        except Exception as error:  # whatever the package raises of a damaged table is a finding
            self.fault(f"{self.name}: the deltalake package cannot open it: {str(error).splitlines()[0]}")
            return
        if self.commits and table.version() != self.commits[-1].version:
            self.fault(f"{self.name}: the deltalake package sees version {table.version()}")
        for path in sorted(found ^ set(self.active)):
            self.fault(f"{self.name}: {path} is named by the log or by the deltalake package, not by both")

    def rows(self, added: Added, columns: list[tuple[str, str]]) -> list[dict]:
        """Returns the rows of a file, each a value per column: dates as days, instants as microseconds, decimals as atoms."""
        table = parquet.ParquetFile(self.folder / added.path).read()
        values = {}
        for name, kind in columns:
            if name in added.partition:
                values[name] = [added.partition[name] or None] * table.num_rows
            else:
                values[name] = plain(table.column(name), kind)
        return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def plain(column: pa.ChunkedArray, kind: str) -> list:
    if pa.types.is_decimal(column.type):
        return [None if value is None else atoms(value, column.type.scale) for value in column.to_pylist()]
    if kind in ("int32", "int64"):
        return column.cast(pa.int32() if kind == "int32" else pa.int64()).to_pylist()
    return column.to_pylist()


def atoms(value: Decimal, scale: int) -> int:
    """Returns the unscaled integer. `Decimal` arithmetic would round to the context's digits, so it takes none."""
    sign, digits, exponent = value.as_tuple()
    number = int("".join(map(str, digits))) * 10 ** (scale + exponent)
    return -number if sign else number


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
