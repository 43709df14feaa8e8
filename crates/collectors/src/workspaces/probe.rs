//! Refuses to measure where rows of other workspaces would be counted, and says why.
//!
//! Two ways that do not depend on each other. The catalog of the database tells who escapes its policies: a role, a
//! view, a function, a table without any. And every metric is asked for a workspace that does not exist, over the same day
//! as everybody's: whatever it finds then belongs to somebody else.

use super::error::{MeasureError, ReadError};
use super::query::{MetricQuery, Param};
use super::session::{Session, shown, text, truth};
use super::source::{PostgresSource, Workspace, quantity};
use domain::{InstantRange, Quantity};
use std::collections::BTreeSet;

const DOING: &str = "looking for ways around row-level security";

const ROLE: &str = "SELECT rolname::text, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user";

/// Whether a policy or a function reads the setting, and which ones policies read.
const VARIABLE: &str = r"
SELECT EXISTS (
        SELECT FROM pg_policy WHERE position(lower($1) IN lower(coalesce(pg_get_expr(polqual, polrelid), ''))) > 0
    ) OR EXISTS (
        SELECT FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.prokind IN ('f', 'p') AND l.lanname NOT IN ('c', 'internal')
            AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
            AND position(lower($1) IN lower(pg_get_functiondef(p.oid))) > 0
    ),
    (SELECT string_agg(DISTINCT found[1], ', ') FROM pg_policy,
        regexp_matches(coalesce(pg_get_expr(polqual, polrelid), ''), 'current_setting\(''([^'']+)''', 'g') AS found)";

