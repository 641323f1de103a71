//! Sensitivity: what it costs beside a pass forward and backward, how far estimators are from the exact scores, and how much memory it
//! takes.
//!
//! PreResNet-29 (`assets/`) on CIFAR-10's training images (`data/cifar10/train.npz`; without it nothing of it is measured).
//!
//! *Time*: measuring without labels in batches of 64, in turns with passes forward and backward (gradients of all parameters) over the
//! same samples. *Error*: of every unit against `exact` on the same samples, the median and the 90 % quantile of the relative errors,
//! and Spearman's correlation. *Traces*: of the kernels that make a unit, likewise, beside Hutchinson's probes, ours and PyHessian's
//! (`pyhessian_traces.py`: its gradients and Hessian-vector products, added up filter by filter; labels' loss, whose Hessian is the same in
//! a ReLU net). *Memory*: `VmHWM` of processes that measure one batch.
//!
//! `cargo xtask bench sensitivity -- [--threads 2] [--samples 2048] [--turns 5] [--images 336] [--probes 300]`.
//! `SECATEURS_PYTHON_TORCH` names a Python with torch 2.11 and PyHessian (`cargo xtask bench` sets it). A probe of 336 images takes some
//! seconds.

#[path = "../peers/memory.rs"]
mod memory;
#[allow(dead_code, reason = "shared with the benchmark of pruning, which needs more of them")]
#[path = "../pruning/nets.rs"]
mod nets;
#[path = "../peers/process.rs"]
mod process;
#[path = "../peers/python.rs"]
mod python;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use secateurs::data::{DataOptions, Dataset, Preset, npz};
use secateurs::evidence::{Estimator, Evidence, MeasureJob, MeasureOptions, Score, Trace, measure, spearman};
use secateurs::pipeline::open_data;
use secateurs::runtime::{OrtModel, SessionOptions as OrtOptions};
use secateurs::tune::Objective;
use secateurs_graph::Graph;
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_onnx::{Tensor, WriteOptions, write};
use secateurs_torch::tch::{self, Tensor as TorchTensor};
use serde::Deserialize;

use process::Process;

/// The first argument of a child that measures memory; the model and the data follow.
const CHILD: &str = "child";
const USAGE: &str = "arguments are --threads N, --samples N, --turns N, --images N and --probes N";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [CHILD, model, data, batch, ..] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return child(model.as_ref(), data.as_ref(), batch.parse().expect("a number"));
    }
    let settings = Settings::read(&arguments);
    prepare(settings.threads);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    match train_data().is_file() {
        true => {
            let bench = Bench::new(settings, folder.path());
            bench.time();
            bench.errors();
            bench.traces();
        }
        false => println!("data/cifar10/train.npz is not there; `cargo xtask data --only cifar10` makes it"),
    }
    memory(folder.path());
}

struct Settings {
    threads: usize,
    samples: usize,
    turns: usize,
    images: usize,
    probes: usize,
}

impl Settings {
    fn read(arguments: &[String]) -> Settings {
        let mut settings = Settings { threads: 2, samples: 2048, turns: 5, images: 336, probes: 300 };
        // Cargo adds its own.
        let mut words = arguments.iter().filter(|word| *word != "--bench");
        while let Some(word) = words.next() {
            let number = words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0).expect(USAGE);
            match word.as_str() {
                "--threads" => settings.threads = number,
                "--samples" => settings.samples = number,
                "--turns" => settings.turns = number,
                "--images" => settings.images = number,
                "--probes" => settings.probes = number,
                _ => panic!("{USAGE}"),
            }
        }
        settings
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn train_data() -> PathBuf {
    repository().join("data/cifar10/train.npz")
}

fn prepare(threads: usize) {
    secateurs_torch::keep_freed_memory();
    secateurs_torch::load().expect("libtorch loads; run `cargo xtask setup`");
    tch::set_num_threads(threads as i32);
}

struct Bench {
    settings: Settings,
    folder: PathBuf,
    model: PathBuf,
    graph: Arc<Graph>,
    /// Without labels.
    data: Arc<Dataset>,
    /// The first images as the model takes them, and their labels.
    images: Tensor,
    labels: Vec<i64>,
}

impl Bench {
    fn new(settings: Settings, folder: &Path) -> Bench {
        let model = repository().join("assets/cifar10-preresnet29.onnx");
        let graph = Arc::new(Graph::read(&model).expect("the model can be read"));
        let options = DataOptions { preset: Some(Preset::Cifar10), ..DataOptions::default() };
        let all = open_data(&graph, &train_data(), &options, None, Objective::Auto)
            .expect("the data fit the model");
        let first = |n: usize| all.batch(&(0..n).collect::<Vec<_>>()).expect("images can be read");
        let samples = folder.join("samples.npz");
        let batch = first(settings.samples.max(settings.images));
        npz::write(&samples, &[("x", &batch.inputs[0].1)]).expect("a temporary file can be written");
        let data = open_data(&graph, &samples, &DataOptions::default(), None, Objective::Auto)
            .expect("they fit as before");
        let batch = first(settings.images);
        let labels = all.classes().expect("CIFAR-10 has labels")[..settings.images].to_vec();
        let images = batch.inputs.into_iter().next().expect("there is an input").1;
        let (folder, data) = (folder.to_owned(), Arc::new(data));
        Bench { settings, folder, model, graph, data, images, labels }
    }

