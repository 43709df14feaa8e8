//! FOCUS BillingPeriod rows: what a provider says of its billing periods.

use crate::problem::ApiError;
use domain::{Instant, Month, Zone};
use engine::periods::{SaidBy, SaidPeriod, SourceState};
use std::collections::BTreeMap;

const START: &str = "billingperiodstart";
const STATUS: &str = "billingperiodstatus";
/// No column of FOCUS; some providers add it.
const ACCOUNT: &str = "billingaccountid";

/// Returns the state that a word says; FOCUS writes `Open` and `Closed`.
pub(super) fn state_of(word: &str) -> Option<SourceState> {
    SourceState::from_said(word)
}

/// Returns what the rows of a CSV text say. Of several rows of one account and month, such as one for each invoice issuer,
/// one that is open leaves it open.
pub(super) fn read(source: &str, text: &str) -> Result<Vec<SaidPeriod>, ApiError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| ApiError::body("line 1", error.to_string()))?.clone();
    let names: Vec<String> = header.iter().map(plain).collect();
    let at = |name: &str| names.iter().position(|known| known == name);
    let (Some(start), Some(status)) = (at(START), at(STATUS)) else {
        let missing = "the columns are not those of FOCUS BillingPeriod: BillingPeriodStart and BillingPeriodStatus";
        return Err(ApiError::body("line 1", missing));
    };
    let account = at(ACCOUNT);
    let mut said: BTreeMap<(String, Month), SourceState> = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| ApiError::body("", error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |at: usize| record.get(at).unwrap_or_default();
        let place = |name: &str| format!("line {line}, column {name}");
        let begins = Instant::parse_lenient(cell(start))
            .map_err(|error| ApiError::body(place("BillingPeriodStart"), error.to_string()))?;
        let state = state_of(cell(status))
            .ok_or_else(|| ApiError::body(place("BillingPeriodStatus"), "the status is Open or Closed"))?;
        let of = (account.map(cell).unwrap_or_default().to_owned(), Zone::utc().day_of(begins).month());
        // Open sorts before closed.
        said.entry(of).and_modify(|known| *known = (*known).min(state)).or_insert(state);
    }
    let period = |((billing_account, month), state): ((String, Month), SourceState)| SaidPeriod {
        source: source.to_owned(),
        billing_account,
        month,
        state,
        said_by: SaidBy::BillingPeriod,
        note: None,
    };
    Ok(said.into_iter().map(period).collect())
}

/// Case, spaces and underscores do not matter in names of columns.
fn plain(name: &str) -> String {
    name.chars().filter(|letter| !matches!(letter, '_' | ' ' | '\u{feff}')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str, SourceState)]) {
        let said = read("aws", text).expect("rows");
        let found: Vec<(String, String, SourceState)> =
            said.into_iter().map(|said| (said.billing_account, said.month.to_string(), said.state)).collect();
        let found: Vec<(&str, &str, SourceState)> =
            found.iter().map(|(account, month, state)| (account.as_str(), month.as_str(), *state)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn one_open_row_leaves_a_period_open() {
        let header = "BillingPeriodCreated,BillingPeriodEnd,BillingPeriodLastUpdated,BillingPeriodStart,\
                      BillingPeriodStatus,InvoiceIssuerName";
        let row = |start: &str, status: &str, issuer: &str| format!("\n,,,{start},{status},{issuer}");
        let text = format!(
            "{header}{}{}{}",
            row("2026-10-01T00:00:00Z", "Closed", "A"),
            row("2026-10-01T00:00:00Z", "Open", "B"),
            row("2026-09-01 00:00:00", "closed", "A"),
        );
        check(&text, &[("", "2026-09", SourceState::Closed), ("", "2026-10", SourceState::Open)]);
        check(
            "billing_period_start,billing_period_status,billing_account_id\n2026-09-01,Open,1",
            &[("1", "2026-09", SourceState::Open)],
        );
    }

    #[test]
    fn what_is_no_row_is_refused_with_its_place() {
        let refused = |text: &str| read("aws", text).expect_err("refused").to_string();
        assert!(refused("date,cost\nx,y").contains("BillingPeriodStart"));
        assert!(refused("BillingPeriodStart,BillingPeriodStatus\n2026-10-01,Done").contains("Open or Closed"));
        assert!(read("aws", "BillingPeriodStart,BillingPeriodStatus\nsoon,Open").is_err());
    }
}
