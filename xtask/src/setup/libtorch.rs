//! libtorch 2.11.0 in the cache: a link to one that is there already, or the CPU part of the wheel.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::pypi::{self, Wheel};
use crate::{cache, run};

/// The version that tch 0.24 needs.
pub const VERSION: &str = "2.11.0";

pub const WHEEL: Wheel = Wheel {
    requirement: "torch==2.11.0",
    sha256_x86_64: "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
    sha256_aarch64: "d91aac77f24082809d2c5a93f52a5f085032740a1ebc9252a7b052ef5a4fddc6",
};

/// Two small libraries that `libtorch_cpu.so` needs, also where there is no GPU.
const CUDA_RUNTIME: Wheel = Wheel {
    requirement: "nvidia-cuda-runtime==13.0.96",
    sha256_x86_64: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    sha256_aarch64: "ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55",
};
const CUPTI: Wheel = Wheel {
    requirement: "nvidia-cuda-cupti==13.0.85",
    sha256_x86_64: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    sha256_aarch64: "796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151",
};

/// Where libtorch and the glue are in the cache; `secateurs_torch::search` looks there.
pub fn folder() -> Result<PathBuf> {
    Ok(cache::folder()?.join(format!("torch-{VERSION}")))
}

/// Makes `torch` in [`folder`] and returns its path: it holds `lib/` and `include/`.
pub fn install(again: bool) -> Result<PathBuf> {
    let torch = folder()?.join("torch");
    let wanted = env::var_os("LIBTORCH").filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(wanted) = wanted {
        let wanted = fs::canonicalize(&wanted)
            .with_context(|| format!("LIBTORCH={} cannot be read", wanted.display()))?;
        check(&wanted).with_context(|| {
            format!(
                "LIBTORCH={} cannot be used; unset it to let setup fetch libtorch {VERSION}",
                wanted.display()
            )
        })?;
        // What was unpacked here stays: the program looks at LIBTORCH first anyway.
        if again || torch.is_symlink() || !torch.exists() {
            link(&torch, &wanted)?;
        }
        eprintln!("libtorch {VERSION}: {} (LIBTORCH)", wanted.display());
        return Ok(wanted);
    }
    if again || check(&torch).is_err() {
        match python_torch() {
            Some(found) => link(&torch, &found)?,
            None => run::step("fetching the CPU part of libtorch from PyPI", || fetch(&torch))?,
        }
    }
    check(&torch).with_context(|| {
        format!("{} is damaged: remove it and run `cargo xtask setup` again", torch.display())
    })?;
    let origin = fs::read_link(&torch).map_or(String::new(), |to| format!(" -> {}", to.display()));
    eprintln!("libtorch {VERSION}: {}{origin}", torch.display());
    Ok(torch)
}

fn link(torch: &Path, to: &Path) -> Result<()> {
    cache::whole(torch, |temporary| Ok(symlink(to, temporary)?))
}

/// Fails unless `torch` holds libtorch of our version, with headers, in the C++ ABI that compilers use today.
fn check(torch: &Path) -> Result<()> {
    let version = version(torch)?;
    if version != VERSION {
        bail!("it is libtorch {version}, but {VERSION} is needed");
    }
    for file in ["lib/libtorch_cpu.so", "lib/libc10.so", "include/torch/script.h"] {
        if !torch.join(file).is_file() {
            bail!("it holds no {file}");
        }
    }
    let c10 = fs::read(torch.join("lib/libc10.so")).context("its libc10.so cannot be read")?;
    // std::__cxx11::basic_string in a mangled name: only the newer of the two ABIs has it.
    if !c10.windows(9).any(|bytes| bytes == b"7__cxx111") {
        bail!("it is compiled in the C++ ABI from before C++11");
    }
    Ok(())
}

/// What `version.py` of a wheel or `build-version` of an archive states.
fn version(torch: &Path) -> Result<String> {
    let stated = fs::read_to_string(torch.join("version.py"))
        .ok()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("__version__ = ")).map(str::to_owned))
        .or_else(|| fs::read_to_string(torch.join("build-version")).ok())
        .context("it states no version: there is neither version.py nor build-version")?;
    Ok(stated.trim().trim_matches(['\'', '"']).split('+').next().unwrap_or_default().to_owned())
}

/// The active Python's torch, if it is one that fits.
fn python_torch() -> Option<PathBuf> {
    const ASK: &str = "import importlib.util as u; s = u.find_spec('torch'); print(s.origin if s else '')";
    let origin = run::output(run::python().args(["-c", ASK])).ok()?;
    let torch = fs::canonicalize(Path::new(origin.trim()).parent()?).ok()?;
    match check(&torch) {
        Ok(()) => Some(torch),
        Err(error) => {
            eprintln!("not used: Python's torch at {}: {error:#}", torch.display());
            None
        }
    }
}

/// The CPU part of the wheel. The layout is that of a Python environment, so that the libraries find each other.
fn fetch(torch: &Path) -> Result<()> {
    let root = folder()?;
    cache::whole(&root.join("nvidia"), |temporary| {
        let unpacked = temporary.with_extension("unpacked");
        let done = [(CUDA_RUNTIME, "libcudart.so.*"), (CUPTI, "libcupti.so.*")].iter().try_for_each(
            |(wheel, library)| {
                pypi::fetch_and_unpack(wheel, &unpacked, &[&format!("nvidia/cu13/lib/{library}")])
            },
        );
        let done = done.and_then(|()| Ok(fs::rename(unpacked.join("nvidia"), temporary)?));
        cache::remove(&unpacked)?;
        done
    })?;
    cache::whole(torch, |temporary| {
        let unpacked = temporary.with_extension("unpacked");
        let done = pypi::fetch_and_unpack(
            &WHEEL,
            &unpacked,
            &[
                "torch/version.py",
                "torch/include/*",
                "torch/lib/*",
                "!torch/lib/*cuda*",
                "!torch/lib/*nvrtc*",
                "!torch/lib/*nvshmem*",
                "!torch/lib/*python*",
                // Both only name all the other libraries.
                "!torch/lib/libtorch.so",
                "!torch/lib/libtorch_global_deps.so",
                "torch.libs/*",
            ],
        );
        let done = done.and_then(|()| {
            let libraries = unpacked.join("torch.libs");
            if libraries.is_dir() {
                cache::whole(&root.join("torch.libs"), |to| Ok(fs::rename(&libraries, to)?))?;
            }
            Ok(fs::rename(unpacked.join("torch"), temporary)?)
        });
        cache::remove(&unpacked)?;
        done
    })
}
