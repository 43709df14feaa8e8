//! One cell, one row: text to the columns of the lake.

use domain::decimal::DecimalError;
use domain::time::MICROS_PER_SECOND;
use domain::{Currency, Instant, Quantity, Zone, money};
use storage::lake::schemas::focus::{COLUMNS, Kind};

use super::header::Target;
use super::line::{COLUMN, Cell, CostLine, Note};
use super::tags::{self, Tags};

/// Why a cell cannot be read.
#[derive(Debug)]
pub(super) struct CellError {
    pub column: String,
    pub value: Option<String>,
    pub reason: String,
    pub out_of_bound: bool,
}

/// Earliest and latest time accepted: whatever lies outside is a mistake, and would spread cost over centuries.
const SECONDS_RANGE: std::ops::Range<i64> = -2_208_988_800..7_258_118_400; // 1900-01-01 to 2200-01-01
const SECONDS_PER_DAY: i64 = 86_400;

/// Turns the cells of one row into a line; call `begin`, `set` for each cell, `finish`.
#[derive(Debug, Default)]
pub(super) struct RowReader {
    older: Vec<(usize, String, String)>,
    charge_days_max: i64,
}

impl RowReader {
    pub fn new(charge_days_max: i32) -> Self {
        Self { older: Vec::new(), charge_days_max: i64::from(charge_days_max) }
    }

    pub fn begin(&mut self, line: &mut CostLine) {
        line.clear();
        self.older.clear();
    }

    /// Reads one cell. The word `NULL` and the empty text are null, whatever the column.
    pub fn set(&mut self, line: &mut CostLine, name: &str, target: &Target, raw: &str) -> Result<(), CellError> {
        let trimmed = raw.trim();
        if trimmed.is_empty() || trimmed.eq_ignore_ascii_case("null") {
            if let Target::Column(column) = target
                && COLUMN.costs().contains(column)
            {
                line.note(Note::NullCost);
            }
            return Ok(());
        }
        let failed = |(reason, out_of_bound)| CellError {
            column: name.to_owned(),
            value: Some(crate::error::shorten(trimmed)),
            reason,
            out_of_bound,
        };
        match target {
            Target::Column(column) => set_column(line, *column, raw).map_err(failed)?,
            Target::Older(column) => self.older.push((*column, name.to_owned(), raw.to_owned())),
            Target::Tags => set_tags(line, name, raw).map_err(failed)?,
            Target::Unknown => {
                line.x.insert(name.to_owned(), raw.to_owned());
            }
        }
        Ok(())
    }

    /// Completes the line: older names, null costs, periods, and what every line must have.
    pub fn finish(&mut self, line: &mut CostLine) -> Result<(), CellError> {
        for (column, name, value) in self.older.drain(..) {
            if line.cell(column) == Cell::Null {
                line.set_text(column, &value);
            } else {
                line.x.insert(name, value);
            }
        }
        for column in COLUMN.costs() {
            if line.cell(column) == Cell::Null {
                line.set(column, Cell::Decimal(0));
                if column == COLUMN.billed_cost || column == COLUMN.effective_cost {
                    line.note(Note::NullCost);
                }
            }
        }
        if line.cell(COLUMN.billing_account_id) == Cell::Null {
            line.note(Note::NoBillingAccount);
        }
        finish_currency(line)?;
        finish_billing_period(line)?;
        self.finish_charge_period(line)
    }

    fn finish_charge_period(&self, line: &mut CostLine) -> Result<(), CellError> {
        let (start, end) = (line.instant(COLUMN.charge_period_start), line.instant(COLUMN.charge_period_end));
        let Some((start, end)) = start.zip(end).filter(|(start, end)| start < end) else {
            line.note(Note::ChargePeriod);
            return Ok(());
        };
        let days_max = self.charge_days_max;
        if (end.micros() - start.micros()) / MICROS_PER_SECOND > days_max * SECONDS_PER_DAY {
            let reason = format!("the charge period is longer than {days_max} days (limits.charge_days)");
            return Err(missing("ChargePeriodEnd", Some(end.to_string()), reason, true));
        }
        Ok(())
    }
}

fn missing(column: &str, value: Option<String>, reason: String, out_of_bound: bool) -> CellError {
    CellError { column: column.to_owned(), value, reason, out_of_bound }
}

