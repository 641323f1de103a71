//! Compensation: what is left of a model takes over what was removed, in closed form, before any training.
//!
//! The smaller model is gone through in the order in which its layers run. Each layer is fitted by least squares, with an intercept where
//! the model adds one, so that from what it now reads, behind layers that are fitted already, it makes what the original made:
//! W' = argmin E ‖y − W'x − b'‖², from second moments of the patches x that it multiplies. Pulled towards the present weights by a ridge
//! that is chosen on half of the samples, and left as it is where nothing is better.
//!
//! Source: CaP (Xie, Fu et al., arXiv 2108.13728), step 3, whose layers are fitted each to the original's inputs; fitting to what the layers
//! before really give is the asymmetric reconstruction of He, Zhang and Sun (Channel Pruning, ICCV 2017). With the intercept alone it is
//! the absorption of means.

mod error;
pub(crate) mod moments;
pub(crate) mod positions;
#[cfg(test)]
mod tests;

pub use error::CompensateError;

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use secateurs_graph::patch::Patch;
use secateurs_graph::rows::Taps;
use secateurs_graph::samples::{SampleAxis, sample_axes};
use secateurs_graph::session::{Session, SessionOptions, Walk, to_host};
use secateurs_graph::surgery::{Computed, Kept, Refit, Shift};
use secateurs_graph::{Dim, Graph, NodeId};
use secateurs_torch::tch::{self, Kind, Tensor};
use serde::{Deserialize, Serialize};

use crate::data::{self, Dataset};
use crate::tune::{inputs, token_mask};
use moments::{FEWEST, Fitted, MOST_FEATURES, Moments};
use positions::counted_positions;

/// What is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compensation {
    /// Nothing.
    None,
    /// What layers add: the means of what was removed are absorbed.
    Means,
    /// Weights and what layers add.
    #[default]
    LeastSquares,
}

/// How to compensate: the table `[compensate]` of recipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompensateSettings {
    /// What is fitted.
    pub fit: Compensation,
    /// At most so many training samples.
    pub samples: usize,
    /// How many run at once.
    pub batch_size: usize,
}

impl Default for CompensateSettings {
    fn default() -> CompensateSettings {
        CompensateSettings { fit: Compensation::default(), samples: 512, batch_size: 32 }
    }
}

impl CompensateSettings {
    /// Refuses settings that make no sense, naming them.
    pub fn check(&self) -> Result<(), String> {
        match self {
            _ if self.samples < 2 => Err(format!("samples = {}: must be at least 2", self.samples)),
            _ if self.batch_size == 0 => Err("batch_size = 0: must be at least 1".into()),
            _ => Ok(()),
        }
    }
}

/// How to compensate, and where.
#[derive(Debug, Clone, Copy)]
pub struct CompensateOptions {
    /// What is fitted, and from how much.
    pub settings: CompensateSettings,
    /// The seed of the draw of samples.
    pub seed: u64,
    /// Bytes that the activations of all samples may take, and the patches of a batch.
    pub memory: u64,
    /// Where it is computed.
    pub session: SessionOptions,
}

impl Default for CompensateOptions {
    fn default() -> CompensateOptions {
        CompensateOptions {
            settings: CompensateSettings::default(),
            seed: 0,
            memory: 2 << 30,
            session: SessionOptions::default(),
        }
    }
}

/// A model that was pruned, and what it was.
pub struct CompensateJob<'a> {
    /// The model before.
    pub original: &'a Arc<Graph>,
    /// The model after.
    pub smaller: &'a Arc<Graph>,
    /// What rows of the original its layers compute ([`Carried::layers`](secateurs_graph::surgery::Carried)).
    pub layers: &'a HashMap<NodeId, Computed>,
    /// The data.
    pub data: &'a Arc<Dataset>,
    /// Which of their samples may be used.
    pub among: &'a [usize],
    /// The options.
    pub options: &'a CompensateOptions,
}

