//! The words of the ledger's own columns. Tier, basis and method are words of policies and live in `domain`.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the word that is stored and shown.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Returns the value of a stored word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What an entry does.
    EntryKind {
        /// States a cost; written by runs.
        Cost = "cost",
        /// Moves cost between tenants; written by a person.
        Adjustment = "adjustment",
        /// Closes a billing month.
        Close = "close",
        /// Opens the latest closed month again.
        Reopen = "reopen",
    }
}

words! {
    /// Whether later usage can still change the share by rule.
    Status {
        /// A window is still open.
        Pending = "pending",
        /// Nothing is awaited any more.
        Final = "final",
    }
}

words! {
    /// What an entry is to its billing month.
    ChargeClass {
        /// It belongs to an earlier month that was closed when it was booked.
        Correction = "correction",
    }
}

words! {
    /// Why a difference arose.
    Cause {
        /// The day was attributed for the first time.
        First = "first",
        /// Usage arrived after the day had been attributed.
        LateUsage = "late_usage",
        /// Cost lines were added, replaced or removed.
        BillRestated = "bill_restated",
        /// A pending share became final.
        WindowClosed = "window_closed",
        /// Another policy version applies.
        NewPolicy = "new_policy",
        /// Another rate card applies.
        NewRates = "new_rates",
        /// An exchange rate changed.
        Fx = "fx",
        /// Aliases or other facts about tenants changed.
        TenantFacts = "tenant_facts",
        /// A person moved cost.
        Adjustment = "adjustment",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back_as_the_value_that_wrote_it() {
        assert!(EntryKind::ALL.iter().all(|kind| EntryKind::from_word(kind.as_str()) == Some(*kind)));
        assert!(Status::ALL.iter().all(|status| Status::from_word(status.as_str()) == Some(*status)));
        assert!(Cause::ALL.iter().all(|cause| Cause::from_word(cause.as_str()) == Some(*cause)));
        assert_eq!(ChargeClass::from_word("correction"), Some(ChargeClass::Correction));
        assert_eq!(Cause::from_word("First"), None);
    }
}
