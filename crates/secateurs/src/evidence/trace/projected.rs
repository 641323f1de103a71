//! Traces without gradients of weights: a sample's gradient of a filter `G = Σₗ δₗ xₗ` is projected on directions u by `G·u = Σₗ δₗ (xₗ·u)`,
//! and `xₗ·u` is what the node itself gives with u in place of the filter. Over random signs `(G·u)²` has the mean `‖G‖²`; with as
//! many directions as a filter has weights, each weight is one, and nothing is drawn.
//!
//! Works for any node that is linear in a parameter; whether it is, is asked of the node.

use std::collections::HashSet;

use secateurs_graph::coupling::Coupling;
use secateurs_graph::samples::{SampleAxis, fed, sample_axes};
use secateurs_graph::session::{Session, Tap};
use secateurs_graph::surgery::Made;
use secateurs_graph::{Graph, GraphError, ValueId};
use secateurs_torch::tch::{self, Device, Kind, TchError, Tensor};

use super::Sums;
use super::weights::{Weights, add_by_unit};
use crate::evidence::EvidenceError;
use crate::evidence::columns::by_sample;
use crate::rng::Rng;

/// Where something is in a list, to whose end it is put if it is not.
fn at<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|own| *own == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

/// Nodes whose output says what the gradients of their parameters are.
#[derive(Default)]
pub(super) struct Projected {
    places: Vec<Place>,
    /// What flows into and out of these nodes.
    pub taps: Vec<Tap>,
    /// Those of them that gradients are needed of.
    pub differentiated: Vec<usize>,
    /// Parts of the weights that are not covered.
    missing: Vec<usize>,
    samples: i64,
}

struct Place {
    made: Made,
    /// Where each input comes from; nothing for what is left out.
    inputs: Vec<Option<Input>>,
    /// The sizes of the parameter as the node reads it.
    sizes: Vec<i64>,
    output: SampleAxis,
    /// Which tap is the node's output, and which of those that are differentiated.
    tap: usize,
    gradient: usize,
    /// Indices of the output's axis, and the unit of each.
    indices: Vec<i64>,
    units: Vec<i64>,
    /// The parts that are covered here.
    parts: Vec<usize>,
    counted: bool,
    linear: Linear,
    /// Of a batch: `[samples, shared, positions, directions]`, or where nothing of the axis is the parameter's own, `[samples, axis, …]` for
    /// every direction.
    responses: Vec<Tensor>,
    /// The sizes of the output for which they hold whatever flows in.
    kept_for: Option<Vec<i64>>,
    /// What the node gives with zeros in place of the parameter, where that is the same whatever flows in.
    offset: Option<Tensor>,
    /// Whether directions are all weights, so that their squares add up.
    whole: bool,
    /// Σ (G·u)² of the batch, of its `[columns]`.
    sum: Option<Tensor>,
}

#[derive(Clone, Copy, PartialEq)]
enum Linear {
    Unknown,
    Yes {
        /// What the node gives with zeros in place of the parameter.
        offset: Offset,
        /// Whether what a parameter adds is the same whatever flows in, as of a bias.
        fixed: bool,
    },
    No,
}

#[derive(Clone, Copy, PartialEq)]
enum Offset {
    Zero,
    /// The same whatever flows in, as a bias beside a scale.
    Fixed,
    Moving,
}

enum Input {
    Parameter,
    Tap(usize),
    Constant(ValueId),
}

impl Projected {
    /// Leaves everything to another way.
    pub fn none(weights: &Weights) -> Projected {
        Projected { missing: (0..weights.parts.len()).collect(), ..Projected::default() }
    }

    pub fn new(graph: &Graph, coupling: &Coupling, weights: &Weights) -> Projected {
        let mut projected = Projected::default();
        let (samples, fed) = (sample_axes(graph), fed(graph));
        let flows = |value| fed.contains_key(value);
        let mut covered = HashSet::new();
        for made in coupling.made(graph) {
            projected.place(graph, weights, made, &|value| samples.get(value).cloned(), &flows, &mut covered);
        }
        projected.missing = (0..weights.parts.len()).filter(|part| !covered.contains(part)).collect();
        projected
    }

