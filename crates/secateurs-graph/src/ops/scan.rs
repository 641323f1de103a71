//! `Scan`: a subgraph run over the indices of an axis. ONNX opset 9, 11, 16, 19, 21, 23, 24, 25.
//!
//! states, then inputs to scan along an axis each → the last states, and what the body gives for every index, stacked.

use crate::op::prelude::*;
use crate::subgraph::{Subgraph, either};

/// `Scan`.
#[derive(Clone, Debug)]
pub struct Scan {
    body: Subgraph,
    /// How many of the inputs, the last ones, are scanned.
    scanned: usize,
    input_axes: Vec<i64>,
    /// Whether an input is read from its end.
    input_backwards: Vec<bool>,
    output_axes: Vec<i64>,
    output_backwards: Vec<bool>,
}

const AXES: [&str; 2] = ["scan_input_axes", "scan_output_axes"];
const DIRECTIONS: [&str; 2] = ["scan_input_directions", "scan_output_directions"];

impl Register for Scan {
    const NAME: &'static str = "Scan";
    const SINCE: &'static [i64] = &[9, 11, 16, 19, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        if cx.opset < 9 {
            return Err(OpError::Unsupported("Scan of opset 8, with its batches; export with opset 9 or newer".into()));
        }
        let body = attributes.graph("body")?.ok_or_else(|| OpError::invalid("the attribute 'body' is missing"))?;
        let scanned = attributes.int_or("num_scan_inputs", 0)?;
        let scanned = usize::try_from(scanned).ok().filter(|n| (1..=cx.inputs).contains(n)).ok_or_else(|| {
            OpError::Invalid(format!("num_scan_inputs is {scanned} and the node has {} inputs", cx.inputs))
        })?;
        let kept = cx.outputs.saturating_sub(cx.inputs - scanned);
        let mut list = |name: &str, count: usize| -> Result<Vec<i64>, OpError> {
            let list = attributes.ints(name)?.unwrap_or_else(|| vec![0; count]);
            match list.len() == count {
                true => Ok(list),
                false => Err(OpError::Invalid(format!("{name} has {} entries; it needs {count}", list.len()))),
            }
        };
        let flags = |list: Vec<i64>| list.into_iter().map(|n| n != 0).collect();
        Ok(Scan {
            body,
            scanned,
            input_axes: list(AXES[0], scanned)?,
            input_backwards: flags(list(DIRECTIONS[0], scanned)?),
            output_axes: list(AXES[1], kept)?,
            output_backwards: flags(list(DIRECTIONS[1], kept)?),
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::{ModelBuilder, Tensor};
        let body = || {
            let builder = ModelBuilder::new(17)
                .input("sum", ElementType::Float32, &["3"])
                .input("x", ElementType::Float32, &["3"])
                .constant("w", &Tensor::from_slice(vec![3], &[0.5f32, -0.25, 2.0]).unwrap())
                .node("Mul", &["x", "w"], &["scaled"])
                .node("Add", &["sum", "scaled"], &["next"])
                .node("Identity", &["next"], &["kept"]);
            Subgraph::of(&builder.output("next").output("kept").build().unwrap())
        };
        let case = || Case::new(17).attr("body", body()).attr("num_scan_inputs", 1i64).float([3]).outputs(2);
        vec![
            case().float([4, 3]),
            case()
                .float([3, 4])
                .attr(AXES[0], vec![1i64])
                .attr(AXES[1], vec![-1i64])
                .attr(DIRECTIONS[0], vec![1i64])
                .attr(DIRECTIONS[1], vec![1i64]),
        ]
    }
}

impl Scan {
    fn states(&self, inputs: usize) -> usize {
        inputs.saturating_sub(self.scanned)
    }

