//! Which card is in force: that of the environment, if one is given, else the published one of today.

use crate::books::Books;
use crate::publish::content_sha256;
use crate::{Engine, EngineError};
use domain::rates::{RateCard, RateError, canonical};
use std::fmt;
use std::sync::Arc;

/// Hexadecimal digits of a hash that name a card without a name.
const HASH_DIGITS: usize = 12;

/// A card of prices by S0 key, outside the published ones: whoever starts the process decides it.
#[derive(Clone)]
pub struct UnitCosts {
    /// What the card is called in answers, before the hash of its content.
    pub name: &'static str,
    /// Reads the JSON object; asked for each question, so that a file that changed counts at once.
    pub read: Arc<dyn Fn() -> Result<String, String> + Send + Sync>,
}

impl fmt::Debug for UnitCosts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("UnitCosts").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The card that prices usage at current rates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentCard {
    /// Its name; that of an environment's card has the hash of its content.
    pub version: String,
    /// Whether it comes from the environment and not from the published cards.
    pub is_given: bool,
    /// The prices.
    pub card: Arc<RateCard>,
    /// Prices 100 times or more away from those of the published card that it stands in for, each with its month.
    pub price_warnings: Vec<String>,
    /// Its keys that price no meter there is.
    pub unknown_keys: Vec<String>,
}

impl Engine {
    /// Returns the card in force: it prices the whole history at current rates.
    ///
    /// # Errors
    /// [`EngineError::Rates`] when the environment's card cannot be read.
    ///
    /// # Source
    /// Spec 2-model, section 6: the environment's card replaces the current one in the view at current rates.
    pub fn current_card(&self, books: &Books) -> Result<CurrentCard, EngineError> {
        let published = books.card_on(self.today());
        let Some(given) = &self.unit_costs else {
            return Ok(CurrentCard {
                version: published.name.to_string(),
                is_given: false,
                card: Arc::clone(&published.content),
                price_warnings: Vec::new(),
                unknown_keys: Vec::new(),
            });
        };
        let refuse = |problem| RateError::Invalid { version: given.name.to_owned(), problem };
        let text = (given.read)().map_err(refuse)?;
        let version = format!("{}@{}", given.name, &content_sha256(&text)[..HASH_DIGITS]);
        let card = RateCard::of_unit_costs(&version, &text)?;
        let keys = card.prices.iter().map(|row| &row.meter);
        let unknown_keys = keys.filter(|key| books.meters.get(canonical(key).0).is_none()).cloned().collect();
        let price_warnings = self.price_warnings(&published.content, &card, books);
        Ok(CurrentCard { version, is_given: true, card: Arc::new(card), price_warnings, unknown_keys })
    }
}
