use domain::snapshot::SnapshotKind;
use std::collections::BTreeSet;
use std::fmt;

/// A parameter of a query, written `:name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Param {
    /// When the counted day begins.
    From,
    /// When it ends.
    To,
    /// Id of the workspace.
    Workspace,
}

impl Param {
    const ALL: [Self; 3] = [Self::From, Self::To, Self::Workspace];

    /// The name behind the colon.
    const fn name(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
            Self::Workspace => "workspace",
        }
    }

    /// The SQL type that its text is read as.
    const fn sql_type(self) -> &'static str {
        match self {
            Self::From | Self::To => "timestamptz",
            Self::Workspace => "text",
        }
    }
}

/// One SELECT of the configuration, ready to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    text: String,
    params: Vec<Param>,
    names: BTreeSet<String>,
}

impl Query {
    /// Returns the query with `$1`, `$2` … in place of its parameters.
    ///
    /// # Errors
    /// A sentence that says what cannot be sent: another parameter, several statements, something that does not end.
    pub fn read(sql: &str) -> Result<Self, String> {
        let sql = sql.trim().trim_end_matches(|letter: char| letter == ';' || letter.is_whitespace());
        if sql.is_empty() {
            return Err("the query is empty".to_owned());
        }
        let mut scan = Scan { rest: sql, depth: 0, query: Self::default() };
        while let Some(first) = scan.rest.chars().next() {
            scan.take(first)?;
        }
        if scan.depth != 0 {
            return Err("the parentheses do not match".to_owned());
        }
        Ok(scan.query)
    }

    /// Returns what `$1`, `$2` … stand for.
    #[must_use]
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Returns whether the query names the parameter.
    #[must_use]
    pub fn has(&self, param: Param) -> bool {
        self.params.contains(&param)
    }

    /// Returns every word and quoted name outside strings and comments, as PostgreSQL folds them.
    #[must_use]
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }
}

impl fmt::Display for Query {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// A metric and how it is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricQuery {
    /// Its name, which is that of its meter.
    pub name: String,
    /// Whether it counts a day or is a level.
    pub kind: SnapshotKind,
    /// Its one value.
    pub query: Query,
}

impl MetricQuery {
    /// Returns the metric of this name.
    ///
    /// # Errors
    /// A sentence; also if the query does not say which day it counts, or a level asks for a day.
    pub fn read(name: &str, sql: &str) -> Result<Self, String> {
        let (kind, query) = (SnapshotKind::of_metric(name), Query::read(sql)?);
        let (from, to) = (query.has(Param::From), query.has(Param::To));
        match kind {
            SnapshotKind::Delta24h if !(from && to) => {
                Err("it counts a day, as `_24h` says: the query must name both :from and :to".to_owned())
            }
            SnapshotKind::Gauge if from || to => {
                Err("it is a level at the time of reading: leave :from and :to out, or let its name end with `_24h`"
                    .to_owned())
            }
            SnapshotKind::Delta24h | SnapshotKind::Gauge => Ok(Self { name: name.to_owned(), kind, query }),
        }
    }

    /// Returns the statement that answers its value as text, in at most two rows, so that a second one is noticed.
    #[must_use]
    pub fn statement(&self) -> String {
        // The line break ends a comment of the query's last line.
        format!("SELECT value::text FROM ({}\n) AS measured (value) LIMIT 2", self.query)
    }
}

struct Scan<'a> {
    rest: &'a str,
    depth: usize,
    query: Query,
}

impl Scan<'_> {
    fn take(&mut self, first: char) -> Result<(), String> {
        let rest = self.rest;
        match first {
            '\'' => self.copy(quoted(rest, '\'', false)?),
            '"' => {
                let length = quoted(rest, '"', false)?;
                self.query.names.insert(rest[1..length - 1].replace("\"\"", "\""));
                self.copy(length);
            }
            '-' if rest.starts_with("--") => self.copy(rest.find(['\n', '\r']).unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => self.copy(comment(rest)?),
            '$' => self.copy(dollar_quoted(rest)?),
            ':' => self.colon()?,
            ';' => return Err("write one statement, without `;`".to_owned()),
            '(' => {
                self.depth += 1;
                self.copy(1);
            }
            ')' => {
                self.depth = self.depth.checked_sub(1).ok_or("the parentheses do not match")?;
                self.copy(1);
            }
            letter if starts_word(letter) => self.word()?,
            other => self.copy(other.len_utf8()),
        }
        Ok(())
    }

    fn copy(&mut self, length: usize) {
        let (copied, rest) = self.rest.split_at(length);
        self.query.text.push_str(copied);
        self.rest = rest;
    }

    fn word(&mut self) -> Result<(), String> {
        let rest = self.rest;
        let length = word_length(rest);
        let (word, after) = rest.split_at(length);
        // E'…' is a string with escapes.
        if word.eq_ignore_ascii_case("e") && after.starts_with('\'') {
            let string = quoted(after, '\'', true)?;
            self.copy(length + string);
            return Ok(());
        }
        self.query.names.insert(word.to_lowercase());
        self.copy(length);
        Ok(())
    }

    /// A parameter, or a colon that belongs to SQL.
    fn colon(&mut self) -> Result<(), String> {
        let rest = self.rest;
        let after = &rest[1..];
        if after.starts_with(':') {
            self.copy(2);
            return Ok(());
        }
        let length = if after.starts_with(starts_word) { word_length(after) } else { 0 };
        if length == 0 {
            self.copy(1);
            return Ok(());
        }
        let name = &after[..length];
        let param = Param::ALL.into_iter().find(|param| param.name() == name);
        let param = param.ok_or_else(|| format!("unknown parameter `:{name}`; known are :from, :to and :workspace"))?;
        let params = &mut self.query.params;
        let at = params.iter().position(|known| *known == param).unwrap_or_else(|| {
            params.push(param);
            params.len() - 1
        });
        self.query.text.push_str(&format!("${}::{}", at + 1, param.sql_type()));
        self.rest = &after[length..];
        Ok(())
    }
}

