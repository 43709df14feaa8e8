//! Bad input gives a message that says what, where and what to do, with the right exit code, and changes nothing.

use crate::{apportion, run};
use std::path::Path;
use testkit::bill::{Bill, BillLine};

const HEAD: &str = "version = 'v'\nvalid_from = 2020-01-01\n";

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("written");
}

/// Runs a command and compares exit code and a part of the message.
fn check(folder: &Path, arguments: &[&str], code: i32, message: &str) {
    let (found, _, errors) = run(folder, arguments);
    assert!(errors.contains(message), "{arguments:?}: {errors}");
    assert_eq!(found, code, "{arguments:?}: {errors}");
}

fn bill(cost: &'static str, lines: usize) -> String {
    let line = BillLine { cost, ..BillLine::default() };
    (0..lines).fold(Bill::new(), |bill, _| bill.line(&line)).csv().to_owned()
}

#[test]
fn a_bad_command_line_is_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    check(folder, &["nonsense"], 2, "unrecognized subcommand 'nonsense'");
    check(folder, &["costs", "--nope"], 2, "unexpected argument '--nope'");
    check(folder, &["attribute"], 2, "--range, --from and --to, --date or --due");
    check(folder, &["costs", "--server", "localhost"], 2, "write it as http://127.0.0.1:8082");
    assert_eq!(run(folder, &[]).0, 0);
    assert!(run(folder, &[]).1.contains("Usage: "));
    assert!(std::fs::read_dir(folder).expect("a folder").next().is_none(), "nothing was written");
}

#[test]
fn a_bad_configuration_names_file_line_and_nearest_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    check(folder, &["check", "--config", "none.toml"], 3, "cannot read the configuration none.toml");
    write(folder, "apportion.toml", "[server]\nlissten = 'x'");
    check(folder, &["costs"], 5, "apportion.toml:2:1: unknown key `lissten`; did you mean `listen`?");
    write(folder, "apportion.toml", "[compute]\nengine = 'df://host:50050'");
    check(folder, &["costs"], 5, "not_available");
    for (text, message) in [
        ("[limits]\npage_rows = 0", "apportion.toml: limits.page_rows must be more than 0"),
        ("[server]\nbase_path = 'costs'", "apportion.toml: server.base_path is not a path"),
        ("[[source]]\nname = 'a'\nkind = 'verce'", "[[source]] \"a\": unknown kind `verce`; did you mean `vercel`?"),
        ("[[source]]\nname = 'a'\nkind = 'vercel'", "[[source]] \"a\": `token` is missing"),
        ("[retention]\nimports = '30d'", "not_available: retention.imports"),
        ("[ingest.map]\nuser = '$['", "ingest.map.user"),
    ] {
        write(folder, "apportion.toml", text);
        check(folder, &["check"], 5, message);
    }
    write(folder, "apportion.toml", "");
    for (pools, message) in [
        ("[[pool]]\nname = 'a'\nselct = {}", "policy.toml:5:1: unknown key `selct`; did you mean `select`?"),
        (
            "[[pool]]\nname = 'a'\nselect = {}\nsplit = { method = 'weighted', weights = { m = '-1' } }",
            "policy.toml:6:",
        ),
        (
            "[[pool]]\nname = 'a'\nselect = {}\nsplit = { method = 'window', event_type = 'e' }",
            "method `window` needs `source`",
        ),
    ] {
        write(folder, "policy.toml", &format!("{HEAD}{pools}"));
        check(folder, &["check"], 5, message);
        check(folder, &["policy", "validate", "policy.toml"], 5, message);
        check(folder, &["attribute", "--date", "2026-05-03"], 5, message);
    }
    check(folder, &["policy", "validate", "none.toml"], 3, "cannot read none.toml");
    write(
        folder,
        "rates.toml",
        "version='v'\ncurrency='USD'\nvalid_from=2020-01-01\n[[price]]\nmeter='api_call'\nprice='1'\ntiers=[{above='0',price='2'}]",
    );
    check(folder, &["rates", "validate", "rates.toml"], 5, "must ascend");
    write(
        folder,
        "rates.toml",
        "version='v'\ncurrency='USD'\nvalid_from=2020-01-01\n[[price]]\nmeter='storage_gb'\nprice='1'",
    );
    std::fs::remove_file(folder.join("policy.toml")).expect("removed");
    check(folder, &["check"], 5, "storage_gb is a gauge");
}

