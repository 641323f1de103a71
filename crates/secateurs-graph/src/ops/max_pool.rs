//! `MaxPool`: the maximum of each window. ONNX opset 1, 8, 10, 11, 12, 22.
//!
//! x: [N, C, D1, …] → y: [N, C, D1', …], indices: [N, C, D1', …] into the flattened x.

use super::shared::pool;
use super::shared::window::Window;
use crate::op::prelude::*;

/// `MaxPool`.
#[derive(Clone, Debug)]
pub struct MaxPool {
    window: Window,
    /// Whether indices count the spatial axes with the first one innermost.
    column_major: bool,
}

impl Register for MaxPool {
    const NAME: &'static str = "MaxPool";
    const SINCE: &'static [i64] = &[1, 8, 10, 11, 12, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(MaxPool {
            window: pool::parse(attributes)?,
            column_major: attributes.flag("storage_order", false)?,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |x: &[i64], kernel: &[i64]| Case::new(12).float(x.to_vec()).attr("kernel_shape", kernel.to_vec());
        let same = |rule: &str| case(&[1, 2, 7, 6], &[3, 2]).attr("auto_pad", rule).attr("strides", vec![2i64, 2]);
        let indices = || case(&[2, 2, 5, 6], &[3, 2]).attr("pads", vec![2i64, 0, 1, 1]).outputs(2);
        vec![
            case(&[2, 3, 9, 8], &[3, 3]).attr("pads", vec![1i64; 4]).attr("strides", vec![2i64, 2]),
            case(&[2, 3, 9, 8], &[2, 3]).attr("dilations", vec![2i64, 1]).attr("pads", vec![0i64, 2, 1, 0]),
            case(&[1, 2, 8, 5], &[3, 2]).attr("ceil_mode", 1i64).attr("strides", vec![2i64, 3]),
            case(&[1, 2, 5, 5], &[2, 3])
                .attr("ceil_mode", 1i64)
                .attr("strides", vec![3i64, 2])
                .attr("pads", vec![1i64, 0, 1, 2]),
            same("SAME_UPPER"),
            same("SAME_LOWER"),
            same("VALID").attr("ceil_mode", 1i64),
            case(&[2, 3, 7], &[3]).attr("strides", vec![2i64]),
            case(&[2, 1, 4, 5, 6], &[2, 3, 2]).attr("pads", vec![1i64, 1, 0, 0, 1, 1]),
            indices(),
            indices().attr("storage_order", 1i64),
            case(&[2, 2, 6], &[2]).outputs(2),
            case(&[1, 2, 4, 5, 6], &[2, 2, 2]).outputs(2).attr("storage_order", 1i64),
        ]
    }
}

impl Op for MaxPool {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = self.window.attributes();
        if self.column_major {
            list.push(("storage_order", true.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let y = pool::infer(&self.window, inputs)?;
        let indices = Fact { element_type: Some(ElementType::Int64), ..y.clone() };
        Ok(if inputs.outputs > 1 { vec![y, indices] } else { vec![y] })
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        if is_wanted(outputs, 1) {
            return AxisMap::blocked(inputs.facts, outputs, "indices into the flattened input");
        }
        pool::axes(inputs, outputs)
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let geometry = pool::Geometry::new(&self.window, x)?;
        if is_wanted(args.outputs, 1) {
            return self.eval_with_indices(x, &geometry);
        }
        Ok(vec![pool::widened(x, |x| {
            let (x, padding, ceil) = match geometry.even_padding() {
                Some(padding) => (x.shallow_clone(), padding, geometry.ceil_mode),
                None => (geometry.padded(x, f64::NEG_INFINITY)?, vec![0; geometry.kernel.len()], false),
            };
            let (kernel, strides, dilations) = (&geometry.kernel, &geometry.strides, &geometry.dilations);
            Ok(match kernel.len() {
                1 => x.f_max_pool1d(kernel, strides, padding, dilations, ceil)?,
                2 => x.f_max_pool2d(kernel, strides, padding, dilations, ceil)?,
                3 => x.f_max_pool3d(kernel, strides, padding, dilations, ceil)?,
                n => return Err(OpError::Unsupported(format!("MaxPool over {n} spatial axes"))),
            })
        })?])
    }
}

#[cfg(feature = "torch")]
impl MaxPool {
    fn eval_with_indices(&self, x: &Tensor, geometry: &pool::Geometry) -> Result<Vec<Tensor>, OpError> {
        let kind = x.f_kind()?;
        let wide = if kind == Kind::Double { kind } else { Kind::Float };
        let padded = geometry.padded(&x.f_to_kind(wide)?, f64::NEG_INFINITY)?;
        let (kernel, strides, dilations) = (&geometry.kernel, &geometry.strides, &geometry.dilations);
        let none = vec![0; kernel.len()];
        let (y, flat) = match kernel.len() {
            1 => padded.f_max_pool1d_with_indices(kernel, strides, none, dilations, false)?,
            2 => padded.f_max_pool2d_with_indices(kernel, strides, none, dilations, false)?,
            3 => padded.f_max_pool3d_with_indices(kernel, strides, none, dilations, false)?,
            n => return Err(OpError::Unsupported(format!("MaxPool over {n} spatial axes"))),
        };
        // libtorch counts within one padded channel; ONNX within the whole input.
        let (size, padded) = (x.size(), padded.size());
        let (mut index, mut rest) = (plane_offsets(&size, x)?, flat);
        for axis in (0..kernel.len()).rev() {
            let stride: i64 = match self.column_major {
                true => size[2..2 + axis].iter().product(),
                false => size[3 + axis..].iter().product(),
            };
            let width = padded[2 + axis];
            let at = rest.f_remainder(width)?.f_sub_scalar(geometry.padding[axis].0)?;
            index = index.f_add(&at.f_mul_scalar(stride)?)?;
            rest = rest.f_floor_divide_scalar(width)?;
        }
        Ok(vec![y.f_to_kind(kind)?, index])
    }
}

/// Where each channel begins in the flattened input: [N, C, 1, …].
#[cfg(feature = "torch")]
fn plane_offsets(size: &[i64], x: &Tensor) -> Result<Tensor, OpError> {
    let plane: i64 = size[2..].iter().product();
    let mut shape = vec![1; size.len()];
    shape[..2].copy_from_slice(&size[..2]);
    let count = Tensor::f_arange(size[0] * size[1], (Kind::Int64, x.device()))?;
    Ok(count.f_mul_scalar(plane)?.f_reshape(shape)?)
}
