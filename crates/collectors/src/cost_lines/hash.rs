//! The same rows, whatever their order and split into files, have the same hash.

use sha2::{Digest, Sha256};
use storage::lake::schemas::focus::COLUMNS;

use crate::focus::{Cell, CostLine};

/// Sum of the rows' SHA-256 modulo 2²⁵⁶, and how many there are.
///
/// A sum, not an exclusive or: two equal rows must not cancel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RowSetHash {
    limbs: [u64; 4],
    rows: u64,
}

/// SHA-256 of one row, the least part first.
pub type RowHash = [u64; 4];

impl RowSetHash {
    /// Adds a row, and returns its hash. `buffer` is scratch space.
    pub fn add(&mut self, line: &CostLine, buffer: &mut Vec<u8>) -> RowHash {
        canonical_bytes(line, buffer);
        let digest = Sha256::digest(&buffer);
        let mut row = RowHash::default();
        for (part, bytes) in row.iter_mut().zip(digest.chunks_exact(8)) {
            *part = u64::from_le_bytes(bytes.try_into().expect("chunks of eight bytes"));
        }
        self.add_row(row);
        row
    }

    /// Adds a row by its hash.
    pub fn add_row(&mut self, row: RowHash) {
        let mut carry = 0_u64;
        for (limb, addend) in self.limbs.iter_mut().zip(row) {
            let sum = u128::from(*limb) + u128::from(addend) + u128::from(carry);
            *limb = sum as u64;
            carry = (sum >> 64) as u64;
        }
        self.rows += 1;
    }

    /// Returns how many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns the hash in hex.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"apportion cost lines 1");
        hash.update(self.rows.to_le_bytes());
        for limb in self.limbs {
            hash.update(limb.to_le_bytes());
        }
        hex::encode(hash.finalize())
    }
}

/// Every cell that is not null under its column's name, then tags, then `x`. Lengths stand before texts,
/// so no two different rows have the same bytes.
fn canonical_bytes(line: &CostLine, bytes: &mut Vec<u8>) {
    bytes.clear();
    for (at, column) in COLUMNS.iter().enumerate() {
        match line.cell(at) {
            Cell::Null => continue,
            Cell::Decimal(atoms) => {
                text(bytes, b'd', column.name);
                bytes.extend_from_slice(&atoms.to_le_bytes());
            }
            Cell::Instant(instant) => {
                text(bytes, b'i', column.name);
                bytes.extend_from_slice(&instant.micros().to_le_bytes());
            }
            Cell::Text { .. } => {
                text(bytes, b't', column.name);
                text(bytes, b'=', line.text(at).unwrap_or_default());
            }
        }
    }
    for (key, value) in &line.tags {
        text(bytes, b'g', key);
        match value {
            Some(value) => text(bytes, b'=', value),
            None => bytes.push(b'0'),
        }
    }
    for (key, value) in &line.x {
        text(bytes, b'x', key);
        text(bytes, b'=', value);
    }
}

fn text(bytes: &mut Vec<u8>, kind: u8, text: &str) {
    bytes.push(kind);
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}
