//! A PostgreSQL server of a test's own: Debian's programs, temporary data, a free port of the loopback address.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian puts the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The account `nobody`: the server refuses to run as root.
const NOBODY: u32 = 65_534;
/// Another process may take a port between its choice and its use.
const STARTS_MAX: u32 = 5;

/// A running server; it ends and its data goes when the value is dropped.
///
/// Texts are ordered by language and not by bytes unless a statement says so, as on most servers. Nothing is synced to
/// the disk: what it promises holds when a process is killed, not when the machine is.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
}

impl Postgres {
    /// Starts a server with the database `postgres` of the superuser `apportion`.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start: a missing service fails a test.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("root gives folders away");
        }
        let mut server = Self { programs: programs(), folder, port: 0 };
        let data = server.data();
        let language = ["--locale-provider=icu", "--icu-locale=en", "--locale=C.UTF-8", "--encoding=UTF8"];
        let mut initdb = server.command("initdb");
        initdb.args(["--no-sync", "--no-instructions", "--username=apportion", "--auth=trust"]).args(language);
        run(initdb.arg("--pgdata").arg(&data)).unwrap_or_else(|output| panic!("initdb failed: {output}"));
        for _ in 1..STARTS_MAX {
            server.port = free_port();
            if server.restart().is_ok() {
                return server;
            }
        }
        server.port = free_port();
        server.restart().unwrap_or_else(|output| panic!("PostgreSQL did not start: {output}"));
        server
    }

    /// Returns the address of a database of the server.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://apportion@127.0.0.1:{}/{database}", self.port)
    }

    /// Returns what statements of `psql` print, one row a line.
    ///
    /// # Panics
    /// When a statement fails.
    pub fn psql(&self, database: &str, statements: &str) -> String {
        let mut psql = self.command("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command"]);
        psql.arg(statements).arg(self.url(database));
        run(&mut psql).unwrap_or_else(|output| panic!("{statements}: {output}"))
    }

    /// Returns everything a database holds, as `pg_dump` writes it.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn dump(&self, database: &str) -> String {
        let mut dump = self.command("pg_dump");
        run(dump.arg(self.url(database))).unwrap_or_else(|output| panic!("pg_dump failed: {output}"))
    }

    /// Ends every process of the server at once, as a crash does.
    pub fn crash(&self) {
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "--silent", "--mode=immediate", "--pgdata"]).arg(self.data());
        // It may have ended already.
        let _ = run(&mut stop);
    }

    /// Starts the server, at the same address if it ran before.
    ///
    /// # Errors
    /// What the server says when it does not start.
    pub fn restart(&self) -> Result<(), String> {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c max_connections=100",
            self.port
        );
        let mut start = self.command("pg_ctl");
        start.args(["start", "--silent", "--wait", "--options", &options, "--pgdata"]).arg(self.data());
        start.arg("--log").arg(self.folder.path().join("log"));
        run(&mut start).map(drop)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}

/// The output of a program; as an error both outputs, if it fails.
fn run(command: &mut Command) -> Result<String, String> {
    // The server inherits what it is not given; a file ends when nobody waits for it, a pipe does not.
    let output = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let both = output.reopen().and_then(|file| Ok((file.try_clone()?, file))).map_err(|error| error.to_string())?;
    let status = command.stdout(both.0).stderr(both.1).status();
    let text = fs::read_to_string(output.path()).map_err(|error| error.to_string())?;
    match status {
        Ok(status) if status.success() => Ok(text),
        Ok(status) => Err(format!("{status}: {text}")),
        Err(error) => Err(format!("{}: {error}", command.get_program().display())),
    }
}

/// The programs of the newest version that is installed.
fn programs() -> PathBuf {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let version_of = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).filter(|path| path.join("bin/initdb").exists());
    let newest = newest.max_by_key(|path| version_of(path));
    newest.expect("PostgreSQL is not installed; `scripts/setup test` installs it").join("bin")
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn free_port() -> u16 {
    let probe = TcpListener::bind(("127.0.0.1", 0)).expect("a port of the loopback address");
    probe.local_addr().expect("a bound socket has an address").port()
}