#[test]
fn check_tries_the_built_in_policy_where_there_is_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write(folder, "bill.csv", &bill("10.00", 1));
    assert_eq!(run(folder, &["import", "focus", "bill.csv", "--source", "aws"]).0, 0);
    let (code, out, errors) = run(folder, &["check", "--range", "2026-05", "-o", "json"]);
    assert_eq!((code, out.contains("no_pool")), (0, true), "{out}{errors}");
}

#[test]
fn check_says_what_the_store_would_refuse() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write(folder, "bill.csv", &bill("10.00", 1));
    assert_eq!(run(folder, &["import", "focus", "bill.csv", "--source", "aws"]).0, 0);
    let pool = |name: &str| format!("{HEAD}[[pool]]\nname = '{name}'\nselect = {{}}\nsplit = {{ method = 'even' }}\n");
    let card = |version: &str, price: &str| {
        format!(
            "version = '{version}'\ncurrency = 'USD'\nvalid_from = 2020-01-01\n[[price]]\nmeter = 'api_call'\nprice = '{price}'"
        )
    };
    write(folder, "policy.toml", &pool("one"));
    write(folder, "rates.toml", &card("a", "0.001"));
    assert_eq!(run(folder, &["attribute", "--range", "2026-05", "--yes"]).0, 0);
    let range = ["check", "--range", "2026-05"];
    assert_eq!(run(folder, &range).0, 0);

    write(folder, "rates.toml", &card("b", "1"));
    check(folder, &range, 5, "suspicious_price");
    assert_eq!(run(folder, &["check", "--range", "2026-05", "--yes"]).0, 0);
    write(folder, "policy.toml", &pool("two"));
    check(folder, &["check", "--range", "2026-05", "--yes"], 5, "version_in_use");
    assert_eq!(run(folder, &["check"]).0, 0, "the files alone are fine");
}

#[test]
fn files_are_published_both_or_neither() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write(folder, "rates.toml", "version='mine'\ncurrency='USD'\nvalid_from=2020-01-01");
    write(folder, "policy.toml", "version = ");
    check(folder, &["attribute", "--date", "2026-05-03"], 5, "policy.toml:1:");
    let rates = || run(folder, &["rates", "list", "-o", "json"]).1;
    assert!(!rates().contains("mine"), "{}", rates());
    write(folder, "policy.toml", HEAD);
    assert_eq!(run(folder, &["attribute", "--date", "2026-05-03"]).0, 0);
    assert!(rates().contains("mine"), "{}", rates());
}

#[test]
fn an_export_without_rows_is_a_header_and_says_its_days() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (code, out, _) = run(folder, &["export", "ledger"]);
    assert_eq!((code, out.lines().count(), out.starts_with("posting,line,kind,")), (0, 1, true), "{out}");
    let (code, out, errors) = run(folder, &["export", "cost-lines"]);
    assert_eq!((code, out.lines().count(), out.contains("billed_cost,")), (0, 1, true), "{out}");
    assert!(errors.contains("exporting 20") && errors.contains(" to 20"), "{errors}");
    assert_eq!(run(folder, &["export", "cost-lines", "-q"]).2, "");
    assert_eq!(run(folder, &["export", "ledger", "--format", "ndjson"]).1, "");
    write(folder, "apportion.toml", "[limits]\npage_rows = 2");
    for tenant in ["a", "b", "c"] {
        assert_eq!(run(folder, &["tenants", "set", tenant]).0, 0);
    }
    assert_eq!(run(folder, &["tenants", "list", "-o", "ndjson"]).1.lines().count(), 3, "pages may be short");
}

#[test]
fn a_bad_bill_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write(folder, "bill.csv", &bill("10.00", 10));
    assert_eq!(run(folder, &["import", "focus", "bill.csv", "--source", "aws"]).0, 0);
    let lines = || run(folder, &["export", "cost-lines", "--format", "ndjson", "--range", "2026-05"]).1;
    let before = lines();
    assert_eq!(before.lines().count(), 10);

    check(folder, &["import", "focus", "none.csv", "--source", "aws"], 3, "cannot read none.csv");
    write(folder, "half.csv", &bill("10.00", 5));
    check(folder, &["import", "focus", "half.csv", "--source", "aws"], 5, "would_shrink");
    check(folder, &["import", "focus", "half.csv", "--source", "aws"], 5, "--confirm");
    write(folder, "header.csv", "a,b\n1,2\n");
    check(folder, &["import", "focus", "header.csv", "--source", "aws"], 5, "header.csv is not a FOCUS file");
    write(folder, "broken.csv", &bill("ten", 1));
    check(folder, &["import", "focus", "broken.csv", "--source", "aws"], 5, "broken.csv");
    assert_eq!(lines(), before);

    let (code, out, _) = run(folder, &["import", "focus", "half.csv", "--source", "aws", "--confirm", "-o", "json"]);
    assert_eq!((code, out.contains("\"rows\":5")), (0, true), "{out}");
}

