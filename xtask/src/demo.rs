//! `cargo xtask demo`: the program on the model and the images in `assets/`.

use std::process::Command;

use anyhow::Result;

use crate::{only_flags, paths, run, setup};

/// What is shown, as one would type it in the root of the repository.
const LINES: &[&str] = &[
    "secateurs inspect assets/cifar10-preresnet29.onnx --dim batch=1",
    "secateurs eval assets/cifar10-preresnet29.onnx --data assets/cifar10-sample.npz \
     --preset cifar10",
    // A fifth is held out; the few images show how it works, not what it can do.
    "secateurs compress assets/cifar10-preresnet29.onnx --data assets/cifar10-sample.npz --preset cifar10 \
     --recipe hap --keep params=0.5 --epochs 6 --batch-size 32 --learning-rate 0.001 --validation 0.2 --restart -o target/demo",
];

pub fn command(arguments: &[String]) -> Result<()> {
    only_flags(arguments, &[])?;
    setup::command(&[])?;
    let release = paths::target().join("release");
    std::fs::create_dir_all(paths::repo().join("target"))?;
    for line in LINES {
        println!("\n$ {line}");
        let mut words = line.split_whitespace();
        let program = release.join(words.next().unwrap_or_default());
        run::show(Command::new(program).args(words).current_dir(paths::repo()))?;
    }
    Ok(())
}
