//! That nothing was changed: files, chain, closed months, sums and proofs, in this order.

use super::as_of::hash_text;
use super::proof::ProofFilter;
use super::select::up_to_posting;
use crate::{Engine, EngineError};
use futures::TryStreamExt;
use ledger::{Chain, ChainFault, Entry, Periods, Posting, ProofState};
use std::collections::BTreeMap;
use storage::catalog::PostingRow;
use storage::lake::{FileFault, FileReport, LogHead, Table, ledger_rows};

/// What no check inside one store can find.
const NOTE: &str = "finds any change older than the newest head recorded outside this store; a rewrite of the whole store and of every published head cannot be found from inside";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// `sha256:` and the hash of the newest posting whose chain holds; none for an empty ledger.
    pub head: Option<String>,
    /// Postings whose hash was recomputed from the stored entries.
    pub postings: i64,
    /// Their entries.
    pub entries: u64,
    /// Data files of the ledger whose hash was recomputed.
    pub files: u64,
    /// Proof rows that were checked.
    pub proofs_checked: usize,
    /// What is wrong; the first posting that fails comes first.
    pub faults: Vec<VerifyFault>,
    /// What such a check cannot find.
    pub note: &'static str,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerifyFault {
    /// The posting that fails, if one can be named.
    pub posting: Option<i64>,
    /// What is wrong.
    pub what: String,
}

/// The chain as it was read.
struct Read {
    chain: Chain,
    periods: Periods,
    /// `sha256:` and the hash of every posting that holds.
    hashes: BTreeMap<i64, String>,
    entries: u64,
    fault: Option<VerifyFault>,
}

impl Engine {
    /// Returns whether the stored ledger is what was posted.
    ///
    /// `expect_head` is the newest head known from outside the store, such as `meta.ledger_head` of an answer:
    /// the ledger must contain it.
    ///
    /// # Errors
    /// Only if a store fails; damage is reported.
    pub async fn verify_all_tenants(&self, expect_head: Option<&str>) -> Result<VerifyReport, EngineError> {
        let mut known = self.catalog.list_postings_all_tenants(None, i64::MAX).await?;
        known.sort_by_key(|row| row.posting);
        let files = self.lake.verify_files(Table::Ledger, log_head(&known).as_ref()).await?;
        let mut faults = file_faults(&files, &known);
        let read = self.read_chain().await;
        // Of a chain that could be read in part only that part is compared: what comes after its fault is not missing.
        known.retain(|row| read.fault.is_none() || read.hashes.contains_key(&row.posting));
        faults.extend(read.fault);
        faults.extend(missing_heads(&read.hashes, &known, expect_head));
        self.check_evidence(&mut faults).await?;
        let proofs_checked = if faults.is_empty() { self.check_proofs(&mut faults).await? } else { 0 };
        faults.sort_by_key(|fault| (fault.posting.is_none(), fault.posting));
        let head = read.chain.head();
        Ok(VerifyReport {
            ok: faults.is_empty(),
            head: (head.posting > 0).then(|| hash_text(&head.hash.to_string())),
            postings: head.posting,
            entries: read.entries,
            files: files.data_files,
            proofs_checked,
            faults,
            note: NOTE,
        })
    }

    /// Recomputes the chain from the stored entries up to the first posting that fails.
    async fn read_chain(&self) -> Read {
        let mut read = Read {
            chain: Chain::start(),
            periods: Periods::default(),
            hashes: BTreeMap::new(),
            entries: 0,
            fault: None,
        };
        if let Err(fault) = self.walk(&mut read).await {
            read.fault = Some(fault);
        }
        read
    }

    async fn walk(&self, read: &mut Read) -> Result<(), VerifyFault> {
        let unreadable = |error: EngineError| VerifyFault {
            posting: None,
            what: format!("the stored entries cannot be read: {error}"),
        };
        let frame = self.entries_frame(up_to_posting(i64::MAX)).await.map_err(unreadable)?;
        let mut batches = frame.execute_stream().await.map_err(|error| unreadable(error.into()))?;
        let mut open: Vec<Entry> = Vec::new();
        while let Some(batch) = batches.try_next().await.map_err(|error| unreadable(error.into()))? {
            for entry in ledger_rows::from_batch(&batch).map_err(|error| unreadable(error.into()))? {
                if open.first().is_some_and(|first| first.posting != entry.posting) {
                    read.accept(std::mem::take(&mut open))?;
                }
                open.push(entry);
            }
        }
        if open.is_empty() { Ok(()) } else { read.accept(open) }
    }