/// What was fitted.
pub struct Compensated {
    /// The smaller model with its new weights.
    pub graph: Graph,
    /// Layers with new weights, of how many.
    pub layers: [usize; 2],
    /// From so many samples.
    pub samples: usize,
    /// What users should know.
    pub notes: Vec<String>,
}

/// Fits the layers of a smaller model; `observe` is told of every layer and may end it.
pub fn compensate(
    job: &CompensateJob,
    observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Compensated, CompensateError> {
    job.options.settings.check().map_err(CompensateError::Options)?;
    let compensator = Compensator::new(job)?;
    tch::no_grad(|| compensator.run(observe))
}

struct Compensator<'a> {
    job: &'a CompensateJob<'a>,
    sessions: [Session; 2],
    layers: HashMap<NodeId, Refit>,
    /// By how many of them each layer of the original is computed.
    parts: HashMap<NodeId, usize>,
    /// The inputs of both models, batch by batch.
    batches: Vec<Inputs>,
    samples: usize,
    /// Where the samples lie in what layers of the smaller model make.
    places: HashMap<NodeId, SampleAxis>,
    /// What is to be read in place of constants.
    replaced: HashMap<(NodeId, usize), Tensor>,
    notes: Vec<String>,
}

/// What both models read of a batch.
struct Inputs {
    own: [Vec<Tensor>; 2],
    counts: Counts,
}

/// What of a batch counts.
struct Counts {
    /// So many samples, of how many.
    samples: [usize; 2],
    /// Of texts, `[samples, tokens]`: what is no padding.
    tokens: Option<Tensor>,
}

/// A run of both models on one batch.
struct Runs<'s> {
    counts: &'s Counts,
    original: Walk<'s>,
    smaller: Walk<'s>,
    /// What layers of the original made that the smaller model has not reached yet, and how many of its layers compute that.
    made: HashMap<NodeId, (Tensor, usize)>,
}