fn starts_word(letter: char) -> bool {
    letter.is_alphabetic() || letter == '_'
}

fn word_length(text: &str) -> usize {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
    text.find(|letter| !is_part(letter)).unwrap_or(text.len())
}

/// The length of the quoted text that `text` begins with, quotes included.
fn quoted(text: &str, quote: char, escapes: bool) -> Result<usize, String> {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if escapes && letter == '\\' {
            letters.next();
        } else if letter == quote && letters.next_if(|(_, next)| *next == quote).is_none() {
            return Ok(at + quote.len_utf8());
        }
    }
    Err(format!("a {quote} is not closed"))
}

/// The length of the comment that `text` begins with; comments nest.
fn comment(text: &str) -> Result<usize, String> {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(letter) = text[at..].chars().next() {
        if text[at..].starts_with("/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if text[at..].starts_with("*/") {
            (at, depth) = (at + 2, depth - 1);
            if depth == 0 {
                return Ok(at);
            }
        } else {
            at += letter.len_utf8();
        }
    }
    Err("a comment is not closed".to_owned())
}

/// The length of `$tag$…$tag$`.
fn dollar_quoted(text: &str) -> Result<usize, String> {
    let tag = text[1..].find('$').map(|end| &text[..end + 2]);
    let is_tag = |tag: &&str| {
        let name = &tag[1..tag.len() - 1];
        name.is_empty() || (name.starts_with(starts_word) && word_length(name) == name.len())
    };
    let Some(tag) = tag.filter(is_tag) else {
        return Err("write parameters as :from, :to and :workspace, not as $1".to_owned());
    };
    let end = text[tag.len()..].find(tag).ok_or_else(|| format!("a {tag} is not closed"))?;
    Ok(tag.len() + end + tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expected: &str) {
        let found = Query::read(sql).map_or_else(|problem| format!("refused: {problem}"), |query| query.to_string());
        assert_eq!(found, expected, "{sql}");
    }

    #[test]
    fn parameters_are_numbered_by_their_first_use() {
        check("SELECT 1 ; ", "SELECT 1");
        check(
            "a >= :from AND a < :to AND b > :from AND w = :workspace::uuid",
            "a >= $1::timestamptz AND a < $2::timestamptz AND b > $1::timestamptz AND w = $3::text::uuid",
        );
        let query = Query::read("SELECT :workspace, :to").expect("valid");
        assert_eq!(query.params(), [Param::Workspace, Param::To]);
        check("SELECT :day", "refused: unknown parameter `:day`; known are :from, :to and :workspace");
        check("SELECT $1", "refused: write parameters as :from, :to and :workspace, not as $1");
    }

    #[test]
    fn what_looks_like_a_parameter_in_strings_names_and_comments_is_none() {
        for same in [
            "SELECT '12:00 :from ''x'' $1'",
            "SELECT E'it\\'s :from'",
            "SELECT \":from\" -- :x ; $1",
            "SELECT /* :x /* ; */ $1 */ a::text, b[1:2]",
            "SELECT $$ :from ; $$, $a$ $$ :x $a$",
        ] {
            check(same, same);
        }
    }

    #[test]
    fn a_query_cannot_leave_the_place_in_which_it_is_put() {
        check("SELECT 1) AS a; DROP TABLE b", "refused: the parentheses do not match");
        check("SELECT (1", "refused: the parentheses do not match");
        check("SELECT 1; DROP TABLE b", "refused: write one statement, without `;`");
        check("SELECT 1 -- a\r; DROP TABLE b", "refused: write one statement, without `;`");
        check("SELECT 'a", "refused: a ' is not closed");
        check("SELECT \"a", "refused: a \" is not closed");
        check("SELECT /* a", "refused: a comment is not closed");
        check("SELECT $x$ a $$", "refused: a $x$ is not closed");
        check(" ; ", "refused: the query is empty");
        let metric = MetricQuery::read("member_count", "SELECT 1 -- why").expect("valid");
        assert_eq!(metric.statement(), "SELECT value::text FROM (SELECT 1 -- why\n) AS measured (value) LIMIT 2");
    }

    #[test]
    fn names_are_folded_as_postgresql_folds_them() {
        let query = Query::read("SELECT Count(*) FROM app.\"My \"\"Docs\" d, 'x' -- z").expect("valid");
        let names: Vec<&str> = query.names().iter().map(String::as_str).collect();
        assert_eq!(names, ["My \"Docs", "app", "count", "d", "from", "select"]);
    }

    #[test]
    fn counters_name_their_day_and_levels_none() {
        let kind = |name: &str, sql: &str| MetricQuery::read(name, sql).map(|metric| metric.kind);
        assert_eq!(kind("logins_24h", "SELECT :from, :to"), Ok(SnapshotKind::Delta24h));
        assert_eq!(kind("storage_bytes", "SELECT 1"), Ok(SnapshotKind::Gauge));
        assert!(kind("logins_24h", "SELECT :from").is_err());
        assert!(kind("member_count", "SELECT 1 WHERE now() < :to").is_err());
    }
}
