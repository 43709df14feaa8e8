//! Documents that a close leaves behind: the one place where closing a month produces them.

use super::ClosedMonth;
use crate::{Engine, EngineError};

impl Engine {
    /// Makes the documents of a closed month that are not there yet.
    ///
    /// Called after the posting that closed the month, as part of the same operation, and again for every close when a
    /// process starts: a process that died in between left the month closed without them. So it does nothing where they
    /// exist, and what it makes depends on the ledger up to the posting of the close only, never on the clock or on
    /// what was posted since.
    ///
    /// # Errors
    /// When a store fails; the month is closed all the same.
    pub(crate) async fn make_documents(&self, closed: &ClosedMonth) -> Result<(), EngineError> {
        self.issue_statements(closed).await
    }

    /// Makes the documents of the month that this posting closed, as far as that is possible now.
    ///
    /// The month is closed all the same, so whoever closed it is told so, and the audit log is. What is missing is made when
    /// somebody asks for it, and at the next start.
    pub(crate) async fn try_to_make_documents(&self, posting: i64) {
        if let Err(error) = self.make_documents_of(posting).await {
            tracing::warn!(
                posting,
                ?error,
                "posting {posting} closed its month, but the statement could not be made yet"
            );
        }
    }

    async fn make_documents_of(&self, posting: i64) -> Result<(), EngineError> {
        let closes = self.closes_all_tenants().await?;
        match closes.iter().find(|closed| closed.posting == posting) {
            Some(closed) => self.make_documents(closed).await,
            None => Ok(()),
        }
    }

    /// Makes the documents of every close that lack them.
    ///
    /// # Errors
    /// When a store fails.
    pub(crate) async fn make_missing_documents(&self) -> Result<(), EngineError> {
        for closed in self.closes_all_tenants().await? {
            self.make_documents(&closed).await?;
        }
        Ok(())
    }
}