fn finish_currency(line: &mut CostLine) -> Result<(), CellError> {
    let Some(text) = line.text(COLUMN.billing_currency) else {
        return Err(missing("BillingCurrency", None, "every row needs a currency".to_owned(), false));
    };
    let code = text.trim().to_ascii_uppercase();
    if let Err(error) = code.parse::<Currency>() {
        return Err(missing("BillingCurrency", Some(crate::error::shorten(text)), error.to_string(), false));
    }
    if code != text {
        line.set_text(COLUMN.billing_currency, &code);
    }
    Ok(())
}

fn finish_billing_period(line: &mut CostLine) -> Result<(), CellError> {
    let Some(start) = line.instant(COLUMN.billing_period_start) else {
        return Err(missing("BillingPeriodStart", None, "every row needs a billing period".to_owned(), false));
    };
    if line.instant(COLUMN.billing_period_end).is_none_or(|end| end <= start) {
        line.note(Note::BillingPeriodEnd);
        line.set(COLUMN.billing_period_end, Cell::Instant(a_month_after(start)));
    }
    Ok(())
}

/// The same day and time of the next month in UTC, or that month's last day.
fn a_month_after(start: Instant) -> Instant {
    let utc = Zone::utc();
    let day = utc.day_of(start);
    let next = day.date().saturating_add(jiff::Span::new().months(1));
    let time_of_day = start.micros() - utc.start_of(day).micros();
    utc.start_of(domain::Day::from_date(next)).plus_micros(time_of_day)
}

fn set_column(line: &mut CostLine, column: usize, raw: &str) -> Result<(), (String, bool)> {
    match COLUMNS[column].kind {
        Kind::Money => {
            let parsed = money::parse_atoms(raw).map_err(decimal_error)?;
            line.rounded += u64::from(parsed.rounded);
            line.set(column, Cell::Decimal(parsed.atoms));
        }
        Kind::Quantity => {
            let (quantity, rounded) = Quantity::parse_rounding(raw).map_err(decimal_error)?;
            line.rounded += u64::from(rounded);
            line.set(column, Cell::Decimal(quantity.atoms()));
        }
        Kind::Instant => {
            let instant = Instant::parse_lenient(raw)
                .map_err(|_| ("it is not a time; write it as 2026-10-31T23:59:59Z".to_owned(), false))?;
            if !SECONDS_RANGE.contains(&instant.micros().div_euclid(MICROS_PER_SECOND)) {
                return Err(("the time is out of bound: use years from 1900 to 2199".to_owned(), true));
            }
            line.set(column, Cell::Instant(instant));
        }
        Kind::Text => line.set_text(column, raw),
    }
    Ok(())
}

/// Returns what is wrong with a number, and whether it is too large.
pub(super) fn decimal_error(error: DecimalError) -> (String, bool) {
    match error {
        DecimalError::NotANumber(_) => {
            ("it is not a decimal number; use digits with a point, such as -1234.56".to_owned(), false)
        }
        DecimalError::OutOfBound(_) | DecimalError::NotBetween { .. } => {
            ("it is larger than any row may hold (out_of_bound)".to_owned(), true)
        }
    }
}

