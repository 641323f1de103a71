//! Tuning against PyTorch's usual training loop: steps a second, peak memory, and whether the losses are the same.
//!
//! PreResNet-29 (`assets/`) on CIFAR-10 (`data/cifar10/train.npz`; without it nothing is measured), 128 images a step, shifted by
//! up to 4 pixels and mirrored, SGD with Nesterov's momentum 0.9, learning rate 1e-3, weight decay 5e-4; in f32 and bf16. Ours is
//! [`secateurs::tune::tune`] with all that it does in a real run: reading, augmentation, the loss of every step, checkpoints once a
//! minute. The peer (`pytorch.py`) is an `nn.Module` with the file's weights, whose logits are first held against ONNX Runtime's;
//! torchvision's transforms of PIL images; a `DataLoader` with `num_workers` 0 and 2; autocast for bf16; `loss.item()` after every
//! step. It runs in NCHW, as people write it, and in channels-last; ours is compared with the fastest of the four. PyTorch's step
//! alone, on one batch in memory, is what its loop cannot beat, and ours with a teacher (the same model) is there for information.
//!
//! *Throughput*: every training is a process. After its warm-up it waits, and then all of one precision take turns (A B C … A B
//! C …), so that what changes on the machine changes all of them. The first steps of a turn are not timed, because loaders read ahead
//! while they wait. Medians are over turns. *Memory*: `VmHWM` of fresh processes after 40 steps, the whole data set in memory on both
//! sides; the processes of PyTorch's loader are not counted. *Losses*: 20 steps through the same samples in the same order without
//! augmentation, weight decay on kernels and matrices alone, in f32 and f64.
//!
//! `cargo xtask bench -p secateurs --bench tuning -- [--threads 2] [--warmup 30] [--turns 6] [--steps 10]`.
//! `SECATEURS_PYTHON_TORCH` names a Python with torch 2.11 and torchvision (`cargo xtask bench` sets it); without it ours is
//! measured alone. Takes some 25 minutes.

mod job;
#[path = "../peers/memory.rs"]
mod memory;
mod ours;
#[path = "../peers/process.rs"]
mod process;
#[path = "../peers/python.rs"]
mod python;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use secateurs::data::{Augment, Dataset, Stream, npz};
use secateurs::runtime::{OrtModel, SessionOptions, Timing};
use secateurs::tune::TunePrecision;
use secateurs_graph::Graph;
use secateurs_onnx::Tensor;

use job::{BATCH_SIZE, Job, LEAD_IN, LOSSES, Task, Training};
use process::Process;

/// Steps before memory is measured.
const MEMORY_STEPS: usize = 40;
/// Between two turns: loaders fill up, threads fall asleep.
const PAUSE: Duration = Duration::from_millis(200);
/// The first argument of a child of ours; the second one is its job.
const CHILD: &str = "child";
const USAGE: &str = "arguments are --threads N, --warmup N, --turns N and --steps N";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [CHILD, job, ..] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return ours::child(&serde_json::from_str(job).expect("the parent writes jobs"));
    }
    let settings = Settings::read(&arguments);
    if !job::data().is_file() {
        println!(
            "tuning: skipped, data/cifar10/train.npz is not there; `cargo xtask data --only cifar10` makes it"
        );
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let exchange = folder.path().join("exchange.npz");
    let bench = Bench { settings, peer: prepare(&exchange).then_some(exchange) };
    for precision in [TunePrecision::F32, TunePrecision::Bf16] {
        bench.speed_and_memory(precision);
    }
    bench.losses();
}

/// How much is measured.
struct Settings {
    threads: usize,
    warmup: usize,
    turns: usize,
    steps: usize,
}

impl Settings {
    fn read(arguments: &[String]) -> Settings {
        let mut settings = Settings { threads: 2, warmup: 30, turns: 6, steps: 10 };
        // Cargo adds its own.
        let mut words = arguments.iter().filter(|word| *word != "--bench");
        while let Some(word) = words.next() {
            let number = words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0).expect(USAGE);
            match word.as_str() {
                "--threads" => settings.threads = number,
                "--warmup" => settings.warmup = number,
                "--turns" => settings.turns = number,
                "--steps" => settings.steps = number,
                _ => panic!("{USAGE}"),
            }
        }
        settings
    }
}

/// Writes what both sides must agree on, and says whether there is a peer whose model is the same.
fn prepare(exchange: &Path) -> bool {
    let graph = Graph::read(&job::model()).expect("the model can be read");
    let samples = ours::samples(&graph);
    let images = samples.batch(&(0..BATCH_SIZE).collect::<Vec<_>>()).expect("images can be read").inputs;
    let model = OrtModel::load(&job::model(), &SessionOptions::default());
    let logits = model.and_then(|mut model| model.run(&images)).expect("ONNX Runtime runs the model");
    let order = Tensor::from_slice(vec![LOSSES * BATCH_SIZE], &order(&samples)).expect("a list");
    let parameters = graph.parameters();
    let weights =
        parameters.iter().filter_map(|p| Some((&*graph.values[p.value].name, graph.tensor(p.value)?)));
    let mut arrays: Vec<(&str, &Tensor)> = weights.collect();
    arrays.extend([("images", &images[0].1), ("logits", &logits[0].1), ("order", &order)]);
    npz::write(exchange, &arrays).expect("a temporary file can be written");

    let Some(script) = peer_script(exchange) else { return false };
    let answer = Process::start(script).answer();
    let (version, difference) = answer.split_once(' ').expect("the peer tells version and difference");
    println!("peer: PyTorch {version}, logits within {difference} of ONNX Runtime's");
    let difference: f64 = difference.parse().expect("the peer answers in numbers");
    assert!(difference <= 1e-4, "the peer has another model");
    true
}