impl<'a> Compensator<'a> {
    fn new(job: &'a CompensateJob<'a>) -> Result<Compensator<'a>, CompensateError> {
        let options = job.options;
        let session = |graph: &Arc<Graph>| Session::new(graph.clone(), options.session);
        let sessions = [session(job.original)?, session(job.smaller)?];
        let uses = job.smaller.uses();
        let layer = |id: &NodeId| {
            job.smaller.nodes.contains_key(*id).then(|| Refit::of(job.smaller, &uses, *id)).flatten()
        };
        let layers: HashMap<NodeId, Refit> =
            job.layers.keys().filter_map(layer).map(|layer| (layer.node, layer)).collect();
        let mut parts = HashMap::new();
        layers.keys().for_each(|id| *parts.entry(job.layers[id].node).or_insert(0) += 1);
        let mut order = data::drawn(job.among, options.settings.samples, options.seed);
        let (wanted, mut batches) = (order.len(), Vec::new());
        let mut notes: Vec<String> = unfitted(job, &layers).into_iter().collect();
        let [room, batch_size] = room(job, &sessions, &layers, &order)?;
        order.truncate(room);
        let samples = order.len();
        if samples < wanted {
            notes.push(format!(
                "{samples} of {wanted} samples fit into the memory that compensation may take"
            ));
        }
        for batch in job.data.counted(order, batch_size) {
            let (batch, counted) = batch?;
            let own = [inputs(&sessions[0], &batch)?, inputs(&sessions[1], &batch)?];
            let samples = [counted, batch.indices.len()];
            batches.push(Inputs { own, counts: Counts { samples, tokens: token_mask(job.data, &batch)? } });
        }
        let axes = sample_axes(sessions[1].graph());
        let place = |id: &NodeId| {
            let made = job.smaller.nodes[*id].outputs.first().copied().flatten()?;
            Some((*id, axes.get(made)?.clone()))
        };
        let (places, replaced) = (layers.keys().filter_map(place).collect(), HashMap::new());
        Ok(Compensator { job, sessions, layers, parts, batches, samples, places, replaced, notes })
    }

    fn run(
        mut self,
        observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Compensated, CompensateError> {
        let [original, smaller] = &self.sessions;
        let mut runs = Vec::with_capacity(self.batches.len());
        for Inputs { own: [first, second], counts } in &self.batches {
            let (original, smaller) = (original.walk(first)?, smaller.walk(second)?);
            runs.push(Runs { counts, original, smaller, made: HashMap::new() });
        }
        let (total, mut seen, mut fitted) = (self.layers.len(), 0, 0);
        let (mut scarce, mut few, mut wide, mut apart) = (0, 0, 0, 0);
        while let Some(node) = runs.first().and_then(|runs| runs.smaller.node()) {
            if let Some(layer) = self.layers.get(&node) {
                let change = fit_layer(&self, layer, &mut runs)?;
                seen += 1;
                if observe(seen, total).is_break() {
                    return Err(CompensateError::Interrupted);
                }
                fitted += usize::from(change.weight.is_some() || change.shift.is_some());
                scarce += usize::from(change.scarce);
                few += usize::from(change.few);
                wide += usize::from(change.wide);
                apart += usize::from(change.apart);
                if let Some(weight) = change.weight {
                    self.replaced.insert((node, layer.rows.weight), weight);
                }
                if let (Some(shift), Some(by)) = (layer.shift, change.shift) {
                    let moved = self.moved(&shift, &by)?;
                    self.replaced.insert((shift.node, shift.input), moved);
                }
            }
            let own: Vec<(usize, &Tensor)> = self
                .replaced
                .iter()
                .filter(|((at, _), _)| *at == node)
                .map(|((_, input), tensor)| (*input, tensor))
                .collect();
            for runs in &mut runs {
                debug_assert_eq!(runs.smaller.node(), Some(node), "batches of any size run the same nodes");
                runs.smaller.step(&own)?;
            }
        }
        if scarce > 0 {
            self.notes.push(format!(
                "{scarce} layers have more weights a row than {} samples show positions; their fit leans on the weights that they had",
                self.samples
            ));
        }
        if few > 0 {
            self.notes.push(format!(
                "{few} layers keep their weights, as half of {} samples show fewer than {FEWEST} positions; more samples would fit them",
                self.samples
            ));
        }
        if wide > 0 {
            self.notes.push(format!(
                "{wide} layers keep their weights, as each of their rows multiplies more than {MOST_FEATURES} numbers; means are absorbed"
            ));
        }
        if apart > 0 {
            self.notes.push(format!(
                "{apart} layers are left as they are: what they make cannot be set beside what the original makes"
            ));
        }
        drop(runs);
        let layers = [fitted, total];
        Ok(Compensated { graph: self.patched()?, layers, samples: self.samples, notes: self.notes })
    }

    /// The constant of a shift, as it is now.
    fn constant(&self, shift: &Shift) -> Result<&Tensor, CompensateError> {
        let value = self.job.smaller.nodes[shift.node].inputs[shift.input];
        let replaced = self.replaced.get(&(shift.node, shift.input));
        let constant = replaced.or_else(|| self.sessions[1].constant(value?));
        constant.ok_or_else(|| CompensateError::Options("a bias is not there".into()))
    }

    /// The constant of a shift, moved.
    fn moved(&self, shift: &Shift, by: &Tensor) -> Result<Tensor, CompensateError> {
        let old = self.constant(shift)?;
        let by = by.f_mul_scalar(shift.factor)?.f_to_kind(old.f_kind()?)?;
        // Numbers of rows that are concatenated with those of the layer stay.
        let behind = old.numel() as i64 - shift.first as i64 - by.numel() as i64;
        Ok(old.f_add(&by.f_constant_pad_nd([shift.first as i64, behind])?.f_reshape(old.size())?)?)
    }

    /// The smaller model with all that was replaced, in the element types that it had.
    fn patched(&self) -> Result<Graph, CompensateError> {
        let (mut graph, mut patch) = ((**self.job.smaller).clone(), Patch::new());
        let mut replaced: Vec<_> = self.replaced.iter().collect();
        replaced.sort_by_key(|(at, _)| **at);
        for ((node, input), tensor) in replaced {
            let Some(value) = graph.nodes[*node].inputs[*input] else { continue };
            // Nothing else reads what is fitted, nor the views before it: the file keeps its types.
            let kept = Kept::behind(&graph, value);
            let (element_type, tensor) = match &kept {
                Some(kept) => {
                    let axes: Vec<i64> = kept.axes.iter().map(|axis| *axis as i64).collect();
                    (Some(kept.element_type), tensor.f_permute(axes)?)
                }
                None => (graph.values[value].fact.element_type, tensor.shallow_clone()),
            };
            let kind = element_type.and_then(secateurs_graph::session::kind_of).unwrap_or(Kind::Float);
            let host = to_host(&tensor.f_to_kind(kind)?.f_contiguous()?, element_type);
            let host = host.map_err(|e| graph.node_error(*node, e))?;
            match kept {
                Some(kept) => patch.set_tensor(kept.value, host),
                None => {
                    patch.set_input_constant(vec![(*node, *input)], graph.values[value].name.clone(), host)
                }
            };
        }
        patch.remove_dead();
        patch.apply(&mut graph)?;
        Ok(graph)
    }
}

