//! The one list of all routes. Router, OpenAPI document and the access tests are made from it.

use crate::access::Access;
use crate::access::Access::{
    AdminReader, CostReader, EventWriter, FinanceWriter, PlatformAdmin, PlatformAdminOnly, Public, Signed,
    SnapshotReader, StatementReader,
};
use crate::app::App;
use crate::around::{Around, BasePath, Guard, Held, answer, guard};
use crate::limits::BodySize;
use crate::resources::{
    adapters, adjustments, audit_log, clusters, cost_changes, cost_lines, costs, coverage, event_imports, event_list,
    events, explain, exports, fixed_costs, flows, fx_rates, health, imports, invoices, lake, ledger, ledger_changes,
    limits, meters, metrics, overhead, periods, policies, pools, rate_cards, reconciliation, runs, schedule, session,
    settings, snapshot_runs, snapshots, source_periods, sources, statements, tenants, tokens, unattributed, unit_costs,
    usage, usage_live,
};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use std::sync::Arc;
use utoipa::openapi::path::Paths;
use utoipa_axum::router::UtoipaMethodRouter;
use utoipa_axum::routes;

/// One route: who may call it, what the document says of it, its handler.
pub(crate) struct Route {
    pub(crate) access: Access,
    pub(crate) is_stream: bool,
    pub(crate) body: BodySize,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) made: UtoipaMethodRouter<App>,
}

/// What is known of a route without its handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteFacts {
    /// Its method.
    pub method: Method,
    /// Its path, with `{name}` for what varies.
    pub path: String,
    /// Who may call it.
    pub access: Access,
}

fn route(access: Access, made: UtoipaMethodRouter<App>) -> Route {
    let (method, path) = named(&made.1);
    Route { access, is_stream: false, body: BodySize::Json, method, path, made }
}

fn text(access: Access, made: UtoipaMethodRouter<App>) -> Route {
    Route { body: BodySize::Text, ..route(access, made) }
}

fn upload(access: Access, made: UtoipaMethodRouter<App>) -> Route {
    Route { body: BodySize::Upload, ..route(access, made) }
}

fn batch(access: Access, made: UtoipaMethodRouter<App>) -> Route {
    Route { body: BodySize::Events, ..route(access, made) }
}

fn stream(access: Access, made: UtoipaMethodRouter<App>) -> Route {
    Route { is_stream: true, ..route(access, made) }
}

/// A question with a text in its body that writes nothing: it ends when the caller goes away.
fn question(access: Access, made: UtoipaMethodRouter<App>) -> Route {
    Route { is_stream: true, ..text(access, made) }
}

/// The one method and path of a handler.
fn named(paths: &Paths) -> (Method, String) {
    let (path, item) = paths.paths.iter().next().expect("every handler has its path");
    let methods = [
        (Method::GET, item.get.is_some()),
        (Method::POST, item.post.is_some()),
        (Method::PUT, item.put.is_some()),
        (Method::DELETE, item.delete.is_some()),
    ];
    let (method, _) = methods.into_iter().find(|(_, given)| *given).expect("every handler has one of these methods");
    (method, path.clone())
}

/// Returns every route of the server.
pub(crate) fn all() -> Vec<Route> {
    [about(), costs(), facts(), statements(), decisions()].into_iter().flatten().collect()
}

/// Pages, health and the description of the interface.
fn about() -> Vec<Route> {
    vec![
        route(Public, routes!(health::healthz)),
        route(Public, routes!(health::readyz)),
        route(Public, routes!(health::openapi_json)),
        route(Public, routes!(health::docs_page)),
        route(Public, routes!(health::docs_script)),
        route(Public, routes!(health::docs_style)),
    ]
}

