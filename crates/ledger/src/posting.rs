//! All entries of one run, numbered, dated and sealed with a hash.

use domain::money::MONEY_ATOMS_MAX;
use domain::quantity::QUANTITY_SCALE;
use domain::{Instant, Month};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::balance::{Totals, check_totals, totals_of};
use crate::by_key::ByKey;
use crate::canonical::{ChainHash, posting_hash};
use crate::chain::{Broken, ChainFault, Head};
use crate::difference::{Difference, Existing};
use crate::entry::Entry;
use crate::key::labels_of_key;
use crate::words::{Cause, ChargeClass, EntryKind};

/// Largest quantity of a stored row: 10¹⁸ units.
const QUANTITY_ATOMS_MAX: i128 = 10_i128.pow(18 + QUANTITY_SCALE);

/// What all entries of a posting have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number, from 1, without gaps.
    pub posting: i64,
    /// Id of the run; none for close and reopen.
    pub run: Option<Arc<str>>,
    /// When it was booked, always later than the posting before.
    pub booked_at: Instant,
    /// Hash of the posting before; zeros before the first.
    pub prev_hash: ChainHash,
}

impl Header {
    /// Returns the header of the posting after `head`: the next number, at `now` or 1 µs after the last one,
    /// whichever is later.
    #[must_use]
    pub fn after(head: &Head, now: Instant, run: Option<Arc<str>>) -> Self {
        let booked_at = head.booked_at.map_or(now, |last| now.max(last.plus_micros(1)));
        Self { posting: head.posting + 1, run, booked_at, prev_hash: head.hash }
    }
}

/// One difference and how it is booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What differs.
    pub difference: Difference,
    /// Why.
    pub cause: Cause,
    /// On whose month's statement it goes: the month of its day while that is open, else the earliest open one.
    pub billing_month: Month,
}

impl Line {
    /// Returns whether a measure lies outside what one row may hold; such a pool cannot be posted (`out_of_bound`).
    #[must_use]
    pub fn is_out_of_bound(&self) -> bool {
        let says = &self.difference.says;
        let money = [Some(says.amount), Some(says.billed_amount), Some(says.amount_reporting), says.pool_amount];
        money.into_iter().flatten().any(|atoms| MONEY_ATOMS_MAX.unsigned_abs() < atoms.unsigned_abs())
            || says.quantity.is_some_and(|atoms| QUANTITY_ATOMS_MAX.unsigned_abs() < atoms.unsigned_abs())
    }
}

/// What happens to a billing month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeriodChange {
    /// It is closed.
    Close,
    /// It is opened again.
    Reopen,
}

/// All entries that one run writes, all or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// What they have in common.
    pub header: Header,
    /// The entries in line order; never empty.
    pub entries: Vec<Entry>,
    /// SHA-256 over the entries and the posting before.
    pub hash: ChainHash,
}

impl Posting {
    /// Returns the posting of a run's differences, lines in key order.
    ///
    /// `existing` is what the differences were computed against and `totals` what went into every pool and day
    /// that was run.
    ///
    /// # Panics
    /// If, after this posting, the entries of some pool and day would not add up to what went in: a wrong bill is
    /// worse than a crash. Also for the mistakes that [`Posting::seal`] refuses.
    #[must_use]
    pub fn seal_run(header: Header, lines: Vec<Line>, existing: &ByKey<Existing>, totals: &Totals) -> Self {
        let before = existing.iter().map(|(key, stands)| (key, stands.sums));
        let added = lines.iter().map(|line| (&line.difference.key, line.difference.says.sums()));
        let balance = check_totals(totals, &totals_of(before.chain(added)));
        assert!(balance.is_ok(), "a posting must conserve cost: {}", balance.expect_err("not ok"));
        Self::seal(header, EntryKind::Cost, lines)
    }

    /// Returns the posting of an adjustment: lines whose amounts cancel out.
    ///
    /// # Panics
    /// If an adjustment would create or destroy cost. Also for the mistakes that [`Posting::seal`] refuses.
    #[must_use]
    pub fn seal_adjustment(header: Header, lines: Vec<Line>) -> Self {
        let mut by_currency = BTreeMap::new();
        for line in &lines {
            let sums: &mut crate::difference::Sums = by_currency.entry(line.difference.key.currency).or_default();
            *sums = sums.plus(line.difference.says.sums());
        }
        for (currency, sums) in by_currency {
            assert!(
                (sums.amount, sums.billed_amount, sums.amount_reporting) == (0, 0, 0),
                "an adjustment must cancel out in {currency}"
            );
        }
        Self::seal(header, EntryKind::Adjustment, lines)
    }

    /// Returns the posting that closes or reopens a month: one line.
    #[must_use]
    pub fn seal_period(header: Header, change: PeriodChange, month: Month) -> Self {
        let kind = match change {
            PeriodChange::Close => EntryKind::Close,
            PeriodChange::Reopen => EntryKind::Reopen,
        };
        let header = Header { run: None, ..header };
        let blank = Entry::blank(header.posting, 1, kind, header.booked_at, month);
        let unsealed = Unsealed { entries: vec![Entry { prev_hash: header.prev_hash, ..blank }], header };
        let hash = unsealed.hash();
        unsealed.sealed(hash)
    }