/// The tables that the names of a query lead to, each with the view before it and the role whose policies apply there:
/// table, view, role, has policies, role escapes them, view is a stored copy.
const TABLES: &str = r"
WITH RECURSIVE paths (relation, reader, viewed_by, depth) AS (
    SELECT c.oid, r.oid, NULL::oid, 0
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.rolname = current_user
    WHERE c.relname = ANY (string_to_array($1, E'\n')) AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
        AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
        AND has_schema_privilege(n.oid, 'USAGE')
        AND (has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'))
    UNION
    SELECT d.refobjid,
        CASE WHEN 'security_invoker=true' = ANY (v.reloptions) OR 'security_invoker=on' = ANY (v.reloptions)
            THEN p.reader ELSE v.relowner END,
        v.oid, p.depth + 1
    FROM paths p JOIN pg_class v ON v.oid = p.relation AND v.relkind IN ('v', 'm')
        JOIN pg_rewrite w ON w.ev_class = v.oid
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
    WHERE d.refobjid <> v.oid AND p.depth < 32
)
SELECT c.oid::regclass::text, v.oid::regclass::text, r.rolname::text, c.relrowsecurity,
    c.relrowsecurity AND (r.rolsuper OR r.rolbypassrls
        OR (NOT c.relforcerowsecurity AND pg_has_role(r.oid, c.relowner, 'USAGE'))),
    coalesce(v.relkind = 'm', false)
FROM paths p JOIN pg_class c ON c.oid = p.relation JOIN pg_roles r ON r.oid = p.reader
    LEFT JOIN pg_class v ON v.oid = p.viewed_by
WHERE c.relkind IN ('r', 'p', 'f')
ORDER BY 2 NULLS FIRST, 1";

/// Functions of these names that run with the rights of a role that escapes policies.
const FUNCTIONS: &str = r"
SELECT p.oid::regprocedure::text, r.rolname::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles r ON r.oid = p.proowner
WHERE p.proname = ANY (string_to_array($1, E'\n')) AND p.prosecdef AND has_function_privilege(p.oid, 'EXECUTE')
    AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
    AND (r.rolsuper OR r.rolbypassrls OR EXISTS (SELECT FROM pg_class c WHERE c.relrowsecurity
        AND NOT c.relforcerowsecurity AND c.relkind IN ('r', 'p') AND pg_has_role(r.oid, c.relowner, 'USAGE')))
ORDER BY 1";

/// Refuses a source whose metrics would count rows of other workspaces.
///
/// # Errors
/// [`MeasureError::Unsafe`] with the reason, or what the database says.
pub(super) async fn refuse_foreign_rows(
    source: &PostgresSource,
    session: &mut Session,
    metrics: &[&MetricQuery],
    listed: &[Workspace],
    counted: InstantRange,
) -> Result<(), MeasureError> {
    let reason = why(source, session, metrics).await.map_err(MeasureError::read(DOING))?;
    if let Some(reason) = reason {
        return Err(MeasureError::Unsafe(reason));
    }
    ask_for_nobody(source, session, metrics, listed, counted).await
}

/// What the database's catalog knows of ways around its policies.
async fn why(
    source: &PostgresSource,
    session: &mut Session,
    metrics: &[&MetricQuery],
) -> Result<Option<String>, ReadError> {
    session.begin().await?;
    if let Some(reason) = why_role(session).await? {
        return Ok(Some(reason));
    }
    if let Some(reason) = why_variable(session, &source.rls_variable).await? {
        return Ok(Some(reason));
    }
    for metric in metrics {
        if let Some(reason) = why_metric(session, metric).await? {
            return Ok(Some(format!("metric {}: {reason}", metric.name)));
        }
    }
    session.end().await?;
    Ok(None)
}

async fn why_role(session: &mut Session) -> Result<Option<String>, ReadError> {
    let rows = session.ask(ROLE, &[]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let role = shown(&text(row, 0)?.unwrap_or_default());
    Ok(match (truth(row, 1)?, truth(row, 2)?) {
        (true, _) => Some(format!("the role {role} is a superuser, to whom no policy applies; use another role")),
        (_, true) => Some(format!("the role {role} has BYPASSRLS, so no policy applies to it; use another role")),
        (false, false) => None,
    })
}

async fn why_variable(session: &mut Session, variable: &str) -> Result<Option<String>, ReadError> {
    let rows = session.ask(VARIABLE, &[variable]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    if truth(row, 0)? {
        return Ok(None);
    }
    let read = match text(row, 1)? {
        Some(read) => format!("policies read {}", shown(&read)),
        None => "there is no policy that reads a setting".to_owned(),
    };
    Ok(Some(format!("no policy and no function reads `{variable}`, so it selects no workspace; {read}")))
}

async fn why_metric(session: &mut Session, metric: &MetricQuery) -> Result<Option<String>, ReadError> {
    let names: Vec<&str> = metric.query.names().iter().map(String::as_str).collect();
    let names = names.join("\n");
    // A query that picks the workspace itself may do without policies; it is still asked for nobody.
    let picks = metric.query.has(Param::Workspace);
    let (mut without, mut with) = (None, false);
    for row in &session.ask(TABLES, &[&names]).await? {
        let table = text(row, 0)?.unwrap_or_default();
        let (view, role) = (text(row, 1)?, text(row, 2)?.unwrap_or_default());
        let (has_policies, escapes, is_copy) = (truth(row, 3)?, truth(row, 4)?, truth(row, 5)?);
        match view {
            None if escapes => {
                return Ok(Some(format!(
                    "the role {role} owns {table}, or is a member of its owner, so its policies do not apply; use another \
                     role, or ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
                )));
            }
            Some(view) if is_copy && has_policies && !picks => {
                return Ok(Some(format!("the materialized view {view} holds rows of {table} of all workspaces")));
            }
            Some(view) if escapes && !picks => {
                return Ok(Some(format!(
                    "the view {view} reads {table} with the rights of {role}, to whom its policies do not apply; ALTER VIEW \
                     {view} SET (security_invoker = true), or give it another owner"
                )));
            }
            None | Some(_) => {}
        }
        with |= has_policies;
        without = without.or(Some(table).filter(|_| !has_policies));
    }
    if let (Some(table), false, false) = (without, with, picks) {
        return Ok(Some(format!("{table} has no row-level security, so every workspace would count all of it")));
    }
    let functions = session.ask(FUNCTIONS, &[&names]).await?;
    let Some(row) = functions.first().filter(|_| !picks) else { return Ok(None) };
    let (function, role) = (text(row, 0)?.unwrap_or_default(), text(row, 1)?.unwrap_or_default());
    Ok(Some(format!(
        "the function {function} runs with the rights of {role} (SECURITY DEFINER), to whom policies do not apply; make it \
         SECURITY INVOKER, or give it another owner"
    )))
}

/// Asks every metric for a workspace that does not exist.
async fn ask_for_nobody(
    source: &PostgresSource,
    session: &mut Session,
    metrics: &[&MetricQuery],
    listed: &[Workspace],
    counted: InstantRange,
) -> Result<(), MeasureError> {
    let Some(nobody) = nobody(listed) else { return Ok(()) };
    let variable = source.rls_variable.as_str();
    session.begin_for(variable, &nobody).await.map_err(MeasureError::read(DOING))?;
    for metric in metrics {
        let doing = || format!("asking metric {} for a workspace that does not exist", metric.name);
        session.mark().await.map_err(MeasureError::read(doing()))?;
        match quantity(session, metric, counted, &nobody).await {
            Ok(found) if found == Quantity::default() => {}
            Ok(found) => {
                return Err(MeasureError::Unsafe(format!(
                    "metric {} finds {found} for a workspace that does not exist, so it counts rows of others; policies \
                     must compare with current_setting('{variable}'), and nothing may pass around them",
                    metric.name
                )));
            }
            // Who may not read sees nothing; whether that is an error of the workspace is decided there.
            Err(ReadError::Denied(_)) => session.back_to_mark().await.map_err(MeasureError::read(doing()))?,
            Err(error) => return Err(MeasureError::Read { doing: doing(), error }),
        }
    }
    session.end_for(variable, &nobody).await.map_err(MeasureError::read(DOING))
}

/// An id that no workspace has, of the kind that the others have, so that policies can read it; none without others.
fn nobody(listed: &[Workspace]) -> Option<String> {
    /// Last group of the id that nobody has; the groups before it are always the same.
    const NOBODY_NODE: u64 = 0x3b6c_0d9e_1a42;
    const NOBODY: &str = "apportion-nobody";
    listed.first()?;
    let taken: BTreeSet<String> = listed.iter().map(|workspace| workspace.id.to_ascii_lowercase()).collect();
    let is_free = |id: &String| !taken.contains(id);
    let all = |is: fn(&str) -> bool| listed.iter().all(|workspace| is(&workspace.id));
    if all(is_uuid) {
        (NOBODY_NODE..).map(|node| format!("5d1ab2c7-90e4-4f7a-8f5e-{node:012x}")).find(is_free)
    } else if all(|id| id.parse::<i64>().is_ok()) {
        // Below every id if there is room, and small enough for whatever number the ids are stored as.
        let lowest = listed.iter().filter_map(|workspace| workspace.id.parse::<i64>().ok()).min().unwrap_or_default();
        (lowest.min(0).saturating_sub(1)..).map(|id| id.to_string()).find(is_free)
    } else {
        // An application may let people choose ids, this one among them.
        let others = (2_u64..).map(|number| format!("{NOBODY}-{number}"));
        std::iter::once(NOBODY.to_owned()).chain(others).find(is_free)
    }
}

fn is_uuid(text: &str) -> bool {
    let is_part = |(at, letter): (usize, u8)| match at {
        8 | 13 | 18 | 23 => letter == b'-',
        _ => letter.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_an_id_of_the_same_kind() {
        let nobody = |ids: &[&str]| {
            let listed = ids.iter().map(|id| Workspace { id: (*id).to_owned(), slug: None, name: None, plan: None });
            nobody(&listed.collect::<Vec<_>>())
        };
        let uuid = "b0d4ce5d-2757-4699-948c-cfa72ba94f86";
        assert_eq!(nobody(&[uuid]).as_deref(), Some("5d1ab2c7-90e4-4f7a-8f5e-3b6c0d9e1a42"));
        assert_eq!(nobody(&["1", "200"]).as_deref(), Some("-1"));
        assert_eq!(nobody(&["-1", "200"]).as_deref(), Some("-2"));
        assert_eq!(nobody(&["1", "acme", uuid]).as_deref(), Some("apportion-nobody"));
        assert_eq!(nobody(&[]), None);
    }

    #[test]
    fn nobody_is_found_even_where_somebody_has_the_usual_id() {
        let nobody = |ids: &[&str]| {
            let listed = ids.iter().map(|id| Workspace { id: (*id).to_owned(), slug: None, name: None, plan: None });
            nobody(&listed.collect::<Vec<_>>())
        };
        assert_eq!(nobody(&["acme", "apportion-nobody"]).as_deref(), Some("apportion-nobody-2"));
        let usual = "5D1AB2C7-90e4-4f7a-8f5e-3b6c0d9e1a42";
        assert_eq!(nobody(&[usual]).as_deref(), Some("5d1ab2c7-90e4-4f7a-8f5e-3b6c0d9e1a43"));
        assert_eq!(nobody(&["1", "-9223372036854775808"]).as_deref(), Some("-9223372036854775807"));
    }
}
