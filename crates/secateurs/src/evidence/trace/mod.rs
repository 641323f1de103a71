//! The trace of the Hessian's block of a unit's weights, `Tr(H_uu)`, and HAP's score from it.
//!
//! With `v` a root of the outputs' Hessian (`root`) and `g` the gradient of `v·z` for one sample, `Tr(H_uu)` of the Gauss–Newton Hessian is
//! `E ‖g_u‖²` over samples and roots; this Hessian is that of closeness to the model's own outputs. For the labels' loss
//! it is the same wherever the model is piecewise linear in the weights.
//!
//! Sources: traces by probes, Hutchinson 1990; the score Yu et al., *Hessian-Aware Pruning and Optimal Neural Implant*, WACV 2022,
//! arXiv 2101.08940.

mod hutchinson;
mod per_sample;
mod projected;
#[cfg(test)]
mod tests;
mod weights;

use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_graph::coupling::Coupling;
use secateurs_graph::session::{Session, SessionOptions, Tap};
use secateurs_torch::tch::{Device, Kind, Tensor};

use self::projected::Projected;
use self::weights::Weights;
use super::error::EvidenceError;
use super::options::{MeasureOptions, Trace};
use super::root::Roots;
use crate::data::{Batch, Dataset};
use crate::tune::Head;

/// Measures traces beside what else is measured of a batch.
pub(super) struct Traces<'a> {
    options: &'a MeasureOptions<'a>,
    graph: Arc<Graph>,
    weights: Weights,
    projected: Projected,
    /// Runs the model with gradients of its parameters; where a way needs these.
    session: Option<Session>,
}

/// What a batch gives: `[blocks, units]`, a block being what is independent of the others. Over all blocks they add up to the sum over
/// samples.
pub(super) struct Blocks {
    /// Of all weights that make a unit.
    pub trace: Tensor,
    /// HAP's score.
    pub hap: Tensor,
}

/// Numbers by unit, of all weights and of those that HAP counts.
struct Sums {
    all: Tensor,
    counted: Tensor,
}

impl<'a> Traces<'a> {
    pub fn new(
        graph: &Arc<Graph>,
        coupling: &Coupling,
        options: &'a MeasureOptions<'a>,
    ) -> Result<Option<Traces<'a>>, EvidenceError> {
        let Some(way) = options.trace else { return Ok(None) };
        let weights = Weights::new(graph, coupling)?;
        let projected = match way {
            Trace::Projected => Projected::new(graph, coupling, &weights),
            _ => Projected::none(&weights),
        };
        let mut traces = Traces { options, graph: graph.clone(), weights, projected, session: None };
        if !traces.projected.missing().is_empty() {
            traces.open()?;
        }
        Ok(Some(traces))
    }

    /// Opens the session that gives gradients of parameters.
    fn open(&mut self) -> Result<(), EvidenceError> {
        // Fused kernels cannot be differentiated twice.
        let fuse = self.options.session.fuse && self.options.trace != Some(Trace::Hutchinson);
        let options = SessionOptions { train_parameters: true, fuse, ..self.options.session };
        self.session = Some(Session::new(self.graph.clone(), options)?);
        Ok(())
    }

    /// What has to be caught of a batch beside other taps.
    pub fn taps(&self) -> &[Tap] {
        &self.projected.taps
    }

    /// Which of these taps gradients are needed of.
    pub fn differentiated(&self) -> &[usize] {
        &self.projected.differentiated
    }

    /// Begins a batch: `caught` are the taps, `session` is the one that caught them, and `samples` are the batch's.
    pub fn begin(
        &mut self,
        session: &Session,
        caught: &[Tensor],
        samples: &[usize],
    ) -> Result<(), EvidenceError> {
        let (directions, seed) = (self.options.directions, self.options.seed);
        let refused = self.projected.begin(session, caught, samples, directions, seed)?;
        if refused && self.session.is_none() {
            self.open()?;
        }
        Ok(())
    }

    /// One pass backwards: the gradients of [`differentiated`](Self::differentiated) taps, undefined where there are none.
    pub fn pass(&mut self, gradients: &[Tensor], counted: i64) -> Result<(), EvidenceError> {
        Ok(self.projected.pass(gradients, counted)?)
    }

    /// Ends a batch of which the first `counted` samples count.
    pub fn end(
        &mut self,
        data: &Dataset,
        heads: &[Head],
        batch: &Batch,
        counted: usize,
    ) -> Result<Blocks, EvidenceError> {
        let sums = match self.options.trace {
            Some(Trace::Hutchinson) => self.hutchinson(heads, batch, counted)?,
            _ => {
                let projected = self.projected.end(self.weights.units)?;
                match &self.session {
                    None => projected,
                    Some(session) => {
                        let samples = &batch.indices[..counted];
                        let rest =
                            self.per_sample(session, self.projected.missing(), data, heads, samples)?;
                        // Directions are drawn once a batch, so that its samples are no blocks of their own.
                        match self.options.trace {
                            Some(Trace::Projected) => projected.plus(&rest.added_up()?)?,
                            _ => rest,
                        }
                    }
                }
            }
        };
        let hap = sums.counted.f_mul(&self.weights.factor)?;
        Ok(Blocks { trace: sums.all, hap })
    }

    /// What is to be said of how traces were measured.
    pub fn note(&self) -> Option<String> {
        let left = self.weights.parameters(self.projected.missing());
        if self.options.trace != Some(Trace::Projected) || left.is_empty() {
            return None;
        }
        let names: Vec<String> =
            left.iter().take(3).map(|&value| format!("'{}'", self.graph.values[value].name)).collect();
        let more = if left.len() > names.len() { " and others" } else { "" };
        Some(format!(
            "traces of {} parameters cannot be projected and come from single samples: {}{more}",
            left.len(),
            names.join(", ")
        ))
    }

    fn roots<'r>(
        &self,
        heads: &'r [Head],
        outputs: &[Tensor],
        samples: &'r [usize],
    ) -> Result<Roots<'r>, EvidenceError> {
        let MeasureOptions { estimator, draws, seed, .. } = *self.options;
        Ok(Roots::new(heads, outputs, estimator, draws, seed, samples)?)
    }
}

impl Sums {
    fn zeros(blocks: i64, units: usize) -> Result<Sums, EvidenceError> {
        let zeros = || Tensor::f_zeros([blocks, units as i64], (Kind::Double, Device::Cpu));
        Ok(Sums { all: zeros()?, counted: zeros()? })
    }

    fn plus(&self, other: &Sums) -> Result<Sums, EvidenceError> {
        Ok(Sums { all: self.all.f_add(&other.all)?, counted: self.counted.f_add(&other.counted)? })
    }

    /// As one block.
    fn added_up(&self) -> Result<Sums, EvidenceError> {
        let sum = |tensor: &Tensor| tensor.f_sum_dim_intlist(0i64, true, None::<Kind>);
        Ok(Sums { all: sum(&self.all)?, counted: sum(&self.counted)? })
    }

    fn stacked(blocks: &[Sums]) -> Result<Sums, EvidenceError> {
        let stack = |of: fn(&Sums) -> &Tensor| Tensor::f_cat(&blocks.iter().map(of).collect::<Vec<_>>(), 0);
        Ok(Sums { all: stack(|sums| &sums.all)?, counted: stack(|sums| &sums.counted)? })
    }
}
