//! Names of schemas: two types of one name hide each other in the OpenAPI document.

use super::Finding;
use super::source::{Source, lines_with};
use std::collections::BTreeMap;

/// Returns every type that has the schema name of an earlier one.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    let mut findings = Vec::new();
    for source in sources {
        for (name, line) in names_in(&source.shipped) {
            let place = format!("{}:{line}", source.path);
            match first.get(&name) {
                Some(other) => findings.push(format!(
                    "{place}: the schema `{name}` hides that of {other}; rename the type or write `#[schema(as = …)]`"
                )),
                None => drop(first.insert(name, place)),
            }
        }
    }
    findings
}

/// The schema names that derives of a file declare, each with the line of its derive.
fn names_in(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let declared = |line: &usize| {
        // The item is the first line after the derive that is no attribute; `ToSchema` elsewhere is followed by none.
        let from = lines[..*line].iter().rposition(|text| text.trim_start().starts_with("#[derive("))?;
        let is_derive = lines[from..*line - 1].iter().all(|text| !text.contains(")]"));
        let rest = &lines[from..];
        let item = rest.iter().position(|text| item_of(text).is_some())?;
        let renamed = rest[..item].iter().find_map(|text| alias_of(text));
        let name = renamed.or_else(|| item_of(rest[item]))?;
        is_derive.then(|| (name.to_owned(), *line))
    };
    lines_with(code, "ToSchema").iter().filter_map(declared).collect()
}

/// The name of the type that a line begins.
fn item_of(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub") || word.ends_with(')'));
    matches!(words.next()?, "struct" | "enum").then(|| words.next().map(word_of)).flatten()
}

/// The name that an attribute gives instead; its path is one word here.
fn alias_of(line: &str) -> Option<&str> {
    let (_, arguments) = line.split_once("schema(")?;
    let (_, name) = arguments.split_once("as = ")?;
    Some(word_of(name))
}

fn word_of(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[&str]) -> usize {
        let source = |(at, text): (usize, &&str)| Source::new(&format!("crates/api/src/f{at}.rs"), text);
        check(&files.iter().enumerate().map(source).collect::<Vec<_>>()).len()
    }

    #[test]
    fn two_types_of_one_schema_name_are_found_wherever_they_stand() {
        let one =
            "use utoipa::ToSchema;\n#[derive(Clone, ToSchema)]\n#[serde(deny_unknown_fields)]\npub struct Body {}\n";
        let wrapped = "#[derive(\n    Clone,\n    ToSchema,\n)]\npub(crate) enum Body { A }\n";
        let renamed = "#[derive(ToSchema)]\n#[schema(as = OtherBody)]\npub struct Body {}\n";
        let other = "#[derive(utoipa::ToSchema)]\nstruct OtherBody<T> { of: T }\n";
        assert_eq!(found(&[one]), 0);
        assert_eq!(found(&[one, wrapped]), 1);
        assert_eq!(found(&[&format!("{one}{wrapped}")]), 1);
        assert_eq!(found(&[one, renamed]), 0);
        assert_eq!(found(&[one, renamed, other]), 1);
    }

    #[test]
    fn what_declares_no_schema_is_not_counted() {
        let plain = "#[derive(Clone)]\nstruct Body {}\nfn f<T: ToSchema>() {}\nstruct Body {}\n";
        assert_eq!(found(&[plain, "#[cfg(test)]\nmod tests {\n#[derive(ToSchema)]\nstruct Body {}\n}\n", plain]), 0);
    }
}