    /// What the body takes of its own, and how often it runs.
    fn own(&self, inputs: &Inputs) -> Result<(Vec<Fact>, Dim), OpError> {
        let count = self.states(inputs.len());
        let mut length = Dim::unknown();
        let mut own: Vec<Fact> =
            (0..count).map(|i| Ok(Fact { content: None, ..inputs.fact(i)?.clone() })).collect::<Result<_, OpError>>()?;
        for (i, &axis) in self.input_axes.iter().enumerate() {
            let mut shape = inputs.shape(count + i)?.to_vec();
            let size = shape.remove(normalize_axis(axis, shape.len())?);
            if length.is_determined() {
                expect_same(&length, &size, "the axes that are scanned")?;
            } else {
                length = size;
            }
            own.push(Fact::of(inputs.element_type(count + i)?, shape));
        }
        Ok((own, length))
    }
}

impl Op for Scan {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> =
            vec![("body", self.body.clone().into()), ("num_scan_inputs", (self.scanned as i64).into())];
        let axes = AXES.into_iter().zip([&self.input_axes, &self.output_axes]);
        list.extend(axes.filter(|(_, axes)| axes.iter().any(|a| *a != 0)).map(|(name, axes)| (name, axes.clone().into())));
        let flags = DIRECTIONS.into_iter().zip([&self.input_backwards, &self.output_backwards]);
        let flags = flags.filter(|(_, flags)| flags.contains(&true));
        list.extend(flags.map(|(name, flags)| (name, flags.iter().map(|f| i64::from(*f)).collect::<Vec<_>>().into())));
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let count = self.states(inputs.len());
        let (own, length) = self.own(inputs)?;
        let outputs = self.body.infer(&own, inputs);
        if outputs.len() < count {
            return Err(OpError::Undetermined);
        }
        let states = own.iter().zip(&outputs).take(count).map(|(old, new)| Fact { content: None, ..either(old, new) });
        let kept = outputs[count..].iter().zip(&self.output_axes).map(|(fact, &axis)| {
            let shape = fact.shape.clone().map(|mut shape| {
                let axis = normalize_axis(axis, shape.len() + 1)?;
                shape.insert(axis, length.clone());
                Ok::<_, OpError>(shape)
            });
            Ok(Fact { element_type: fact.element_type, shape: shape.transpose()?, content: None })
        });
        states.map(Ok).chain(kept).collect()
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::blocked(inputs.facts, outputs, "a scan")
    }

    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> Dim {
        self.own(inputs).map_or_else(|_| Dim::unknown(), |(own, length)| self.body.macs(&own, inputs) * length)
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let count = self.states(args.tensors.len());
        let tensors = (0..args.tensors.len()).map(|i| args.tensor(i)).collect::<Result<Vec<_>, _>>()?;
        let mut states: Vec<Tensor> = tensors[..count].iter().map(|t| t.shallow_clone()).collect();
        let scanned = tensors[count..].iter().zip(&self.input_axes).map(|(tensor, &axis)| {
            Ok((*tensor, normalize_axis(axis, tensor.dim())?))
        });
        let scanned = scanned.collect::<Result<Vec<(&Tensor, usize)>, OpError>>()?;
        let length = scanned.first().map_or(0, |(tensor, axis)| tensor.size()[*axis]);
        let mut kept: Vec<Vec<Tensor>> = self.output_axes.iter().map(|_| Vec::new()).collect();
        for step in 0..length {
            let mut own = std::mem::take(&mut states);
            for ((tensor, axis), &backwards) in scanned.iter().zip(&self.input_backwards) {
                let at = if backwards { length - 1 - step } else { step };
                own.push(tensor.f_select(*axis as i64, at)?);
            }
            let mut outputs = self.body.run(&own, args)?.into_iter();
            states = outputs.by_ref().take(count).collect();
            kept.iter_mut().zip(outputs).for_each(|(list, tensor)| list.push(tensor));
        }
        for ((mut list, &axis), &backwards) in kept.into_iter().zip(&self.output_axes).zip(&self.output_backwards) {
            if backwards {
                list.reverse();
            }
            if list.is_empty() {
                return Err(OpError::Unsupported("a scan over an axis without indices".into()));
            }
            states.push(Tensor::f_stack(&list, axis)?);
        }
        Ok(states)
    }
}
