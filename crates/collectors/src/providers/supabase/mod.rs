//! Supabase: requests, disk, databases and add-ons of projects. There is no public endpoint for money: add-ons are rated at
//! the prices that the API lists, day by day, and everything else is quantities.
//!
//! The API tells the present and the last days only. What was read before is kept, and a day that nobody read is taken to
//! have had the add-ons that are selected when the next collection comes.

/// Add-ons: their hours, and the lines that they are rated as.
mod addons;
/// Requests, disk, databases, functions.
mod quantities;

use super::collector::{Collected, Collector, Gigabyte, Kind, ProviderUsage, Spec, Task, as_usual};
use super::credentials::{CredentialSpec, bearer};
use super::error::CollectError;
use super::fetch::{Allowed, Answer, Fetch, Pages, Request};
use super::keys::{is_id, read_keys};
use domain::{Day, Instant, Zone};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const PROJECTS: &str = "/v1/organizations/{}/projects";
const API_COUNTS: &str = "/v1/projects/{}/analytics/endpoints/usage.api-counts";
const FUNCTIONS: &str = "/v1/projects/{}/functions";
const FUNCTION_STATS: &str = "/v1/projects/{}/analytics/endpoints/functions.combined-stats";
const DISK: &str = "/v1/projects/{}/config/disk/util";
const ADDONS: &str = "/v1/projects/{}/billing/addons";
const READ_ONLY: &str = "/v1/projects/{}/database/query/read-only";

/// Projects of a page, the most that there may be, and pages.
const PAGE_ROWS: usize = 100;
const PAGES_MAX: usize = 100;

/// What somebody should look at whose token may do everything.
const CLASSIC_TOKEN: &str =
    "the token is a classic one, which may do everything in the account; replace it by a scoped one that only reads";

/// What is the same for every source of this kind.
pub static SPEC: Spec = Spec {
    name: "supabase",
    provider: "Supabase",
    bases: &["https://api.supabase.com"],
    allowed: &[
        Allowed::get(PROJECTS),
        Allowed::get(API_COUNTS),
        Allowed::get(FUNCTIONS),
        Allowed::get(FUNCTION_STATS),
        Allowed::get(DISK),
        Allowed::get(ADDONS),
        Allowed::post(READ_ONLY),
    ],
    credentials: &[CredentialSpec { key: "token", env: "SUPABASE_ACCESS_TOKEN", is_required: true }],
    gigabyte: Gigabyte::Gb,
    zone: "UTC",
    // What was read of a day is not corrected; one day for the last one of a period.
    final_after_days: 2,
    levels: &["database_bytes", "database_rows", "disk_size_bytes", "disk_used_bytes"],
    reclassify: as_usual,
};

/// The kind `supabase`.
pub const KIND: Kind = Kind { spec: &SPEC, build };

/// Keys of a source of this kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// The organisation's slug: its projects are listed.
    organization: Option<String>,
    /// Refs of the projects; of an organisation all unless some are given.
    #[serde(default)]
    projects: Projects,
    /// Whether add-ons become cost lines.
    #[serde(default = "yes")]
    rate: bool,
    /// Currency of the prices that the API lists.
    #[serde(default = "dollars")]
    currency: String,
    /// Whether databases are asked for their sizes and rows, which needs `database_read`.
    #[serde(default)]
    database: bool,
    /// Whether edge functions are asked for their invocations.
    #[serde(default)]
    functions: bool,
}

/// One ref, or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Projects {
    One(String),
    Many(Vec<String>),
}