/// So many of the largest value of a model are alive at once, in both models.
const LIVE: u64 = 8;

/// What to tell of layers that were pruned and are of a kind that is not fitted, or share their weights.
fn unfitted(job: &CompensateJob, layers: &HashMap<NodeId, Refit>) -> Option<String> {
    let matrix = |graph: &Graph, id: NodeId, input: usize| {
        let value = graph.nodes[id].inputs.get(input).copied().flatten()?;
        Some(graph.tensor(value)?.shape().to_vec()).filter(|shape| shape.len() > 1)
    };
    let pruned = |id: NodeId| {
        let inputs = 0..job.smaller.nodes[id].inputs.len();
        inputs.into_iter().any(|input| {
            let before = matrix(job.original, id, input);
            before.is_some() && before != matrix(job.smaller, id, input)
        })
    };
    let left = job.smaller.order.iter().filter(|id| {
        let kept = !layers.contains_key(id) && job.original.nodes.contains_key(**id);
        kept && job.smaller.macs(**id) != Dim::from(0) && pruned(**id)
    });
    let ops: Vec<&str> = left.map(|id| job.smaller.nodes[*id].op.name()).collect();
    let kinds: BTreeSet<&str> = ops.iter().copied().collect();
    (!ops.is_empty()).then(|| {
        format!(
            "{} layers that were pruned are not fitted, as they share their weights or are of a kind that is not ({})",
            ops.len(),
            kinds.into_iter().collect::<Vec<_>>().join(", ")
        )
    })
}

/// How many samples fit into memory, and how many of them may run at once.
fn room(
    job: &CompensateJob,
    sessions: &[Session; 2],
    layers: &HashMap<NodeId, Refit>,
    order: &[usize],
) -> Result<[usize; 2], CompensateError> {
    let (memory, settings, data) = (job.options.memory, &job.options.settings, job.data);
    // Of texts the longest takes most.
    let Some(&sample) = data.grouped(order.to_vec(), usize::MAX).last() else {
        return Ok([settings.samples, settings.batch_size]);
    };
    let batch = data.batch(&data.filled(vec![sample]))?;
    let own = [inputs(&sessions[0], &batch)?, inputs(&sessions[1], &batch)?];
    let samples = batch.indices.len() as u64;
    let [alive, patches] = bytes_of(sessions, &own, layers)?.map(|bytes| bytes.div_ceil(samples).max(1));
    let fixed = data.fixed_batch_size();
    // Patches may take half of it.
    let batch_size = fixed.unwrap_or(settings.batch_size.min((memory / 2 / patches).max(1) as usize));
    let room = (memory.saturating_sub(batch_size as u64 * patches) / alive) as usize;
    let whole = fixed.unwrap_or(1);
    Ok([(room / whole * whole).max(whole).max(2), batch_size])
}