    /// Measures the first samples, and how many seconds that takes.
    fn measured(&self, samples: usize, options: MeasureOptions) -> (Evidence, f64) {
        let file = self.folder.join("evidence.safetensors");
        let _ = std::fs::remove_file(&file);
        let among: Vec<usize> = (0..samples).collect();
        let options = MeasureOptions { samples, settled: None, ..options };
        let job = MeasureJob {
            graph: &self.graph,
            data: &self.data,
            among: &among,
            options: &options,
            file: &file,
        };
        let start = Instant::now();
        let evidence = measure(&job, &mut |_| ControlFlow::Continue(())).expect("the model can be measured");
        (evidence, start.elapsed().as_secs_f64())
    }

    fn time(&self) {
        let Settings { samples, turns, threads, .. } = self.settings;
        println!("time for {samples} samples, {threads} threads, median of {turns} turns");
        let session =
            Session::new(self.graph.clone(), SessionOptions { train_parameters: true, ..Default::default() });
        let session = session.expect("the model can be run");
        let projected = Some(Trace::Projected);
        let of = |draws, trace| MeasureOptions { draws, trace, ..MeasureOptions::default() };
        let ways = [
            ("measured with one draw", of(1, None)),
            ("measured with two draws", of(2, None)),
            ("measured with one draw and traces", of(1, projected)),
        ];
        let mut times = vec![Vec::new(); ways.len() + 1];
        for turn in 0..=turns {
            let mut turned = vec![self.forward_and_backward(&session)];
            turned.extend(ways.iter().map(|(_, options)| self.measured(samples, options.clone()).1));
            // The first warms up.
            if turn > 0 {
                times.iter_mut().zip(turned).for_each(|(all, time)| all.push(time));
            }
        }
        let medians: Vec<f64> = times.iter_mut().map(|times| quantile(times, 0.5)).collect();
        println!("    {:.2} s: forward and backward", medians[0]);
        for ((name, _), median) in ways.iter().zip(&medians[1..]) {
            println!("    {median:.2} s, {:.2}× as long: {name}", median / medians[0]);
        }
    }

    fn forward_and_backward(&self, session: &Session) -> f64 {
        let parameters: Vec<&TorchTensor> = session.parameters().map(|(_, tensor)| tensor).collect();
        let order: Vec<usize> = (0..self.settings.samples).collect();
        let start = Instant::now();
        for batch in self.data.loader(order, MeasureOptions::default().batch_size, 1) {
            let batch = batch.expect("samples can be read");
            let tensor = secateurs_graph::session::to_device(
                &batch.inputs[0].1,
                session.options().device,
                session.floats(),
            );
            let run = session.forward(&[tensor.expect("a tensor")], &[]).expect("the model runs");
            let loss = run.outputs[0].f_logsumexp(&[1][..], false).and_then(|l| l.f_sum(None));
            let loss = loss.expect("a sum");
            TorchTensor::f_run_backward(&[&loss], &parameters, false, false).expect("gradients");
        }
        start.elapsed().as_secs_f64()
    }

