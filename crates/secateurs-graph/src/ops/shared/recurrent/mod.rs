//! What `LSTM`, `GRU` and `RNN` share: attributes, shapes and axes.
//!
//! x: [s, b, i], w: [d, (g h), i], r: [d, (g h), h], bias: [d, (2 g h)], lengths: [b], initial states: [d, b, h],
//! peepholes: [d, (3 h)] → y: [s, d, b, h], last states: [d, b, h]; s are steps in time, d directions, g gates. With
//! layout 1 the batch comes first in x, the states and y.

mod activation;
#[cfg(any(test, feature = "harness"))]
pub(in crate::ops) mod cases;
#[cfg(feature = "torch")]
mod eval;

use crate::op::prelude::*;
use activation::{Activation, Named};

/// The inputs.
pub(in crate::ops) const X: usize = 0;
const W: usize = 1;
const R: usize = 2;
const BIAS: usize = 3;
const LENGTHS: usize = 4;
const INITIAL: [usize; 2] = [5, 6];
const PEEPHOLES: usize = 7;

/// What tells one recurrent op from another.
#[derive(Debug)]
pub(in crate::ops) struct Form {
    /// How many gates are stacked in the weights.
    pub gates: i64,
    /// How many states are carried from step to step.
    pub states: usize,
    /// How many peephole weights a hidden unit has.
    pub peepholes: i64,
    /// The functions of one direction.
    pub activations: &'static [&'static str],
}

/// The attributes that all recurrent ops have.
#[derive(Clone, Debug)]
pub(in crate::ops) struct Layer {
    form: &'static Form,
    direction: Direction,
    /// That of the weights where it is not given.
    hidden_size: Option<i64>,
    named: Named,
    /// The functions, one direction after the other.
    #[cfg_attr(not(feature = "torch"), expect(dead_code, reason = "read by evaluation"))]
    functions: Vec<Activation>,
    /// Inputs of functions are limited to ±clip.
    clip: Option<f32>,
    batch_first: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Forward,
    Reverse,
    Bidirectional,
}

const DIRECTIONS: [(&str, Direction); 3] = [
    ("forward", Direction::Forward),
    ("reverse", Direction::Reverse),
    ("bidirectional", Direction::Bidirectional),
];

/// The sizes of a call.
struct Sizes {
    steps: Dim,
    batch: Dim,
    input: Dim,
    hidden: Dim,
    directions: Dim,
}

impl Layer {
    pub fn parse(form: &'static Form, attributes: &mut Attributes) -> Result<Layer, OpError> {
        let name = attributes.string("direction")?.unwrap_or_else(|| "forward".into());
        let Some(&(_, direction)) = DIRECTIONS.iter().find(|known| known.0 == name) else {
            return Err(OpError::Invalid(format!("direction is '{name}', which ONNX does not define")));
        };
        let hidden_size = attributes.int("hidden_size")?;
        if let Some(size) = hidden_size.filter(|size| *size < 1) {
            return Err(OpError::Invalid(format!("hidden_size is {size}; it must be at least 1")));
        }
        let clip = attributes.float("clip")?;
        if let Some(clip) = clip.filter(|clip| clip.is_nan() || *clip <= 0.0) {
            return Err(OpError::Invalid(format!("clip is {clip}; it must be more than 0")));
        }
        let layout = attributes.int_or("layout", 0)?;
        if !(0..=1).contains(&layout) {
            return Err(OpError::Invalid(format!("layout is {layout}; it must be 0 or 1")));
        }
        let named = Named::parse(attributes)?;
        let count = if direction == Direction::Bidirectional { 2 } else { 1 };
        let functions = named.functions(&form.activations.repeat(count))?;
        Ok(Layer { form, direction, hidden_size, named, functions, clip, batch_first: layout == 1 })
    }

