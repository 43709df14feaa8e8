//! The demo, checked against its own files: what it printed, and the sums of its bills.

use crate::{apportion, run};
use domain::money::{format_atoms, parse_atoms};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

#[test]
fn the_demo_reconciles_and_its_folder_answers_like_any_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let line = ["demo", "--no-serve", "--tenants", "7", "--days", "40", "--until", "2026-11-09", "--folder", "demo"];
    let (code, out, errors) = run(folder, &line);
    assert_eq!(code, 0, "{out}\n{errors}");
    assert!(out.contains("rows sum to the imported cost lines: ") && out.contains(", difference 0.00"), "{out}");
    assert!(out.contains("last line of the proof: 2026-11-09 "), "{out}");

    // Only the second provider bills in euros, so its files alone must be what was attributed in euros.
    let demo = folder.join("demo");
    let asked = ["costs", "--range", "2026-10-01..2026-11-09", "--currency", "EUR", "-o", "json"];
    let costs: serde_json::Value = serde_json::from_str(&run(&demo, &asked).1).expect("JSON");
    assert_eq!(costs["totals"]["cost"], sum_of_bills(&demo, "google-"));
    assert_eq!(run(&demo, &["ledger", "verify"]).0, 0);
    let (code, again, _) = run(&demo, &["attribute", "--range", "2026-10-01..2026-11-09", "-o", "json"]);
    let again: serde_json::Value = serde_json::from_str(&again).expect("JSON");
    assert_eq!((code, &again["posting"]), (0, &serde_json::Value::Null));

    let (code, _, errors) = run(folder, &line);
    assert_eq!((code, errors.contains("is not empty")), (5, true), "{errors}");
}

#[test]
fn a_demo_with_a_token_of_the_environment_serves_and_does_not_print_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = ["demo", "--quiet", "--tenants", "4", "--days", "30", "--folder", "demo", "--listen", "127.0.0.1:0"];
    let mut serving = apportion(folder.path(), &line)
        .env("APPORTION_ADMIN_TOKEN", "apn_of_the_environment_0123456789abcdef")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let lines = BufReader::new(serving.stdout.take().expect("it is piped")).lines();
    let said = lines.map(|line| line.expect("text")).find(|line| line.starts_with("token"));
    serving.kill().expect("it serves");
    serving.wait().expect("it has ended");
    assert_eq!(said.as_deref(), Some("token  the one of the environment"));
}

/// Adds the EffectiveCost of every line of the files whose names begin so.
fn sum_of_bills(folder: &Path, start: &str) -> String {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if !name.starts_with(start) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        let at = text.lines().next().expect("a header").split(',').position(|column| column == "EffectiveCost");
        let at = at.expect("the column");
        // Tags stand last, so the cells before them have no commas inside.
        for line in text.lines().skip(1) {
            let cell = line.split(',').nth(at).expect("a cell");
            sum += parse_atoms(cell).expect("an amount").atoms;
        }
    }
    format_atoms(sum)
}
