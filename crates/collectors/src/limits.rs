//! How much an import may use. Every number is a configuration key with its unit.

/// Bounds of one import. Memory follows from `row_bytes_max` and constants, never from the file's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportLimits {
    /// Bytes of all files of a billing period together, as they wait on disk.
    pub set_bytes_max: u64,
    /// Bytes of one file after decompression.
    pub decoded_bytes_max: u64,
    /// Bytes of one row, or of one cell of a Parquet file.
    pub row_bytes_max: usize,
    /// Rows of a set of files.
    pub rows_max: u64,
    /// Columns of a file.
    pub columns_max: usize,
    /// (billing account, billing period) pairs of a set of files.
    pub keys_max: usize,
    /// Files of a set.
    pub files_max: usize,
    /// Days that one line may touch.
    pub charge_days_max: i32,
}

impl Default for ImportLimits {
    fn default() -> Self {
        Self {
            set_bytes_max: 64 * 1024 * 1024 * 1024,
            decoded_bytes_max: 64 * 1024 * 1024 * 1024,
            row_bytes_max: 4 * 1024 * 1024,
            rows_max: 1_000_000_000,
            columns_max: 1000,
            keys_max: 10_000,
            files_max: 10_000,
            charge_days_max: 36_600,
        }
    }
}