/// What things cost, and why.
fn costs() -> Vec<Route> {
    vec![
        route(CostReader, routes!(costs::list_costs)),
        route(CostReader, routes!(cost_changes::show_cost_changes)),
        stream(PlatformAdminOnly, routes!(exports::export_usage)),
        route(CostReader, routes!(explain::explain)),
        route(AdminReader, routes!(coverage::show_coverage)),
        route(AdminReader, routes!(unattributed::show_unattributed)),
        route(AdminReader, routes!(flows::show_flows)),
        route(AdminReader, routes!(overhead::show_overhead)),
        route(AdminReader, routes!(unit_costs::list_unit_costs)),
        route(AdminReader, routes!(ledger::list_entries)),
        route(AdminReader, routes!(ledger::list_postings)),
        route(AdminReader, routes!(ledger_changes::list_ledger_changes)),
        route(AdminReader, routes!(ledger::show_proof)),
        route(PlatformAdminOnly, routes!(ledger::verify)),
        route(FinanceWriter, routes!(adjustments::add_adjustment)),
        route(PlatformAdmin, routes!(runs::start_run)),
        route(PlatformAdmin, routes!(runs::list_runs)),
        route(PlatformAdmin, routes!(runs::show_run)),
        route(PlatformAdmin, routes!(runs::cancel_run)),
        stream(PlatformAdmin, routes!(runs::follow_run)),
        route(FinanceWriter, routes!(periods::list_periods)),
        route(FinanceWriter, routes!(periods::close_period)),
        route(FinanceWriter, routes!(periods::reopen_period)),
        route(FinanceWriter, routes!(periods::sweep_periods)),
        route(AdminReader, routes!(schedule::show_schedule)),
        route(PlatformAdminOnly, routes!(clusters::attribute_cluster)),
        route(PlatformAdminOnly, routes!(clusters::attribute_all)),
        route(PlatformAdminOnly, routes!(clusters::compare_cluster)),
        route(CostReader, routes!(clusters::show_breakdown)),
        route(CostReader, routes!(clusters::show_trend)),
    ]
}

/// Usage and bills, in and out.
fn facts() -> Vec<Route> {
    vec![
        route(PlatformAdmin, routes!(lake::compact)),
        route(PlatformAdmin, routes!(lake::expire_events)),
        route(PlatformAdmin, routes!(lake::vacuum)),
        upload(PlatformAdmin, routes!(cost_lines::import_bills)),
        route(AdminReader, routes!(cost_lines::list_cost_lines)),
        upload(PlatformAdmin, routes!(event_imports::import_event_file)),
        batch(EventWriter, routes!(events::post_events)),
        batch(EventWriter, routes!(adapters::post_litellm)),
        batch(EventWriter, routes!(adapters::post_langfuse)),
        route(Signed, routes!(adapters::post_github)),
        route(Signed, routes!(adapters::post_gitlab)),
        batch(EventWriter, routes!(metrics::post_otlp_metrics)),
        batch(EventWriter, routes!(metrics::post_remote_write)),
        route(CostReader, routes!(event_list::list_events)),
        route(CostReader, routes!(event_list::list_event_types)),
        route(CostReader, routes!(usage::list_usage)),
        stream(CostReader, routes!(usage_live::follow_usage)),
        text(PlatformAdmin, routes!(snapshots::put_snapshots)),
        route(SnapshotReader, routes!(snapshots::list_snapshots)),
        route(PlatformAdmin, routes!(snapshot_runs::start_snapshot_run)),
        route(PlatformAdminOnly, routes!(snapshot_runs::list_snapshot_runs)),
        route(PlatformAdminOnly, routes!(snapshot_runs::show_snapshot_run)),
        route(PlatformAdmin, routes!(snapshot_runs::cancel_snapshot_run)),
        stream(PlatformAdminOnly, routes!(snapshot_runs::follow_snapshot_run)),
        route(AdminReader, routes!(imports::list_imports)),
        route(AdminReader, routes!(imports::list_running_imports)),
        route(PlatformAdmin, routes!(imports::cancel_import)),
        route(AdminReader, routes!(source_periods::list_source_periods)),
        text(FinanceWriter, routes!(source_periods::put_source_periods)),
        route(AdminReader, routes!(sources::list_sources)),
        route(AdminReader, routes!(limits::list_limits)),
        route(PlatformAdmin, routes!(sources::refresh_source)),
        route(PlatformAdmin, routes!(sources::cancel_refresh)),
        route(AdminReader, routes!(fixed_costs::list_fixed_costs)),
        route(FinanceWriter, routes!(fixed_costs::add_fixed_cost)),
        route(FinanceWriter, routes!(fixed_costs::delete_fixed_cost)),
        route(AdminReader, routes!(fx_rates::list_fx_rates)),
        text(FinanceWriter, routes!(fx_rates::put_fx_rates)),
        route(AdminReader, routes!(invoices::list_invoices)),
        route(FinanceWriter, routes!(invoices::put_invoice)),
    ]
}

