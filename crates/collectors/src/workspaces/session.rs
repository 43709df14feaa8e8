use super::error::ReadError;
use super::query::Param;
use crate::prometheus::Secret;
use domain::InstantRange;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgRow, Postgres};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _};
use std::future::Future;
use std::time::Duration;

/// How long making a connection may take.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// How long beyond its own time limit the database may take to say that it gave up.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Longest text of the database that is passed on.
const DETAIL_LETTERS_MAX: usize = 400;

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// All of them end with the transaction.
const SETTINGS: &str = "SELECT set_config('statement_timeout', $1, true), set_config('TimeZone', 'UTC', true), \
    set_config('row_security', 'on', true)";
const SET_WORKSPACE: &str = "SELECT set_config($1, $2, true)";
/// What is asked last: whether the policies still saw the workspace, in a transaction that writes nothing.
const STATE: &str = "SELECT current_setting($1, true), current_setting('transaction_read_only')";

/// Whom to ask, and for how long.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Address with role and password.
    pub url: Secret,
    /// How long one statement may take.
    pub statement_timeout: Duration,
}

/// A connection that only ever reads. Whoever meets an error drops it: a connection in an unknown state is used by nobody.
pub(super) struct Session {
    connection: PgConnection,
    statement_timeout: Duration,
}

impl Session {
    pub(super) async fn open(options: &ClientOptions) -> Result<Self, ReadError> {
        let url = options.url.read().await.map_err(ReadError::Address)?;
        let connect = parse_url(&url).map_err(ReadError::Address)?;
        // Without named statements it also works through a pooler that changes connections between transactions.
        let connect = connect.disable_statement_logging().statement_cache_capacity(0).application_name("apportion");
        let opened = tokio::time::timeout(CONNECT_WAIT, PgConnection::connect_with(&connect)).await;
        let connection = match opened {
            Err(_) => return Err(ReadError::Unreachable(format!("no answer within {CONNECT_WAIT:?}"))),
            Ok(Err(error)) => return Err(unopened(error)),
            Ok(Ok(connection)) => connection,
        };
        Ok(Self { connection, statement_timeout: options.statement_timeout })
    }

    /// Begins a transaction that reads one state of the database and in which no policy sees a workspace.
    pub(super) async fn begin(&mut self) -> Result<(), ReadError> {
        self.say(BEGIN).await?;
        let millis = self.statement_timeout.as_millis().to_string();
        self.ask(SETTINGS, &[&millis]).await.map(drop)
    }

    /// Begins a transaction in which policies see this workspace and no other.
    pub(super) async fn begin_for(&mut self, variable: &str, workspace: &str) -> Result<(), ReadError> {
        self.begin().await?;
        self.ask(SET_WORKSPACE, &[variable, workspace]).await.map(drop)
    }

    /// Ends a transaction that was begun for this workspace, if it still was its own at the end.
    pub(super) async fn end_for(&mut self, variable: &str, workspace: &str) -> Result<(), ReadError> {
        let rows = self.ask(STATE, &[variable]).await?;
        let [seen, read_only] = match rows.first() {
            Some(row) => [text(row, 0)?, text(row, 1)?],
            None => [None, None],
        };
        if seen.as_deref() != Some(workspace) || read_only.as_deref() != Some("on") {
            let seen = seen.unwrap_or_default();
            return Err(ReadError::Senseless(format!("a query set {variable} to `{seen}`; it must leave it alone")));
        }
        self.end().await
    }

    pub(super) async fn end(&mut self) -> Result<(), ReadError> {
        self.say("ROLLBACK").await
    }

    pub(super) async fn mark(&mut self) -> Result<(), ReadError> {
        self.say("SAVEPOINT before_metric").await
    }

    /// Forgets an error since the mark.
    pub(super) async fn back_to_mark(&mut self) -> Result<(), ReadError> {
        self.say("ROLLBACK TO SAVEPOINT before_metric").await
    }

