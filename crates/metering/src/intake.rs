use crate::content::{Content, IdSalt};
use crate::event::{ParsedEvent, parse_event};
use crate::ids::{IdContent, IdKey};
use crate::json::Json;
use crate::live::Waiting;
use crate::meters::MeterSet;
use crate::refusal::{Refusal, RefusalCode};
use crate::rollup::Rollup;
use crate::rules::{EventRules, KnownTenants, PlacedEvent, UnknownTenants};
use domain::Instant;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What became of one event.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// It counts; its usage is in the roll-up.
    Accepted(Box<PlacedEvent<'a>>),
    /// It came before with the same content: nothing to do.
    Duplicate,
    /// It does not count.
    Refused(Refusal),
    /// Only the log's writer can decide: it is a retraction, was taken back, or a meter counts its value once a day.
    ForLog,
}

/// How many events came to what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events accepted.
    pub accepted: u64,
    /// Events that came before with the same content.
    pub duplicates: u64,
    /// Accepted events in which a meter found a value.
    pub metered: u64,
    /// Accepted events without the value of a meter of their type, by position of the meter.
    pub skipped: BTreeMap<usize, u64>,
    /// Values that had more than nine fractional digits.
    pub rounded_values: u64,
    /// Accepted events without a time of their own.
    pub server_times: u64,
}

/// Takes one event after the other and decides about each, exactly once per tenant, source and id.
///
/// What was stored before must be given in full for the keys that will come: see [`Intake::keys`].
#[derive(Debug)]
pub struct Intake {
    rules: Arc<EventRules>,
    meters: Arc<MeterSet>,
    now: Instant,
    stored: Arc<HashMap<IdKey, IdContent>>,
    seen: HashMap<IdKey, Seen>,
    salt: IdSalt,
    waiting: Arc<Waiting>,
    /// Keys and contents of the accepted events, as the id index keeps them.
    pub claims: Vec<(IdKey, IdContent)>,
    /// Tenants known, and those to be created.
    pub tenants: KnownTenants,
    /// Usage of the accepted events.
    pub rollup: Rollup,
    /// What happened so far.
    pub counts: Counts,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    content: Content,
    accepted: bool,
}

impl Intake {
    /// Returns an intake that knows these stored events, and those that were taken back and have not come.
    #[must_use]
    pub(crate) fn new(
        rules: Arc<EventRules>,
        meters: Arc<MeterSet>,
        tenants: KnownTenants,
        now: Instant,
        stored: Arc<HashMap<IdKey, IdContent>>,
        (salt, waiting): (IdSalt, Arc<Waiting>),
    ) -> Self {
        let (seen, rollup, counts) = (HashMap::new(), Rollup::default(), Counts::default());
        Self { rules, meters, now, stored, seen, salt, waiting, claims: Vec::new(), tenants, rollup, counts }
    }

