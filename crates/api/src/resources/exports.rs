//! Files for spreadsheets, sent as they are made.

use crate::access::PlatformAdminOnly;
use crate::app::App;
use crate::convert::day;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use domain::decimal::format_scaled;
use domain::money::MONEY_SCALE;
use domain::quantity::QUANTITY_SCALE;
use domain::snapshot::FIELDS;
use domain::{Day, DayRange};
use engine::query::{UsageCsv, UsageDay, UsageExport, View};
use futures::StreamExt;
use utoipa::IntoParams;

/// Where the cost of the rows comes from.
const VIEW: HeaderName = HeaderName::from_static("apportion-view");
/// The card that priced them.
const RATE_CARD: HeaderName = HeaderName::from_static("apportion-rate-card-version");
/// What was not measured, or not well.
const GAPS: HeaderName = HeaderName::from_static("apportion-gaps");
/// What has no price.
const UNPRICED: HeaderName = HeaderName::from_static("apportion-unpriced-metrics");
/// Letters of a header that names many things.
const HEADER_LETTERS_MAX: usize = 2_000;

/// Which rows.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportParams {
    /// `7d`, `30d` (default), `mtd`, `2026-10`, `2026-10-01..2026-10-31` …; rolling ranges end with today.
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included.
    pub to: Option<String>,
    /// `current_rates` (default): the card in force; `posted`: the ledger's own estimates.
    pub view: Option<String>,
    /// `minor`: costs in whole minor units; the rows up to any of them add up to their rounded total.
    pub round: Option<String>,
}

/// Returns one row for each workspace and snapshot day: what was measured, and what it costs.
///
/// The headers `apportion-view`, `apportion-rate-card-version`, `apportion-gaps` and `apportion-unpriced-metrics` say what
/// the costs are and what is missing. Text that a spreadsheet would take for a formula begins with `'`.
#[utoipa::path(get, path = "/api/v1/exports/usage.csv", tag = "snapshots", params(ExportParams),
    responses((status = 200, content_type = "text/csv", body = String)))]
pub async fn export_usage(
    _admin: PlatformAdminOnly,
    State(app): State<App>,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    let export = UsageExport::from_params(query.params()?, &app.list_limits())?;
    let csv = app.engine.usage_csv_all_tenants(export).await?;
    let headers = headers_of(&csv, &app.export_prefix);
    let head = futures::stream::iter([Ok(head_of(&csv))]);
    let rows = csv.pieces.map(|piece| {
        piece.map(|rows| lines_of(&rows)).map_err(|error| {
            tracing::error!(?error, "the usage CSV broke off");
            std::io::Error::other("the export broke off; the log says why")
        })
    });
    Ok((headers, Body::from_stream(head.chain(rows))).into_response())
}

fn headers_of(csv: &UsageCsv, prefix: &str) -> HeaderMap {
    let view = match csv.view {
        View::CurrentRates => "current_rates",
        View::Posted => "posted",
    };
    let days = |range: &DayRange| format!("{}..{}", day(range.from()), day(range.to()));
    let without = csv.days_without_rows.iter().map(|range| format!("no_snapshot {}", days(range)));
    let gaps: Vec<String> = csv.gaps.iter().cloned().chain(without).collect();
    let card = csv.card.as_ref().map_or("", |card| card.version.as_str());
    let name = format!("{}-usage-{}-{}.csv", plain(prefix), compact(csv.range.from()), compact(csv.range.to()));
    let pairs = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (VIEW, view.to_owned()),
        (RATE_CARD, card.to_owned()),
        (GAPS, gaps.join("; ")),
        (UNPRICED, csv.unpriced_metrics.join("; ")),
    ];
    let value = |text: &str| HeaderValue::from_str(&visible(text)).expect("visible ASCII is a header");
    pairs.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, value(&text))).collect()
}

/// A file name that every system takes.
pub(crate) fn plain(prefix: &str) -> String {
    let keep = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    prefix.chars().map(|letter| if keep(letter) { letter } else { '_' }).collect()
}

fn compact(day: Day) -> String {
    day.to_string().replace('-', "")
}

/// What a header can hold of a text.
fn visible(text: &str) -> String {
    let shown = |letter: char| if letter.is_ascii_graphic() || letter == ' ' { letter } else { '?' };
    let mut found: String = text.chars().take(HEADER_LETTERS_MAX).map(shown).collect();
    if HEADER_LETTERS_MAX < text.chars().count() {
        found.push_str(" ...");
    }
    found
}

fn head_of(csv: &UsageCsv) -> Vec<u8> {
    let mut line = b"workspace_slug,workspace_name,snapshot_date".to_vec();
    let (fields, others) = fields_first(&csv.metrics);
    let push_names = |line: &mut Vec<u8>, metrics: &[String]| {
        for metric in metrics {
            line.push(b',');
            push_text(line, metric);
        }
    };
    push_names(&mut line, fields);
    line.extend(format!(",cost_{}", csv.currency.code().to_lowercase()).into_bytes());
    push_names(&mut line, others);
    line.extend_from_slice(b"\r\n");
    line
}