/// Bytes of a batch: what is alive of it all the while, and the largest patches, which one batch has at a time.
fn bytes_of(
    sessions: &[Session; 2],
    inputs: &[Vec<Tensor>; 2],
    layers: &HashMap<NodeId, Refit>,
) -> Result<[u64; 2], CompensateError> {
    let bytes = |tensor: &Tensor| tensor.numel() as u64 * 4;
    let (mut largest, mut patches) = (0, 0);
    let mut original = sessions[0].walk(&inputs[0])?;
    while original.node().is_some() {
        largest = original.step(&[])?.iter().map(bytes).fold(largest, u64::max);
    }
    let mut smaller = sessions[1].walk(&inputs[1])?;
    while let Some(node) = smaller.node() {
        if let Some(layer) = layers.get(&node) {
            patches = bytes(&smaller.patches(&layer.rows, Taps::All)?).max(patches);
        }
        smaller.step(&[])?;
    }
    Ok([LIVE * largest, patches])
}

/// What a layer is to have; `None` for what stays.
#[derive(Default)]
struct Change {
    weight: Option<Tensor>,
    /// `[rows]`: by how much what it makes is to move.
    shift: Option<Tensor>,
    /// Whether there were fewer positions than weights a row.
    scarce: bool,
    /// Whether there were too few for the choice of a ridge, so that the weights stay.
    few: bool,
    /// Whether a row has too many weights to be fitted.
    wide: bool,
    /// Whether what the original makes lies otherwise, so that all stays.
    apart: bool,
}

