//! Exit codes and the failures that carry one.

use serde_json::Value;
use std::fmt;

/// How the process ends. The numbers are a contract with scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Something failed that no other code names.
    Failure = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// What was asked for does not exist.
    NotFound = 3,
    /// No token, a wrong one, or one that may not do this.
    Access = 4,
    /// The input is not valid, or conflicts with what is stored or running.
    Conflict = 5,
    /// The server or a source cannot be reached.
    Unreachable = 6,
    /// Done in part, or the numbers do not reconcile.
    Partial = 7,
    /// A threshold was breached.
    Threshold = 8,
    /// Stopped by the user.
    Interrupted = 130,
}

/// A failure with its exit code and a message for the person at the keyboard.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What went wrong and what to do.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// Returns a failure of one kind.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Returns the refusal of something that a later release brings.
    pub fn not_available(what: &str) -> Self {
        Self::new(Exit::Conflict, format!("not_available: {what} is not available yet; a later release brings it"))
    }

    /// Returns the failure that an API's error answer describes.
    pub fn from_problem(status: u16, body: &[u8]) -> Self {
        let problem: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let text = |key: &str| problem.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let code = text("code").unwrap_or_default();
        let mut message = match text("detail").or_else(|| text("title")) {
            Some(detail) => detail.to_owned(),
            None => format!("the server answered {status}"),
        };
        for error in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
            let part = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
            // A problem of one field says the same twice.
            if !message.contains(part("message")) {
                message.push_str(&format!("\n  {}: {}", part("pointer"), part("message")));
            }
        }
        if !code.is_empty() && !message.starts_with(code) {
            message = format!("{code}: {message}");
        }
        if status >= 500 {
            message.push_str(&format!("\n  request {}", text("request_id").unwrap_or("without id")));
        }
        Self::new(exit_of(status, code), message)
    }
}

/// Returns the exit code for an HTTP status and the stable code of its problem body.
pub fn exit_of(status: u16, code: &str) -> Exit {
    match (status, code) {
        (200..=206, _) => Exit::Ok,
        (207, _) => Exit::Partial,
        (_, "not_available") => Exit::Conflict,
        (401 | 403, _) => Exit::Access,
        (404, _) => Exit::NotFound,
        (400 | 406 | 409 | 410 | 412 | 413 | 415 | 422 | 428, _) => Exit::Conflict,
        (408 | 429 | 502..=504, _) => Exit::Unreachable,
        _ => Exit::Failure,
    }
}

/// Returns how the process ends after this error.
pub fn exit_of_error(error: &anyhow::Error) -> Exit {
    error.downcast_ref::<Failure>().map_or(Exit::Failure, |failure| failure.exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_exit_code() {
        let table = [
            (200, "", 0),
            (202, "", 0),
            (207, "", 7),
            (400, "invalid_parameter", 5),
            (400, "not_available", 5),
            (501, "not_available", 5),
            (401, "unauthenticated", 4),
            (403, "forbidden", 4),
            (403, "platform_admin_required", 4),
            (404, "tenant_not_found", 3),
            (404, "not_attributed", 3),
            (409, "run_in_progress", 5),
            (409, "would_shrink", 5),
            (409, "version_in_use", 5),
            (413, "payload_too_large", 5),
            (422, "fx_missing", 5),
            (429, "rate_limited", 6),
            (500, "internal", 1),
            (503, "", 6),
        ];
        for (status, code, expected) in table {
            assert_eq!(exit_of(status, code) as i32, expected, "{status} {code}");
        }
    }

    #[test]
    fn a_problem_prints_its_detail_and_each_field() {
        let body = br#"{"title":"Bad","detail":"the policy is not valid","code":"invalid_policy",
                        "errors":[{"pointer":"/pool/0/selct","code":"unknown_key","message":"did you mean select?"}]}"#;
        let failure = Failure::from_problem(422, body);
        assert_eq!(
            failure.to_string(),
            "invalid_policy: the policy is not valid\n  /pool/0/selct: did you mean select?"
        );
        assert_eq!(failure.exit, Exit::Conflict);
        let once = br#"{"detail":"`x` is not a day","code":"invalid_parameter","errors":[{"pointer":"from","message":"`x` is not a day"}]}"#;
        assert_eq!(Failure::from_problem(400, once).to_string(), "invalid_parameter: `x` is not a day");
        assert_eq!(Failure::from_problem(502, b"<html>").to_string(), "the server answered 502\n  request without id");
    }
}