    /// Reads every file that a close named again.
    async fn check_evidence(&self, faults: &mut Vec<VerifyFault>) -> Result<(), EngineError> {
        for closed in self.closes_all_tenants().await? {
            for file in &closed.evidence {
                if let Err(error) = self.lake.evidence(&file.sha256).await {
                    let what =
                        format!("the evidence of {} that the close of {} names: {error}", file.day, closed.month);
                    faults.push(VerifyFault { posting: Some(closed.posting), what });
                }
            }
        }
        Ok(())
    }

    async fn check_proofs(&self, faults: &mut Vec<VerifyFault>) -> Result<usize, EngineError> {
        let proof = match self.proof_all_tenants(&ProofFilter::all()).await {
            Ok(proof) => proof,
            Err(error) => {
                // What went into the pools stands in a table of its own, whose files may be damaged as well.
                let Some((file, reason)) = error.damage() else { return Err(error) };
                faults.push(VerifyFault { posting: None, what: format!("{file}: {reason}") });
                return Ok(0);
            }
        };
        for row in proof.rows.iter().filter(|row| row.state == ProofState::Failed) {
            faults.push(VerifyFault {
                posting: row.postings.last().copied(),
                what: format!(
                    "pool `{}` on {}: {} in {} differs from what went in by {}",
                    row.pool,
                    row.charge_date,
                    row.measure.as_str(),
                    row.currency,
                    domain::money::format_atoms(row.difference)
                ),
            });
        }
        Ok(proof.rows.len())
    }
}

impl Read {
    fn accept(&mut self, entries: Vec<Entry>) -> Result<(), VerifyFault> {
        let count = entries.len();
        let chained = |fault: ChainFault| VerifyFault { posting: Some(fault.posting), what: fault.what.to_string() };
        let posting = Posting::from_stored(entries).map_err(chained)?;
        self.chain.accept(&posting).map_err(chained)?;
        // The chain proves that nothing was changed; this, that months were closed in turn and never billed afterwards.
        self.periods
            .accept(&posting)
            .map_err(|fault| VerifyFault { posting: Some(posting.header.posting), what: fault.to_string() })?;
        let head = self.chain.head();
        self.hashes.insert(head.posting, hash_text(&head.hash.to_string()));
        self.entries += count as u64;
        Ok(())
    }
}

/// The newest entry of the ledger's log as the catalog saw it: without it another text in the very last entry, such as
/// another reason of an adjustment, would show nowhere.
fn log_head(known: &[PostingRow]) -> Option<LogHead> {
    let newest = known.last().filter(|row| !row.log_sha256.is_empty())?;
    Some(LogHead { version: u64::try_from(newest.version).ok()?, sha256: newest.log_sha256.clone() })
}

fn file_faults(files: &FileReport, known: &[PostingRow]) -> Vec<VerifyFault> {
    let posting_of = |version: Option<u64>| {
        let version = i64::try_from(version?).ok()?;
        known.iter().find(|row| row.version == version).map(|row| row.posting)
    };
    let fault = |fault: &FileFault| VerifyFault {
        posting: posting_of(fault.version),
        what: format!("{}: {}", fault.file, fault.reason),
    };
    files.faults.iter().map(fault).collect()
}

/// Heads that are known from elsewhere must be in the chain: a ledger cut short, or rewritten, is whole in itself.
fn missing_heads(found: &BTreeMap<i64, String>, known: &[PostingRow], expected: Option<&str>) -> Vec<VerifyFault> {
    let mut faults = Vec::new();
    let differs = |row: &&PostingRow| found.get(&row.posting) != Some(&hash_text(&row.hash));
    if let Some(row) = known.iter().find(differs) {
        faults.push(VerifyFault {
            posting: Some(row.posting),
            what: format!(
                "the catalog knows this posting as {}, the stored ledger does not hold it",
                hash_text(&row.hash)
            ),
        });
    }
    let is_missing = |expected: &String| !found.values().any(|hash| hash == expected);
    if let Some(expected) = expected.map(hash_text).filter(is_missing) {
        faults.push(VerifyFault {
            posting: None,
            what: format!(
                "the expected head {expected} is not in the stored ledger: postings were cut off or rewritten"
            ),
        });
    }
    faults
}