/// What was charged, month by month.
fn statements() -> Vec<Route> {
    vec![
        route(FinanceWriter, routes!(statements::list_statements)),
        route(StatementReader, routes!(statements::show_statement)),
        route(FinanceWriter, routes!(statements::show_journal)),
        route(AdminReader, routes!(reconciliation::show_reconciliation)),
        route(AdminReader, routes!(reconciliation::show_reconciliation_parts)),
    ]
}

/// What the organisation decides.
fn decisions() -> Vec<Route> {
    vec![
        route(CostReader, routes!(settings::show_settings)),
        route(AdminReader, routes!(tenants::list_tenants)),
        route(AdminReader, routes!(tenants::show_tenant)),
        route(PlatformAdmin, routes!(tenants::put_tenant)),
        route(AdminReader, routes!(pools::list_pools)),
        route(AdminReader, routes!(policies::list_policies)),
        route(AdminReader, routes!(policies::show_policy)),
        text(PlatformAdmin, routes!(policies::publish_policy)),
        text(PlatformAdmin, routes!(policies::validate_policy)),
        question(PlatformAdmin, routes!(policies::simulate_policy)),
        route(AdminReader, routes!(rate_cards::list_rate_cards)),
        route(AdminReader, routes!(rate_cards::show_rate_card)),
        text(PlatformAdmin, routes!(rate_cards::publish_rate_card)),
        text(PlatformAdmin, routes!(rate_cards::validate_rate_card)),
        question(PlatformAdmin, routes!(rate_cards::simulate_rate_card)),
        route(AdminReader, routes!(meters::list_meters)),
        route(AdminReader, routes!(meters::show_meter)),
        route(PlatformAdmin, routes!(meters::put_meter)),
        route(PlatformAdmin, routes!(meters::delete_meter)),
        route(PlatformAdmin, routes!(meters::backfill_meter)),
        // Whoever has a token may sign in with it; the routes look at it themselves.
        route(Public, routes!(session::open_session)),
        route(Public, routes!(session::close_session)),
        route(PlatformAdmin, routes!(tokens::list_tokens)),
        route(PlatformAdmin, routes!(tokens::mint_token)),
        route(PlatformAdmin, routes!(tokens::revoke_token)),
        route(PlatformAdmin, routes!(audit_log::list_audit)),
    ]
}

/// Returns what is known of every route.
#[must_use]
pub fn route_facts() -> Vec<RouteFacts> {
    let facts = |route: Route| RouteFacts { method: route.method, path: route.path, access: route.access };
    all().into_iter().map(facts).collect()
}

/// Returns the service of all routes.
pub fn router(app: App) -> Router {
    router_at(app, "/")
}

/// Returns the service of all routes below a path; `/` is none.
///
/// # Panics
/// If the path is not one: it begins with `/` and holds no `{`, `}` or `*`.
pub fn router_at(app: App, base_path: &str) -> Router {
    router_with(app, base_path, Router::new(), Arc::new(()))
}

/// Returns the service of all routes and of pages beside them, below a path; `/` is none. It holds `held`, for instance the
/// lock of a folder, as long as it is there.
///
/// # Panics
/// If the path is not one: it begins with `/` and holds no `{`, `}` or `*`; or if a page has the address of a route.
pub fn router_with(app: App, base_path: &str, pages: Router<App>, held: Held) -> Router {
    let base = base_path.trim_end_matches('/');
    let around = Around { limits: Arc::clone(&app.limits), base: BasePath(base.into()), held };
    let mut router: Router<App> = Router::new();
    for route in all() {
        let Route { access, is_stream, body, .. } = route;
        let around = Guard { app: app.clone(), access, is_stream, body };
        router = router.route(&route.path, route.made.2.route_layer(from_fn_with_state(around, guard)));
    }
    router = router.merge(pages);
    if !base.is_empty() {
        // A page of a nested `/` answers without the last slash only.
        router = Router::new().nest(base, router).route(&format!("{base}/"), get(health::without_slash));
    }
    // Bodies are bounded where they are read, each kind by its own limit. Both layers are one of the router, which makes a
    // copy of each of its layers for each request.
    router.layer((from_fn_with_state(around, answer), DefaultBodyLimit::disable())).with_state(app)
}
