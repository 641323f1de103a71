//! One call of an op to try.

use std::ops::Range;

use secateurs_onnx::{Model, ModelBuilder, Tensor};

use crate::attribute::Attribute;
use crate::op::Register;

/// Attributes and inputs of one call, built up: `Case::new(13).attr("axis", 1i64).float([2, 3])`.
#[derive(Clone, Debug)]
pub struct Case {
    /// The opset version.
    pub opset: i64,
    /// The node's attributes.
    pub attributes: Vec<(String, Attribute)>,
    /// The node's inputs.
    pub inputs: Vec<Input>,
    /// How many outputs are asked for.
    pub outputs: usize,
    /// Compared with ONNX Runtime, unless it lacks the op or the type.
    pub runtime: bool,
    /// Whether the axis map is compared with evaluation.
    pub axes: bool,
    /// Whether it matters which indices of mixed atoms are neighbours.
    pub ordered: bool,
    /// The largest difference allowed, as a share of the output's largest value.
    pub tolerance: f64,
}

/// An input of a case.
#[derive(Clone, Debug)]
pub enum Input {
    /// Left out.
    Absent,
    /// Given at run time.
    Fed(Tensor),
    /// An initializer.
    Constant(Tensor),
}

impl Case {
    /// A call under this opset version, with one output.
    pub fn new(opset: i64) -> Case {
        Case {
            opset,
            attributes: Vec::new(),
            inputs: Vec::new(),
            outputs: 1,
            runtime: true,
            axes: true,
            ordered: false,
            tolerance: 1e-4,
        }
    }

