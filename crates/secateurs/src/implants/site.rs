//! Second moments of what rows read and make.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use secateurs_graph::rows::{Rows, Taps};
use secateurs_graph::samples::sample_axes;
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_graph::surgery::Site;
use secateurs_graph::{Graph, NodeId};
use secateurs_torch::tch::{self, TchError, Tensor};

use crate::compensate::CompensateError;
use crate::compensate::moments::{MOST_FEATURES, Moments};
use crate::compensate::positions::counted_positions;
use crate::data::Dataset;
use crate::rng::Rng;
use crate::tune::{inputs, token_mask};

/// So many positions for each number that a row multiplies are looked at, where there are as many.
const POSITIONS: usize = 8;

/// Samples of a model whose activations are looked at.
pub(crate) struct Stream<'a> {
    pub graph: &'a Arc<Graph>,
    pub data: &'a Arc<Dataset>,
    /// The samples, in the order in which they are read.
    pub samples: &'a [usize],
    /// How many run at once.
    pub batch_size: usize,
    pub session: SessionOptions,
}

impl Stream<'_> {
    /// The moments of sites: of what an implant would read, `[groups, positions, channels]`, and what the rows make. Sites that do not run
    /// or are too wide have none.
    pub fn moments(
        &self,
        sites: &[&Site],
        observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<HashMap<NodeId, Moments>, CompensateError> {
        let session = Session::new(self.graph.clone(), self.session)?;
        tch::no_grad(|| self.run(&session, sites, observe))
    }

    fn run(
        &self,
        session: &Session,
        sites: &[&Site],
        observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<HashMap<NodeId, Moments>, CompensateError> {
        let batch_size = self.data.fixed_batch_size().unwrap_or(self.batch_size);
        let batches = self.samples.len().div_ceil(batch_size).max(1);
        let wanted: HashMap<NodeId, &Rows> =
            sites.iter().filter(|s| s.rows.channels <= MOST_FEATURES).map(|s| (s.node, &s.rows)).collect();
        let mut moments: HashMap<NodeId, Moments> = HashMap::new();
        let places = sample_axes(session.graph());
        for (at, batch) in self.data.counted(self.samples.to_vec(), self.batch_size).enumerate() {
            let (batch, counted) = batch?;
            let mask = token_mask(self.data, &batch)?;
            let mut walk = session.walk(&inputs(session, &batch)?)?;
            while let Some(node) = walk.node() {
                let Some(rows) = wanted.get(&node) else {
                    walk.step(&[])?;
                    continue;
                };
                let x = walk.patches(rows, Taps::Centre)?;
                let Some(y) = walk.step(&[])?.into_iter().next() else { continue };
                let made = self.graph.nodes[node].outputs.first().copied().flatten();
                let place = made.and_then(|made| places.get(made));
                let (size, samples) = (y.size(), batch.indices.len());
                let own = counted_positions(&size, rows.output_axis, place, samples, counted, mask.as_ref())?;
                let own = match (own, moments.contains_key(&node)) {
                    (Some(own), _) => Vec::<i64>::try_from(own)?,
                    // Where samples cannot be told apart, those that fill a batch are better than none.
                    (None, false) => (0..x.size()[1]).collect(),
                    (None, true) => continue,
                };
                let most = (POSITIONS * rows.channels).div_ceil(batches);
                let some = spread(&own, most, &mut Rng::new(0, "positions", at as u64, 0));
                let own = moments_of(&x, &y, rows, &some)?;
                if !own.is_finite()? {
                    return Err(CompensateError::not_finite(self.graph, node, self.data));
                }
                let sum = match moments.remove(&node) {
                    Some(sum) => sum.sum(&own)?,
                    None => own,
                };
                moments.insert(node, sum);
            }
            if observe(counted).is_break() {
                return Err(CompensateError::Interrupted);
            }
        }
        Ok(moments)
    }
}

/// At most so many of some positions, ascending: one of each of as many ranges. Every so many-th would be the same few places of every
/// picture, as pictures have round sizes, and those may lie at its border.
fn spread(positions: &[i64], most: usize, rng: &mut Rng) -> Vec<i64> {
    let most = most.min(positions.len());
    let start = |range: usize| range * positions.len() / most;
    (0..most).map(|i| positions[start(i) + rng.below(start(i + 1) - start(i))]).collect()
}

/// The moments of some positions.
fn moments_of(x: &Tensor, y: &Tensor, rows: &Rows, some: &[i64]) -> Result<Moments, TchError> {
    let (groups, per_group) = (rows.groups as i64, (rows.rows / rows.groups) as i64);
    let y = y.f_movedim_int(rows.output_axis as i64, -1)?.f_reshape([-1, groups, per_group])?;
    let y = y.f_transpose(0, 1)?;
    let some = Tensor::f_from_slice(some)?.f_to_device(x.device())?;
    Moments::of(&x.f_index_select(1, &some)?, &y.f_index_select(1, &some)?)
}
