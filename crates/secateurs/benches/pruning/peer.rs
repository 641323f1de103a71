//! Torch-Pruning in its own process.

use super::{Times, of_times, python};

pub struct Peer {
    pub version: String,
    pub groups: usize,
    pub dependencies: Times,
    pub all_groups: Times,
    pub prune: Times,
}

/// What the peer takes for the same model; `None`, saying so, where it is not there.
pub fn run() -> Option<Peer> {
    let mut script = python::script("peers/torch_pruning_resnet50.py")?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let output = script.arg(threads.to_string()).output().expect("the peer starts");
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