    /// An attribute.
    pub fn attr(mut self, name: &str, value: impl Into<Attribute>) -> Case {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// An input of random floats in −2..2, no two alike.
    pub fn float(self, shape: impl Into<Vec<i64>>) -> Case {
        self.float_in(shape, -2.0, 2.0)
    }

    /// An input of random floats in a range.
    pub fn float_in(mut self, shape: impl Into<Vec<i64>>, low: f32, high: f32) -> Case {
        let tensor = self.random(shape.into(), low, high);
        self.inputs.push(Input::Fed(tensor));
        self
    }

    /// A constant of random floats in −1..1.
    pub fn param(self, shape: impl Into<Vec<i64>>) -> Case {
        self.param_in(shape, -1.0, 1.0)
    }

    /// A constant of random floats in a range.
    pub fn param_in(mut self, shape: impl Into<Vec<i64>>, low: f32, high: f32) -> Case {
        let tensor = self.random(shape.into(), low, high);
        self.inputs.push(Input::Constant(tensor));
        self
    }

    /// An input of random 64-bit integers in a range.
    pub fn ints(mut self, shape: impl Into<Vec<i64>>, range: Range<i64>) -> Case {
        let shape = shape.into();
        let width = (range.end - range.start) as u64;
        let mut noise = self.noise();
        let values: Vec<i64> =
            (0..count(&shape)).map(|_| range.start + (noise.next() % width) as i64).collect();
        self.inputs.push(Input::Fed(Tensor::from_slice(sizes(&shape), &values).unwrap()));
        self
    }

    /// An input of random booleans.
    pub fn bools(mut self, shape: impl Into<Vec<i64>>) -> Case {
        let shape = shape.into();
        let mut noise = self.noise();
        let values: Vec<bool> = (0..count(&shape)).map(|_| noise.next() % 2 == 1).collect();
        self.inputs.push(Input::Fed(Tensor::from_slice(sizes(&shape), &values).unwrap()));
        self
    }

    /// A constant list of 64-bit integers.
    pub fn int_values(self, values: &[i64]) -> Case {
        self.constant(Tensor::from_slice(vec![values.len()], values).unwrap())
    }

    /// A constant list of floats.
    pub fn float_values(self, values: &[f32]) -> Case {
        self.constant(Tensor::from_slice(vec![values.len()], values).unwrap())
    }

    /// A constant list of booleans.
    pub fn flag_values(self, values: &[bool]) -> Case {
        self.constant(Tensor::from_slice(vec![values.len()], values).unwrap())
    }

    /// Any constant.
    pub fn constant(mut self, tensor: Tensor) -> Case {
        self.inputs.push(Input::Constant(tensor));
        self
    }

    /// Any fed input.
    pub fn fed(mut self, tensor: Tensor) -> Case {
        self.inputs.push(Input::Fed(tensor));
        self
    }

    /// An optional input left out.
    pub fn absent(mut self) -> Case {
        self.inputs.push(Input::Absent);
        self
    }

    /// Asks for so many outputs.
    pub fn outputs(mut self, outputs: usize) -> Case {
        self.outputs = outputs;
        self
    }

    /// Not compared with ONNX Runtime, which lacks the op or this type.
    pub fn without_runtime(mut self) -> Case {
        self.runtime = false;
        self
    }

    /// The axis map is not compared with evaluation (the outputs are not a smooth function of single inputs).
    pub fn without_axes(mut self) -> Case {
        self.axes = false;
        self
    }

    /// Permuting mixed atoms is not compared with evaluation: the op looks at neighbours.
    pub fn ordered(mut self) -> Case {
        self.ordered = true;
        self
    }

    /// Allows a larger difference.
    pub fn tolerance(mut self, tolerance: f64) -> Case {
        self.tolerance = tolerance;
        self
    }

    /// The tensors given at run time.
    pub fn fed_tensors(&self) -> Vec<Tensor> {
        let fed = self.inputs.iter().filter_map(|i| match i {
            Input::Fed(tensor) => Some(tensor.clone()),
            _ => None,
        });
        fed.collect()
    }

    /// The model of this one node. `symbolic` gives every size of the fed inputs its own symbol, equal sizes the same.
    pub fn model<T: Register>(&self, symbolic: bool) -> Model {
        self.model_where::<T>(|_| symbolic)
    }

    /// As [`Case::model`], with symbols for the axes for which `symbolic` holds.
    pub fn model_where<T: Register>(&self, symbolic: impl Fn(usize) -> bool) -> Model {
        let mut builder = ModelBuilder::new(self.opset);
        let mut name = T::NAME.to_owned();
        if !T::DOMAIN.is_empty() {
            builder = builder.domain(T::DOMAIN, 1);
            name = format!("{}::{name}", T::DOMAIN);
        }
        let inputs: Vec<String> = (0..self.inputs.len()).map(|i| format!("x{i}")).collect();
        let mut listed: Vec<&str> = Vec::new();
        for (name, input) in inputs.iter().zip(&self.inputs) {
            listed.push(if matches!(input, Input::Absent) { "" } else { name });
            builder = match input {
                Input::Absent => builder,
                Input::Constant(tensor) => builder.constant(name, tensor),
                Input::Fed(tensor) => {
                    let size = |(axis, &n): (usize, &usize)| match symbolic(axis) && n > 1 {
                        true => format!("d{n}"),
                        false => n.to_string(),
                    };
                    let sizes: Vec<String> = tensor.shape().iter().enumerate().map(size).collect();
                    let sizes: Vec<&str> = sizes.iter().map(String::as_str).collect();
                    builder.input(name, tensor.element_type(), &sizes)
                }
            };
        }
        let outputs: Vec<String> = (0..self.outputs).map(|i| format!("y{i}")).collect();
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let attributes =
            self.attributes.iter().map(|(name, value)| crate::save::attribute(name, value)).collect();
        let builder = builder.node_with(&name, &listed, &outputs, attributes);
        outputs.iter().fold(builder, |builder, output| builder.output(output)).build().unwrap()
    }

    fn random(&self, shape: Vec<i64>, low: f32, high: f32) -> Tensor {
        let n = count(&shape);
        // A random order of evenly spaced numbers: no ties, so that maxima and sorts have one answer.
        let mut order: Vec<usize> = (0..n).collect();
        let mut noise = self.noise();
        for i in (1..n).rev() {
            order.swap(i, (noise.next() % (i as u64 + 1)) as usize);
        }
        let values: Vec<f32> =
            order.into_iter().map(|i| low + (high - low) * (i as f32 + 0.5) / n as f32).collect();
        Tensor::from_slice(sizes(&shape), &values).unwrap()
    }

    fn noise(&self) -> Noise {
        Noise(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(self.inputs.len() as u64 + 1))
    }
}

/// A small reproducible generator (xorshift64*).
pub struct Noise(pub u64);

impl Noise {
    /// The next number.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

fn count(shape: &[i64]) -> usize {
    shape.iter().product::<i64>() as usize
}

fn sizes(shape: &[i64]) -> Vec<usize> {
    shape.iter().map(|&n| n as usize).collect()
}