fn set_tags(line: &mut CostLine, name: &str, raw: &str) -> Result<(), (String, bool)> {
    match tags::parse(raw) {
        Tags::Map { map, duplicate } => {
            line.tags = map;
            if duplicate {
                line.note(Note::DuplicateTag);
                line.x.insert(name.to_owned(), raw.to_owned());
            }
        }
        Tags::Opaque => {
            line.note(Note::TagsNotJson);
            line.x.insert(name.to_owned(), raw.to_owned());
        }
        Tags::TooDeep => return Err((format!("it is nested deeper than {} levels", super::json::DEPTH_MAX), false)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::focus::header::target;

    const ROW: [(&str, &str); 7] = [
        ("BilledCost", "1.5"),
        ("EffectiveCost", "1e-7"),
        ("BillingCurrency", "usd"),
        ("BillingAccountId", "a"),
        ("BillingPeriodStart", "2026-01-31 00:00:00"),
        ("ChargePeriodStart", "2026-01-31T01:00:00Z"),
        ("ChargePeriodEnd", "2026-01-31T02:00:00Z"),
    ];

    fn read(changes: &[(&str, &str)]) -> Result<CostLine, CellError> {
        let (mut line, mut reader) = (CostLine::default(), RowReader::new(36_600));
        reader.begin(&mut line);
        let unchanged = ROW.iter().filter(|(name, _)| !changes.iter().any(|(other, _)| name == other));
        for (name, value) in unchanged.chain(changes) {
            reader.set(&mut line, name, &target(name), value)?;
        }
        reader.finish(&mut line)?;
        Ok(line)
    }

    #[test]
    fn a_plain_row_is_read() {
        let line = read(&[]).expect("a valid row");
        assert_eq!(line.decimal(COLUMN.effective_cost), 100_000_000);
        assert_eq!(line.currency(), Currency::USD);
        assert_eq!(line.billing_period_end().to_string(), "2026-02-28T00:00:00Z");
        assert_eq!(line.notes, [Note::BillingPeriodEnd]);
    }

    #[test]
    fn digits_beyond_the_scale_are_rounded_half_even_once_and_counted() {
        let line = read(&[("ListCost", "0.0000000000000005"), ("ContractedCost", "0.00000000000000150")]);
        let line = line.expect("a valid row");
        assert_eq!((line.decimal(COLUMN.list_cost), line.decimal(COLUMN.contracted_cost)), (0, 2));
        assert_eq!(line.rounded, 2);
        let line = read(&[("BilledCost", "0.12345678901234567890123456789012345")]).expect("35 digits");
        assert_eq!((line.decimal(COLUMN.billed_cost), line.rounded), (123_456_789_012_346, 1));
    }

    #[test]
    fn null_words_are_null_everywhere_and_null_costs_are_zero() {
        let line = read(&[("BilledCost", "NULL"), ("ResourceId", "null"), ("Id", ""), ("Tags", "NULL")]);
        let line = line.expect("a valid row");
        assert_eq!((line.cell(COLUMN.billed_cost), line.cell(COLUMN.resource_id)), (Cell::Decimal(0), Cell::Null));
        assert!(line.x.is_empty() && line.tags.is_empty() && line.notes.contains(&Note::NullCost));
    }

    #[test]
    fn the_older_provider_name_fills_the_newer_column_only_if_that_is_empty() {
        let both = read(&[("ProviderName", "old"), ("ServiceProviderName", "new")]).expect("a valid row");
        assert_eq!(both.text(COLUMN.service_provider_name), Some("new"));
        assert_eq!(both.x["ProviderName"], "old");
        let old = read(&[("ProviderName", "old"), ("ServiceProviderName", "NULL")]).expect("a valid row");
        assert_eq!((old.text(COLUMN.service_provider_name), old.x.len()), (Some("old"), 0));
    }

    #[test]
    fn unknown_columns_and_unreadable_tags_are_kept() {
        let line = read(&[("x_Team", "a"), ("Tags", "env=prod")]).expect("a valid row");
        assert_eq!((line.x["x_Team"].as_str(), line.x["Tags"].as_str()), ("a", "env=prod"));
        assert!(line.notes.contains(&Note::TagsNotJson));
    }

    #[test]
    fn a_charge_period_that_does_not_end_after_its_start_is_noted() {
        for changes in [
            [("ChargePeriodEnd", "2026-01-31T01:00:00Z")],
            [("ChargePeriodEnd", "2025-01-31T01:00:00Z")],
            [("ChargePeriodEnd", "")],
            [("ChargePeriodStart", "")],
        ] {
            assert!(read(&changes).expect("a valid row").notes.contains(&Note::ChargePeriod), "{changes:?}");
        }
    }

    #[test]
    fn broken_cells_name_column_and_value() {
        for (column, value, out_of_bound) in [
            ("BilledCost", "1,5", false),
            ("BilledCost", "NaN", false),
            ("BilledCost", "1000000000000.01", true),
            ("ConsumedQuantity", "1e18x", false),
            ("ConsumedQuantity", "1e19", true),
            ("ChargePeriodStart", "yesterday", false),
            ("ChargePeriodStart", "9999-01-01", true),
            ("BillingCurrency", "dollars", false),
            ("BillingCurrency", "", false),
            ("BillingPeriodStart", "NULL", false),
            ("ChargePeriodEnd", "2199-01-01", true),
        ] {
            let error = read(&[(column, value)]).expect_err(value);
            assert_eq!(
                (error.column.as_str(), error.out_of_bound),
                (column, out_of_bound),
                "{value}: {}",
                error.reason
            );
        }
    }
}