    fn errors(&self) {
        let samples = self.settings.samples;
        println!("scores of {samples} samples against exact ones");
        let exact = MeasureOptions { estimator: Estimator::Exact, ..MeasureOptions::default() };
        let (exact, seconds) = self.measured(samples, exact);
        let truth = exact.score(Score::Quadratic).expect("it is always measured").values;
        println!("    {seconds:.2} s: exact");
        for (estimator, draws) in [
            (Estimator::OnePass, 1),
            (Estimator::OnePass, 2),
            (Estimator::OnePass, 3),
            (Estimator::Labels, 1),
        ] {
            let options = MeasureOptions { estimator, draws, ..MeasureOptions::default() };
            let (evidence, seconds) = self.measured(samples, options);
            let scores = evidence.score(Score::Quadratic).expect("it is always measured").values;
            tell(&format!("{}, {draws} draws", estimator.name()), seconds, &scores, &truth);
        }
    }

    fn traces(&self) {
        let Settings { images, probes, .. } = self.settings;
        println!("traces of kernels, {images} images, against exact ones");
        let hap = |options: MeasureOptions| {
            let (evidence, seconds) = self.measured(images, options);
            (evidence.score(Score::HapTrace).expect("it was asked for").values, seconds, evidence)
        };
        let of =
            |trace, estimator| MeasureOptions { trace: Some(trace), estimator, ..MeasureOptions::default() };
        let (truth, seconds, evidence) = hap(of(Trace::PerSample, Estimator::Exact));
        println!("    {seconds:.2} s: exact");
        let ways = [
            ("one pass, 16 directions", of(Trace::Projected, Estimator::OnePass)),
            ("one pass, per sample", of(Trace::PerSample, Estimator::OnePass)),
            ("labels, per sample", of(Trace::PerSample, Estimator::Labels)),
        ];
        for (name, options) in ways {
            let (scores, seconds, _) = hap(options);
            tell(name, seconds, &scores, &truth);
        }
        // All of HAP's images are one batch.
        for probes in [3, probes] {
            let options =
                MeasureOptions { probes, batch_size: images, ..of(Trace::Hutchinson, Estimator::OnePass) };
            let (scores, seconds, _) = hap(options);
            tell(&format!("Hutchinson, {probes} probes"), seconds, &scores, &truth);
        }
        let Some(mut peer) = self.peer() else { return };
        for probes in [3, probes] {
            let answer: Answer = serde_json::from_str(&peer.ask(&probes.to_string())).expect("JSON");
            let scores = self.hap_scores(&evidence, &answer.traces);
            tell(&format!("PyHessian, {probes} probes"), answer.seconds, &scores, &truth);
        }
    }

    fn peer(&self) -> Option<Process> {
        let mut script = python::script("sensitivity/pyhessian_traces.py")?;
        let model = OrtModel::load(&self.model, &OrtOptions::default());
        let input = self.graph.values[self.graph.inputs[0]].name.clone();
        let logits = model.and_then(|mut model| model.run(&[(input, self.images.clone())]));
        let logits = logits.expect("ONNX Runtime runs the model");
        let labels = Tensor::from_slice(vec![self.labels.len()], &self.labels).expect("a list");
        let parameters = self.graph.parameters();
        let weights = parameters
            .iter()
            .filter_map(|p| Some((&*self.graph.values[p.value].name, self.graph.tensor(p.value)?)));
        let mut arrays: Vec<(&str, &Tensor)> = weights.collect();
        arrays.extend([("images", &self.images), ("logits", &logits[0].1), ("labels", &labels)]);
        let exchange = self.folder.join("exchange.npz");
        npz::write(&exchange, &arrays).expect("a temporary file can be written");
        script.arg(&exchange).arg(self.settings.threads.to_string());
        let mut process = Process::start(script);
        let answer = process.answer();
        let (versions, difference) = answer.split_once('\t').expect("the peer tells versions and difference");
        println!("    peer: {versions}, logits within {difference} of ONNX Runtime's");
        assert!(difference.parse::<f64>().expect("a number") <= 1e-4, "the peer has another model");
        Some(process)
    }

