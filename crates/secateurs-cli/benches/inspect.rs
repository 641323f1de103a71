//! `secateurs inspect` on a model of 100 MB against one of 1 kB: wall-clock time and peak memory of the whole process.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use prost::Message as _;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

const RUNS: usize = 21;

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut medians = Vec::new();
    for (name, layers, width) in [("1 kB", 1, 12), ("100 MB", 25, 1000)] {
        let path = folder.path().join(format!("{layers}.onnx"));
        std::fs::write(&path, model(layers, width)).expect("the model can be written");
        let size = std::fs::metadata(&path).expect("it was written").len() as f64;
        let mut runs: Vec<(f64, f64)> = (0..RUNS).map(|_| inspect(&path)).collect();
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ms, peak) = runs[RUNS / 2];
        println!("inspect {name}: {:.1} ms, peak {:.1} MB", ms, peak / 1e6);
        medians.push((ms, peak, size));
    }
    let (small, large) = (medians[0], medians[1]);
    println!(
        "100 MB against 1 kB: {:.1} ms more, {:.2}× the file's size more memory",
        large.0 - small.0,
        (large.1 - small.1) / large.2
    );
}

#[expect(clippy::zombie_processes, reason = "waited for by wait4, which tells the memory too")]
/// Milliseconds and peak resident bytes.
fn inspect(path: &Path) -> (f64, f64) {
    let start = Instant::now();
    let child = Command::new(env!("CARGO_BIN_EXE_secateurs"))
        .arg("inspect")
        .arg(path)
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut status = 0;
    // SAFETY: both out-parameters are valid for writing, and the child is ours to wait for.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::wait4(child.id() as i32, &mut status, 0, &mut usage);
        usage
    };
    assert_eq!(status, 0, "inspect succeeds");
    (1e3 * start.elapsed().as_secs_f64(), usage.ru_maxrss as f64 * 1024.0)
}

/// Layers of `MatMul` with square weights.
fn model(layers: usize, width: usize) -> Vec<u8> {
    let weight = Tensor::from_slice(vec![width, width], &vec![0.01f32; width * width]).expect("square");
    let first = ModelBuilder::new(17).input("v0", ElementType::Float32, &["1", &width.to_string()]);
    let layer = |model: ModelBuilder, i: usize| {
        let (x, w, y) = (format!("v{i}"), format!("w{i}"), format!("v{}", i + 1));
        model.constant(&w, &weight).node("MatMul", &[&x, &w], &[&y])
    };
    let model = (0..layers).fold(first, layer).output(&format!("v{layers}"));
    model.proto().encode_to_vec()
}
