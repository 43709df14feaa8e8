"""Usage events for the jobs: the same numbers make the same events."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

TENANTS = int(os.environ.get("TENANTS", 1_000))
DAY = datetime(2026, 5, 3, tzinfo=UTC)
NDJSON = "application/x-ndjson"
DUPLICATE_LAG_BATCHES = 8  # a multiple of every number of connections: who sends an event again sent it before


@dataclass(frozen=True)
class Event:
    tenant: str
    id: str
    time: str
    user: str
    data: str
    tokens: int

    def line(self) -> str:
        """One CloudEvent."""
        return (
            f'{{"specversion":"1.0","id":"{self.id}","source":"/bench","type":"llm.completion","time":"{self.time}",'
            f'"tenant":"{self.tenant}","user":"{self.user}","data":{self.data}}}\n'
        )

    def row(self) -> str:
        """The same as a row of PostgreSQL's COPY, parsed already."""
        return f"{self.tenant}\t/bench\t{self.id}\tllm.completion\t{self.time}\t{self.user}\t{self.data}\n"


def event(number: int, day: datetime, second: float) -> Event:
    """Ids are spread like random ones; times run through the day, as they do when events come as they happen."""
    spread = number * 0x9E3779B97F4A7C15 % 2**64
    tenant, user, tokens = spread % TENANTS, spread // TENANTS % 5, spread // 7 % 1000 + 1
    direction = "input" if spread // 11 % 2 else "output"
    data = f'{{"model":"model-{user % 3}","direction":"{direction}","tokens":{tokens}}}'
    at = (day + timedelta(milliseconds=int(second * 1000))).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Event(f"tenant-{tenant:05}", f"{spread:016x}", at, f"user-{user}", data, tokens)


@dataclass
class Batches:
    """Batches of one day's events; what they hold together is known, so that answers can be checked."""

    batches: list[list[Event]] = field(default_factory=list)
    accepted: int = 0
    duplicates: int = 0
    tokens: int = 0

    def bodies(self) -> Iterator[bytes]:
        """Each batch as NDJSON."""
        return ("".join(one.line() for one in batch).encode() for batch in self.batches)


def make_batches(first: int, count: int, size: int, step: int) -> Batches:
    """`count` events from this number on; one in ten was sent some batches before."""
    made, number, day = Batches(), first, DAY + timedelta(days=step)
    again = size // 10
    for at in range(count // size):
        new = size if at < DUPLICATE_LAG_BATCHES else size - again
        batch = [event(number + i, day, (at * size + i) / count * 86_399) for i in range(new)]
        number += new
        made.accepted += new
        made.tokens += sum(one.tokens for one in batch)
        if new < size:
            batch += made.batches[at - DUPLICATE_LAG_BATCHES][:again]
            made.duplicates += again
        made.batches.append(batch)
    return made