    pub fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        let name = DIRECTIONS.iter().find(|known| known.1 == self.direction).map(|known| known.0);
        list.extend(name.filter(|_| self.direction != Direction::Forward).map(|n| ("direction", n.into())));
        list.extend(self.hidden_size.map(|size| ("hidden_size", size.into())));
        list.extend(self.named.attributes());
        list.extend(self.clip.map(|clip| ("clip", clip.into())));
        if self.batch_first {
            list.push(("layout", true.into()));
        }
        list
    }

    fn count(&self) -> i64 {
        if self.direction == Direction::Bidirectional { 2 } else { 1 }
    }

    fn sizes(&self, inputs: &Inputs) -> Result<Sizes, OpError> {
        let [first, second, features] = inputs.shape(X)? else {
            return Err(OpError::invalid("X needs 3 axes"));
        };
        let (steps, batch) = if self.batch_first { (second, first) } else { (first, second) };
        let hidden = match self.hidden_size {
            Some(size) => size.into(),
            None => inputs.shape(R)?.last().cloned().ok_or_else(|| OpError::invalid("R needs 3 axes"))?,
        };
        let own = inputs.get(W).and_then(|w| w.shape.as_ref()?.get(2)).filter(|n| n.known().is_some());
        Ok(Sizes {
            steps: steps.clone(),
            batch: batch.clone(),
            input: own.unwrap_or(features).clone(),
            hidden,
            directions: self.count().into(),
        })
    }

    /// Y and the last states.
    pub fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let sizes = self.sizes(inputs)?;
        let Sizes { steps, batch, input, hidden, directions } = &sizes;
        let stacked = |times: i64| hidden.clone() * times.into();
        let gates = self.form.gates;
        let state = self.state([directions, batch, hidden]).map(Dim::clone).to_vec();
        let peepholes = (PEEPHOLES, "P", vec![directions.clone(), stacked(self.form.peepholes)]);
        let wanted = [
            (X, "X", self.sequence([steps, batch, input]).map(Dim::clone).to_vec()),
            (W, "W", vec![directions.clone(), stacked(gates), input.clone()]),
            (R, "R", vec![directions.clone(), stacked(gates), hidden.clone()]),
            (BIAS, "B", vec![directions.clone(), stacked(2 * gates)]),
            (LENGTHS, "sequence_lens", vec![batch.clone()]),
            (INITIAL[0], "initial_h", state.clone()),
            (INITIAL[1], "initial_c", state.clone()),
            peepholes,
        ];
        for (i, name, wanted) in &wanted {
            let Some(shape) = inputs.get(*i).and_then(|fact| fact.shape.as_ref()) else { continue };
            if shape.len() != wanted.len() {
                let text = format!("{name} has {} axes; it needs {}", shape.len(), wanted.len());
                return Err(OpError::Invalid(text));
            }
            for (axis, (got, wanted)) in shape.iter().zip(wanted).enumerate() {
                expect_same(got, wanted, &format!("axis {axis} of {name}"))?;
            }
        }
        let y = match self.batch_first {
            true => [batch, steps, directions, hidden],
            false => [steps, directions, batch, hidden],
        };
        let element_type = inputs.element_type(X)?;
        let mut outputs = vec![Fact::of(element_type, y.map(Dim::clone).to_vec())];
        outputs.extend((0..self.form.states).map(|_| Fact::of(element_type, state.clone())));
        Ok(outputs)
    }

    /// The hidden units that the rows of the weights make are those that the columns of R sum over in the next step.
    pub fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), outputs.len());
        let Ok(sizes) = self.sizes(inputs) else {
            return AxisMap::blocked(inputs.facts, outputs, "a recurrent layer of unknown sizes");
        };
        let s = map.axis(&sizes.steps, Role::Blocked("steps in time"));
        let b = map.axis(&sizes.batch, Role::Free);
        let d = map.axis(&sizes.directions, Role::Blocked("directions"));
        let i = map.axis(&sizes.input, Role::Summed);
        let h = map.axis(&sizes.hidden, Role::Free);
        let r = map.axis(&sizes.hidden, Role::Summed);
        if let ([Segment::Product(made)], [Segment::Product(summed)]) = (&h[..], &r[..]) {
            map.ties.extend(made.iter().copied().zip(summed.iter().copied()));
        }
        let mut stacked = |times: i64| {
            let gates = map.axis(&times.into(), Role::Blocked("the gates of a recurrent layer"));
            let factors = gates.iter().chain(&h).flat_map(|segment| match segment {
                Segment::Product(atoms) => atoms.clone(),
                Segment::Pick { .. } => Vec::new(),
            });
            product(factors.collect::<Vec<_>>())
        };
        let gates = stacked(self.form.gates);
        let biases = stacked(2 * self.form.gates);
        let peepholes = stacked(self.form.peepholes.max(1));
        let state = self.state([&d, &b, &h]).map(Axis::clone).to_vec();
        let by_input = [
            (X, self.sequence([&s, &b, &i]).map(Axis::clone).to_vec()),
            (W, vec![d.clone(), gates.clone(), i]),
            (R, vec![d.clone(), gates, r]),
            (BIAS, vec![d.clone(), biases]),
            (LENGTHS, vec![b.clone()]),
            (INITIAL[0], state.clone()),
            (INITIAL[1], state.clone()),
            (PEEPHOLES, vec![d.clone(), peepholes]),
        ];
        for (input, axes) in by_input {
            if inputs.get(input).is_some() {
                map.inputs[input] = Some(axes);
            }
        }
        let y = if self.batch_first { vec![b, s, d, h] } else { vec![s, d, b, h] };
        for (output, axes) in map.outputs.iter_mut().zip([y, state.clone(), state]) {
            *output = Some(axes);
        }
        map
    }

    /// With as many hidden units as are kept.
    pub fn shrunk(&self, kept: &Kept) -> Layer {
        let size = || kept.output_shape(0)?.last()?.known();
        Layer { hidden_size: self.hidden_size.and_then(|old| size().or(Some(old))), ..self.clone() }
    }

    pub fn macs(&self, inputs: &Inputs) -> Dim {
        match self.sizes(inputs) {
            Ok(Sizes { steps, batch, input, hidden, directions }) => {
                steps * batch * directions * self.form.gates.into() * hidden.clone() * (input + hidden)
            }
            Err(_) => Dim::unknown(),
        }
    }

    pub fn role(&self, input: usize) -> InputRole {
        match input {
            W | R | BIAS | PEEPHOLES => InputRole::Parameter,
            LENGTHS => InputRole::Control,
            _ => InputRole::Data,
        }
    }

    /// Uniform in ±1 / √hidden, as PyTorch draws weights and biases alike.
    pub fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        let hidden = self.sizes(inputs).ok().and_then(|sizes| sizes.hidden.known());
        match (self.role(input), hidden) {
            (InputRole::Parameter, Some(hidden @ 1..)) => {
                Initial::Uniform { bound: 1.0 / (hidden as f64).sqrt() }
            }
            _ => Initial::Keep,
        }
    }

    /// The axes of x.
    fn sequence<'a, T>(&self, [steps, batch, width]: [&'a T; 3]) -> [&'a T; 3] {
        if self.batch_first { [batch, steps, width] } else { [steps, batch, width] }
    }

    /// The axes of a state.
    fn state<'a, T>(&self, [directions, batch, width]: [&'a T; 3]) -> [&'a T; 3] {
        if self.batch_first { [batch, directions, width] } else { [directions, batch, width] }
    }
}