/// The columns that every file has, before its cost, and those of further metrics, behind it.
fn fields_first<T>(columns: &[T]) -> (&[T], &[T]) {
    columns.split_at(FIELDS.len().min(columns.len()))
}

fn lines_of(rows: &[UsageDay]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(rows.len() * 160);
    let mut date: Option<(Day, String)> = None;
    for row in rows {
        push_text(&mut lines, &row.slug);
        lines.push(b',');
        push_text(&mut lines, row.name.as_deref().unwrap_or_default());
        lines.push(b',');
        if date.as_ref().is_none_or(|(known, _)| *known != row.date) {
            date = Some((row.date, row.date.to_string()));
        }
        lines.extend_from_slice(date.as_ref().map_or(b"", |(_, text)| text.as_bytes()));
        let (fields, others) = fields_first(&row.quantities);
        push_quantities(&mut lines, fields);
        lines.push(b',');
        if let Some(cost) = row.cost {
            push_decimal(&mut lines, cost, MONEY_SCALE, 2);
        }
        push_quantities(&mut lines, others);
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

fn push_quantities(line: &mut Vec<u8>, quantities: &[Option<i128>]) {
    for quantity in quantities {
        line.push(b',');
        if let Some(quantity) = quantity {
            push_decimal(line, *quantity, QUANTITY_SCALE, 0);
        }
    }
}

/// Appends a text cell: no formula for a spreadsheet, quoted where RFC 4180 wants it.
fn push_text(line: &mut Vec<u8>, text: &str) {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let is_quoted = text.contains(['"', ',', '\r', '\n']);
    if is_quoted {
        line.push(b'"');
    }
    if is_formula {
        line.push(b'\'');
    }
    match is_quoted {
        true => line.extend(text.replace('"', "\"\"").into_bytes()),
        false => line.extend_from_slice(text.as_bytes()),
    }
    if is_quoted {
        line.push(b'"');
    }
}

/// Appends a decimal as [`format_scaled`] prints it; whole numbers, which most are, without an allocation.
fn push_decimal(line: &mut Vec<u8>, atoms: i128, scale: u32, fraction_min: usize) {
    let small = u64::try_from(atoms).ok().map(|atoms| (atoms, 10_u64.pow(scale)));
    match small.filter(|(atoms, unit)| fraction_min == 0 && atoms % unit == 0) {
        Some((atoms, unit)) => push_whole(line, atoms / unit),
        None => line.extend(format_scaled(atoms, scale, fraction_min).into_bytes()),
    }
}

fn push_whole(line: &mut Vec<u8>, mut number: u64) {
    let start = line.len();
    loop {
        line.push(b'0' + u8::try_from(number % 10).expect("a digit is below 10"));
        number /= 10;
        if number == 0 {
            break;
        }
    }
    line[start..].reverse();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(text: &str, expected: &str) {
        let mut line = Vec::new();
        push_text(&mut line, text);
        assert_eq!(String::from_utf8(line).expect("UTF-8"), expected, "{text:?}");
    }

    #[test]
    fn text_is_no_formula_and_quoted_where_it_must() {
        check_text("Acme", "Acme");
        check_text("", "");
        check_text("=1+1", "'=1+1");
        check_text("+49", "'+49");
        check_text("-x", "'-x");
        check_text("@sum", "'@sum");
        check_text("\tx", "'\tx");
        check_text("\rx", "\"'\rx\"");
        check_text("a,b", "\"a,b\"");
        check_text("=\"a\"", "\"'=\"\"a\"\"\"");
        check_text("a=b", "a=b");
    }

    #[test]
    fn decimals_print_as_everywhere() {
        let units = 10_i128.pow(9);
        for atoms in [0, 1, units, 7 * units, 123_456_789 * units, 5 * units / 2, 10_i128.pow(27), -units, -1] {
            for (scale, fraction_min) in [(9, 0), (15, 2)] {
                let mut line = Vec::new();
                push_decimal(&mut line, atoms, scale, fraction_min);
                let expected = format_scaled(atoms, scale, fraction_min);
                assert_eq!(String::from_utf8(line).expect("UTF-8"), expected, "{atoms} {scale}");
            }
        }
    }

    #[test]
    fn names_and_headers_hold_what_they_can() {
        assert_eq!(plain("a b/ü\""), "a_b___");
        assert_eq!(compact("2026-10-01".parse().expect("a day")), "20261001");
        assert_eq!(visible("degraded größe\n1"), "degraded gr??e?1");
        assert!(visible(&"x".repeat(5_000)).len() < 2_010);
    }
}
