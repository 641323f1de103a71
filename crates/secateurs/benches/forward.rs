//! Forward throughput of the interpreter against PyTorch eager, in turns, with the same threads and precision.
//!
//! `SECATEURS_PYTHON_TORCH` names a Python with torch 2.11 (`cargo xtask bench` sets it). Models that are not there are
//! skipped, saying so.

#[path = "peers/process.rs"]
mod process;
#[path = "peers/python.rs"]
mod python;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secateurs::runtime::Timing;
use secateurs_graph::Graph;
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_torch::tch::{self, Device, Kind, Tensor};

use process::Process;

const ROUNDS: usize = 12;
const RUNS: usize = 4;

fn main() {
    secateurs_torch::keep_freed_memory();
    secateurs_torch::load().expect("libtorch loads; run `cargo xtask setup`");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    tch::set_num_threads(threads as i32);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let images = Tensor::f_randn([128, 3, 32, 32], (Kind::Float, Device::Cpu)).expect("images are made");
    let ids = Tensor::f_randint(30522, [32, 64], (Kind::Int64, Device::Cpu)).expect("tokens are made");
    let mask = Tensor::f_ones([32, 64], (Kind::Int64, Device::Cpu)).expect("the mask is made");
    let jobs: [(&str, &str, &[&str], Vec<Tensor>); 2] = [
        (
            "PreResNet-29, 128 images",
            "assets/cifar10-preresnet29.onnx",
            &["preresnet", "preresnet-channels-last"],
            vec![images],
        ),
        (
            "MiniLM-L6, 32 x 64 tokens",
            "../shared/models/minilm-l6-movie-reviews.onnx",
            &["minilm"],
            vec![ids, mask],
        ),
    ];
    let mut peer = peer(threads);
    println!("forward pass, f32, {threads} threads, median of {} runs in turns", ROUNDS * RUNS);
    for (title, file, peers, inputs) in jobs {
        let Ok(graph) = Graph::read(&root.join(file)) else {
            println!("{title}: skipped, {file} is not there");
            continue;
        };
        let session = Session::new(Arc::new(graph), SessionOptions::default()).expect("the model loads");
        let run = || {
            let start = Instant::now();
            tch::no_grad(|| session.forward(&inputs, &[])).expect("the model runs");
            1e3 * start.elapsed().as_secs_f64()
        };
        let (mut ours, mut theirs) = (Vec::new(), vec![Vec::new(); peers.len()]);
        for round in 0..=ROUNDS {
            let mine: Vec<f64> = (0..RUNS).map(|_| run()).collect();
            std::thread::sleep(Duration::from_millis(30));
            let other: Vec<Vec<f64>> =
                peers.iter().map(|name| peer.as_mut().map_or_else(Vec::new, |p| run_peer(p, name))).collect();
            // The first round warms up.
            if round > 0 {
                ours.extend(mine);
                theirs.iter_mut().zip(other).for_each(|(all, new)| all.extend(new));
            }
        }
        let mine = Timing::from_times(ours);
        println!("{title}: {:.1} ms ({:.1} to {:.1})", mine.median_ms, mine.p10_ms, mine.p90_ms);
        for (name, times) in peers.iter().zip(theirs).filter(|(_, times)| !times.is_empty()) {
            let theirs = Timing::from_times(times);
            println!(
                "    PyTorch {name}: {:.1} ms ({:.1} to {:.1}); ours is {:.2}× as fast",
                theirs.median_ms,
                theirs.p10_ms,
                theirs.p90_ms,
                theirs.median_ms / mine.median_ms
            );
        }
    }
}

/// PyTorch's side, once it has told its version.
fn peer(threads: usize) -> Option<Process> {
    let mut script = python::script("peers/pytorch.py")?;
    script.arg(threads.to_string());
    let mut peer = Process::start(script);
    println!("peer: PyTorch {}", peer.answer());
    Some(peer)
}

/// Milliseconds of some runs of a model.
fn run_peer(peer: &mut Process, name: &str) -> Vec<f64> {
    let times = peer.ask(&format!("{name} {RUNS}"));
    times.split_whitespace().map(|t| t.parse().expect("the peer answers in numbers")).collect()
}
