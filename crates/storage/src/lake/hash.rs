//! SHA-256, CRC-32 and random names, as lower-case hex.

use sha2::{Digest, Sha256};

/// SHA-256 of some bytes.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// CRC-32 of what the hasher was fed.
pub(crate) fn crc32_hex(hasher: crc32fast::Hasher) -> String {
    format!("{:08x}", hasher.finalize())
}

/// 128 random bits.
pub(crate) fn random_hex() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}
