//! Everything that is logged while a test runs, at every level.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};

/// Logs of this thread, until it is dropped.
pub(crate) struct Watched {
    text: Arc<Mutex<String>>,
    _guard: DefaultGuard,
}

impl Watched {
    pub fn start() -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let guard = tracing::subscriber::set_default(Recorder(Arc::clone(&text)));
        Self { text, _guard: guard }
    }

    /// None of these texts was logged, and something was.
    pub fn has_seen_no(&self, secrets: &[String]) {
        let text = self.text.lock().expect("no thread died");
        assert!(text.contains("was not collected to its end"), "nothing was logged");
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} was logged");
        }
    }
}

struct Recorder(Arc<Mutex<String>>);

impl Subscriber for Recorder {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut Fields(&self.0));
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&self.0));
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields(&self.0));
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

struct Fields<'a>(&'a Mutex<String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = writeln!(self.0.lock().expect("no thread died"), "{}={value:?}", field.name());
    }
}
