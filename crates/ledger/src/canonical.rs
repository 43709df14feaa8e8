//! The bytes of an entry that are hashed. `docs/ledger-format.md` describes them with a test vector.

use ring::digest::{Context, SHA256};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::entry::Entry;

/// Number of the column set below. A later set gets its own number and its own list; this one never changes.
pub const SCHEMA: u32 = 1;

const NULL: u8 = 0;
const PRESENT: u8 = 1;

/// A column's name and how it is written.
pub type Column = (&'static str, fn(&Entry, &mut Canonical));

/// The columns of schema 1 in hashing order: all but `prev_hash`, which is hashed before the entries, and `hash`.
pub const COLUMNS: &[Column] = &[
    ("posting", |entry, out| out.int64(Some(entry.posting))),
    ("line", |entry, out| out.int32(Some(entry.line))),
    ("kind", |entry, out| out.text(Some(entry.kind.as_str()))),
    ("booked_at", |entry, out| out.int64(Some(entry.booked_at.micros()))),
    ("billing_month", |entry, out| out.text(Some(&entry.billing_month.to_string()))),
    ("charge_month", |entry, out| out.text(entry.charge_month.map(|month| month.to_string()).as_deref())),
    ("charge_date", |entry, out| out.int32(entry.charge_date.map(domain::Day::epoch_days))),
    ("tier", |entry, out| out.text(entry.tier.map(|tier| tier.as_str()))),
    ("basis", |entry, out| out.text(entry.basis.map(|basis| basis.as_str()))),
    ("memo", |entry, out| out.bool(entry.memo)),
    ("status", |entry, out| out.text(entry.status.map(|status| status.as_str()))),
    ("reason", |entry, out| out.text(entry.reason.as_deref())),
    ("cause", |entry, out| out.text(entry.cause.map(|cause| cause.as_str()))),
    ("charge_category", |entry, out| out.text(entry.charge_category.as_deref())),
    ("charge_class", |entry, out| out.text(entry.charge_class.map(|class| class.as_str()))),
    ("pool", |entry, out| out.text(entry.pool.as_deref())),
    ("method", |entry, out| out.text(entry.method.map(|method| method.as_str()))),
    ("consumer", |entry, out| out.text(entry.consumer.as_deref())),
    ("tenant", |entry, out| out.text(entry.tenant.as_deref())),
    ("user", |entry, out| out.text(entry.user.as_deref())),
    ("workflow", |entry, out| out.text(entry.workflow.as_deref())),
    ("repo", |entry, out| out.text(entry.repo.as_deref())),
    ("task_class", |entry, out| out.text(entry.task_class.as_deref())),
    ("cluster", |entry, out| out.text(entry.cluster.as_deref())),
    ("labels", |entry, out| out.map(&entry.labels)),
    ("labels_key", |entry, out| out.text(entry.labels_key.as_deref())),
    ("provider", |entry, out| out.text(entry.provider.as_deref())),
    ("service", |entry, out| out.text(entry.service.as_deref())),
    ("source", |entry, out| out.text(entry.source.as_deref())),
    ("commitment_status", |entry, out| out.text(entry.commitment_status.as_deref())),
    ("invoice_id", |entry, out| out.text(entry.invoice_id.as_deref())),
    ("category", |entry, out| out.text(entry.category.as_deref())),
    ("meter", |entry, out| out.text(entry.meter.as_deref())),
    ("unit", |entry, out| out.text(entry.unit.as_deref())),
    ("quantity", |entry, out| out.decimal(entry.quantity)),
    ("unit_price", |entry, out| out.decimal(entry.unit_price)),
    ("weight", |entry, out| out.decimal(entry.weight)),
    ("pool_amount", |entry, out| out.decimal(entry.pool_amount)),
    ("amount", |entry, out| out.decimal(Some(entry.amount))),
    ("billed_amount", |entry, out| out.decimal(Some(entry.billed_amount))),
    ("currency", |entry, out| out.text(entry.currency.as_ref().map(|currency| currency.code()))),
    ("amount_reporting", |entry, out| out.decimal(Some(entry.amount_reporting))),
    ("fx_rate", |entry, out| out.decimal(entry.fx_rate)),
    ("fx_date", |entry, out| out.int32(entry.fx_date.map(domain::Day::epoch_days))),
    ("policy_version", |entry, out| out.text(entry.policy_version.as_deref())),
    ("rate_card_version", |entry, out| out.text(entry.rate_card_version.as_deref())),
    ("run", |entry, out| out.text(entry.run.as_deref())),
];

/// Bytes under construction.
#[derive(Debug, Default)]
pub struct Canonical(Vec<u8>);

impl Canonical {
    fn entry(&mut self, entry: &Entry) {
        for (_, write) in COLUMNS {
            write(entry, self);
        }
    }

    fn value(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            None => self.0.push(NULL),
            Some(bytes) => {
                self.0.push(PRESENT);
                self.0.extend_from_slice(bytes);
            }
        }
    }

    fn int32(&mut self, value: Option<i32>) {
        self.value(value.map(i32::to_be_bytes).as_ref().map(<[u8; 4]>::as_slice));
    }

    fn int64(&mut self, value: Option<i64>) {
        self.value(value.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }

    fn decimal(&mut self, atoms: Option<i128>) {
        self.value(atoms.map(i128::to_be_bytes).as_ref().map(<[u8; 16]>::as_slice));
    }

    fn bool(&mut self, value: Option<bool>) {
        self.value(value.map(|value| [u8::from(value)]).as_ref().map(<[u8; 1]>::as_slice));
    }

    fn text(&mut self, value: Option<&str>) {
        match value {
            None => self.0.push(NULL),
            Some(text) => {
                self.0.push(PRESENT);
                self.counted(text);
            }
        }
    }

    fn map(&mut self, map: &BTreeMap<Arc<str>, Arc<str>>) {
        self.0.push(PRESENT);
        self.count(map.len());
        for (key, value) in map {
            self.counted(key);
            self.counted(value);
        }
    }

    fn counted(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn count(&mut self, count: usize) {
        let count = u32::try_from(count).expect("texts and maps of a ledger entry are shorter than 4 GiB");
        self.0.extend_from_slice(&count.to_be_bytes());
    }
}

/// Returns the canonical bytes of an entry in schema 1.
#[must_use]
pub fn canonical_bytes(entry: &Entry) -> Vec<u8> {
    let mut out = Canonical::default();
    out.entry(entry);
    out.0
}

/// Returns the canonical bytes of one column of an entry.
///
/// # Panics
/// If there is no column of this name.
#[must_use]
pub fn column_bytes(entry: &Entry, name: &str) -> Vec<u8> {
    let (_, write) = COLUMNS.iter().find(|(column, _)| *column == name).expect("the name stands in COLUMNS");
    let mut out = Canonical::default();
    write(entry, &mut out);
    out.0
}

/// Returns the hash of a posting: SHA-256 over the schema number, the hash of the posting before, and the
/// canonical bytes of the entries in line order.
#[must_use]
pub fn posting_hash<'a>(prev_hash: &ChainHash, entries: impl IntoIterator<Item = &'a Entry>) -> ChainHash {
    // A chain hashes its bytes one after the other; this library does it fastest on processors without SHA instructions.
    let mut sha = Context::new(&SHA256);
    sha.update(&SCHEMA.to_be_bytes());
    sha.update(&prev_hash.0);
    let mut out = Canonical::default();
    for entry in entries {
        out.0.clear();
        out.entry(entry);
        sha.update(&out.0);
    }
    ChainHash(sha.finish().as_ref().try_into().expect("a SHA-256 has 32 bytes"))
}

/// A SHA-256 of the chain; printed as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// What stands before the first posting.
    pub const ZERO: Self = Self([0; 32]);
}

/// The text is not a hash of the chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a ledger hash: expected 64 lower-case hexadecimal digits")]
pub struct ChainHashError(pub String);

impl FromStr for ChainHash {
    type Err = ChainHashError;

    fn from_str(text: &str) -> Result<Self, ChainHashError> {
        let refused = || ChainHashError(text.chars().take(80).collect());
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(refused());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| refused())?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl serde::Serialize for ChainHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ChainHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_lower_case_digits() {
        assert_eq!(ChainHash::ZERO.to_string(), "0".repeat(64));
        assert_eq!("0".repeat(64).parse(), Ok(ChainHash::ZERO));
        for bad in ["", "00", &"g".repeat(64), &"A".repeat(64), &"0".repeat(66)] {
            assert!(bad.parse::<ChainHash>().is_err(), "{bad}");
        }
    }
}