    /// HAP's scores of all units from traces of filters.
    fn hap_scores(&self, evidence: &Evidence, traces: &HashMap<String, Vec<f64>>) -> Vec<f64> {
        let mut scores = Vec::new();
        for group in &evidence.header.groups {
            let kernels: Vec<_> =
                group.parameters.iter().filter(|p| p.made && traces.contains_key(&p.name)).collect();
            for unit in 0..group.units {
                let (mut trace, mut squares, mut weights) = (0.0, 0.0, 0.0);
                for kernel in &kernels {
                    let value = self.graph.value_named(&kernel.name).expect("a parameter");
                    let tensor = self.graph.tensor(value).expect("a parameter");
                    let values = tensor.to_f64_vec().expect("floats");
                    let fan = values.len() / tensor.shape()[0];
                    for &index in &kernel.indices[unit] {
                        trace += traces[&kernel.name][index];
                        squares += values[index * fan..(index + 1) * fan].iter().map(|w| w * w).sum::<f64>();
                        weights += fan as f64;
                    }
                }
                scores.push(trace * squares / (2.0 * weights));
            }
        }
        scores
    }
}

#[derive(Deserialize)]
struct Answer {
    seconds: f64,
    traces: HashMap<String, Vec<f64>>,
}

fn tell(name: &str, seconds: f64, scores: &[f64], truth: &[f64]) {
    let relative = scores.iter().zip(truth).filter(|(_, truth)| **truth > 0.0);
    let mut errors: Vec<f64> = relative.map(|(score, truth)| 100.0 * (score - truth).abs() / truth).collect();
    println!(
        "    {seconds:.2} s, median error {:.1} %, 90 % below {:.1} %, Spearman {:.4}: {name}",
        quantile(&mut errors, 0.5),
        quantile(&mut errors, 0.9),
        spearman(scores, truth)
    );
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

fn memory(folder: &Path) {
    println!("peak memory of measuring a batch");
    let resnet = folder.join("resnet50.onnx");
    write(&nets::resnet50(), &resnet, &WriteOptions::default()).expect("a temporary file can be written");
    let shape = vec![16, 3, 224, 224];
    let values: Vec<f32> = (0..shape.iter().product()).map(|i| (i as f32 * 0.37).sin()).collect();
    let images = Tensor::from_slice(shape, &values).expect("a tensor of its shape");
    let data = folder.join("images.npz");
    npz::write(&data, &[("x", &images)]).expect("a temporary file can be written");
    in_child("ResNet-50, 16 images of 224 x 224", &resnet, &data, 16);
    let minilm = repository().join("../shared/models/minilm-l6-movie-reviews.onnx");
    if !minilm.is_file() {
        println!("    MiniLM is not there");
        return;
    }
    let tokens: Vec<i64> = (0..32 * 128).map(|i| 1000 + (i * 7919) % 20_000).collect();
    let ids = Tensor::from_slice(vec![32, 128], &tokens).expect("a tensor of its shape");
    let mask = Tensor::from_slice(vec![32, 128], &[1i64; 32 * 128]).expect("a tensor of its shape");
    let data = folder.join("tokens.npz");
    npz::write(&data, &[("input_ids", &ids), ("attention_mask", &mask)]).expect("a file can be written");
    in_child("MiniLM-L6, 32 texts of 128 tokens", &minilm, &data, 32);
}

fn in_child(name: &str, model: &Path, data: &Path, batch: usize) {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
    child.arg(CHILD).arg(model).arg(data).arg(batch.to_string());
    let bytes: f64 = Process::start(child).answer().parse().expect("a number of bytes");
    println!("    {:.2} GB: {name}", bytes / 1e9);
}

/// Measures one batch, and tells the most that this took.
fn child(model: &Path, data: &Path, batch_size: usize) {
    prepare(2);
    let graph = Arc::new(Graph::read(model).expect("the model can be read"));
    let data = open_data(&graph, data, &DataOptions::default(), None, Objective::Auto)
        .expect("the data fit the model");
    let data = Arc::new(data);
    let among: Vec<usize> = (0..data.len()).collect();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let options = MeasureOptions { batch_size, ..MeasureOptions::default() };
    let file = folder.path().join("evidence.safetensors");
    let job = MeasureJob { graph: &graph, data: &data, among: &among, options: &options, file: &file };
    measure(&job, &mut |_| ControlFlow::Continue(())).expect("the model can be measured");
    println!("{}", memory::peak_memory());
}
