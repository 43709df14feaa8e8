//! The migrations are compiled in: a new file must lead to a new build.
#![expect(clippy::print_stdout, reason = "a build script talks to cargo through its output")]

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
