//! From the text of an event to all that the log's writer needs: done by the request, many at a time.

use super::machine::Decision;
use super::record;
use crate::content::{Content, IdSalt};
use crate::event::{ParsedEvent, Retracted, parse_event};
use crate::ids::{IdContent, IdIndex, IdKey, IdsError};
use crate::json::Json;
use crate::meters::{MeterSet, MeteredValue};
use crate::refusal::{Refusal, RefusalCode};
use crate::rules::{EventRules, KnownTenants, PlacedEvent, UnknownTenants};
use ahash::RandomState;
use bytes::{Bytes, BytesMut};
use domain::{Day, Instant, TenantId, TenantScope};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An event that counts unless its id is taken.
#[derive(Debug)]
pub struct PreparedEvent {
    pub(crate) key: IdKey,
    pub(crate) content: IdContent,
    /// All that is said of it, as the log keeps it, but for the verdict.
    pub(crate) record: Bytes,
    /// Where its id stands in the record.
    id: Range<usize>,
    pub(crate) tenant: Arc<str>,
    pub(crate) day: Day,
    /// Names of the meters that read a value.
    pub(crate) meters: Arc<[Arc<str>]>,
    /// One key for each value that counts once a day.
    pub(crate) uniques: Vec<IdKey>,
    /// What it takes back.
    pub(crate) retracts: Option<RetractedKeys>,
    pub(crate) received_at: Instant,
    /// Whether nobody knows its tenant yet.
    pub(crate) is_new_tenant: bool,
}

impl PreparedEvent {
    /// Returns its tenant.
    #[must_use]
    pub fn tenant(&self) -> &Arc<str> {
        &self.tenant
    }

    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> &str {
        std::str::from_utf8(&self.record[self.id.clone()]).expect("an id is text")
    }

    /// Returns about how many bytes of memory it takes until it is stored, in a list of its request and in one of the log.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let texts = SHARED_TEXT_BYTES + self.tenant.len() + self.id.len();
        3 * size_of::<Self>() + 3 * self.record.len() + size_of_val(&*self.uniques) + texts
    }
}

/// A shared text, beside its bytes: counters, its place in a map, and what the allocator adds.
const SHARED_TEXT_BYTES: usize = 128;

/// Keys of an event that is taken back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetractedKeys {
    /// That of the event.
    pub event: IdKey,
    /// That which says that it was taken back.
    pub marker: IdKey,
}

impl RetractedKeys {
    /// Returns the keys of an event of this tenant.
    pub fn of(salt: &IdSalt, tenant: &str, retracted: &Retracted<'_>) -> Self {
        let event = salt.key(tenant, &retracted.source, &retracted.id);
        Self { event, marker: salt.retraction_marker(tenant, retracted) }
    }
}

/// What neighbouring events share.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// The tenants that were asked.
    known: Arc<KnownTenants>,
    /// Whether a tenant is known on the day that was asked for last.
    tenants: HashMap<Arc<str>, (Day, bool), RandomState>,
    /// Names of the meters that read a value from the event before.
    meters: Arc<[Arc<str>]>,
}

/// What requests leave behind for those that come, as long as the tenants are the same.
#[derive(Debug, Default)]
pub(crate) struct Recents(Mutex<Vec<Recent>>);

/// As many as requests are usually prepared at a time.
const RECENTS_MAX: usize = 4;
/// Tenants remembered from request to request.
const RECENT_TENANTS_MAX: usize = 16 * 1024;

impl Recents {
    /// Returns what is remembered of these tenants; forgets all others, which would keep their tenants in memory.
    pub fn take(&self, known: &Arc<KnownTenants>) -> Recent {
        let mut left = self.lock();
        left.retain(|recent| Arc::ptr_eq(&recent.known, known));
        left.pop().unwrap_or_else(|| Recent { known: Arc::clone(known), ..Recent::default() })
    }

