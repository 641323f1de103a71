//! Torch-Pruning in its own process.

use std::path::Path;
use std::process::Command;

use super::{Times, of_times};

pub struct Peer {
    pub version: String,
    pub groups: usize,
    pub dependencies: Times,
    pub all_groups: Times,
    pub prune: Times,
}

/// What the peer takes for the same model; `None`, saying so, where it is not there.
pub fn run() -> Option<Peer> {
    let Ok(python) = std::env::var("SECATEURS_PYTHON_TORCH") else {
        println!("    no peer: SECATEURS_PYTHON_TORCH is not set");
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/torch_pruning_resnet50.py");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let output = Command::new(python).arg(script).arg(threads.to_string()).output().expect("the peer starts");
    assert!(output.status.success(), "the peer fails: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("the peer answers in text");
    let mut lines = text.lines();
    let mut next = || lines.next().expect("the peer answers in five lines").to_owned();
    let (version, groups) = (next(), next().parse().expect("the peer counts groups"));
    let mut times =
        || of_times(next().split_whitespace().map(|t| t.parse().expect("the peer gives numbers")).collect());
    let (dependencies, all_groups, prune) = (times(), times(), times());
    Some(Peer { version, groups, dependencies, all_groups, prune })
}
