//! The text formats of Prometheus: 0.0.4 and OpenMetrics 1.0.
//!
//! Values are decimal text from beginning to end: an amount stands in the answer with all its digits, and only the
//! server that scrapes makes a float of it (docs/adr/0010-exporter-writes-text.md).

use super::families::{Family, FamilyKind};
use crate::around::media_ranges;
use axum::http::HeaderMap;
use std::fmt::Write as _;

/// The labels of a metric that has none.
pub const NO_LABELS: [&str; 0] = [];

/// Which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Prometheus text, 0.0.4.
    Text,
    /// OpenMetrics text, 1.0.
    OpenMetrics,
}

impl Form {
    /// Returns the format that a request asks for; text unless it wants OpenMetrics at least as much.
    #[must_use]
    pub fn asked(headers: &HeaderMap) -> Self {
        let ranges = media_ranges(headers);
        let wanted = |name: &str| {
            let qualities = ranges.iter().filter(|(range, _)| range == name).map(|(_, quality)| *quality);
            qualities.fold(0.0_f32, f32::max)
        };
        let open = wanted("application/openmetrics-text");
        if 0.0 < open && wanted("text/plain") <= open { Self::OpenMetrics } else { Self::Text }
    }

    /// Returns the content type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Returns what ends an answer.
    #[must_use]
    pub fn end(self) -> &'static str {
        match self {
            Self::Text => "",
            Self::OpenMetrics => "# EOF\n",
        }
    }
}

/// Metrics as text, family by family. Gauges are the same in both formats.
#[derive(Clone, Debug)]
pub struct Exposition {
    form: Form,
    text: String,
}

impl Exposition {
    /// Returns an answer without metrics.
    #[must_use]
    pub fn new(form: Form) -> Self {
        Self { form, text: String::new() }
    }

    /// Adds a metric with these series: the values of its labels, in their order, and its value as decimal text. A metric
    /// without series is left out.
    ///
    /// # Panics
    /// If a series has not as many labels as the family: a mistake of ours.
    pub fn add<'v, L: AsRef<[&'v str]>>(&mut self, family: &Family, series: impl IntoIterator<Item = (L, String)>) {
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return;
        }
        let (kind, head) = match (family.kind, self.form) {
            (FamilyKind::Gauge, _) => ("gauge", family.name),
            (FamilyKind::Counter, Form::Text) => ("counter", family.name),
            (FamilyKind::Counter, Form::OpenMetrics) => ("counter", family.name.trim_end_matches("_total")),
        };
        // Writing to a string never fails.
        let _ = writeln!(self.text, "# HELP {head} {}\n# TYPE {head} {kind}", family.help);
        for (values, value) in series {
            let values = values.as_ref();
            assert_eq!(values.len(), family.labels.len(), "{} has other labels", family.name);
            self.text.push_str(family.name);
            for (at, (label, text)) in family.labels.iter().zip(values).enumerate() {
                self.text.push(if at == 0 { '{' } else { ',' });
                let _ = write!(self.text, "{label}=\"");
                push_escaped(&mut self.text, text);
                self.text.push('"');
            }
            self.text.push_str(if values.is_empty() { " " } else { "} " });
            self.text.push_str(&value);
            self.text.push('\n');
        }
    }

    /// Returns the text so far.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

/// Adds a label's value; the three letters that would end it are escaped, in the same way in both formats.
fn push_escaped(out: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::families::FAMILIES;
    use super::*;
    use axum::http::header;
    use std::collections::BTreeSet;

    const COST: Family = Family { name: "cost", kind: FamilyKind::Gauge, labels: &["tenant", "tier"], help: "A cost." };
    const EVENTS: Family = Family { name: "events_total", kind: FamilyKind::Counter, labels: &[], help: "Events." };

    fn written(form: Form) -> String {
        let mut out = Exposition::new(form);
        let tenant = "a\\b\"c\nd{}=,é";
        let exact = "12345678901234567890.000000000000001";
        out.add(&COST, [([tenant, "direct"], exact.to_owned()), (["", ""], "-0.50".to_owned())]);
        out.add(&EVENTS, [(NO_LABELS, "7".to_owned())]);
        out.add(&EVENTS, std::iter::empty::<([&str; 0], String)>());
        out.into_text() + form.end()
    }

    #[test]
    fn labels_are_escaped_and_values_keep_every_digit() {
        let expected = "# HELP cost A cost.\n# TYPE cost gauge\n\
             cost{tenant=\"a\\\\b\\\"c\\nd{}=,é\",tier=\"direct\"} 12345678901234567890.000000000000001\n\
             cost{tenant=\"\",tier=\"\"} -0.50\n\
             # HELP events_total Events.\n# TYPE events_total counter\nevents_total 7\n";
        assert_eq!(written(Form::Text), expected);
    }

    #[test]
    fn openmetrics_names_counters_without_their_end_and_says_where_it_ends() {
        let expected = "# HELP events Events.\n# TYPE events counter\nevents_total 7\n# EOF\n";
        assert!(written(Form::OpenMetrics).ends_with(expected), "{}", written(Form::OpenMetrics));
    }

    #[test]
    fn openmetrics_is_for_who_asks_for_it() {
        let form = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("a value"));
            Form::asked(&headers)
        };
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for accept in
            [prometheus, "application/openmetrics-text", "Application/OpenMetrics-Text; q=0.9, text/plain; q=0.9"]
        {
            assert_eq!(form(accept), Form::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.4, text/plain;q=0.5",
            "text/html,application/xhtml+xml",
        ] {
            assert_eq!(form(accept), Form::Text, "{accept}");
        }
        assert_eq!(Form::asked(&HeaderMap::new()), Form::Text);
    }

    #[test]
    fn names_and_helps_are_fit_for_both_formats() {
        let mut names = BTreeSet::new();
        for family in FAMILIES {
            let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(is_name(family.name) && family.labels.iter().all(|label| is_name(label)), "{}", family.name);
            assert_eq!(family.kind == FamilyKind::Counter, family.name.ends_with("_total"), "{}", family.name);
            assert!(!family.help.contains(['\\', '\n', '"']), "{}", family.name);
            assert!(names.insert(family.name), "{} is there twice", family.name);
        }
    }
}