    fn leave(&self, recent: Recent) {
        let mut left = self.lock();
        if left.len() < RECENTS_MAX && recent.tenants.len() <= RECENT_TENANTS_MAX {
            left.push(recent);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Recent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    /// Returns the tenant, and whether it is known on the day.
    fn tenant(&mut self, tenant: &str, day: Day) -> (Arc<str>, bool) {
        let found = self.tenants.get_key_value(tenant).map(|(shared, of)| (Arc::clone(shared), *of));
        match found {
            Some((shared, (of, is_known))) if of == day => (shared, is_known),
            found => {
                let shared = found.map_or_else(|| Arc::from(tenant), |(shared, _)| shared);
                let is_known = self.known.knows(tenant, day);
                self.tenants.insert(Arc::clone(&shared), (day, is_known));
                (shared, is_known)
            }
        }
    }

    fn meters(&mut self, values: &[MeteredValue<'_>]) -> Arc<[Arc<str>]> {
        let names = values.iter().map(|value| value.meter.name);
        if !self.meters.iter().map(|name| &**name).eq(names.clone()) {
            self.meters = names.map(Arc::from).collect();
        }
        Arc::clone(&self.meters)
    }
}

/// What is known of the organisation when events are prepared. Cheap to clone; replaced as a whole when rules, meters or
/// tenants change.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the organisation decides about events.
    pub rules: Arc<EventRules>,
    /// The meters in force.
    pub meters: Arc<MeterSet>,
    /// Tenants that exist.
    pub tenants: Arc<KnownTenants>,
}

/// Prepares events for one caller at one moment.
#[derive(Debug)]
pub struct Preparer {
    pub(crate) setup: Setup,
    pub(crate) salt: IdSalt,
    pub(crate) ids: Arc<IdIndex>,
    pub(crate) scope: TenantScope,
    pub(crate) now: Instant,
    pub(crate) recent: Recent,
    /// Where that goes in the end.
    pub(crate) recents: Arc<Recents>,
    pub(crate) pages: Pages,
}

/// Memory of records: those of a request stand in few pages, which go when the last of their records does.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    /// The record that is being written.
    record: Vec<u8>,
    page: BytesMut,
    page_bytes: usize,
}

/// Largest page but for one of a record that is longer.
const PAGE_BYTES_MAX: usize = 64 * 1024;

impl Pages {
    /// Returns the record that `write` writes, and what it returns.
    fn keep<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> (Bytes, T) {
        let written = write(&mut self.record);
        if self.page.capacity() < self.record.len() {
            // A request with one event has a page of its record.
            self.page_bytes = (2 * self.page_bytes).min(PAGE_BYTES_MAX);
            self.page = BytesMut::with_capacity(self.page_bytes.max(self.record.len()));
            self.page_bytes = self.page.capacity();
        }
        self.page.extend_from_slice(&self.record);
        (self.page.split().freeze(), written)
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.recents.leave(std::mem::take(&mut self.recent));
    }
}

/// What can be said of an event before the log's writer decides.
#[derive(Debug)]
pub enum Offered {
    /// It counts unless its id is taken.
    Prepared(PreparedEvent),
    /// It would be refused now, but it came before.
    Known(Decision),
}

impl Preparer {
    /// Returns the event that the text is, ready for the log.
    ///
    /// A caller of one tenant need not name it; one of some tenants may name only these.
    ///
    /// # Errors
    /// A [`Refusal`] with any code but `id_conflict`; the outer error if the ids cannot be read.
    pub fn prepare(&mut self, text: &str) -> Result<Result<Offered, Refusal>, IdsError> {
        let parsed = match parse_event(text) {
            Ok(parsed) => parsed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let id = parsed.event.id.clone();
        Ok(self.prepare_event(parsed)?.map_err(|refusal| refusal.of(&id)))
    }

    /// Returns whether an event of this tenant, source and id counts already.
    pub(crate) fn has_id(&self, tenant: &str, source: &str, id: &str) -> Result<bool, IdsError> {
        Ok(self.ids.get(&self.salt.key(tenant, source, id))?.is_some())
    }

    /// Returns whether an event of the same tenant, source and id counts already.
    pub(crate) fn is_taken(&self, event: &PreparedEvent) -> Result<bool, IdsError> {
        Ok(self.ids.get(&event.key)?.is_some())
    }

    fn prepare_event(&mut self, parsed: ParsedEvent<'_>) -> Result<Result<Offered, Refusal>, IdsError> {
        let (placed, data) = match self.place(parsed) {
            Ok(placed) => placed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let content = Content::of(&placed.event, &data).short();
        let key = self.salt.key(&placed.tenant, &placed.event.source, &placed.event.id);
        match self.accept(&placed, &data, (key, content)) {
            Ok(prepared) => Ok(Ok(Offered::Prepared(prepared))),
            // A delivery of what counts already stays a duplicate, however late it is.
            Err(refusal) => Ok(match self.ids.get(&key)? {
                Some(found) if found.content == content => Ok(Offered::Known(Decision::Duplicate)),
                Some(_) => Ok(Offered::Known(Decision::Conflict)),
                None => Err(refusal),
            }),
        }
    }

    fn place<'a>(&self, mut parsed: ParsedEvent<'a>) -> Result<(PlacedEvent<'a>, Json<'a>), Refusal> {
        let tenant = &mut parsed.event.dimensions.plain[0];
        if tenant.is_none() {
            *tenant = self.only_tenant().map(|tenant| Cow::Owned(tenant.to_string()));
        }
        let (placed, data) = self.setup.rules.place(parsed, self.now)?;
        match self.scope.allows(&placed.tenant) {
            true => Ok((placed, data)),
            false => Err(Refusal::new(RefusalCode::TenantForbidden, "the token is bound to other tenants")),
        }
    }

    fn accept(
        &mut self,
        placed: &PlacedEvent<'_>,
        data: &Json<'_>,
        (key, content): (IdKey, IdContent),
    ) -> Result<PreparedEvent, Refusal> {
        let Self { setup: Setup { rules, meters, .. }, salt, recent, now, pages, .. } = self;
        let received_at = *now;
        rules.check_time(placed, received_at)?;
        let (tenant, is_known) = recent.tenant(&placed.tenant, placed.day);
        if !is_known && rules.unknown_tenants == UnknownTenants::Reject {
            let detail = format!("tenant `{tenant}` does not exist; enter it first");
            return Err(Refusal::new(RefusalCode::TenantUnknown, detail));
        }
        let values = meters.measure(&placed.event, data)?.values;
        let (record, id) = pages.keep(|out| record::encode(placed, &values, (key, content), received_at, out));
        let retracts = placed.event.retracts.as_ref();
        Ok(PreparedEvent {
            key,
            content,
            record,
            id,
            day: placed.day,
            meters: recent.meters(&values),
            uniques: salt.unique_markers(placed, &values),
            retracts: retracts.map(|retracted| RetractedKeys::of(salt, &tenant, retracted)),
            tenant,
            received_at,
            is_new_tenant: !is_known,
        })
    }

    /// The tenant of a caller who has just one.
    pub(crate) fn only_tenant(&self) -> Option<&TenantId> {
        match &self.scope {
            TenantScope::Only(tenants) if tenants.len() == 1 => tenants.first(),
            TenantScope::Only(_) | TenantScope::All => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn records_share_pages_and_one_alone_has_a_page_of_its_size() {
        let mut pages = Pages::default();
        let mut keep = |bytes: &[u8]| {
            let write = |out: &mut Vec<u8>| {
                out.clear();
                out.extend_from_slice(bytes);
            };
            let (record, ()) = pages.keep(write);
            (record, pages.page_bytes)
        };
        let (first, page_bytes) = keep(&[1; 100]);
        assert_eq!(page_bytes, 100);
        let many: Vec<_> = (0..=255).map(|byte| keep(&[byte; 1_000])).collect();
        let (long, page_bytes) = keep(&[2; PAGE_BYTES_MAX + 1]);
        assert_eq!(page_bytes, PAGE_BYTES_MAX + 1);
        let sizes: HashSet<usize> = many.iter().map(|(_, page_bytes)| *page_bytes).collect();
        assert_eq!(sizes, HashSet::from([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, PAGE_BYTES_MAX]));
        assert_eq!((&first[..], &long[..]), (&[1; 100][..], &[2; PAGE_BYTES_MAX + 1][..]));
        assert!((0..=255).zip(&many).all(|(byte, (record, _))| record[..] == [byte; 1_000]), "each has its own bytes");
    }

    #[test]
    fn tenants_that_are_no_longer_in_force_are_not_kept() {
        let recents = Recents::default();
        let [before, after] = [(); 2].map(|()| Arc::new(KnownTenants::default()));
        let taken: Vec<Recent> = (0..3).map(|_| recents.take(&before)).collect();
        taken.into_iter().for_each(|recent| recents.leave(recent));
        assert_eq!(Arc::strong_count(&before), 4, "each request has left something");
        recents.leave(recents.take(&after));
        assert_eq!(Arc::strong_count(&before), 1, "one request after the change lets go of all of them");
        assert_eq!(Arc::strong_count(&after), 2);
    }
}
