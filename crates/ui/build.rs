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
    let index = built.join("index.html");
    let is_built = index.is_file();
    if !is_built {
        println!("cargo:warning=web/dist is empty: the pages are a placeholder until `make web` and another build");
    }
    let index = if is_built { index } else { here.join(PLACEHOLDER) };
    let mut code = format!("pub(crate) const INDEX: &str = include_str!({:?});\n", index.display().to_string());
    code.push_str("pub(crate) const ASSETS: &[Asset] = &[\n");
    for name in names_in(&built.join("assets")) {
        let path = built.join("assets").join(&name);
        let packed = path.with_file_name(format!("{name}.gz"));
        let packed = packed.is_file().then(|| format!("Some(include_bytes!({:?}))", packed.display().to_string()));
        let packed = packed.unwrap_or_else(|| "None".to_owned());
        let path = path.display().to_string();
        writeln!(code, "    Asset {{ name: {name:?}, bytes: include_bytes!({path:?}), gzip: {packed} }},")
            .expect("a text takes what is written");
    }
    code.push_str("];\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo names the output folder")).join("built.rs");
    std::fs::write(out, code).expect("cargo's output folder can be written");
}

/// The files of a folder in order, but for the compressed ones beside them.
fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".gz")).collect();
    names.sort();
    names
}
