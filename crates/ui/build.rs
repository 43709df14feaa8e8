//! Lists the built pages as constants, so that they are part of the binary; without them one page says how to build them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Where Vite puts what it built.
const BUILT: &str = "../../web/dist";
/// Stands in for the pages that were not built.
const PLACEHOLDER: &str = "src/not_built.html";

fn main() {
    // The folder itself is always there, so that its first content is noticed.
    println!("cargo:rerun-if-changed={BUILT}");
    println!("cargo:rerun-if-changed={PLACEHOLDER}");
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the crate's folder"));
    let built = here.join(BUILT);
    let is_built = built.join("index.html").is_file();
    if !is_built {
        println!("cargo:warning=web/dist is empty: the pages are a placeholder until `make web` and another build");
    }
    let index = if is_built { format!("{BUILT}/index.html") } else { PLACEHOLDER.to_owned() };
    let mut code = format!("pub(crate) const INDEX: &str = include_str!({});\n", in_crate(&index));
    code.push_str("pub(crate) const ASSETS: &[Asset] = &[\n");
    for name in names_in(&built.join("assets")) {
        let packed = format!("{name}.gz");
        let is_packed = built.join("assets").join(&packed).is_file();
        let bytes = |name: &str| format!("include_bytes!({})", in_crate(&format!("{BUILT}/assets/{name}")));
        let gzip = if is_packed { format!("Some({})", bytes(&packed)) } else { "None".to_owned() };
        writeln!(code, "    Asset {{ name: {name:?}, bytes: {}, gzip: {gzip} }},", bytes(&name))
            .expect("a text takes what is written");
    }
    code.push_str("];\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo names the output folder")).join("built.rs");
    std::fs::write(out, code).expect("cargo's output folder can be written");
}

/// A file as an expression: checkouts share one target folder, so that no path of one of them may stand in it.
fn in_crate(path: &str) -> String {
    format!("concat!(env!(\"CARGO_MANIFEST_DIR\"), {:?})", format!("/{path}"))
}

/// The files of a folder in order, but for the compressed ones beside them.
fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".gz")).collect();
    names.sort();
    names
}
