//! The record of who changed what.

use crate::app::App;
use crate::auth::Caller;
use crate::problem::ApiError;
use serde::Serialize;
use storage::catalog::NewAudit;

impl App {
    /// Records a change that was made. `before` and `after` never hold secrets.
    pub(crate) async fn record(
        &self,
        caller: &Caller,
        action: &str,
        target: &str,
        before: Option<&impl Serialize>,
        after: Option<&impl Serialize>,
    ) -> Result<(), ApiError> {
        self.record_of((&caller.actor, &caller.request_id), action, target, before, after).await
    }

    /// The same of an actor and a request; a program of the same machine acts without a token.
    pub(crate) async fn record_of(
        &self,
        (actor, request_id): (&str, &str),
        action: &str,
        target: &str,
        before: Option<&impl Serialize>,
        after: Option<&impl Serialize>,
    ) -> Result<(), ApiError> {
        let change = NewAudit {
            at: self.now().micros(),
            actor: actor.to_owned(),
            action: action.to_owned(),
            target: target.to_owned(),
            before_json: before.map(text_of),
            after_json: after.map(text_of),
            request_id: Some(request_id.to_owned()).filter(|id| !id.is_empty()),
        };
        Ok(self.catalog().append_audit(&change).await?)
    }
}

/// Nothing, where one side of a change is empty.
pub(crate) const NOTHING: Option<&()> = None;

fn text_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what is recorded is plain JSON")
}