    /// Closes the connection politely; that it fails concerns nobody.
    pub(super) async fn close(self) {
        drop(tokio::time::timeout(ANSWER_WAIT, self.connection.close()).await);
    }

    async fn say(&mut self, statement: &'static str) -> Result<(), ReadError> {
        let wait = self.statement_timeout + ANSWER_WAIT;
        within(wait, self.statement_timeout, self.connection.execute(statement)).await.map(drop)
    }

    /// Returns the rows of a statement; every parameter is text.
    pub(super) async fn ask(&mut self, statement: &str, params: &[&str]) -> Result<Vec<PgRow>, ReadError> {
        let wait = self.statement_timeout + ANSWER_WAIT;
        let mut query = sqlx::query::<Postgres>(AssertSqlSafe(statement.to_owned())).persistent(false);
        for param in params {
            query = query.bind(*param);
        }
        within(wait, self.statement_timeout, query.fetch_all(&mut self.connection)).await
    }
}

async fn within<T>(
    wait: Duration,
    timeout: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, ReadError> {
    match tokio::time::timeout(wait, work).await {
        Ok(done) => done.map_err(|error| unanswered(error, timeout)),
        Err(_) => Err(ReadError::TimedOut(timeout)),
    }
}

/// Returns the text of a column.
pub(super) fn text(row: &PgRow, column: usize) -> Result<Option<String>, ReadError> {
    row.try_get(column).map_err(|error| ReadError::Senseless(shown(&error.to_string())))
}

/// Returns whether a column says true.
pub(super) fn truth(row: &PgRow, column: usize) -> Result<bool, ReadError> {
    let value: Option<bool> = row.try_get(column).map_err(|error| ReadError::Senseless(shown(&error.to_string())))?;
    Ok(value == Some(true))
}

/// Returns the texts of a query's parameters, in their order.
pub(super) fn values(params: &[Param], day: InstantRange, workspace: &str) -> Vec<String> {
    let value = |param: &Param| match param {
        Param::From => day.start.to_string(),
        Param::To => day.end.to_string(),
        Param::Workspace => workspace.to_owned(),
    };
    params.iter().map(value).collect()
}

/// Keys that may stand behind the `?` of an address. A password is none of them: it would be printed.
const URL_KEYS: [&str; 10] =
    ["sslmode", "ssl-mode", "sslrootcert", "sslcert", "sslkey", "host", "hostaddr", "port", "dbname", "user"];

/// Returns how to connect to the address.
///
/// # Errors
/// A sentence that says what is wrong and repeats no secret.
pub fn parse_url(url: &str) -> Result<PgConnectOptions, String> {
    let parsed = url::Url::parse(url).map_err(|error| format!("this is no address: {error}"))?;
    if !matches!(parsed.scheme(), "postgres" | "postgresql") {
        return Err("an address begins with postgres://".to_owned());
    }
    for (key, _) in parsed.query_pairs() {
        if key == "password" {
            return Err("write the password before the @ of the address, or put the address into a file".to_owned());
        }
        if !URL_KEYS.contains(&&*key) {
            let key: String = key.chars().take(40).flat_map(char::escape_debug).collect();
            return Err(format!("unknown key `{key}` behind the ?; known are {}", URL_KEYS.join(", ")));
        }
    }
    PgConnectOptions::from_url(&parsed)
        .map_err(|error| format!("the address cannot be used: {}", shown(&error.to_string())))
}

/// Returns whether what is sent to this address can be read on its way.
///
/// # Errors
/// As [`parse_url`].
pub fn is_open_to_eavesdroppers(url: &str) -> Result<bool, String> {
    let options = parse_url(url)?;
    let host = options.get_host();
    let is_local = options.get_socket().is_some()
        || host.starts_with('/')
        || matches!(host, "localhost" | "127.0.0.1" | "::1" | "[::1]");
    let parsed = url::Url::parse(url).map_err(|error| error.to_string())?;
    let mode = parsed.query_pairs().find(|(key, _)| key == "sslmode" || key == "ssl-mode").map(|(_, mode)| mode);
    let is_sealed = mode.is_some_and(|mode| matches!(&*mode, "require" | "verify-ca" | "verify-full"));
    Ok(!is_local && !is_sealed)
}

fn unopened(error: sqlx::Error) -> ReadError {
    match unanswered(error, CONNECT_WAIT) {
        ReadError::Lost(detail) | ReadError::Senseless(detail) => ReadError::Unreachable(detail),
        other => other,
    }
}

fn unanswered(error: sqlx::Error, timeout: Duration) -> ReadError {
    let sqlx::Error::Database(refusal) = error else {
        return match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                ReadError::Lost(shown(&error.to_string()))
            }
            other => ReadError::Senseless(shown(&other.to_string())),
        };
    };
    let hint = refusal.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::hint);
    let message = match hint {
        Some(hint) => shown(&format!("{} ({hint})", refusal.message())),
        None => shown(refusal.message()),
    };
    let code = refusal.code().map(|code| code.into_owned()).unwrap_or_default();
    of_code(&code, message, timeout)
}

