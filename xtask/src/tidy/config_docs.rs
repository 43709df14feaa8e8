//! Every configuration key stands in two places: the default file and the page about configuration. They must agree.

use super::Finding;
use std::collections::BTreeMap;

const DEFAULTS: &str = "crates/apportion/src/config/default.toml";
const PAGE: &str = "docs/configuration.md";

/// Returns keys that only one of the two names, and defaults that differ.
pub fn check(texts: &[(String, String)]) -> Vec<Finding> {
    let text_of = |wanted: &str| texts.iter().find(|(path, _)| path == wanted).map(|(_, text)| text.as_str());
    let (Some(defaults), Some(page)) = (text_of(DEFAULTS), text_of(PAGE)) else {
        return vec![format!("{DEFAULTS} or {PAGE} is missing")];
    };
    let (known, documented) = (keys_of_file(defaults), keys_of_page(page));
    let mut findings = Vec::new();
    for (key, value) in &known {
        match (documented.get(key), value) {
            (None, _) => findings.push(format!("{PAGE}: the key `{key}` is missing")),
            (Some(written), Some(value)) if written != value => {
                findings.push(format!("{PAGE}: the default of `{key}` is {value}, not {written}"));
            }
            _ => {}
        }
    }
    let stale = documented.keys().filter(|key| !known.contains_key(*key));
    findings.extend(stale.map(|key| format!("{PAGE}: there is no key `{key}`")));
    findings
}

/// `section.key` and its default; `None` for a key that stands in a comment because it has none.
fn keys_of_file(text: &str) -> BTreeMap<String, Option<String>> {
    let mut keys = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines() {
        let commented = line.strip_prefix("# ");
        let content = commented.unwrap_or(line);
        if let Some((name, _)) = content.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            // A list of tables, `[[ingest.metric]]`, is one key as well.
            let name = name.trim_start_matches('[');
            match (name.contains('.'), commented) {
                // A table of free names, such as `[ingest.map]`, is one key.
                (true, _) => drop(keys.insert(name.to_owned(), None)),
                (false, None) => name.clone_into(&mut section),
                (false, Some(_)) => {}
            }
        } else if let Some((key, value)) = content.split_once(" = ") {
            let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            let in_free_table =
                commented.is_some() && keys.keys().any(|known| known.starts_with(&format!("{section}.map")));
            if is_key && !in_free_table {
                let value = value.split_once("  #").map_or(value, |(value, _)| value).trim();
                keys.insert(format!("{section}.{key}"), commented.is_none().then(|| value.to_owned()));
            }
        }
    }
    keys
}

/// Rows of the form ``| `section.key` | `default` | meaning |``.
fn keys_of_page(text: &str) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, key, default, ..] = cells.as_slice() {
            keys.insert(key.trim_matches('`').to_owned(), default.trim_matches('`').to_owned());
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# Text = here.\n[server]\nlisten = \"a:1\"   # address\n# lake = \"x\"\n[ingest]\npast_days = 4\n# [ingest.map]\n# user = \"$.a\"\n";
    const GOOD: &str = "| key | default |\n| `server.listen` | `\"a:1\"` | x |\n| `server.lake` | none | x |\n\
                        | `ingest.past_days` | `4` | x |\n| `ingest.map` | none | x |\n";

    fn findings(page: &str) -> Vec<Finding> {
        check(&[(DEFAULTS.to_owned(), FILE.to_owned()), (PAGE.to_owned(), page.to_owned())])
    }

    #[test]
    fn a_page_with_every_key_and_its_default_passes() {
        assert_eq!(Vec::<Finding>::new(), findings(GOOD));
    }

    #[test]
    fn missing_stale_and_wrong_are_found() {
        for (bad, what) in [
            (GOOD.replace("server.listen", "server.lissten"), "the key `server.listen` is missing"),
            (format!("{GOOD}| `server.port` | `1` | x |\n"), "there is no key `server.port`"),
            (GOOD.replace("`4`", "`5`"), "the default of `ingest.past_days` is 4, not 5"),
        ] {
            let found = findings(&bad);
            assert!(found.iter().any(|finding| finding.contains(what)), "{what}: {found:?}");
        }
        assert_eq!(1, check(&[]).len());
    }
}
