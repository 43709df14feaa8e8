//! What each provider costs in a month, as the cost lines stand.

use crate::inputs::lines;
use crate::{Engine, EngineError};
use attribution::line::AttributeSet;
use domain::condition::ChargeAttribute;
use domain::{Currency, Day, DayRange, Month};
use std::collections::BTreeMap;

/// What one provider costs in a month, in atoms of one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderCost {
    /// Who is paid, as the bills name it but in lower case, so that usage and limits can be set beside it; empty if the
    /// bills name nobody.
    pub provider: String,
    /// Currency of the amounts.
    pub currency: Currency,
    /// Effective cost of the days that are over.
    pub accrued: i128,
    /// Effective cost of the whole month as far as it is known by now: what is paid for days to come is in it.
    pub committed: i128,
    /// Billed cost of the whole month as far as it is known by now.
    pub billed: i128,
}

impl Engine {
    /// Returns what every provider costs in the month, by provider and currency; `through` is its last day that is
    /// over, if one is.
    ///
    /// A line is spread over its days as a run spreads it, so what is accrued is what runs share out.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn provider_costs_all_tenants(
        &self,
        month: Month,
        through: Option<Day>,
    ) -> Result<Vec<ProviderCost>, EngineError> {
        let session = self.session_now().await?;
        let range = DayRange::new(month.first_day(), month.last_day()).expect("a month ends after it began");
        let attributes = AttributeSet::of([ChargeAttribute::Provider]);
        let loaded = lines::load(&session, range, &self.settings.zone, &attributes).await?;
        let mut costs: BTreeMap<(String, String), ProviderCost> = BTreeMap::new();
        for (day, parts) in &loaded.days {
            for part in parts {
                let provider = part.get(&ChargeAttribute::Provider).map_or("", |name| &**name).to_lowercase();
                let key = (provider.clone(), part.currency.code().to_owned());
                let new = || ProviderCost { provider, currency: part.currency, accrued: 0, committed: 0, billed: 0 };
                let cost = costs.entry(key).or_insert_with(new);
                cost.committed += part.cost.effective;
                cost.billed += part.cost.billed;
                if through.is_some_and(|through| *day <= through) {
                    cost.accrued += part.cost.effective;
                }
            }
        }
        Ok(costs.into_values().collect())
    }
}
