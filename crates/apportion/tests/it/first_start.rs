//! What the first command in a folder does: it makes the store and its first token.

use crate::{apportion, run};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const SAYS: &str = "platform admin token, shown once: ";

fn token_said(errors: &str) -> Option<&str> {
    errors.lines().find_map(|line| line.strip_prefix(SAYS))
}

fn token_file(folder: &Path) -> std::path::PathBuf {
    folder.join("apportion-data/admin.token")
}

#[test]
fn whatever_command_makes_the_store_says_its_token_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::create_dir(folder.join("apportion-data")).expect("made");
    std::fs::write(token_file(folder), "older").expect("written");
    std::fs::set_permissions(token_file(folder), std::fs::Permissions::from_mode(0o644)).expect("set");

    let (code, out, errors) = run(folder, &["tenants", "list", "-o", "json"]);
    let token = token_said(&errors).unwrap_or_else(|| panic!("no token: {errors}"));
    assert_eq!((code, out.contains(token)), (0, false), "data alone stands on standard output: {out}");
    assert_eq!(std::fs::read_to_string(token_file(folder)).expect("a file").trim(), token);
    let mode = std::fs::metadata(token_file(folder)).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(token_said(&run(folder, &["tenants", "list"]).2), None);
}

#[test]
fn a_token_that_cannot_be_written_is_not_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::create_dir_all(token_file(folder)).expect("made");
    let (code, _, errors) = run(folder, &["tenants", "list"]);
    assert_eq!((code, errors.contains("cannot write")), (1, true), "{errors}");
    std::fs::remove_dir(token_file(folder)).expect("removed");
    let (code, _, errors) = run(folder, &["tenants", "list"]);
    assert_eq!((code, token_said(&errors).is_some()), (0, true), "{errors}");
}

#[test]
fn a_variable_that_is_not_text_is_skipped_unless_it_is_one_of_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = OsStr::from_bytes(b"\xff");
    let output = apportion(folder.path(), &["version"]).env("X", bytes).env(bytes, "x").output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());

    let mut command = apportion(folder.path(), &["tenants", "list"]);
    let output = command.env("APPORTION_USAGE_UNIT_COSTS", "api_call=1").output().expect("it runs");
    assert_eq!(output.status.code(), Some(5), "prices that cannot be read are refused, not left out");
    assert!(String::from_utf8_lossy(&output.stderr).contains("APPORTION_USAGE_UNIT_COSTS"));

    let mut command = apportion(folder.path(), &["tenants", "list"]);
    let output = command.env("APPORTION_ADMIN_TOKEN", OsStr::from_bytes(&[0xff; 40])).output().expect("it runs");
    assert_eq!(output.status.code(), Some(5), "a token that is not text is refused, not taken for none");
}
