//! How a wish to cancel is answered.

use crate::app::App;
use crate::audit::NOTHING;
use crate::auth::Caller;
use crate::list::json;
use crate::problem::ApiError;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

impl App {
    /// Answers 202 with what was told to end, and records who asked; 200 if it is over, which changes nothing.
    pub(crate) async fn told(
        &self,
        caller: &Caller,
        (action, target): (&str, &str),
        is_under_way: bool,
        body: &impl Serialize,
    ) -> Result<Response, ApiError> {
        let mut response = json(body)?;
        if is_under_way {
            self.record(caller, action, target, NOTHING, NOTHING).await?;
            *response.status_mut() = StatusCode::ACCEPTED;
        }
        Ok(response)
    }
}
