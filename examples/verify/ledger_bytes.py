"""The bytes of a ledger entry and the hash of a posting, written from docs/ledger-format.md alone."""

import hashlib
from collections.abc import Iterable

SCHEMA = 1
ZERO_HASH = "0" * 64

# Name and type of every hashed column, in hashing order. `prev_hash` and `hash` are no part of an entry's bytes.
COLUMNS = [
    ("posting", "int64"), ("line", "int32"), ("kind", "text"), ("booked_at", "int64"), ("billing_month", "text"),
    ("charge_month", "text"), ("charge_date", "int32"), ("tier", "text"), ("basis", "text"), ("memo", "bool"),
    ("status", "text"), ("reason", "text"), ("cause", "text"), ("charge_category", "text"), ("charge_class", "text"),
    ("pool", "text"), ("method", "text"), ("consumer", "text"), ("tenant", "text"), ("user", "text"),
    ("workflow", "text"), ("repo", "text"), ("task_class", "text"), ("cluster", "text"), ("labels", "map"),
    ("labels_key", "text"), ("provider", "text"), ("service", "text"), ("source", "text"),
    ("commitment_status", "text"), ("invoice_id", "text"), ("category", "text"), ("meter", "text"), ("unit", "text"),
    ("quantity", "decimal"), ("unit_price", "decimal"), ("weight", "decimal"), ("pool_amount", "decimal"),
    ("amount", "decimal"), ("billed_amount", "decimal"), ("currency", "text"), ("amount_reporting", "decimal"),
    ("fx_rate", "decimal"), ("fx_date", "int32"), ("policy_version", "text"), ("rate_card_version", "text"),
    ("run", "text"),
]  # fmt: skip
LENGTHS = {"int32": 4, "int64": 8, "decimal": 16}


def column_bytes(kind: str, value) -> bytes:
    """Returns the bytes of one value: dates as days, instants as microseconds, decimals as atoms, maps as pairs."""
    if value is None:
        return b"\x00"
    return b"\x01" + value_bytes(kind, value)


def value_bytes(kind: str, value) -> bytes:
    if kind == "text":
        return counted(value)
    if kind == "bool":
        return b"\x01" if value else b"\x00"
    if kind == "map":
        pairs = sorted((key.encode(), text) for key, text in value)
        parts = [len(pairs).to_bytes(4, "big")]
        parts += [len(key).to_bytes(4, "big") + key + counted(text) for key, text in pairs]
        return b"".join(parts)
    return value.to_bytes(LENGTHS[kind], "big", signed=True)


def counted(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(4, "big") + encoded


def entry_bytes(entry: dict) -> bytes:
    return b"".join(column_bytes(kind, entry[name]) for name, kind in COLUMNS)


def posting_hash(prev_hash: str, entries: Iterable[dict]) -> str:
    """Returns the hash of a posting from the hash before it and its entries in line order."""
    digest = hashlib.sha256(SCHEMA.to_bytes(4, "big") + bytes.fromhex(prev_hash))
    for entry in entries:
        digest.update(entry_bytes(entry))
    return digest.hexdigest()
