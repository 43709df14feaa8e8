//! What SQLite and PostgreSQL want said differently. Everything else in the catalog is one text for both.

use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe, Executor, SqlSafeStr, migrate::Migration};

/// How long a write waits while other processes write, by the settings below.
pub(super) const TURN_WAIT_MAX: Duration = Duration::from_secs(30);

/// The database under a catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// Begins a writing transaction.
    pub(super) fn begin(self) -> &'static str {
        match self {
            // IMMEDIATE: a transaction that reads first and writes later must not fail on its first write.
            Self::Sqlite => "BEGIN IMMEDIATE",
            // Each statement sees what was committed before it, and after the turn was taken that is everything.
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        }
    }

    /// Waits until no other transaction writes. The number is ours alone within the database; the end of the
    /// transaction, also that of a killed process, gives the turn back.
    pub(super) fn take_turn(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_advisory_xact_lock(4705121903217461107)"),
        }
    }

    /// Asks for the time in microseconds since 1970.
    pub(super) fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
            Self::Postgres => "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        }
    }

    /// Makes settings that the database forgets with each connection.
    pub(super) async fn prepare(self, connection: &mut AnyConnection, read_only: bool) -> Result<(), sqlx::Error> {
        for setting in self.settings(read_only) {
            connection.execute(*setting).await?;
        }
        Ok(())
    }

    fn settings(self, read_only: bool) -> &'static [&'static str] {
        match (self, read_only) {
            (Self::Sqlite, true) => {
                &["PRAGMA busy_timeout = 30000", "PRAGMA foreign_keys = ON", "PRAGMA query_only = ON"]
            }
            // FULL: a commit that was answered survives the loss of power, not only of the process.
            (Self::Sqlite, false) => &[
                "PRAGMA busy_timeout = 30000",
                "PRAGMA foreign_keys = ON",
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = FULL",
            ],
            (Self::Postgres, true) => &["SET application_name = 'apportion'", "SET default_transaction_read_only = on"],
            // A process that was stopped half way through a write loses its turn, so that others go on. A commit that
            // was answered survives the loss of power, whatever the server's default says.
            (Self::Postgres, false) => &[
                "SET application_name = 'apportion'",
                "SET idle_in_transaction_session_timeout = '10s'",
                "SET lock_timeout = '30s'",
                "SELECT set_config('synchronous_commit', 'on', false) \
                 WHERE current_setting('synchronous_commit') = 'off'",
            ],
        }
    }

    /// Returns a migration as this database takes it. Texts are ordered byte by byte everywhere: SQLite does so by
    /// itself, PostgreSQL asks for it per column, because its default is a language's order.
    pub(super) fn migration(self, written: &Migration) -> Migration {
        match self {
            Self::Sqlite => written.clone(),
            Self::Postgres => {
                let sql = bytewise(written.sql.as_str());
                // The checksum stays that of the file, so that a migration is the same one in both databases.
                Migration { sql: AssertSqlSafe(sql).into_sql_str(), ..written.clone() }
            }
        }
    }
}

/// The statements with every column of text ordered by bytes.
fn bytewise(sql: &str) -> String {
    sql.split_inclusive('\n').map(bytewise_line).collect()
}

fn bytewise_line(line: &str) -> String {
    let (code, comment) = line.split_at(line.find("--").unwrap_or(line.len()));
    let is_word = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    let mut text = String::with_capacity(line.len());
    let mut rest = code;
    while let Some(at) = rest.find("TEXT") {
        let (before, after) = (&rest[..at], &rest[at + 4..]);
        text.push_str(before);
        text.push_str("TEXT");
        if !is_word(before.chars().next_back()) && !is_word(after.chars().next()) {
            text.push_str(" COLLATE \"C\"");
        }
        rest = after;
    }
    text + rest + comment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_wait_for_their_turn_as_long_as_leases_reckon_with() {
        let check = |dialect: Dialect, expected: String| {
            let settings = dialect.settings(false);
            assert!(settings.contains(&expected.as_str()), "{dialect:?}: {settings:?}");
        };
        check(Dialect::Sqlite, format!("PRAGMA busy_timeout = {}", TURN_WAIT_MAX.as_millis()));
        check(Dialect::Postgres, format!("SET lock_timeout = '{}s'", TURN_WAIT_MAX.as_secs()));
    }

    #[test]
    fn columns_of_text_are_ordered_by_bytes_and_nothing_else_changes() {
        let written =
            "CREATE TABLE t (\n    id TEXT NOT NULL PRIMARY KEY, -- a TEXT\n    n BIGINT, CONTEXT_x TEXT\n);\n";
        let expected = "CREATE TABLE t (\n    id TEXT COLLATE \"C\" NOT NULL PRIMARY KEY, -- a TEXT\n    n BIGINT, \
                        CONTEXT_x TEXT COLLATE \"C\"\n);\n";
        assert_eq!(bytewise(written), expected);
    }
}
