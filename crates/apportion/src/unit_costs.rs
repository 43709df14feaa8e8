//! The rate card of the environment: `APPORTION_USAGE_UNIT_COSTS`, or the file that it names.
//!
//! The variable is read at the start of the process, the file at each question. Both stand in for the published card in the
//! view at current rates and nowhere else.

use crate::exit::{Exit, Failure};
use anyhow::Result;
use domain::rates::RateCard;
use engine::Engine;
use engine::query::UnitCosts;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

/// The variables, the name of the seed after ours; with `_FILE` behind it each names a file instead.
const NAMES: [&str; 2] = ["APPORTION_USAGE_UNIT_COSTS", "VIGILO_USAGE_UNIT_COSTS"];

/// Returns the card that the environment gives, if it gives one; an empty variable gives none.
///
/// # Errors
/// A failure that names the variable and what is wrong with its text or file.
pub fn from_environment() -> Result<Option<UnitCosts>> {
    found(|name| std::env::var_os(name))
}

fn found(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<UnitCosts>> {
    let given = |name: &str| variable(name).filter(|value| !value.is_empty());
    for name in NAMES {
        let costs = match (given(name), given(&format!("{name}_FILE"))) {
            (Some(text), _) => {
                // One that is not UTF-8 must be refused, not taken for none.
                let text = text.to_string_lossy().into_owned();
                UnitCosts { name, read: Arc::new(move || Ok::<_, String>(text.clone())) }
            }
            (None, Some(file)) => {
                let file = PathBuf::from(file);
                let read = move || {
                    std::fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))
                };
                UnitCosts { name, read: Arc::new(read) }
            }
            (None, None) => continue,
        };
        let text = (costs.read)().map_err(|error| Failure::new(Exit::Conflict, format!("{name}: {error}")))?;
        RateCard::of_unit_costs(name, &text).map_err(|error| Failure::new(Exit::Conflict, error.to_string()))?;
        return Ok(Some(costs));
    }
    Ok(None)
}

/// Writes to the log what looks wrong with the environment's card: a price that is 100 times another, a key of no meter.
///
/// # Errors
/// When the catalog fails or the card cannot be read any more.
pub async fn warn_of(engine: &Engine) -> Result<()> {
    let card = engine.current_card(&engine.books_now().await?)?;
    for warning in &card.price_warnings {
        tracing::warn!(rate_card = %card.version, "{}: {warning}", card.version);
    }
    if !card.unknown_keys.is_empty() {
        let keys = card.unknown_keys.join(", ");
        tracing::warn!(rate_card = %card.version, %keys, "{}: no meter is called {keys}", card.version);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expected: &str) {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let shown = match found(variable) {
            Ok(None) => "none".to_owned(),
            Ok(Some(costs)) => format!("{} {}", costs.name, (costs.read)().expect("readable")),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{variables:?}");
    }

    #[test]
    fn our_name_comes_before_the_seeds_and_a_text_before_a_file() {
        let (ours, seeds) = ("APPORTION_USAGE_UNIT_COSTS", "VIGILO_USAGE_UNIT_COSTS");
        check(&[], "none");
        check(&[(ours, "")], "none");
        check(&[(ours, "{}")], "APPORTION_USAGE_UNIT_COSTS {}");
        check(&[(seeds, "{\"api_call\": 1}")], "VIGILO_USAGE_UNIT_COSTS {\"api_call\": 1}");
        check(&[(seeds, "x"), (ours, "{}")], "APPORTION_USAGE_UNIT_COSTS {}");
        check(&[("APPORTION_USAGE_UNIT_COSTS_FILE", "/none"), (ours, "{}")], "APPORTION_USAGE_UNIT_COSTS {}");
    }

    #[test]
    fn a_file_is_read_again_each_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("costs.json");
        std::fs::write(&file, "{}").expect("written");
        let costs = found(|name| (name == "VIGILO_USAGE_UNIT_COSTS_FILE").then(|| file.clone().into_os_string()));
        let costs = costs.expect("valid").expect("given");
        std::fs::write(&file, "{\"api_call\": 2}").expect("written");
        assert_eq!((costs.read)().as_deref(), Ok("{\"api_call\": 2}"));
        std::fs::remove_file(&file).expect("removed");
        assert!((costs.read)().is_err_and(|error| error.starts_with("cannot read")));
    }

    #[test]
    fn what_is_no_card_is_refused_with_the_variables_name() {
        let refused = |name: &'static str, value: &'static str| {
            found(move |asked| (asked == name).then(|| value.into())).expect_err("refused").to_string()
        };
        assert!(refused("APPORTION_USAGE_UNIT_COSTS", "api_call=1").contains("APPORTION_USAGE_UNIT_COSTS"));
        assert!(refused("APPORTION_USAGE_UNIT_COSTS_FILE", "/none/such").contains("cannot read /none/such"));
        assert!(refused("VIGILO_USAGE_UNIT_COSTS", "{\"api_call\": -1}").contains("negative"));
    }
}