    /// Returns the keys of all events that came so far, refused ones included.
    ///
    /// The same events make the same keys whatever is known as stored, so a caller may look up which
    /// of them are stored and offer the events again to an intake that knows.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &IdKey> {
        self.seen.keys()
    }

    /// Decides about the event that the text is.
    pub fn offer<'a>(&mut self, text: &'a str) -> Outcome<'a> {
        let outcome = parse_event(text).and_then(|parsed| {
            let id = parsed.event.id.clone();
            self.decide(parsed).map_err(|refusal| refusal.of(&id))
        });
        outcome.unwrap_or_else(Outcome::Refused)
    }

    fn decide<'a>(&mut self, parsed: ParsedEvent<'a>) -> Result<Outcome<'a>, Refusal> {
        if parsed.event.retracts.is_some() || self.meters.counts_distinct(&parsed.event.kind) {
            return Ok(Outcome::ForLog);
        }
        let (placed, data) = self.rules.place(parsed, self.now)?;
        let content = Content::of(&placed.event, &data);
        let key = self.salt.key(&placed.tenant, &placed.event.source, &placed.event.id);
        match self.is_repeated(&key, &content) {
            Some(true) => {
                self.remember(key, content, false);
                self.counts.duplicates += 1;
                return Ok(Outcome::Duplicate);
            }
            Some(false) => {
                self.remember(key, content, false);
                let detail = "this tenant and source sent this id before with other content";
                return Err(Refusal::new(RefusalCode::IdConflict, detail));
            }
            None => {}
        }
        let claim = (key, content.short());
        if self.waiting.contains(&key) {
            return Ok(Outcome::ForLog);
        }
        let accepted = self.accept(&placed, &data);
        self.claims.extend(accepted.is_ok().then_some(claim));
        self.remember(key, content, accepted.is_ok());
        accepted.map(|()| Outcome::Accepted(Box::new(placed)))
    }

    /// Whether an event of this key was accepted before, and if so, with the same content.
    fn is_repeated(&self, key: &IdKey, content: &Content) -> Option<bool> {
        let stored = self.stored.get(key).map(|stored| *stored == content.short());
        stored.or_else(|| self.seen.get(key).filter(|seen| seen.accepted).map(|seen| seen.content == *content))
    }

    fn remember(&mut self, key: IdKey, content: Content, accepted: bool) {
        let seen = self.seen.entry(key).or_insert(Seen { content, accepted });
        if accepted && !seen.accepted {
            *seen = Seen { content, accepted };
        }
    }

    fn accept(&mut self, placed: &PlacedEvent<'_>, data: &Json<'_>) -> Result<(), Refusal> {
        self.rules.check_time(placed, self.now)?;
        let is_known = self.tenants.knows(&placed.tenant, placed.day);
        if !is_known && self.rules.unknown_tenants == UnknownTenants::Reject {
            let detail = format!("tenant `{}` does not exist; enter it first", placed.tenant);
            return Err(Refusal::new(RefusalCode::TenantUnknown, detail));
        }
        let measured = self.meters.measure(&placed.event, data)?;
        let is_metered = !measured.values.is_empty();
        self.rollup.add(placed, &measured.values);

        // From here on nothing can refuse the event.
        if !is_known {
            self.tenants.create(&placed.tenant);
        }
        self.counts.accepted += 1;
        self.counts.metered += u64::from(is_metered);
        self.counts.rounded_values += measured.rounded;
        self.counts.server_times += u64::from(placed.event.time.is_none());
        for meter in measured.skipped {
            *self.counts.skipped.entry(meter).or_default() += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Zone, meter::builtin};

    fn intake(unknown_tenants: UnknownTenants) -> Intake {
        let rules = EventRules { unknown_tenants, ..EventRules::new(Zone::utc()) };
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        let meters = MeterSet::new(builtin()).unwrap();
        Intake::new(
            Arc::new(rules),
            Arc::new(meters),
            KnownTenants::default(),
            now,
            Arc::default(),
            (IdSalt::of_lake("lake"), Arc::default()),
        )
    }

    fn event(id: &str, kind: &str, extra: &str) -> String {
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"{kind}"{extra}}}"#)
    }

    fn word(outcome: &Outcome<'_>) -> &'static str {
        match outcome {
            Outcome::Accepted(_) => "accepted",
            Outcome::Duplicate => "duplicate",
            Outcome::Refused(refusal) => refusal.code.as_str(),
            Outcome::ForLog => "for the log",
        }
    }

    #[test]
    fn every_code_has_an_event_that_gets_it() {
        let too_large = r#","tenant":"a","data":{"value":1e19}"#;
        let table = [
            ("x", r#","tenant":"a""#, "accepted"),
            ("log_queries", r#","tenant":"a","data":{"value":1}"#, "accepted"),
            ("log_queries", r#","tenant":"a","data":{"value":"x"}"#, "invalid_event"),
            ("log_queries", r#","tenant":"a","data":{"value":1,"value":1}"#, "invalid_event"),
            ("x", "", "tenant_missing"),
            ("x", r#","tenant":"__overhead__""#, "invalid_event"),
            ("x", r#","tenant":"a","time":"2026-11-20T13:00:01Z""#, "time_in_future"),
            ("log_queries", r#","tenant":"a","data":{"value":-1}"#, "negative_quantity"),
            ("log_queries", too_large, "out_of_bound"),
            ("apportion.retract", r#","tenant":"a","data":{"source":"/s","id":"1"}"#, "for the log"),
        ];
        for (kind, extra, expected) in table {
            let mut intake = intake(UnknownTenants::Create);
            assert_eq!(word(&intake.offer(&event("1", kind, extra))), expected, "{kind} {extra}");
        }
        let mut strict = intake(UnknownTenants::Reject);
        assert_eq!(word(&strict.offer(&event("1", "x", r#","tenant":"a""#))), "tenant_unknown");
        assert_eq!(word(&intake(UnknownTenants::Create).offer("{\"a\":")), "invalid_event");
    }

    #[test]
    fn one_tenant_source_and_id_counts_once() {
        let mut intake = intake(UnknownTenants::Create);
        let of = |tenant: &str, value: u8| {
            event("1", "log_queries", &format!(r#","tenant":"{tenant}","data":{{"value":{value}}}"#))
        };
        let offers = [("a", 1), ("b", 1), ("a", 1), ("a", 2), ("b", 1), ("a", 1)];
        let words = offers.map(|(tenant, value)| word(&intake.offer(&of(tenant, value))));
        assert_eq!(words, ["accepted", "accepted", "duplicate", "id_conflict", "duplicate", "duplicate"]);
        assert_eq!(intake.rollup.drain_sorted().iter().map(|(_, cell)| cell.count).sum::<i64>(), 2);
        assert_eq!((intake.counts.accepted, intake.counts.duplicates, intake.keys().len()), (2, 3, 2));
        assert_eq!(intake.tenants.created(), ["a", "b"]);
    }

    #[test]
    fn a_refused_event_leaves_its_id_free_and_creates_nobody() {
        let mut intake = intake(UnknownTenants::Create);
        let of = |value: &str| event("1", "log_queries", &format!(r#","tenant":"a","data":{{"value":{value}}}"#));
        assert_eq!(word(&intake.offer(&of("-1"))), "negative_quantity");
        assert!(intake.tenants.created().is_empty() && intake.rollup.is_empty());
        assert_eq!(intake.keys().len(), 1, "a stored event of this key must be found all the same");
        assert_eq!(word(&intake.offer(&of("1"))), "accepted");
        assert_eq!(word(&intake.offer(&of("-1"))), "id_conflict");
    }

    #[test]
    fn refusals_name_the_event() {
        let text = event("e-7", "x", "");
        let Outcome::Refused(refusal) = intake(UnknownTenants::Create).offer(&text) else { panic!() };
        assert_eq!(refusal.id.as_deref(), Some("e-7"));
    }
}