fn fit_layer(compensator: &Compensator, layer: &Refit, runs: &mut [Runs]) -> Result<Change, CompensateError> {
    let job = compensator.job;
    let rows = &layer.rows;
    let groups = rows.groups as i64;
    let features = rows.channels * rows.taps;
    let weights = layer.weights && job.options.settings.fit == Compensation::LeastSquares;
    let wide = weights && features > MOST_FEATURES;
    let weights = weights && !wide;
    let mut halves = [None, None];
    let single = runs.len() == 1;
    for (number, runs) in runs.iter_mut().enumerate() {
        let computed = &job.layers[&layer.node];
        let Some(mut y) = runs.made_by(computed.node, &compensator.parts)? else {
            return Ok(Change::default());
        };
        let mut x = runs.smaller.patches(rows, Taps::All)?.f_mul_scalar(rows.factor)?;
        let left = computed.positions.iter().map(|(axis, left)| (*axis, left));
        for (axis, left) in left.chain([(rows.output_axis, &computed.rows)]) {
            let left: Vec<i64> = left.iter().map(|index| *index as i64).collect();
            y = y.f_index_select(axis as i64, &Tensor::f_from_slice(&left)?.f_to_device(y.device())?)?;
        }
        let size = y.size();
        y = y.f_movedim_int(rows.output_axis as i64, -1)?;
        let bias = job.smaller.nodes[layer.node].op.affine().and_then(|affine| affine.bias);
        if let Some(bias) = bias.and_then(|bias| runs.smaller.input(bias)) {
            y = y.f_sub(&bias.f_mul_scalar(layer.bias_factor)?)?;
        }
        let own_sum =
            |shift: &Shift| shift.node != layer.node && !job.original.nodes.contains_key(shift.node);
        if let Some(shift) = layer.shift.filter(own_sum) {
            // An implant's own: what the original makes is with it.
            y = y.f_sub(&compensator.constant(&shift)?.f_reshape([-1])?.f_mul_scalar(shift.factor)?)?;
        }
        let mut y = y.f_reshape([-1, groups, (rows.rows as i64) / groups])?.f_transpose(0, 1)?;
        if x.size()[1] != y.size()[1] {
            return Ok(Change { apart: true, ..Change::default() });
        }
        let Counts { samples: [counted, samples], tokens } = runs.counts;
        let (counted, samples) = (*counted, *samples);
        if counted < samples || tokens.is_some() {
            let place = compensator.places.get(&layer.node);
            match counted_positions(&size, rows.output_axis, place, samples, counted, tokens.as_ref())? {
                Some(own) => {
                    let own = own.f_to_device(y.device())?;
                    (x, y) = (x.f_index_select(1, &own)?, y.f_index_select(1, &own)?);
                }
                // Where samples cannot be told apart, those that fill a batch are better than none.
                None if number == 0 => {}
                None => continue,
            }
        }
        let mut add = |half: usize, x: &Tensor, y: &Tensor| -> Result<(), CompensateError> {
            let own = if weights { Moments::of(x, y) } else { Moments::first(x, y) }?;
            if !own.is_finite()? {
                return Err(CompensateError::not_finite(job.smaller, layer.node, job.data));
            }
            let sum = match halves[half].take() {
                Some(sum) => Moments::sum(&sum, &own)?,
                None => own,
            };
            halves[half] = Some(sum);
            Ok(())
        };
        // Half of the samples of each batch, the odd one to either in turn; of a single sample half of what it shows.
        let (positions, samples) = (x.size()[1], counted as i64);
        let half = match single && samples == 1 {
            true => positions / 2,
            false => positions * ((samples + number as i64 % 2) / 2) / samples,
        };
        for (number, start, len) in [(0, 0, half), (1, half, positions - half)] {
            if len > 0 {
                add(number, &x.f_narrow(1, start, len)?, &y.f_narrow(1, start, len)?)?;
            }
        }
    }
    let [Some(first), Some(second)] = halves else {
        return Ok(Change { few: weights, wide, ..Change::default() });
    };
    let Some(old) = runs.first().and_then(|runs| runs.smaller.input(rows.weight)) else {
        return Ok(Change::default());
    };
    let [row_axis, channel_axis] = [rows.weight_axis as i64, rows.channel_axis as i64];
    let laid = old.f_movedim([row_axis, channel_axis], [0, 1])?;
    let shape = laid.size();
    let matrix = laid.f_reshape([groups, -1, features as i64])?.f_transpose(1, 2)?.f_to_kind(Kind::Double)?;
    let fit = Fitted::of(&first, &second, &matrix, layer.shift.is_some())?;
    let weight = match fit.weight {
        Some(weight) => {
            let weight = weight.f_transpose(1, 2)?.f_reshape(&shape)?;
            let weight = weight.f_movedim([0, 1], [row_axis, channel_axis])?;
            Some(weight.f_to_kind(old.f_kind()?)?.f_contiguous()?)
        }
        None => None,
    };
    let shift = fit.shift.map(|shift| shift.f_reshape([-1])).transpose()?;
    Ok(Change { weight, shift, scarce: fit.scarce, few: fit.few, wide, apart: false })
}

impl Runs<'_> {
    /// What a layer of the original makes; the original runs on as far as it must. `None` where it does not run.
    fn made_by(
        &mut self,
        layer: NodeId,
        parts: &HashMap<NodeId, usize>,
    ) -> Result<Option<Tensor>, CompensateError> {
        while !self.made.contains_key(&layer) {
            let Some(node) = self.original.node() else { return Ok(None) };
            let mut outputs = self.original.step(&[])?;
            if let Some(parts) = parts.get(&node).filter(|_| !outputs.is_empty()) {
                self.made.insert(node, (outputs.swap_remove(0), *parts));
            }
        }
        let Some((made, parts)) = self.made.get_mut(&layer) else { return Ok(None) };
        *parts -= 1;
        Ok(match *parts {
            0 => self.made.remove(&layer).map(|(made, _)| made),
            _ => Some(made.shallow_clone()),
        })
    }
}