impl Default for Projects {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

fn yes() -> bool {
    true
}

fn dollars() -> String {
    "USD".to_owned()
}

fn build(keys: Value) -> Result<Arc<dyn Collector>, String> {
    let keys: Keys = read_keys(keys)?;
    let refs: BTreeSet<String> = match &keys.projects {
        Projects::One(one) => BTreeSet::from([one.clone()]),
        Projects::Many(many) => many.iter().cloned().collect(),
    };
    if keys.organization.is_none() && refs.is_empty() {
        return Err("give `organization`, `projects`, or SUPABASE_PROJECT_REF".to_owned());
    }
    if let Some(bad) = refs.iter().chain(&keys.organization).find(|id| !is_id(id)) {
        return Err(format!("`{}` is neither an organisation's slug nor a project's ref", crate::error::shorten(bad)));
    }
    keys.currency.parse::<domain::Currency>().map_err(|error| format!("`currency`: {error}"))?;
    Ok(Arc::new(Supabase { keys, refs }))
}

/// Reads the projects of one organisation.
struct Supabase {
    keys: Keys,
    refs: BTreeSet<String>,
}

/// A project, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Project {
    id: String,
    name: Option<String>,
    region: Option<String>,
    cloud: Option<String>,
    /// The day on which it was made, if that is known: it costs nothing before.
    made: Option<Day>,
    /// Whether it runs; a paused one costs no compute.
    is_active: bool,
}

/// Quantities by what tells them apart.
type Usage = BTreeMap<(Day, String, BTreeMap<String, String>), ProviderUsage>;

impl Collector for Supabase {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn looks_back(&self) -> bool {
        true
    }

    fn collect<'a>(&'a self, fetch: &'a Fetch, task: &'a Task) -> BoxFuture<'a, Result<Collected, CollectError>> {
        self.collect_all(fetch, task).boxed()
    }
}

impl Supabase {
    async fn collect_all(&self, fetch: &Fetch, task: &Task) -> Result<Collected, CollectError> {
        let Some(closed) = task.period.closed() else { return Ok(Collected::default()) };
        if task.period.is_over() && task.known_usage.is_empty() {
            // Nobody looked while it lasted, and the present tells nothing of it.
            return Ok(Collected::default());
        }
        let is_yesterday = closed.to() == task.period.zone().day_of(fetch.now()).plus(-1);
        let mut usage = Usage::new();
        for known in task.known_usage.iter().filter(|known| closed.contains(known.day)) {
            put(&mut usage, known.clone());
        }
        let projects = self.projects(fetch).await?;
        for project in &projects {
            let selected = addons::selected(fetch, project).await?;
            addons::add_hours(project, &selected, closed, &mut usage);
            if project.is_active {
                quantities::api_requests(fetch, project, closed, &mut usage).await?;
            }
            if project.is_active && is_yesterday {
                self.levels(fetch, project, closed.to(), &mut usage).await?;
            }
        }
        let mut collected = Collected {
            account: self.keys.organization.clone().unwrap_or_else(|| "projects".to_owned()),
            usage_days: Some(closed),
            ..Collected::default()
        };
        if !task.period.is_over() && is_classic(fetch.credentials().get("token")?) {
            collected.warnings.push(CLASSIC_TOKEN.to_owned());
        }
        if self.keys.rate {
            collected.lines = addons::lines(&usage, &projects, &task.period, &self.keys.currency)?;
        }
        collected.usage = usage.into_values().collect();
        Ok(collected)
    }

    /// What the API tells of the present, as of the last day that is over.
    async fn levels(&self, fetch: &Fetch, project: &Project, day: Day, usage: &mut Usage) -> Result<(), CollectError> {
        quantities::disk(fetch, project, day, usage).await?;
        if self.keys.database {
            quantities::database(fetch, project, day, usage).await?;
        }
        if self.keys.functions {
            quantities::functions(fetch, project, day, usage).await?;
        }
        Ok(())
    }

    /// The projects that are read, by ref.
    async fn projects(&self, fetch: &Fetch) -> Result<Vec<Project>, CollectError> {
        let Some(organization) = &self.keys.organization else {
            let project = |id: &String| Project { id: id.clone(), is_active: true, ..Project::default() };
            return Ok(self.refs.iter().map(project).collect());
        };
        let mut found = list(fetch, organization).await?;
        if !self.refs.is_empty() {
            found.retain(|project| self.refs.contains(&project.id));
            if found.len() < self.refs.len() {
                let is_missing = |id: &&String| !found.iter().any(|project| project.id == **id);
                let missing: Vec<&str> = self.refs.iter().filter(is_missing).map(String::as_str).collect();
                return Err(CollectError::schema(format!("the organisation has no project {}", missing.join(", "))));
            }
        }
        found.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(found)
    }
}