    /// Returns the posting of these lines in key order, without looking at totals.
    ///
    /// # Panics
    /// If there is no line, a key stands twice, a value is out of bound, a line is booked in a month before its
    /// day, or a `labels_key` is no JSON object.
    #[must_use]
    pub fn seal(header: Header, kind: EntryKind, lines: Vec<Line>) -> Self {
        let unsealed = Unsealed::new(header, kind, lines);
        let hash = unsealed.hash();
        unsealed.sealed(hash)
    }

    /// Returns the posting that these stored entries make up, in line order and with the header and hash that its
    /// first line claims; [`crate::Chain::accept`] says whether the claim is true.
    ///
    /// # Errors
    /// [`Broken::Empty`] when there are none.
    pub fn from_stored(mut entries: Vec<Entry>) -> Result<Self, ChainFault> {
        entries.sort_by_key(|entry| (entry.posting, entry.line));
        let first = entries.first().ok_or(ChainFault { posting: 0, what: Broken::Empty })?;
        let header = Header {
            posting: first.posting,
            run: first.run.clone(),
            booked_at: first.booked_at,
            prev_hash: first.prev_hash,
        };
        let hash = first.hash;
        Ok(Self { header, entries, hash })
    }

    /// Returns what the ledger's head is after this posting.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { posting: self.header.posting, booked_at: Some(self.header.booked_at), hash: self.hash }
    }
}

/// A posting whose hash is not known yet: hashing takes as long as making rows of the entries, and both can be done at
/// the same time.
#[derive(Debug)]
pub struct Unsealed {
    header: Header,
    entries: Vec<Entry>,
}

impl Unsealed {
    /// Returns the posting of these lines in key order, without looking at totals.
    ///
    /// # Panics
    /// As [`Posting::seal`].
    #[must_use]
    pub fn new(header: Header, kind: EntryKind, mut lines: Vec<Line>) -> Self {
        assert!(!lines.is_empty(), "a posting has at least one line");
        lines.sort_by(|left, right| left.difference.key.cmp(&right.difference.key));
        let unique = lines.windows(2).all(|pair| pair[0].difference.key < pair[1].difference.key);
        assert!(unique, "a posting has one line per key");
        let entries = (1..).zip(lines).map(|(number, line)| book(&header, kind, number, line)).collect();
        Self { header, entries }
    }

    /// Returns the entries in line order; their `hash` is not set.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns what [`Unsealed::sealed`] wants.
    #[must_use]
    pub fn hash(&self) -> ChainHash {
        posting_hash(&self.header.prev_hash, &self.entries)
    }

    /// Returns the posting with its hash.
    #[must_use]
    pub fn sealed(self, hash: ChainHash) -> Posting {
        let Self { header, mut entries } = self;
        entries.iter_mut().for_each(|entry| entry.hash = hash);
        Posting { header, entries, hash }
    }
}

fn book(header: &Header, kind: EntryKind, number: i32, line: Line) -> Entry {
    assert!(!line.is_out_of_bound(), "an entry outside the bound of a row must not be posted");
    let Line { difference: Difference { key, says, .. }, cause, billing_month } = line;
    let charge_month = key.charge_date.month();
    assert!(charge_month <= billing_month, "{} cannot be billed in {billing_month}", key.charge_date);
    let labels = labels_of_key(&key.labels_key).expect("labels_key is canonical JSON");
    Entry {
        charge_month: Some(charge_month),
        charge_date: Some(key.charge_date),
        tier: Some(key.tier),
        basis: Some(key.basis),
        memo: Some(key.memo),
        status: Some(key.status),
        reason: says.reason,
        cause: Some(cause),
        charge_category: key.charge_category,
        charge_class: (billing_month != charge_month).then_some(ChargeClass::Correction),
        pool: Some(key.pool),
        method: key.method,
        consumer: Some(key.consumer),
        tenant: key.tenant,
        user: key.user,
        workflow: key.workflow,
        repo: key.repo,
        task_class: key.task_class,
        cluster: key.cluster,
        labels,
        labels_key: Some(key.labels_key),
        provider: key.provider,
        service: key.service,
        source: key.source,
        commitment_status: key.commitment_status,
        invoice_id: key.invoice_id,
        category: key.category,
        meter: key.meter,
        unit: says.unit,
        quantity: says.quantity,
        unit_price: says.unit_price,
        weight: says.weight,
        pool_amount: says.pool_amount,
        amount: says.amount,
        billed_amount: says.billed_amount,
        currency: Some(key.currency),
        amount_reporting: says.amount_reporting,
        fx_rate: says.fx_rate,
        fx_date: says.fx_date,
        policy_version: says.policy_version,
        rate_card_version: says.rate_card_version,
        run: header.run.clone(),
        prev_hash: header.prev_hash,
        ..Entry::blank(header.posting, number, kind, header.booked_at, billing_month)
    }
}
