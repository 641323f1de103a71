//! Finding the groups of a model and making it smaller: ResNet-50 against Torch-Pruning, growth with the size of the graph,
//! and the models of the zoo.
//!
//! `SECATEURS_PYTHON_TORCH` names a Python with torch 2.11, torchvision and torch-pruning (`cargo xtask bench` sets it).
//! Models that are not there are skipped, saying so.

mod nets;
mod peer;
#[path = "../peers/python.rs"]
mod python;

use std::fs;
use std::path::Path;
use std::time::Instant;

use secateurs_graph::Graph;
use secateurs_graph::coupling::{Coupling, CouplingOptions, Remaining, Selection};
use secateurs_onnx::{Model, WriteOptions, write};

fn main() {
    resnet50();
    growth("residual convolutions", nets::residual);
    growth("transformer blocks", nets::transformer);
    zoo();
}

/// The median and the extremes of some runs, in milliseconds.
struct Times {
    median: f64,
    fastest: f64,
    slowest: f64,
}

fn times<T>(runs: usize, mut f: impl FnMut() -> T) -> Times {
    let run = |_| {
        let start = Instant::now();
        let made = f();
        let time = 1e3 * start.elapsed().as_secs_f64();
        drop(made);
        time
    };
    of_times((0..runs).map(run).collect())
}

fn of_times(mut times: Vec<f64>) -> Times {
    times.sort_by(f64::total_cmp);
    Times { median: times[times.len() / 2], fastest: times[0], slowest: times[times.len() - 1] }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} ms ({:.1} to {:.1})", self.median, self.fastest, self.slowest)
    }
}

fn groups(graph: &Graph) -> Coupling {
    graph.coupling(&CouplingOptions::default())
}

/// Every second unit of every group.
fn half(coupling: &Coupling) -> Selection {
    let mut selection = Selection::all(coupling);
    let mut remaining = Remaining::new(coupling);
    for (g, group) in coupling.groups.iter().enumerate() {
        let removed: Vec<bool> =
            (0..group.units.len()).map(|unit| unit % 2 == 1 && remaining.remove(g, unit)).collect();
        selection.kept[g].retain(|&unit| !removed[unit]);
    }
    selection
}

fn smaller(graph: &Graph, coupling: &Coupling, selection: &Selection) -> Graph {
    let mut smaller = graph.clone();
    let patch = coupling.surgery(graph, selection).expect("half of the units can go");
    patch.apply(&mut smaller).expect("surgery leaves a whole graph");
    smaller
}

fn resnet50() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (file, target) = (folder.join("resnet50.onnx"), folder.join("resnet50-half.onnx"));
    write(&nets::resnet50(), &file, &WriteOptions::default()).expect("the model can be written");
    let megabytes = |file: &Path| fs::metadata(file).map_or(0.0, |m| m.len() as f64 / 1e6);
    let graph = Graph::read(&file).expect("the model can be read");
    let mut found = 0;
    let ours = times(21, || {
        let coupling = groups(&graph);
        found = coupling.groups.len();
        coupling
    });
    println!("ResNet-50, batch norm kept, {:.0} MB", megabytes(&file));
    println!("    {found} groups found in {ours}");
    let applied = times(11, || {
        let graph = Graph::read(&file).expect("the model can be read");
        let coupling = groups(&graph);
        let smaller = smaller(&graph, &coupling, &half(&coupling));
        write(&smaller.to_model(), &target, &WriteOptions::default()).expect("the model can be written");
    });
    println!("    file to file with half of the units, {:.0} MB, in {applied}", megabytes(&target));
    let Some(peer) = peer::run() else { return };
    println!("    Torch-Pruning {}: {} groups", peer.version, peer.groups);
    for (what, theirs, ours) in [
        ("build_dependency", &peer.dependencies, &ours),
        ("build_dependency and get_all_groups", &peer.all_groups, &ours),
        ("build_dependency and prune of all groups, no file", &peer.prune, &applied),
    ] {
        println!("    {what}: {theirs}; ours is {:.0}× as fast", theirs.median / ours.median);
    }
}

fn growth(title: &str, net: fn(usize) -> Model) {
    println!("{title}, groups and surgery with half of the units:");
    for nodes in [1000, 2500, 5000, 10_000] {
        let graph = Graph::from_model(net(nodes)).expect("the model is a graph");
        let nodes = graph.order.len();
        let found = times(5, || groups(&graph));
        let coupling = groups(&graph);
        let selection = half(&coupling);
        let cut = times(5, || smaller(&graph, &coupling, &selection));
        let each = |times: &Times| 1e3 * times.median / nodes as f64;
        println!(
            "    {nodes} nodes: groups {found}, {:.1} µs a node; surgery {cut}, {:.1} µs a node",
            each(&found),
            each(&cut)
        );
    }
}

fn zoo() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/zoo");
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("the zoo: skipped, {} is not there", folder.display());
        return;
    };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "onnx"));
    files.sort();
    println!("the zoo, groups and surgery with half of the units:");
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let graph = Graph::read(&file).expect("the model can be read");
        let found = times(5, || groups(&graph));
        let coupling = groups(&graph);
        let selection = half(&coupling);
        let cut = times(5, || smaller(&graph, &coupling, &selection));
        println!("    {name}, {} nodes: groups {found}, surgery {cut}", graph.order.len());
    }
}
