"""Changes the stored files of a ledger, from a flipped bit to a forgery that keeps hashes, seals and log in order."""

import hashlib
import json
import shutil
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
from conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "examples" / "verify"))
import delta_files  # noqa: E402
import ledger_bytes  # noqa: E402
import verify  # noqa: E402

SEALED = '"entry_sha256":"'


class Forger:
    """The log and the rows of one table in a copy of a data folder."""

    def __init__(self, data: Path, table: str = "ledger"):
        self.folder = data / "lake" / table
        self.log = self.folder / "_delta_log"

    def versions(self) -> list[int]:
        return sorted(int(path.stem) for path in self.log.glob("*.json"))

    def entry(self, version: int) -> Path:
        return self.log / f"{version:020}.json"

    def actions(self, version: int) -> list[dict]:
        return [json.loads(line) for line in self.entry(version).read_text().splitlines()]

    def write(self, version: int, actions: list[dict]) -> None:
        """Writes an entry as it is, whatever its seal says."""
        self.entry(version).write_text("".join(json.dumps(action, separators=(",", ":")) + "\n" for action in actions))

    def reseal(self, first: int = 1) -> None:
        """Makes seals and links of all entries from `first` on those of their bytes."""
        for version in [version for version in self.versions() if version >= first]:
            actions = self.actions(version)
            info = next(action["commitInfo"] for action in actions if "commitInfo" in action)
            info["prev_log_sha256"] = delta_files.sha256_of(self.entry(version - 1))
            info["entry_sha256"] = ledger_bytes.ZERO_HASH
            self.write(version, actions)
            content = self.entry(version).read_bytes()
            at = content.index(SEALED.encode()) + len(SEALED)
            seal = hashlib.sha256(content).hexdigest().encode()
            self.entry(version).write_bytes(content[:at] + seal + content[at + len(seal) :])

    def change_entry(self, version: int, change: Callable[[list[dict]], object], reseal: bool = False) -> None:
        actions = self.actions(version)
        change(actions)
        self.write(version, actions)
        if reseal:
            self.reseal(version)

    def says(self, version: int, **changes) -> None:
        """Changes what a commit says of its posting, seals and links following."""

        def change(actions: list[dict]) -> None:
            info = next(action["commitInfo"] for action in actions if "commitInfo" in action)
            info["apportion"] = json.dumps(json.loads(info["apportion"]) | changes, separators=(",", ":"))

        self.change_entry(version, change, reseal=True)

    def files(self, version: int) -> list[Path]:
        adds = [action["add"] for action in self.actions(version) if "add" in action]
        return [self.folder / delta_files.unquote(add["path"]) for add in adds]

    def rows(self, version: int, file: int = 0) -> list[dict]:
        return parquet.ParquetFile(self.files(version)[file]).read().to_pylist()

    def write_rows(self, version: int, rows: list[dict], file: int = 0) -> None:
        """Stores other rows in a file; size and hashes in the log follow, seals and links do not yet."""
        path = self.files(version)[file]
        schema = parquet.ParquetFile(path).schema_arrow
        parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")
        content = path.read_bytes()

        def change(actions: list[dict]) -> None:
            add = [action["add"] for action in actions if "add" in action][file]
            add["size"] = len(content)
            add["tags"] |= {"sha256": hashlib.sha256(content).hexdigest(), "crc32": f"{zlib.crc32(content):08x}"}
            add["stats"] = json.dumps(json.loads(add["stats"]) | {"numRecords": len(rows)})

        self.change_entry(version, change)

    def change_rows(self, version: int, change: Callable[[list[dict]], object]) -> None:
        """Changes stored rows so that files, seals and links are in order; the hashes of postings stay."""
        rows = self.rows(version)
        change(rows)
        self.write_rows(version, rows)
        self.reseal(version)

    def rehash(self) -> None:
        """Computes every posting's hash anew from the stored rows, as somebody would who rewrites the whole ledger."""
        table = delta_files.Table(self.folder, append_only=True)
        table.read_log()
        before = ledger_bytes.ZERO_HASH
        for commit in [commit for commit in table.commits if commit.added]:
            entries = [row for added in commit.added for row in table.rows(added, verify.ROW_COLUMNS)]
            entries.sort(key=lambda entry: entry["line"])
            for entry in entries:
                entry["prev_hash"] = before
            sha256 = ledger_bytes.posting_hash(before, entries)
            for file in range(len(commit.added)):
                rows = self.rows(commit.version, file)
                for row in rows:
                    row |= {"prev_hash": before, "hash": sha256}
                self.write_rows(commit.version, rows, file)
            self.says(commit.version, hash=sha256, prev_hash=before, entries=len(entries))
            before = sha256


def copy_of(data: Path, target: Path) -> Path:
    """Returns a fresh copy of a data folder."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(data, target)
    return target


def flip(path: Path, at: int) -> None:
    content = path.read_bytes()
    at %= len(content)
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


def swap(left: Path, right: Path) -> None:
    contents = left.read_bytes(), right.read_bytes()
    left.write_bytes(contents[1])
    right.write_bytes(contents[0])
