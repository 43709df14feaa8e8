//! From the text of an event to all that the log's writer needs: done by the request, many at a time.

use super::machine::Decision;
use super::record;
use crate::content::{Content, IdSalt};
use crate::event::{Event, ParsedEvent, parse_event};
use crate::ids::{IdContent, IdIndex, IdKey, IdsError};
use crate::json::Json;
use crate::meters::{MeterSet, MeteredValue};
use crate::refusal::{Refusal, RefusalCode};
use crate::rules::{EventRules, KnownTenants, PlacedEvent, UnknownTenants};
use domain::dimension::Dimension;
use domain::{Instant, TenantId, TenantScope};
use std::sync::Arc;

/// An event that counts unless its id is taken.
#[derive(Debug)]
pub struct PreparedEvent {
    pub(crate) key: IdKey,
    pub(crate) content: IdContent,
    pub(crate) record: Vec<u8>,
    pub(crate) placed: PlacedEvent,
    pub(crate) values: Vec<MeteredValue>,
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
        &self.placed.tenant
    }

    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.placed.event.id
    }

    /// Returns about how many bytes of memory it takes until it is stored, in a list of its request and in one of the log.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let Event { id, source, kind, dimensions, labels_key, .. } = &self.placed.event;
        let texts =
            [id, source, kind, labels_key, &self.placed.tenant].into_iter().chain(dimensions.plain.iter().flatten());
        let texts: usize = texts.map(|text| text_bytes(text)).sum();
        let label = |(key, value): (&Arc<str>, &Arc<str>)| LABEL_BYTES + text_bytes(key) + text_bytes(value);
        let labels: usize = dimensions.labels.iter().map(label).sum();
        let value = |value: &MeteredValue| {
            size_of::<MeteredValue>() + text_bytes(&value.labels_key) + LABEL_BYTES * value.labels.len()
        };
        let values: usize = self.values.iter().map(value).sum();
        3 * size_of::<Self>() + 2 * self.record.capacity() + texts + labels + values
    }
}

/// Bytes of a label in a map, beside its texts: the map's nodes are half full.
const LABEL_BYTES: usize = 64;

/// A text of its own: its bytes, two counters, and what the allocator adds.
fn text_bytes(text: &str) -> usize {
    32 + text.len()
}

/// Keys of an event that is taken back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetractedKeys {
    /// That of the event.
    pub event: IdKey,
    /// That which says that it was taken back.
    pub marker: IdKey,
}

impl RetractedKeys {
    /// Returns the keys of what the event takes back, if it does.
    pub fn of(salt: &IdSalt, placed: &PlacedEvent) -> Option<Self> {
        let retracted = placed.event.retracts.as_ref()?;
        let event = salt.key(&placed.tenant, &retracted.source, &retracted.id);
        Some(Self { event, marker: salt.retraction_marker(&placed.tenant, retracted) })
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
}

/// What can be said of an event before the log's writer decides.
#[derive(Debug)]
pub enum Offered {
    /// It counts unless its id is taken.
    Prepared(Box<PreparedEvent>),
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
    pub fn prepare(&self, text: &str) -> Result<Result<Offered, Refusal>, IdsError> {
        let parsed = match parse_event(text) {
            Ok(parsed) => parsed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let id = Arc::clone(&parsed.event.id);
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

    fn prepare_event(&self, parsed: ParsedEvent<'_>) -> Result<Result<Offered, Refusal>, IdsError> {
        let (placed, data) = match self.place(parsed) {
            Ok(placed) => placed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let content = Content::of(&placed.event, &data).short();
        let key = self.salt.key(&placed.tenant, &placed.event.source, &placed.event.id);
        match self.accept(placed, &data, (key, content)) {
            Ok(prepared) => Ok(Ok(Offered::Prepared(Box::new(prepared)))),
            // A delivery of what counts already stays a duplicate, however late it is.
            Err(refusal) => Ok(match self.ids.get(&key)? {
                Some(found) if found.content == content => Ok(Offered::Known(Decision::Duplicate)),
                Some(_) => Ok(Offered::Known(Decision::Conflict)),
                None => Err(refusal),
            }),
        }
    }

    fn place<'a>(&self, mut parsed: ParsedEvent<'a>) -> Result<(PlacedEvent, Json<'a>), Refusal> {
        let dimensions = &mut parsed.event.dimensions;
        if dimensions.get(&Dimension::Tenant).is_none() {
            dimensions.set(&Dimension::Tenant, self.only_tenant().map(TenantId::shared));
        }
        let (placed, data) = self.setup.rules.place(parsed, self.now)?;
        match self.scope.allows(&placed.tenant) {
            true => Ok((placed, data)),
            false => Err(Refusal::new(RefusalCode::TenantForbidden, "the token is bound to other tenants")),
        }
    }

    fn accept(
        &self,
        mut placed: PlacedEvent,
        data: &Json<'_>,
        id: (IdKey, IdContent),
    ) -> Result<PreparedEvent, Refusal> {
        let Setup { rules, meters, tenants } = &self.setup;
        rules.check_time(&placed, self.now)?;
        let is_known = tenants.knows(&placed.tenant, placed.day);
        if !is_known && rules.unknown_tenants == UnknownTenants::Reject {
            let detail = format!("tenant `{}` does not exist; enter it first", placed.tenant);
            return Err(Refusal::new(RefusalCode::TenantUnknown, detail));
        }
        let measured = meters.measure(&placed.event, data)?;
        let record = record::encode(&placed, &measured.values, id, self.now);
        placed.event.data_text = None; // measured already; the record holds the text
        let (key, content) = id;
        let uniques = self.salt.unique_markers(&placed, &measured.values);
        let retracts = RetractedKeys::of(&self.salt, &placed);
        let (values, received_at, is_new_tenant) = (measured.values, self.now, !is_known);
        Ok(PreparedEvent { key, content, record, placed, values, uniques, retracts, received_at, is_new_tenant })
    }

    /// The tenant of a caller who has just one.
    pub(crate) fn only_tenant(&self) -> Option<&TenantId> {
        match &self.scope {
            TenantScope::Only(tenants) if tenants.len() == 1 => tenants.first(),
            TenantScope::Only(_) | TenantScope::All => None,
        }
    }
}
