//! `MaxUnpool`: puts values back where `MaxPool` found them. ONNX opset 9, 11, 22.
//!
//! x: [N, C, D1, …], indices: as x, into the flattened output, output_shape: [rank] → y: [N, C, D1', …], zero elsewhere.
//! A larger output_shape adds zeros at the ends.

use super::shared::window::Window;
use crate::op::prelude::*;

/// `MaxUnpool`.
#[derive(Clone, Debug)]
pub struct MaxUnpool {
    window: Window,
}

impl Register for MaxUnpool {
    const NAME: &'static str = "MaxUnpool";
    const SINCE: &'static [i64] = &[9, 11, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(MaxUnpool { window: super::shared::pool::parse(attributes)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let case = |shape: &[usize], indices: &[i64]| {
            let float: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
            let indices = Tensor::from_slice(shape.to_vec(), indices).unwrap();
            Case::new(11).float(float).constant(indices).attr("kernel_shape", vec![2i64; shape.len() - 2])
        };
        vec![
            case(&[1, 1, 2, 2], &[5, 7, 13, 15]).attr("strides", vec![2i64, 2]),
            case(&[1, 2, 2], &[1, 2, 5, 6]).attr("strides", vec![2i64]),
            case(&[1, 1, 2, 2], &[0, 2, 4, 7]).attr("pads", vec![0i64, 0, 1, 1]).attr("strides", vec![2i64, 2]),
            case(&[1, 1, 2, 2], &[5, 7, 13, 15])
                .attr("strides", vec![2i64, 2])
                .int_values(&[1, 1, 5, 6])
                .without_runtime(),
        ]
    }
}

impl MaxUnpool {
    /// The shape that the indices count in.
    fn natural(&self, x: &[Dim]) -> Result<Shape, OpError> {
        let kernel = self.window.kernel_shape.as_deref().unwrap_or_default();
        let n = kernel.len();
        if x.len() != n + 2 {
            return Err(OpError::Invalid(format!("kernel_shape has {n} entries and the input {} axes", x.len())));
        }
        let mut shape = x[..2].to_vec();
        for (i, (dim, &k)) in x[2..].iter().zip(kernel).enumerate() {
            let (start, end) = self.window.padding(i, n, dim, k);
            shape.push((dim.clone() - 1.into()) * self.window.stride(i).into() + k.into() - start - end);
        }
        Ok(shape)
    }
}

impl Op for MaxUnpool {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.window.attributes()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let natural = self.natural(inputs.shape(0)?)?;
        let shape = match inputs.get(2).map(|_| inputs.dims(2)) {
            None => natural,
            Some(Err(_)) => natural.iter().map(|_| Dim::unknown()).collect(),
            Some(Ok(given)) if given.len() != natural.len() => {
                return Err(OpError::Invalid(format!(
                    "output_shape has {} entries and the input {} axes",
                    given.len(),
                    natural.len()
                )));
            }
            Some(Ok(given)) => given.to_vec(),
        };
        Ok(vec![Fact::of(inputs.element_type(0)?, shape)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::blocked(inputs.facts, outputs, "indices into the flattened output")
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (x, indices) = (args.tensor(0)?, args.tensor(1)?);
        let dims: Vec<Dim> = x.size().into_iter().map(Dim::from).collect();
        let natural: Option<Vec<i64>> = self.natural(&dims)?.iter().map(Dim::known).collect();
        let natural = natural.filter(|shape| shape.iter().all(|n| *n >= 0)).ok_or(OpError::Undetermined)?;
        let count = element_count(&natural.iter().map(|&n| n.into()).collect::<Shape>());
        let zeros = Tensor::f_zeros([count.known().ok_or(OpError::Undetermined)?], (x.f_kind()?, x.device()))?;
        let flat = zeros.f_scatter(0, &indices.f_reshape([-1])?, &x.f_reshape([-1])?)?;
        let y = flat.f_reshape(&natural)?;
        if args.get(2).is_none() {
            return Ok(vec![y]);
        }
        let wanted = args.ints(2)?;
        let more: Vec<(i64, i64)> = wanted.iter().zip(&natural).map(|(w, n)| (0, w - n)).collect();
        Ok(vec![super::shared::window::pad(&y, &more, 0.0)?])
    }
}
