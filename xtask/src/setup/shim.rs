//! The glue between tch and libtorch: torch-sys's C++ sources and ours, compiled into one library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::libtorch;
use crate::{cache, paths, run};

const TCH_VERSION: &str = "0.24.0";

const FLAGS: &[&str] = &["-fPIC", "-std=c++17", "-w", "-D_GLIBCXX_USE_CXX11_ABI=1"];
/// torch-sys's glue passes arguments on, ours computes, by libtorch's threads.
const FLAGS_OF_GLUE: &[&str] = &["-O1"];
const FLAGS_OF_OURS: &[&str] = &["-O3", "-fopenmp"];

/// Compiles the glue against the headers and libraries in `torch`, unless it is there already.
pub fn install(torch: &Path) -> Result<()> {
    let folder = libtorch::folder()?;
    let library = folder.join(format!("libtch-{TCH_VERSION}.so"));
    let stamp = folder.join(format!("libtch-{TCH_VERSION}.stamp"));
    let ours = paths::repo().join("crates").join("secateurs-torch").join("shim");
    let ours = ["shim.cpp", "batch_norm.cpp"].map(|name| ours.join(name));
    let mut sources = String::new();
    for path in &ours {
        sources += &fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    // torch-sys's sources are those of its version.
    let key =
        cache::sha256(&format!("{TCH_VERSION} {FLAGS:?} {FLAGS_OF_GLUE:?} {FLAGS_OF_OURS:?} {sources}"));
    if !library.is_file() || fs::read_to_string(&stamp).ok().as_deref() != Some(&key) {
        let glue = run::package_folder("torch-sys")?.join("libtch");
        run::step("compiling the glue to libtorch (two minutes or so)", || {
            cache::whole(&library, |temporary| compile(torch, &glue, &ours, temporary))
        })?;
        fs::write(&stamp, key).with_context(|| format!("cannot write {}", stamp.display()))?;
    }
    eprintln!("glue of tch {TCH_VERSION}: {}", library.display());
    Ok(())
}

fn compile(torch: &Path, glue: &Path, ours: &[PathBuf], library: &Path) -> Result<()> {
    let objects = library.with_extension("objects");
    cache::remove(&objects)?;
    fs::create_dir_all(&objects)?;
    let glue = ["torch_api_generated.cpp", "torch_api.cpp"].map(|name| glue.join(name));
    let sources = glue.iter().map(|path| (path.as_path(), FLAGS_OF_GLUE));
    let sources: Vec<_> = sources.chain(ours.iter().map(|path| (path.as_path(), FLAGS_OF_OURS))).collect();
    let done = compile_all(torch, &sources, &objects).and_then(|objects| {
        let mut linker = compiler();
        // Symbolic: the glue's functions call each other, not a namesake in the program.
        linker
            .args(["-shared", "-Wl,-Bsymbolic", "-Wl,--no-undefined", "-s", "-o"])
            .arg(library)
            .args(objects);
        run::run(linker.arg("-L").arg(torch.join("lib")).args([
            "-ltorch_cpu",
            "-lc10",
            "-fopenmp",
            "-Wl,--allow-shlib-undefined",
        ]))
    });
    cache::remove(&objects)?;
    done
}

/// All at once, each with its flags: three of the four take a minute or half and a GB each.
fn compile_all(torch: &Path, sources: &[(&Path, &[&str])], objects: &Path) -> Result<Vec<PathBuf>> {
    let include = torch.join("include");
    let mut running = Vec::new();
    for &(source, flags) in sources {
        let object = objects.join(source.file_stem().unwrap_or_default()).with_extension("o");
        let mut command = compiler();
        command.args(FLAGS).args(flags).arg(format!("-DSECATEURS_TCH_VERSION=\"{TCH_VERSION}\""));
        command.arg("-I").arg(&include).arg("-I").arg(include.join("torch/csrc/api/include"));
        command.arg("-c").arg(source).arg("-o").arg(&object);
        let child = command.spawn().with_context(|| {
            format!(
                "cannot run the C++ compiler {:?}; install one (on Debian: apt install g++) or set CXX",
                command.get_program()
            )
        })?;
        running.push((source, object, child));
    }
    // All are waited for, also when one fails: they write into a folder that is then removed.
    let mut done = Vec::new();
    for (source, object, mut child) in running {
        done.push((source, object, child.wait()?.success()));
    }
    done.into_iter()
        .map(|(source, object, success)| {
            ensure!(success, "{} does not compile against libtorch {}", source.display(), libtorch::VERSION);
            Ok(object)
        })
        .collect()
}

/// `$CXX`, or c++.
fn compiler() -> Command {
    Command::new(std::env::var_os("CXX").filter(|value| !value.is_empty()).unwrap_or("c++".into()))
}
