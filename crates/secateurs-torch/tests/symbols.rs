//! `symbols.txt` is what torch-sys declares. After an update of tch, `UPDATE_EXPECT=1 cargo test -p secateurs-torch`
//! rewrites it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The folder of torch-sys's source, from `cargo metadata`.
fn torch_sys() -> PathBuf {
    // Without a platform, cargo downloads the crates of all.
    let platform = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--filter-platform", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "torch-sys").unwrap();
    Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

/// The functions in `extern "C"` blocks.
fn declared(source: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    source.lines().filter_map(move |line| {
        match line {
            "extern \"C\" {" => inside = true,
            "}" => inside = false,
            _ => {}
        }
        let name = line.trim_start().strip_prefix("pub fn ").filter(|_| inside)?;
        name.split('(').next()
    })
}

#[test]
fn symbols_txt_is_what_torch_sys_declares() {
    let folder = torch_sys().join("src");
    let sources =
        ["lib.rs", "cuda.rs", "c_generated.rs"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
    let symbols: BTreeSet<&str> = sources.iter().flat_map(|source| declared(source)).collect();
    let text: String = symbols.iter().flat_map(|symbol| [symbol, "\n"]).collect();

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("symbols.txt");
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&file, &text).unwrap();
    }
    assert!(fs::read_to_string(&file).unwrap() == text, "out of date: run this test with UPDATE_EXPECT=1");
}
