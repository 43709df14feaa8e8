//! Serving, and asking a server: the same answers, tokens, a locked folder, a gentle end.

use crate::{apportion, run};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

struct Server {
    child: Child,
    url: String,
    metrics: String,
    token: String,
}

impl Server {
    /// Starts a server and waits until it says where it listens.
    fn start(folder: &Path) -> Self {
        let mut command = apportion(folder, &["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map(|line| line.expect("text"));
        let said = |line: &str, start: &str| line.strip_prefix(start).map(str::to_owned);
        let token = said(&lines.next().expect("a line"), "platform admin token, shown once: ").expect("the token");
        let metrics = said(&lines.next().expect("a line"), "metrics on ").expect("the address of the exporter");
        let url = said(&lines.next().expect("a line"), "listening on ").expect("the address");
        Self { child, url, metrics, token }
    }

    fn ask(&self, folder: &Path, token: &str, arguments: &[&str]) -> (i32, String, String) {
        let mut all = vec!["--server", &self.url, "--token", token];
        all.extend(arguments);
        run(folder, &all)
    }

    /// Sends the signal and returns how the server ended.
    fn stop(mut self, signal: &str) -> Option<i32> {
        let id = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args([signal, &id]).status().expect("kill runs");
        assert!(sent.success());
        self.child.wait().expect("it ends").code()
    }
}

#[test]
fn a_server_answers_what_the_local_store_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let server = Server::start(folder);
    let token_file = std::fs::read_to_string(folder.join("apportion-data/admin.token")).expect("a file");
    assert_eq!(token_file.trim(), server.token);
    let token = server.token.clone();

    assert_eq!(server.ask(folder, &token, &["tenants", "set", "acme", "--name", "Acme Inc", "--plan", "pro"]).0, 0);
    let asked = ["tenants", "list", "-o", "json"];
    let (code, remote, _) = server.ask(folder, &token, &asked);
    assert_eq!(code, 0);

    let (code, _, errors) = server.ask(folder, "wrong", &asked);
    assert_eq!((code, errors.contains("unauthenticated")), (4, true), "{errors}");
    let (code, out, _) = server.ask(folder, &token, &["tokens", "create", "--role", "finance", "-o", "json"]);
    assert_eq!(code, 0);
    let minted: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let finance = minted["token"].as_str().expect("a token");
    assert_eq!(server.ask(folder, finance, &["tenants", "list"]).0, 0);
    assert_eq!(server.ask(folder, finance, &["tokens", "list"]).0, 4);

    let (code, _, errors) = run(folder, &asked);
    assert_eq!((code, errors.contains("--server")), (5, true), "the folder is locked: {errors}");
    assert_eq!(server.stop("-TERM"), Some(0));
    assert_eq!(run(folder, &asked).1, remote);
}

#[test]
fn a_server_below_a_base_path_is_asked_below_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::write(folder.join("apportion.toml"), "[server]\nbase_path = '/costs/'").expect("written");
    let server = Server::start(folder);
    assert!(server.url.ends_with("/costs"), "{}", server.url);
    let token = server.token.clone();
    assert_eq!(server.ask(folder, &token, &["tenants", "list"]).0, 0);
    let outside = server.url.trim_end_matches("/costs").to_owned();
    assert_eq!(run(folder, &["--server", &outside, "--token", &token, "tenants", "list"]).0, 3);
    assert_eq!(server.stop("-TERM"), Some(0));
}

#[test]
fn metrics_are_served_beside_the_api_to_programs_of_the_same_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let address = server.metrics.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/metrics"));
    let address = address.expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\napportion_build_info{"), "{answer}");

    let other = tempfile::tempdir().expect("a folder");
    let mut second = apportion(other.path(), &["serve", "--listen", "127.0.0.1:0"]);
    let output = second.env("APPORTION__SERVER__EXPORTER_LISTEN", address).output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        (output.status.code(), errors.contains("set another server.exporter_listen")),
        (Some(1), true),
        "{errors}"
    );
    assert_eq!(server.stop("-TERM"), Some(0));
}

#[test]
fn a_server_that_is_not_there_is_unreachable() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let url = server.url.clone();
    assert_eq!(server.stop("-INT"), Some(0));
    let (code, _, errors) = run(folder.path(), &["--server", &url, "costs"]);
    assert_eq!((code, errors.contains("is the server running there?")), (6, true), "{errors}");
}