#[derive(Deserialize)]
struct ProjectPage {
    projects: Vec<Value>,
    pagination: Pagination,
}

#[derive(Deserialize)]
struct Pagination {
    count: usize,
}

#[derive(Deserialize)]
struct ProjectBody {
    #[serde(rename = "ref")]
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    cloud_provider: Option<String>,
    #[serde(default)]
    inserted_at: Option<String>,
    status: String,
}

impl ProjectBody {
    /// The day on which it was made; a time without a zone is UTC.
    fn made(&self) -> Result<Option<Day>, CollectError> {
        let time = |text: &str| {
            Instant::parse_lenient(text).map_err(|error| CollectError::schema(format!("`inserted_at`: {error}")))
        };
        let made = self.inserted_at.as_deref().map(time).transpose()?;
        Ok(made.map(|made| Zone::utc().day_of(made)))
    }
}

/// Every project of an organisation; branches are projects too, because they cost.
async fn list(fetch: &Fetch, organization: &str) -> Result<Vec<Project>, CollectError> {
    let mut pages = Pages::new(PAGES_MAX);
    let (mut projects, mut seen) = (Vec::new(), BTreeSet::new());
    loop {
        let request = Request::get(PROJECTS).argument(organization).query("limit", PAGE_ROWS);
        let answer = send(fetch, request.query("offset", projects.len())).await?;
        let page: ProjectPage = answer.json()?;
        let text = serde_json::to_vec(&page.projects).expect("JSON values are JSON");
        pages.note(&text, page.projects.is_empty())?;
        let is_last = page.projects.is_empty();
        for row in page.projects {
            let body: ProjectBody = serde_json::from_value(row)
                .map_err(|error| CollectError::schema(format!("a project of the list: {error}")))?;
            if !is_id(&body.id) || !seen.insert(body.id.clone()) {
                return Err(CollectError::paging(format!("project {} came twice", crate::error::shorten(&body.id))));
            }
            projects.push(Project {
                made: body.made()?,
                id: body.id,
                name: body.name,
                region: body.region,
                cloud: body.cloud_provider,
                is_active: !matches!(body.status.as_str(), "INACTIVE" | "PAUSED" | "PAUSING" | "REMOVED"),
            });
        }
        if is_last || page.pagination.count <= projects.len() {
            return Ok(projects);
        }
    }
}

/// Whether a token has the rights of its owner, as its beginning tells: scoped ones and others begin otherwise.
fn is_classic(token: &str) -> bool {
    token.starts_with("sbp_") && !token.starts_with("sbp_fc")
}

/// Sends a request with the token.
async fn send(fetch: &Fetch, request: Request<'_>) -> Result<Answer, CollectError> {
    fetch.send(request.header(AUTHORIZATION, bearer(fetch.credentials(), "token")?)).await
}

/// Puts a quantity in the place of the one that is known.
fn put(usage: &mut Usage, one: ProviderUsage) {
    usage.insert((one.day, one.resource.clone(), one.labels.clone()), one);
}

#[cfg(test)]
mod tests {
    use super::{build, is_classic};
    use serde_json::{Value, json};

    #[test]
    fn a_token_tells_by_its_beginning_whether_it_may_do_everything() {
        let found = ["sbp_0102030405060708", "sbp_fc0102030405", "eyJhbGciOi", ""].map(is_classic);
        assert_eq!(found, [true, false, false, false]);
    }

    #[test]
    fn each_contradiction_of_the_keys_is_named() {
        let refused = |keys: Value| build(keys).err().unwrap_or_default();
        for good in [json!({ "projects": "abc" }), json!({ "projects": ["a", "b"] }), json!({ "organization": "acme" })]
        {
            assert_eq!(refused(good), "");
        }
        assert!(refused(json!({})).starts_with("give `organization`"));
        assert!(refused(json!({ "projects": ["a/b"] })).starts_with("`a/b` is neither"));
        assert!(refused(json!({ "projects": "a", "currency": "x" })).starts_with("`currency`"));
        assert!(refused(json!({ "project": "a" })).contains("unknown field `project`"));
    }
}