/// The samples of the first steps, as [`secateurs::tune::tune`] takes them.
fn order(samples: &Arc<Dataset>) -> Vec<i64> {
    let stream = samples.stream(Stream {
        samples: (0..samples.len()).collect(),
        batch_size: BATCH_SIZE,
        seed: 0,
        augment: Augment::default(),
        first_step: 0,
        steps: LOSSES,
        threads: 1,
    });
    stream.flat_map(|batch| batch.expect("images can be read").indices).map(|index| index as i64).collect()
}

fn peer_script(exchange: &Path) -> Option<Command> {
    let mut script = python::script("tuning/pytorch.py")?;
    script.arg(exchange).arg(job::data());
    Some(script)
}

struct Bench {
    settings: Settings,
    /// What the peer is told, if there is one.
    peer: Option<PathBuf>,
}

impl Bench {
    fn speed_and_memory(&self, precision: TunePrecision) {
        let Settings { threads, warmup, turns, steps } = self.settings;
        println!("{precision}, {threads} threads, median of {turns} turns of {steps} steps");
        let ours = [false, true].map(|teacher| Training::Secateurs { teacher });
        let loops = [(false, 0), (false, 2), (true, 0), (true, 2)];
        let loops = loops.map(|(channels_last, workers)| Training::Pytorch { channels_last, workers });
        let alone = [false, true].map(|channels_last| Training::PytorchStep { channels_last });
        let mut trainings = ours.to_vec();
        if self.peer.is_some() {
            trainings.extend(loops.iter().chain(&alone));
        }
        let task = Task::Turns { warmup, lead_in: LEAD_IN, steps };
        let mut processes: Vec<(Process, Vec<f64>)> = Vec::new();
        for &training in &trainings {
            let mut process = self.start(task, training, precision);
            // It has warmed up.
            process.answer();
            processes.push((process, Vec::new()));
        }
        for _ in 0..turns {
            for (process, times) in &mut processes {
                std::thread::sleep(PAUSE);
                let seconds: f64 = process.ask("go on").parse().expect("a time");
                times.push(1e3 * seconds / steps as f64);
            }
        }
        let times: Vec<Timing> = processes.into_iter().map(|(_, times)| Timing::from_times(times)).collect();
        for (training, Timing { median_ms, p10_ms, p90_ms, .. }) in trainings.iter().zip(&times) {
            println!(
                "    {:.2} steps/s, {median_ms:.1} ms a step ({p10_ms:.1} to {p90_ms:.1}): {training}",
                1e3 / median_ms
            );
        }
        let rivals = trainings.iter().zip(&times).filter(|(t, _)| matches!(t, Training::Pytorch { .. }));
        let rival = rivals.min_by(|(_, a), (_, b)| a.median_ms.total_cmp(&b.median_ms));
        if let Some((rival, time)) = rival {
            println!("    ours is {:.2}× as fast as {rival}", time.median_ms / times[0].median_ms);
        }
        let ours = self.memory(ours[0], precision);
        if let Some((rival, _)) = rival {
            println!(
                "    ours takes {:.2}× as much memory as {rival}",
                ours / self.memory(*rival, precision)
            );
        }
    }

    /// The peak memory of a training, in bytes.
    fn memory(&self, training: Training, precision: TunePrecision) -> f64 {
        let task = Task::Turns { warmup: MEMORY_STEPS, lead_in: 0, steps: 1 };
        let bytes: f64 = self.start(task, training, precision).answer().parse().expect("a number of bytes");
        println!("    {:.0} MB at most: {training}", bytes / 1e6);
        bytes
    }

    fn losses(&self) {
        let trainings =
            [Training::Secateurs { teacher: false }, Training::Pytorch { channels_last: false, workers: 0 }];
        if self.peer.is_none() {
            return;
        }
        println!("losses of {LOSSES} steps from the same weights on the same samples");
        for precision in [TunePrecision::F32, TunePrecision::F64] {
            let [ours, theirs] = trainings.map(|training| -> Vec<f64> {
                let losses = self.start(Task::Losses, training, precision).answer();
                losses.split_whitespace().map(|loss| loss.parse().expect("a loss")).collect()
            });
            assert_eq!((ours.len(), theirs.len()), (LOSSES, LOSSES), "both tell all losses");
            let differences = ours.iter().zip(&theirs).map(|(a, b)| ((a - b) / b).abs());
            println!("    {precision}: relative difference up to {:.1e}", differences.fold(0.0, f64::max));
        }
    }

    fn start(&self, task: Task, training: Training, precision: TunePrecision) -> Process {
        let job = Job { task, training, precision, threads: self.settings.threads };
        let job = serde_json::to_string(&job).expect("a job is JSON");
        let mut command = match training {
            Training::Secateurs { .. } => {
                let mut command = Command::new(std::env::current_exe().expect("this program has a file"));
                command.arg(CHILD);
                command
            }
            Training::Pytorch { .. } | Training::PytorchStep { .. } => {
                self.peer.as_deref().and_then(peer_script).expect("there is a peer")
            }
        };
        command.arg(job);
        Process::start(command)
    }
}