#[test]
fn a_missing_rate_of_exchange_is_partial_until_it_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let line = BillLine { cost: "10.00", ..BillLine::default() };
    let text = Bill::new().line(&line).csv().replace("USD", "EUR");
    write(folder, "bill.csv", &text);
    write(
        folder,
        "policy.toml",
        &format!("{HEAD}[[pool]]\nname = 'all'\nselect = {{}}\nsplit = {{ method = 'even' }}"),
    );
    assert_eq!(run(folder, &["import", "focus", "bill.csv", "--source", "aws"]).0, 0);
    check(folder, &["attribute", "--range", "2026-05"], 7, "fx_missing");
    assert_eq!(run(folder, &["ledger", "proof", "--range", "2026-05"]).0, 7);
    let days: String = (1..=31).map(|day| format!("2026-05-{day:02},EUR,USD,1.1\n")).collect();
    write(folder, "fx.csv", &format!("date,from,to,rate\n{days}"));
    assert_eq!(run(folder, &["fx", "import", "fx.csv"]).0, 0);
    assert_eq!(run(folder, &["attribute", "--range", "2026-05"]).0, 0);
    assert_eq!(run(folder, &["ledger", "proof", "--range", "2026-05"]).0, 0);
}

#[test]
fn what_does_not_exist_is_not_found_and_what_comes_later_is_not_available() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    check(folder, &["tenants", "show", "nobody"], 3, "tenant `nobody`");
    check(folder, &["runs", "show", "run-0"], 3, "run-0");
    check(folder, &["costs", "--view", "draft"], 5, "posted, current_rates");
    check(folder, &["costs", "--by", "nonsense"], 5, "unknown key `nonsense`");
    check(folder, &["costs", "--range", "99x"], 5, "`99x` is not a range");
    check(folder, &["costs", "changes"], 5, "`tenant` is required");
    check(folder, &["ledger", "changes", "--from-booked", "posting:9"], 5, "posting 9 does not exist");
    check(folder, &["executor"], 5, "not_available");
}

#[test]
fn rejected_events_are_partial_and_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write(
        folder,
        "events.ndjson",
        "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"log_queries\",\"time\":\"2026-05-03T10:00:00Z\",\"tenant\":\"a\",\"data\":{\"value\":1}}\nbroken\n",
    );
    let (code, out, _) = run(folder, &["import", "events", "events.ndjson", "-o", "json"]);
    assert_eq!(code, 7, "{out}");
    assert!(out.contains("\"accepted\":1") && out.contains("invalid_event"), "{out}");
}

#[test]
fn a_used_policy_cannot_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let policy = |percent: &str| {
        format!(
            "{HEAD}[[pool]]\nname = 'all'\nselect = {{}}\nsplit = {{ method = 'fixed', percent = {{ a = '{percent}' }} }}"
        )
    };
    write(folder, "bill.csv", &bill("10.00", 1));
    write(folder, "policy.toml", &policy("100"));
    assert_eq!(run(folder, &["import", "focus", "bill.csv", "--source", "aws"]).0, 0);
    assert_eq!(run(folder, &["attribute", "--range", "2026-05"]).0, 0);
    write(folder, "policy.toml", &policy("50"));
    check(folder, &["attribute", "--range", "2026-05"], 5, "version_in_use");
}

#[test]
fn a_changed_byte_of_the_ledger_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write(folder, "bill.csv", &bill("10.00", 1));
    assert_eq!(run(folder, &["import", "focus", "bill.csv", "--source", "aws"]).0, 0);
    assert_eq!(run(folder, &["attribute", "--range", "2026-05"]).0, 0);
    assert_eq!(run(folder, &["ledger", "verify"]).0, 0);
    let ledger = folder.join("apportion-data/lake/ledger");
    let data = files_below(&ledger).into_iter().find(|path| path.extension().is_some_and(|end| end == "parquet"));
    let data = data.expect("the ledger has a data file");
    let mut bytes = std::fs::read(&data).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&data, bytes).expect("written");
    assert_eq!(run(folder, &["ledger", "verify"]).0, 7);
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = apportion(folder.path(), &["completion", "bash"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
