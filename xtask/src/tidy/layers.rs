//! A crate uses layers below its own, never a neighbour: read from the `Cargo.toml` files, so it cannot be argued with.

use super::Finding;
use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// The layer of every crate of the product. A new crate is an architectural change and starts with a line here.
const LAYERS: &[(&str, u8)] = &[
    ("domain", 0),
    ("attribution", 1),
    ("ledger", 1),
    ("storage", 2),
    ("metering", 3),
    ("collectors", 3),
    ("engine", 3),
    ("api", 4),
    ("ui", 4),
    ("apportion", 5),
];

/// Outside the layers: `testkit` is for tests only, `xtask` links nothing of the product.
const TEST_HELPERS: &str = "testkit";
const REPOSITORY_TOOLS: &str = "xtask";

/// The crates of this repository that one crate names, by kind of dependency.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub uses: Vec<String>,
    pub uses_in_tests: Vec<String>,
}

/// Returns the manifest of every crate, by crate name.
pub fn read_manifests(texts: &[(String, String)]) -> Result<BTreeMap<String, Manifest>> {
    let mut parsed = BTreeMap::new();
    for (path, text) in texts {
        if path != "Cargo.toml" && path.ends_with("Cargo.toml") {
            let value: toml::Table = text.parse().with_context(|| format!("{path} is no TOML"))?;
            let name = value.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
            parsed.insert(name.with_context(|| format!("{path} has no package name"))?.to_owned(), value);
        }
    }
    let ours = |table: &toml::Table, key: &str| -> Vec<String> {
        let named = table.get(key).and_then(toml::Value::as_table);
        named.into_iter().flat_map(toml::Table::keys).filter(|name| parsed.contains_key(*name)).cloned().collect()
    };
    let manifest = |table: &toml::Table| Manifest {
        uses: [ours(table, "dependencies"), ours(table, "build-dependencies")].concat(),
        uses_in_tests: ours(table, "dev-dependencies"),
    };
    Ok(parsed.iter().map(|(name, table)| (name.clone(), manifest(table))).collect())
}

/// Returns every dependency that goes up or sideways, and every crate without a layer.
pub fn check(manifests: &BTreeMap<String, Manifest>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, manifest) in manifests {
        if name == REPOSITORY_TOOLS || name == TEST_HELPERS {
            let too_much: Vec<&String> =
                manifest.uses.iter().filter(|used| !may_be_used_by_helper(name, used)).collect();
            findings.extend(too_much.into_iter().map(|used| format!("{name} must not use {used}")));
            continue;
        }
        let Some(own) = layer(name) else {
            findings.push(format!("crate {name} has no layer; add it to xtask/src/tidy/layers.rs and ARCHITECTURE.md"));
            continue;
        };
        for used in &manifest.uses {
            if layer(used).is_none_or(|below| own <= below) {
                findings.push(format!("{name} (layer {own}) must not use {used}: only layers below are allowed"));
            }
        }
        for used in manifest.uses_in_tests.iter().filter(|used| *used != TEST_HELPERS) {
            if layer(used).is_none_or(|below| own < below) {
                findings.push(format!("tests of {name} (layer {own}) must not use {used} from a layer above"));
            }
        }
    }
    findings
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
}

fn may_be_used_by_helper(helper: &str, used: &str) -> bool {
    helper == TEST_HELPERS && layer(used).is_some_and(|layer| layer < 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(name: &str, dependencies: &str) -> Vec<Finding> {
        let mut texts: Vec<(String, String)> = LAYERS
            .iter()
            .map(|(known, _)| *known)
            .chain([TEST_HELPERS, REPOSITORY_TOOLS, "stray"])
            .filter(|known| *known != name)
            .map(|known| (format!("crates/{known}/Cargo.toml"), format!("[package]\nname = \"{known}\"")))
            .collect();
        texts.push((format!("crates/{name}/Cargo.toml"), format!("[package]\nname = \"{name}\"\n{dependencies}")));
        let mut manifests = read_manifests(&texts).unwrap();
        manifests.retain(|known, _| known == name);
        check(&manifests)
    }

    #[test]
    fn a_crate_may_use_layers_below() {
        let good = "[dependencies]\ndomain.workspace = true\nstorage = { workspace = true }\nserde.workspace = true";
        assert_eq!(Vec::<Finding>::new(), check_one("engine", good));
        assert_eq!(Vec::<Finding>::new(), check_one("engine", "[dev-dependencies]\ntestkit.workspace = true"));
    }

    #[test]
    fn up_sideways_and_unknown_are_found() {
        for (name, dependencies) in [
            ("domain", "[dependencies]\nattribution.workspace = true"),
            ("attribution", "[dependencies]\nledger = { path = \"../ledger\" }"),
            ("engine", "[dependencies]\nmetering.workspace = true"),
            ("engine", "[build-dependencies]\ncollectors.workspace = true"),
            ("storage", "[dev-dependencies]\nengine.workspace = true"),
            ("api", "[dependencies]\ntestkit.workspace = true"),
            ("testkit", "[dependencies]\napportion.workspace = true"),
            ("xtask", "[dependencies]\ndomain.workspace = true"),
            ("stray", ""),
        ] {
            assert_eq!(1, check_one(name, dependencies).len(), "{name}: {dependencies}");
        }
    }
}
