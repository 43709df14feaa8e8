use super::source::Workspace;
use domain::{Day, Instant, TenantId, TenantScope};
use storage::catalog::{ALWAYS, Catalog, CatalogError, NewTenantFact, TenantFactRow, fact_on};

/// Who entered facts that come from an application.
const ENTERED_BY: &str = "import";

/// Enters what an application says of its workspaces; whatever it leaves open, and everything else, stays as it is.
///
/// A workspace that nobody knows becomes a tenant, known for every day. What changed since holds from `today` on, so a
/// renamed workspace keeps its old name on older days. `today` is absent when a past day is measured again: the list is
/// one of today and says nothing of that day.
///
/// # Errors
/// When the catalog fails.
pub(super) async fn enter(
    catalog: &Catalog,
    day: Day,
    today: Option<Day>,
    listed: &[Workspace],
    reject_unknown: bool,
    now: Instant,
) -> Result<(), CatalogError> {
    let book = catalog.tenant_book_all_tenants(i64::MAX).await?;
    let mut entered = Vec::new();
    for workspace in listed.iter().filter(|workspace| workspace.id.parse::<TenantId>().is_ok()) {
        let id = workspace.id.as_str();
        if !book.knows(id) {
            let is_alias = book.knows(&book.resolve(id, day));
            if !is_alias && !reject_unknown {
                entered.push(fact_of(workspace, NewTenantFact::system(id)));
            }
            continue;
        }
        let Some(today) = today else { continue };
        let known = book.fact(id, today);
        let differs = |said: &Option<String>, known: Option<&str>| said.is_some() && said.as_deref() != known;
        let is_news = differs(&workspace.slug, known.and_then(|fact| fact.slug.as_deref()))
            || differs(&workspace.name, known.and_then(|fact| fact.name.as_deref()))
            || differs(&workspace.plan, known.and_then(|fact| fact.plan.as_deref()));
        if is_news {
            let facts = catalog.facts_of_tenant(&TenantScope::All, id, i64::MAX).await?;
            entered.push(fact_of(workspace, next_fact(&facts, id, today)));
        }
    }
    catalog.enter_tenant_facts(&entered, now.micros()).await
}

fn fact_of(workspace: &Workspace, before: NewTenantFact) -> NewTenantFact {
    NewTenantFact {
        slug: workspace.slug.clone().or(before.slug),
        name: workspace.name.clone().or(before.name),
        plan: workspace.plan.clone().or(before.plan),
        entered_by: ENTERED_BY.to_owned(),
        ..before
    }
}

/// The fact that holds today as one that begins today and ends before what is entered for later.
fn next_fact(facts: &[TenantFactRow], id: &str, today: Day) -> NewTenantFact {
    let day = today.to_string();
    let later = facts.iter().map(|fact| fact.valid_from.as_str()).filter(|from| day.as_str() < *from).min();
    let before_later = later.and_then(|from| from.parse::<Day>().ok()).map(|from| from.plus(-1).to_string());
    let Some(known) = fact_on(facts, &day) else {
        return NewTenantFact { valid_from: day, valid_to: before_later, ..NewTenantFact::system(id) };
    };
    // What the system noted when it met the id says nothing, on any day.
    if facts.iter().all(|fact| fact.entered_by == "system") {
        return NewTenantFact { valid_from: ALWAYS.to_owned(), ..known.to_new() };
    }
    let valid_to = match (known.valid_to.clone(), before_later) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    NewTenantFact { valid_from: day, valid_to, ..known.to_new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_micros(1_800_000_000_000_000);

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    fn workspace(id: &str, slug: Option<&str>, plan: Option<&str>) -> Workspace {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Workspace { id: id.to_owned(), slug: text(slug), name: None, plan: text(plan) }
    }

    async fn catalog(folder: &tempfile::TempDir) -> Catalog {
        Catalog::open(&folder.path().join("catalog.db")).await.expect("a catalog")
    }

    async fn says(catalog: &Catalog, tenant: &str, on: &str) -> (Option<String>, Option<String>) {
        let book = catalog.tenant_book_all_tenants(i64::MAX).await.expect("a book");
        let fact = book.fact(tenant, day(on)).expect("a fact");
        (fact.slug.as_deref().map(str::to_owned), fact.plan.as_deref().map(str::to_owned))
    }

    fn both(slug: &str, plan: &str) -> (Option<String>, Option<String>) {
        (Some(slug.to_owned()), Some(plan.to_owned()))
    }

    #[tokio::test]
    async fn a_renamed_workspace_keeps_its_old_name_on_older_days() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = catalog(&folder).await;
        let (first, later) = (day("2026-11-20"), day("2026-11-25"));
        let listed = [workspace("acme", Some("acme"), Some("team"))];
        enter(&catalog, first, Some(first), &listed, false, NOW).await.expect("entered");
        let renamed = [workspace("acme", Some("acme-inc"), None)];
        enter(&catalog, later, Some(later), &renamed, false, NOW).await.expect("entered");
        enter(&catalog, later, Some(later), &renamed, false, NOW).await.expect("nothing to enter");

        assert_eq!(says(&catalog, "acme", "2026-11-01").await, both("acme", "team"));
        assert_eq!(says(&catalog, "acme", "2026-11-24").await, both("acme", "team"));
        assert_eq!(says(&catalog, "acme", "2026-11-25").await, both("acme-inc", "team"), "NULL leaves it as it is");
        let facts = catalog.facts_of_tenant(&TenantScope::All, "acme", i64::MAX).await.expect("facts");
        assert_eq!(facts.len(), 2);
    }

    #[tokio::test]
    async fn what_was_entered_for_later_stays_and_a_past_day_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = catalog(&folder).await;
        let today = day("2026-11-20");
        let planned = NewTenantFact {
            valid_from: "2026-12-01".to_owned(),
            plan: Some("enterprise".to_owned()),
            slug: Some("acme".to_owned()),
            entered_by: "put".to_owned(),
            ..NewTenantFact::system("acme")
        };
        catalog.put_tenant(&planned, &[], 1).await.expect("entered");
        let listed = [workspace("acme", Some("acme"), Some("team")), workspace("new", Some("new"), Some("free"))];
        enter(&catalog, today.plus(-9), None, &listed, false, NOW).await.expect("entered");
        assert_eq!(says(&catalog, "new", "2026-11-01").await, both("new", "free"), "it is known for every day");
        enter(&catalog, today, Some(today), &listed, false, NOW).await.expect("entered");

        assert_eq!(says(&catalog, "acme", "2026-11-30").await, both("acme", "team"));
        assert_eq!(says(&catalog, "acme", "2026-12-01").await, both("acme", "enterprise"));
    }

    #[tokio::test]
    async fn a_tenant_that_only_events_named_gets_its_name_for_every_day_and_unknown_ones_may_be_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = catalog(&folder).await;
        let today = day("2026-11-20");
        catalog.ensure_tenants(&["acme".to_owned()], 1).await.expect("entered");
        let listed = [workspace("acme", Some("acme"), Some("team")), workspace("new", Some("new"), None)];
        enter(&catalog, today, Some(today), &listed, true, NOW).await.expect("entered");
        assert_eq!(says(&catalog, "acme", "2026-01-01").await, both("acme", "team"));
        assert!(!catalog.tenant_book_all_tenants(i64::MAX).await.expect("a book").knows("new"));
    }
}