/// What a code of the database means.
///
/// # Source
/// PostgreSQL, appendix A, error codes.
fn of_code(code: &str, message: String, timeout: Duration) -> ReadError {
    match code {
        "42501" => ReadError::Denied(message),
        // By the time limit, or by somebody who took the query for a nuisance.
        "57014" => ReadError::TimedOut(timeout),
        // Shut down, crashed, starting up; too many connections; a conflict with replication; a deadlock.
        "57P01" | "57P02" | "57P03" | "53300" | "40001" | "40P01" => ReadError::Lost(message),
        _ if code.starts_with("08") => ReadError::Lost(message),
        _ if code.starts_with("28") => ReadError::Unauthorized(message),
        _ => ReadError::Refused(message),
    }
}

/// Returns text from outside, safe to print and of bounded length.
pub(super) fn shown(text: &str) -> String {
    let printable = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.trim().chars().take(DETAIL_LETTERS_MAX).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_database_and_no_secret_where_it_would_be_printed() {
        let problem = |url: &str| parse_url(url).err().unwrap_or_else(|| "ok".to_owned());
        assert_eq!(problem("postgres://me:pw@db.example:5433/app?sslmode=verify-full"), "ok");
        assert_eq!(problem("mysql://db/app"), "an address begins with postgres://");
        assert!(problem("db.example").starts_with("this is no address"));
        let refused = problem("postgres://me@db/app?password=hunter2");
        assert!(refused.starts_with("write the password before") && !refused.contains("hunter2"));
        let refused = problem("postgres://me@db/app?sslmod=hunter2");
        assert!(refused.starts_with("unknown key `sslmod`") && !refused.contains("hunter2"));
        let refused = problem("postgres://me@db/app?sslmode=maybe");
        assert!(refused.starts_with("the address cannot be used"), "{refused}");
    }

    #[test]
    fn an_address_of_another_machine_needs_tls() {
        let is_open = |url: &str| is_open_to_eavesdroppers(url).expect("an address");
        assert!(is_open("postgres://me:pw@db.example/app"));
        assert!(is_open("postgres://me:pw@db.example/app?sslmode=prefer"));
        assert!(!is_open("postgres://me:pw@db.example/app?sslmode=verify-full"));
        assert!(!is_open("postgres://me:pw@127.0.0.1/app"));
        assert!(!is_open("postgres://me@x/app?host=/run/postgresql"));
    }

    #[test]
    fn codes_tell_what_may_pass_from_what_will_not() {
        let of = |code: &str| of_code(code, "m".to_owned(), Duration::from_secs(1));
        assert!(of("57P01").is_passing() && of("08006").is_passing() && of("40001").is_passing());
        assert_eq!(of("42501"), ReadError::Denied("m".to_owned()));
        assert_eq!(of("57014"), ReadError::TimedOut(Duration::from_secs(1)));
        assert_eq!(of("28P01"), ReadError::Unauthorized("m".to_owned()));
        assert_eq!(of("42P01"), ReadError::Refused("m".to_owned()));
    }
}
