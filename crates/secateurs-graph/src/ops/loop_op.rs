//! `Loop`: a subgraph run again and again. ONNX opset 1, 11, 13, 16, 19, 21, 23, 24, 25.
//!
//! At most so many trips, a condition to begin, states v → the last states, and, one index a trip, what the body gives besides.
//! The body takes the trip's number, the condition and the states, and gives the next condition, the next states and the rest.

use crate::op::prelude::*;
use crate::subgraph::{Subgraph, either};

/// `Loop`.
#[derive(Clone, Debug)]
pub struct Loop {
    body: Subgraph,
}

/// The inputs before the states.
const STATES: usize = 2;

impl Register for Loop {
    const NAME: &'static str = "Loop";
    const SINCE: &'static [i64] = &[1, 11, 13, 16, 19, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let body = attributes.graph("body")?;
        Ok(Loop { body: body.ok_or_else(|| OpError::invalid("the attribute 'body' is missing"))? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::{ModelBuilder, Tensor};
        // state' = state · w + state, stops at its own condition; every state is kept.
        let body = |goes_on: bool| {
            let builder = ModelBuilder::new(17)
                .input("trip", ElementType::Int64, &[])
                .input("going", ElementType::Bool, &[])
                .input("state", ElementType::Float32, &["3"])
                .constant("w", &Tensor::from_slice(vec![3], &[0.5f32, -0.25, 0.125]).unwrap())
                .constant("last", &Tensor::scalar(2i64))
                .node("Less", &["trip", "last"], &["less"])
                .node("Or", &["less", "going"], &["either"])
                .node("Mul", &["state", "w"], &["scaled"])
                .node("Add", &["scaled", "state"], &["next"])
                .node("Identity", &["next"], &["kept"]);
            let next = if goes_on { "either" } else { "less" };
            Subgraph::of(&builder.output(next).output("next").output("kept").build().unwrap())
        };
        let count = |n: i64| Tensor::scalar(n);
        vec![
            Case::new(17).attr("body", body(true)).constant(count(4)).absent().float([3]).outputs(2).without_axes(),
            Case::new(17)
                .attr("body", body(false))
                .constant(count(9))
                .constant(Tensor::scalar(true))
                .float([3])
                .outputs(2)
                .without_axes(),
        ]
    }
}

/// What the body takes of its own.
fn own(states: &[Fact]) -> Vec<Fact> {
    let number = |element_type| Fact::new(element_type, Vec::new());
    [number(ElementType::Int64), number(ElementType::Bool)].into_iter().chain(states.iter().cloned()).collect()
}

impl Loop {
    /// The facts of the states after any number of trips, and of the rest.
    fn settled(&self, inputs: &Inputs) -> Option<(Vec<Fact>, Vec<Fact>)> {
        let given = |i: usize| inputs.get(i).cloned().unwrap_or_else(Fact::unknown);
        let mut states: Vec<Fact> = (STATES..inputs.len()).map(|i| Fact { content: None, ..given(i) }).collect();
        // A size that changes from trip to trip is unknown after the first; what depends on it, after the next ones.
        for _ in 0..4 {
            let outputs = self.body.infer(&own(&states), inputs);
            if outputs.len() <= states.len() {
                return None;
            }
            let merged: Vec<Fact> = states
                .iter()
                .zip(&outputs[1..])
                .map(|(old, new)| Fact { content: None, ..either(old, new) })
                .collect();
            if merged == states {
                return Some((states, outputs[1 + merged.len()..].to_vec()));
            }
            states = merged;
        }
        None
    }
}

impl Op for Loop {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        vec![("body", self.body.clone().into())]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (states, rest) = self.settled(inputs).ok_or(OpError::Undetermined)?;
        let stacked = rest.into_iter().map(|fact| {
            let shape = fact.shape.map(|shape| [vec![Dim::unknown()], shape].concat());
            Fact { element_type: fact.element_type, shape, content: None }
        });
        Ok(states.into_iter().chain(stacked).collect())
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::blocked(inputs.facts, outputs, "a loop")
    }

    /// Those of the body, as many times as it may run.
    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> Dim {
        let Some((states, _)) = self.settled(inputs) else { return Dim::unknown() };
        let each = self.body.macs(&own(&states), inputs);
        let trips = inputs.dims(0).ok().and_then(<[Dim]>::first).filter(|trips| {
            // As the largest integer exporters write "until its condition fails".
            trips.known().is_none_or(|n| (0..i64::from(i32::MAX)).contains(&n))
        });
        if each.is(0) { each } else { each * trips.cloned().unwrap_or_else(Dim::unknown) }
    }

    fn role(&self, input: usize) -> InputRole {
        if input < STATES { InputRole::Control } else { InputRole::Data }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let trips = args.get(0).map(|_| args.ints(0)).transpose()?.and_then(|n| n.first().copied());
        let mut going = match args.get(1) {
            Some(_) => args.ints(1)?.first().is_some_and(|n| *n != 0),
            None => true,
        };
        let graph = self.body.graph()?;
        // Exporters declare the trip's number and the condition with no axis or with one.
        let number = |i: usize, n: i64, kind: Kind| -> Result<Tensor, OpError> {
            let rank = graph.inputs.get(i).and_then(|v| graph.values[*v].fact.rank()).unwrap_or(0);
            Ok(Tensor::f_full(vec![1; rank], n, (kind, args.device))?)
        };
        let mut states = (STATES..args.tensors.len())
            .map(|i| Ok(args.tensor(i)?.shallow_clone()))
            .collect::<Result<Vec<Tensor>, OpError>>()?;
        let mut rest: Vec<Vec<Tensor>> = (states.len() + 1..graph.outputs.len()).map(|_| Vec::new()).collect();
        let mut trip = 0;
        while going && trips.is_none_or(|trips| trip < trips) {
            let mut own = vec![number(0, trip, Kind::Int64)?, number(1, 1, Kind::Bool)?];
            own.append(&mut states);
            let mut outputs = self.body.run(&own, args)?.into_iter();
            let next = outputs.next().ok_or_else(|| OpError::invalid("the body gives no condition"))?;
            going = next.f_any()?.f_int64_value(&[])? != 0;
            states = outputs.by_ref().take(args.tensors.len() - STATES).collect();
            rest.iter_mut().zip(outputs).for_each(|(list, tensor)| list.push(tensor));
            trip += 1;
        }
        for list in &rest {
            let fact = graph.outputs.get(states.len() + 1).map(|v| &graph.values[*v].fact);
            states.push(if list.is_empty() { none_of(args, fact)? } else { Tensor::f_stack(list, 0)? });
        }
        Ok(states)
    }
}

/// What a loop of no trips gives besides its states; sizes that only a trip would tell are 0.
#[cfg(feature = "torch")]
fn none_of(args: &Args, element: Option<&Fact>) -> Result<Tensor, OpError> {
    let shape = element.and_then(|fact| fact.shape.as_deref()).unwrap_or_default();
    let sizes: Vec<i64> = std::iter::once(0).chain(shape.iter().map(|d| d.known().unwrap_or(0))).collect();
    let element_type = element.and_then(|fact| fact.element_type).unwrap_or(ElementType::Float32);
    Ok(Tensor::f_zeros(sizes, (args.kind(element_type)?, args.device))?)
}
