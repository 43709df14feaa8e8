//! The OpenAPI document, made from the routes and completed with what all of them have in common.

use crate::access::Access;
use crate::problem::{PROBLEM_JSON, PROBLEMS, Problem, ProblemError};
use crate::routes::{Route, all};
use crate::sessions::COOKIE;
use serde_json::{Map, Value, json};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Apportion", description = "Attributes cloud and software cost to tenants, exactly and provably."),
    components(schemas(Problem, ProblemError))
)]
struct Document;

const SCHEME: &str = "token";
const SESSION: &str = "session";

/// Returns the OpenAPI 3.1 document of every route.
#[must_use]
pub fn openapi() -> Value {
    let routes = all();
    let facts: Vec<(String, String, Access)> = routes
        .iter()
        .map(|route| (route.path.clone(), route.method.as_str().to_ascii_lowercase(), route.access))
        .collect();
    let mut router: OpenApiRouter<crate::App> = OpenApiRouter::with_openapi(Document::openapi());
    for Route { made, .. } in routes {
        router = router.routes(made);
    }
    let mut document = serde_json::to_value(router.into_openapi()).expect("the document is plain JSON");
    document["openapi"] = json!("3.1.0");
    document["info"]["license"] = json!({ "name": "Apache-2.0", "identifier": "Apache-2.0" });
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document["components"]["securitySchemes"] = json!({
        SCHEME: { "type": "http", "scheme": "bearer", "description": "A token: `apn_…`." },
        SESSION: {
            "type": "apiKey", "in": "cookie", "name": COOKIE,
            "description": "What POST /session sets; a change also repeats `csrf_token` in the header `X-CSRF-Token`."
        }
    });
    document["x-problems"] = PROBLEMS.iter().map(to_api_kind).collect();
    for (path, method, access) in facts {
        complete(&mut document["paths"][&path][&method], access, &method);
    }
    document
}

fn to_api_kind(kind: &crate::problem::ProblemKind) -> Value {
    json!({ "code": kind.code, "status": kind.status, "title": kind.title, "meaning": kind.meaning })
}

/// Adds what every operation has: who may call it, its errors, CSV beside JSON lists.
fn complete(operation: &mut Value, access: Access, method: &str) {
    operation["x-access"] = json!(access.as_str());
    operation["security"] = if access.needs_token() { json!([{ SCHEME: [] }, { SESSION: [] }]) } else { json!([]) };
    let problem = json!({
        "description": "A problem",
        "content": { PROBLEM_JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } }
    });
    let responses = operation["responses"].as_object_mut().expect("every operation says what it answers");
    for (status, response) in responses.iter_mut() {
        if response["description"].as_str().is_none_or(str::is_empty) {
            response["description"] = json!(if status == "201" { "Created" } else { "Done" });
        }
        if let Some(content) = response.get_mut("content").and_then(Value::as_object_mut) {
            add_csv(content);
        }
    }
    if method == "get" {
        responses.insert("304".to_owned(), json!({ "description": "The caller has this answer already" }));
    }
    responses.insert("4XX".to_owned(), problem.clone());
    responses.insert("5XX".to_owned(), problem);
    if method != "get" && access.needs_token() {
        let key = json!({
            "name": "Idempotency-Key", "in": "header", "required": false, "schema": { "type": "string" },
            "description": "A repeat with the same key gets the first answer; another request with it is refused."
        });
        match operation.get_mut("parameters").and_then(Value::as_array_mut) {
            Some(parameters) => parameters.push(key),
            None => operation["parameters"] = json!([key]),
        }
    }
}

/// Every list also comes as CSV: its schema is a page, a body with rows, or nothing but rows.
fn add_csv(content: &mut Map<String, Value>) {
    let lists = [
        "Page_",
        "CostsBody",
        "EntriesBody",
        "PostingsBody",
        "ProofBody",
        "CostLinesBody",
        "LedgerChangesBody",
        "CoverageAnswerBody",
        "FlowsBody",
        "OverheadBody",
        "UnitCostsBody",
    ];
    let Some(schema) = content.get("application/json").map(|json| &json["schema"]) else { return };
    let name = schema["$ref"].as_str().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    if schema["type"] == "array" || lists.iter().any(|list| name.starts_with(list)) {
        content.insert("text/csv".to_owned(), json!({ "schema": { "type": "string" } }));
    }
}
