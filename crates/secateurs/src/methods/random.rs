//! Random: the baseline that every other method must beat.
//!
//! `s(u)` is uniform in [0, 1), a function of seed, group and unit alone: the same seed gives the same file.
//!
//! Source: the baseline of Li et al. 2017, arXiv 1608.08710, and of most papers since.

use secateurs_graph::Graph;
use secateurs_graph::coupling::Coupling;

use super::{Method, MethodError, Scorer, Scores};
use crate::rng::Rng;

pub(super) const METHOD: Method = Method {
    name: "random",
    summary: "A random order of the units, by --seed: the baseline to beat",
    formula: "uniform in [0, 1)",
    source: "the baseline of Li et al. 2017, arXiv 1608.08710",
    scorer: Scorer::Model(score),
};

fn score(_graph: &Graph, coupling: &Coupling, seed: u64) -> Result<Scores, MethodError> {
    let draw =
        |group: usize, unit: usize| Rng::new(seed, "random scores", group as u64, unit as u64).uniform();
    let groups = coupling.groups.iter().enumerate();
    Ok(groups.map(|(g, group)| (0..group.units.len()).map(|u| draw(g, u)).collect()).collect())
}
