//! What the namespaces of a cluster use per hour, and what its nodes offer, from kube-state-metrics, cAdvisor and the
//! kubelet. `docs/prometheus.md` explains each query.
//!
//! A level (cores requested, bytes in use) is looked at every minute of the hour and summed, so that a pod that lived for a
//! quarter of an hour counts for a quarter. `59m30s` holds exactly sixty full minutes, whether the server counts the left
//! end of a range (version 2) or not (version 3).

use super::query::UsageQuery;
use domain::dimension::Dimension;
use std::collections::BTreeMap;

/// Label of the answers that names the tenant.
const TENANT: &str = "tenant";
/// Bytes in a GiB, as the queries spell it.
const GIB: &str = "2^30";
/// Containers, without the sums of their pods and without the pause container.
const CONTAINERS: &str = r#"container!="",container!="POD",namespace!="""#;

/// What the preset needs to know of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preset<'a> {
    /// Name of the cluster, as pools know it.
    pub cluster: &'a str,
    /// Label of `kube_namespace_labels` that names the tenant.
    pub tenant_label: &'a str,
    /// Whether to measure what the nodes offer.
    pub capacity: bool,
}

/// Returns the queries of a cluster.
#[must_use]
pub fn queries(preset: &Preset<'_>) -> Vec<UsageQuery> {
    let of_namespaces = [
        ("cpu", "cpu_core_hours", larger(&cpu_used(), &requested("cpu", "1"))),
        ("memory", "memory_gib_hours", larger(&memory_used(), &requested("memory", GIB))),
        ("storage", "storage_gib_hours", storage()),
        ("network", "network_gib", network()),
    ];
    let of_nodes = [
        ("cpu_capacity", "cpu_core_hours_capacity", allocatable("cpu", "1")),
        ("memory_capacity", "memory_gib_hours_capacity", allocatable("memory", GIB)),
    ];
    let query = |name: &str, meter: &str, expression: String, attributes| UsageQuery {
        name: name.to_owned(),
        meter: meter.to_owned(),
        expression,
        tenant_label: TENANT.to_owned(),
        cluster: Some(preset.cluster.to_owned()),
        attributes,
    };
    let namespace = BTreeMap::from([(Dimension::Label("namespace".into()), "namespace".to_owned())]);
    let used = of_namespaces
        .into_iter()
        .map(|(name, meter, used)| query(name, meter, with_tenant(&used, preset.tenant_label), namespace.clone()));
    let offered = of_nodes.into_iter().filter(|_| preset.capacity).map(|(name, meter, offered)| {
        let tenant = literal(&format!("cluster:{}", preset.cluster).replace('$', "$$"));
        let expression = format!(r#"label_replace({offered}, "{TENANT}", {tenant}, "", "")"#);
        query(name, meter, expression, BTreeMap::new())
    });
    used.chain(offered).collect()
}

/// The sum of a level's sixty values in the hour, over sixty: its mean with gaps as nothing.
fn per_hour(level: &str) -> String {
    format!("sum_over_time(({level})[59m30s:1m]) / 60")
}

fn cpu_used() -> String {
    format!("sum by (namespace) (increase(container_cpu_usage_seconds_total{{{CONTAINERS}}}[1h])) / 3600")
}

fn memory_used() -> String {
    per_hour(&format!("sum by (namespace) (container_memory_working_set_bytes{{{CONTAINERS}}}) / {GIB}"))
}

/// What pods that are placed on a node and not finished ask for.
fn requested(resource: &str, unit: &str) -> String {
    let asked = format!(
        r#"max by (namespace, pod, container) (kube_pod_container_resource_requests{{resource="{resource}",node!=""}})"#
    );
    let alive = r#"max by (namespace, pod) (kube_pod_status_phase{phase=~"Pending|Running"} == 1)"#;
    per_hour(&format!("sum by (namespace) ({asked} * on (namespace, pod) group_left () {alive}) / {unit}"))
}

/// Each claim by its size: what it asks for or what the volume has, whichever is larger.
fn storage() -> String {
    let (asked, volume) =
        ("kube_persistentvolumeclaim_resource_requests_storage_bytes", "kubelet_volume_stats_capacity_bytes");
    let claims = format!("max by (namespace, persistentvolumeclaim) ({})", either(asked, volume));
    per_hour(&format!("sum by (namespace) ({claims}) / {GIB}"))
}

fn network() -> String {
    let moved = |direction: &str| {
        format!(r#"increase(container_network_{direction}_bytes_total{{namespace!="",interface!="lo"}}[1h])"#)
    };
    format!("sum by (namespace) ({}) / {GIB}", either(&moved("receive"), &moved("transmit")))
}

fn allocatable(resource: &str, unit: &str) -> String {
    per_hour(&format!(r#"sum(max by (node) (kube_node_status_allocatable{{resource="{resource}"}})) / {unit}"#))
}

/// The larger of two hourly quantities of each namespace, also where one of them is absent.
fn larger(left: &str, right: &str) -> String {
    format!("max by (namespace) ({})", either(left, right))
}

/// The series of both, told apart by a label.
fn either(left: &str, right: &str) -> String {
    format!(r#"label_replace({left}, "basis", "1", "", "") or label_replace({right}, "basis", "2", "", "")"#)
}

/// The quantities with the tenant of their namespace: the newest value of the label within the hour, else its name.
fn with_tenant(used: &str, tenant_label: &str) -> String {
    let newest = format!(
        "topk by (namespace) (1, max by (namespace, {tenant_label}) \
         (max_over_time(timestamp(kube_namespace_labels{{{tenant_label}!=\"\"}})[59m30s:1m])))"
    );
    let known = format!("({used}) * on (namespace) group_left ({tenant_label}) ({newest} > bool 0)");
    let all = format!("({known}) or on (namespace) ({used})");
    let by_namespace = format!(r#"label_replace({all}, "{TENANT}", "$1", "namespace", "(.+)")"#);
    let by_label = format!(r#"label_replace({by_namespace}, "{TENANT}", "$1", "{tenant_label}", "(.+)")"#);
    format!("sum by (namespace, {TENANT}) ({by_label})")
}

/// The text as PromQL quotes it.
fn literal(text: &str) -> String {
    let escaped: String = text
        .chars()
        .flat_map(|letter| match letter {
            '"' | '\\' => vec!['\\', letter],
            '\n' => vec!['\\', 'n'],
            other => vec![other],
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preset(capacity: bool) -> Preset<'static> {
        Preset { cluster: "east", tenant_label: "label_tenant", capacity }
    }

    #[test]
    fn every_query_names_a_meter_of_its_own_and_closes_what_it_opens() {
        let found = queries(&preset(true));
        let meters: std::collections::BTreeSet<&str> = found.iter().map(|query| query.meter.as_str()).collect();
        assert_eq!((found.len(), meters.len(), queries(&preset(false)).len()), (6, 6, 4));
        let builtin = domain::meter::builtin();
        for query in &found {
            assert!(builtin.iter().any(|meter| meter.name == query.meter), "{}", query.meter);
            for pair in ["()", "{}", "[]"] {
                let count = |at: usize| query.expression.matches(&pair[at..=at]).count();
                assert_eq!(count(0), count(1), "{pair} in {}", query.expression);
            }
        }
    }

    #[test]
    fn the_page_about_it_has_the_text_of_every_query() {
        let page = include_str!("../../../../docs/prometheus.md");
        for query in queries(&preset(true)) {
            let block = format!("`{}`:\n\n```promql\n{}\n```\n", query.name, query.expression);
            assert!(page.contains(&block), "docs/prometheus.md lacks:\n{block}");
        }
    }

    #[test]
    fn the_name_of_the_cluster_is_a_literal() {
        let preset = Preset { cluster: "a\"b\\$1", ..preset(true) };
        let found = queries(&preset);
        let capacity = found.iter().find(|query| query.name == "cpu_capacity").expect("it is there");
        assert!(capacity.expression.contains(r#""cluster:a\"b\\$$1""#), "{}", capacity.expression);
    }
}