    fn place(
        &mut self,
        graph: &Graph,
        weights: &Weights,
        made: Made,
        samples: &dyn Fn(ValueId) -> Option<SampleAxis>,
        flows: &dyn Fn(ValueId) -> bool,
        covered: &mut HashSet<usize>,
    ) {
        let node = &graph.nodes[made.node];
        let Some(value) = node.outputs[0] else { return };
        // What has no samples was folded, or mixes them.
        let Some(output) = samples(value).filter(|place| place.axis != made.output_axis) else {
            return;
        };
        let fact = node.inputs[made.input].map(|value| &graph.values[value].fact);
        let Some(sizes) = fact.and_then(|fact| fact.known_shape()) else { return };
        // The parts that this place has all indices of.
        let mut parts = Vec::new();
        for (number, part) in weights.parts.iter().enumerate() {
            let own = made.indices.iter().filter(|index| index.group == part.group).count();
            if part.parameter == made.parameter && own == part.indices.len() && !covered.contains(&number) {
                parts.push(number);
            }
        }
        let Some(counted) = parts.first().map(|&part| weights.parts[part].counted) else { return };
        if parts.iter().any(|&part| weights.parts[part].counted != counted) {
            return;
        }
        let groups: HashSet<usize> = parts.iter().map(|&part| weights.parts[part].group).collect();
        let own = || made.indices.iter().filter(|index| groups.contains(&index.group));
        let indices = own().map(|index| index.index as i64).collect();
        let units = own().map(|index| (weights.first[index.group] + index.unit) as i64).collect();
        let mut inputs = Vec::new();
        for (number, input) in node.inputs.iter().enumerate() {
            inputs.push(match input {
                _ if number == made.input => Some(Input::Parameter),
                None => None,
                // With another number of filters a bias does not fit; it would fall out again.
                Some(value) if !flows(*value) && made.own.is_some() => None,
                Some(value) if !flows(*value) => Some(Input::Constant(*value)),
                Some(_) => Some(Input::Tap(at(&mut self.taps, Tap::Edge { node: made.node, input: number }))),
            });
        }
        let tap = at(&mut self.taps, Tap::Value(value));
        let gradient = at(&mut self.differentiated, tap);
        covered.extend(&parts);
        self.places.push(Place {
            made,
            inputs,
            sizes,
            output,
            tap,
            gradient,
            indices,
            units,
            parts,
            counted,
            linear: Linear::Unknown,
            responses: Vec::new(),
            kept_for: None,
            offset: None,
            whole: false,
            sum: None,
        });
    }

    /// The parts of the weights that are left to another way.
    pub fn missing(&self) -> &[usize] {
        &self.missing
    }

    /// Draws directions for a batch and looks where they lead. Gives whether a node turned out not to be linear, so that more is left to
    /// another way.
    pub fn begin(
        &mut self,
        session: &Session,
        caught: &[Tensor],
        samples: &[usize],
        directions: usize,
        seed: u64,
    ) -> Result<bool, EvidenceError> {
        self.samples = samples.len() as i64;
        let caught: Vec<Tensor> = caught.iter().map(Tensor::f_detach).collect::<Result<_, _>>()?;
        let mut refused = false;
        for (number, place) in self.places.iter_mut().enumerate() {
            let rng =
                |step: usize| Rng::new(seed, "directions", (number << 20 | step) as u64, samples[0] as u64);
            tch::no_grad(|| -> Result<(), EvidenceError> {
                if place.linear == Linear::Unknown {
                    place.linear = place.asked(session, &caught, rng(1 << 10))?;
                    if place.linear == Linear::No {
                        self.missing.extend(&place.parts);
                        refused = true;
                    }
                }
                if place.linear != Linear::No {
                    place.respond(session, &caught, self.samples, directions, &rng)?;
                }
                Ok(())
            })?;
        }
        self.missing.sort_unstable();
        Ok(refused)
    }

    /// Adds up what a pass gives of the first `counted` samples.
    pub fn pass(&mut self, gradients: &[Tensor], counted: i64) -> Result<(), TchError> {
        let samples = self.samples;
        tch::no_grad(|| {
            for place in self.places.iter_mut().filter(|place| place.linear != Linear::No) {
                let gradient = &gradients[place.gradient];
                if gradient.defined() {
                    let sum = place.squares(gradient, samples, counted)?;
                    place.sum = Some(match &place.sum {
                        Some(before) => before.f_add(&sum)?,
                        None => sum,
                    });
                }
            }
            Ok(())
        })
    }

    /// The sums of a batch, as one block.
    pub fn end(&mut self, units: usize) -> Result<Sums, EvidenceError> {
        let mut block = Sums::zeros(1, units)?;
        for place in &mut self.places {
            if place.kept_for.is_none() {
                place.responses.clear();
            }
            if let Some(sum) = place.sum.take() {
                let sum = sum.f_to_device(block.all.device())?;
                let sum = sum.f_index_select(0, &Tensor::f_from_slice(&place.indices)?)?;
                add_by_unit(&mut block, &place.units, place.counted, &sum.f_unsqueeze(0)?)?;
            }
        }
        Ok(block)
    }
}

impl Place {
    /// What the node gives with a tensor in place of the parameter; an error where it takes none of its sizes.
    fn evaluate(
        &self,
        session: &Session,
        caught: &[Tensor],
        parameter: &Tensor,
    ) -> Result<Tensor, GraphError> {
        let given = |input: &Option<Input>| match input {
            None => None,
            Some(Input::Parameter) => Some(parameter.shallow_clone()),
            Some(Input::Tap(tap)) => Some(caught[*tap].shallow_clone()),
            Some(Input::Constant(value)) => session.constant(*value).map(Tensor::shallow_clone),
        };
        let given: Vec<Option<Tensor>> = self.inputs.iter().map(given).collect();
        let given: Vec<Option<&Tensor>> = given.iter().map(Option::as_ref).collect();
        Ok(session.evaluate(self.made.node, &given)?.swap_remove(0))
    }

    /// How many indices the axis has where directions take the place of what is the parameter's own.
    fn rows(&self, directions: i64) -> i64 {
        self.made.shared as i64 * if self.made.own.is_some() { directions } else { 1 }
    }

    /// The weights of one index.
    fn fan(&self) -> i64 {
        self.sizes.iter().product::<i64>() / self.sizes[self.made.axis].max(1)
    }

    /// `[rows, fan]` as the node reads it: other indices on the axis, and all else as it is.
    fn shaped(&self, matrix: &Tensor, like: &Tensor) -> Result<Tensor, TchError> {
        let axis = self.made.axis;
        let mut sizes = vec![matrix.size()[0]];
        sizes.extend(self.sizes.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, n)| *n));
        let tensor = matrix.f_view(&sizes[..])?.f_movedim_int(0, axis as i64)?;
        tensor.f_to_kind(like.f_kind()?)?.f_to_device(like.device())?.f_contiguous()
    }

    /// Whether the node is linear in the parameter: whether what it gives for a sum is the sum of what it gives.
    fn asked(&self, session: &Session, caught: &[Tensor], mut rng: Rng) -> Result<Linear, EvidenceError> {
        let (rows, fan) = (self.rows(1), self.fan());
        let like = &caught[self.tap];
        let mut drawn = || {
            let signs = Tensor::f_from_slice(&rng.signs((rows * fan) as usize))?.f_view([rows, fan])?;
            self.shaped(&signs, like)
        };
        let (a, b) = (drawn()?, drawn()?);
        let of = |tensor: &Tensor| self.evaluate(session, caught, tensor);
        let Ok(zero) = of(&a.f_zeros_like()?) else { return Ok(Linear::No) };
        let (Ok(first), Ok(second), Ok(both)) = (of(&a), of(&b), of(&a.f_add(&b)?)) else {
            return Ok(Linear::No);
        };
        // The same with something else flowing in.
        let mut others: Vec<Tensor> = caught.iter().map(Tensor::shallow_clone).collect();
        for input in self.inputs.iter().flatten() {
            if let Input::Tap(tap) = *input
                && caught[tap].f_is_floating_point()?
            {
                others[tap] = caught[tap].f_mul_scalar(-0.7)?.f_add_scalar(0.3)?;
            }
        }
        let (other_zero, other) =
            (self.evaluate(session, &others, &a.f_zeros_like()?)?, self.evaluate(session, &others, &a)?);
        let largest = |tensor: &Tensor| tensor.f_abs()?.f_max()?.f_double_value(&[]);
        let close = |a: &Tensor, b: &Tensor, to: f64| Ok::<_, TchError>(largest(&a.f_sub(b)?)? <= 1e-4 * to);
        let size = largest(&both)?.max(f64::MIN_POSITIVE);
        if !close(&first.f_add(&second)?, &both.f_add(&zero)?, size)? {
            return Ok(Linear::No);
        }
        let offset = match () {
            () if largest(&zero)? == 0.0 && largest(&other_zero)? == 0.0 => Offset::Zero,
            () if close(&zero, &other_zero, 0.0)? => Offset::Fixed,
            () => Offset::Moving,
        };
        let fixed = close(&first.f_sub(&zero)?, &other.f_sub(&other_zero)?, size)?;
        Ok(Linear::Yes { offset, fixed })
    }

    fn respond(
        &mut self,
        session: &Session,
        caught: &[Tensor],
        samples: i64,
        directions: usize,
        rng: &impl Fn(usize) -> Rng,
    ) -> Result<(), EvidenceError> {
        let fan = self.fan();
        self.whole = fan <= directions as i64;
        let count = fan.min(directions as i64);
        let like = &caught[self.tap];
        let sizes = like.size();
        if self.kept_for.as_ref() == Some(&sizes) {
            return Ok(());
        }
        let Linear::Yes { offset, fixed } = self.linear else { return Ok(()) };
        // What is drawn anew every batch does not hold for the next.
        self.kept_for = (fixed && self.whole).then_some(sizes);
        let shared = self.made.shared as i64;
        let zeros =
            self.shaped(&Tensor::f_zeros([self.rows(count), fan], (Kind::Float, Device::Cpu))?, like)?;
        if offset == Offset::Fixed && self.offset.as_ref().is_none_or(|kept| kept.size() != like.size()) {
            self.offset = Some(self.evaluate(session, caught, &zeros)?);
        }
        let respond = |matrix: &Tensor| -> Result<Tensor, EvidenceError> {
            let response = self.evaluate(session, caught, &self.shaped(matrix, like)?)?;
            let response = match (offset, &self.offset) {
                (Offset::Zero, _) => response,
                (Offset::Fixed, Some(kept)) => response.f_sub(kept)?,
                _ => response.f_sub(&self.evaluate(session, caught, &zeros)?)?,
            };
            Ok(self.arranged(&response, samples)?)
        };
        let signs = |rows: i64, step: usize| {
            Tensor::f_from_slice(&rng(step).signs((rows * fan) as usize))?.f_view([rows, fan])
        };
        let unit = Tensor::f_eye(fan, (Kind::Float, Device::Cpu))?;
        let responses = match (self.made.own.is_some(), self.whole) {
            // All directions at once, as filters.
            (true, true) => vec![respond(&unit.f_repeat([shared, 1])?)?],
            (true, false) => vec![respond(&signs(shared * count, 0)?)?],
            (false, true) => {
                let rows = |j: i64| unit.f_narrow(0, j, 1)?.f_repeat([shared, 1]);
                (0..count).map(|j| respond(&rows(j)?)).collect::<Result<_, EvidenceError>>()?
            }
            (false, false) => {
                let respond = |j: i64| respond(&signs(shared, j as usize)?);
                (0..count).map(respond).collect::<Result<_, EvidenceError>>()?
            }
        };
        self.responses = responses;
        Ok(())
    }

    /// An output or its gradient by sample: `[samples, shared, positions, own]`, without a copy of what has the axis innermost in memory; or
    /// where nothing of the axis is the parameter's own, `[samples, axis, …]`.
    fn arranged(&self, output: &Tensor, samples: i64) -> Result<Tensor, TchError> {
        let view = by_sample(output, Some(&self.output), self.made.output_axis, samples)?;
        if self.made.own.is_none() {
            return Ok(view);
        }
        let (sizes, shared) = (view.size(), self.made.shared as i64);
        let own = sizes[1] / shared.max(1);
        if shared == 1 {
            return view.f_movedim_int(1, -1)?.f_reshape([sizes[0], 1, -1, own]);
        }
        let parted = [&[sizes[0], shared, own], &sizes[2..]].concat();
        view.f_reshape(parted)?.f_movedim_int(2, -1)?.f_reshape([sizes[0], shared, -1, own])
    }

    /// `[columns]`: Σ (G·u)² over the first `counted` samples, the mean or the sum over directions.
    fn squares(&self, gradient: &Tensor, samples: i64, counted: i64) -> Result<Tensor, TchError> {
        let gradient = self.arranged(gradient, samples)?;
        let own = self.made.own.is_some();
        let (mut total, mut directions): (Option<Tensor>, i64) = (None, 0);
        for response in &self.responses {
            // `[samples, shared, own, directions]`, or `[samples, axis]`.
            let image = match own {
                true => gradient.f_transpose(2, 3)?.f_matmul(response)?,
                false => {
                    let product = gradient.f_mul(response)?;
                    let positions: Vec<i64> = (2..product.dim() as i64).collect();
                    match positions.is_empty() {
                        true => product,
                        false => product.f_sum_dim_intlist(&positions[..], false, None::<Kind>)?,
                    }
                }
            };
            directions += if own { response.size()[3] } else { 1 };
            let squares = image.f_narrow(0, 0, counted)?.f_to_kind(Kind::Double)?.f_square()?;
            let over = if own { &[0i64, 3][..] } else { &[0] };
            let sum = squares.f_sum_dim_intlist(over, false, None::<Kind>)?;
            total = Some(match total {
                Some(before) => before.f_add(&sum)?,
                None => sum,
            });
        }
        let total = total.expect("there is a direction").f_reshape([-1])?;
        if self.whole { Ok(total) } else { total.f_div_scalar(directions as f64) }
    }
}
