//! What the pools over sliding windows share: `MaxPool`, `AveragePool`, `LpPool`. x: [N, C, D1, …] → y: [N, C, D1', …].

use super::window::Window;
use crate::attribute::Attributes;
use crate::axes::{Axis, AxisMap, Role};
use crate::dim::Dim;
use crate::fact::{Fact, Shape};
use crate::op::{Inputs, OpError};

/// Reads the attributes of a pool's window.
pub(in crate::ops) fn parse(attributes: &mut Attributes) -> Result<Window, OpError> {
    let window = Window::parse(attributes)?;
    let kernel = window.kernel_shape.as_ref().ok_or_else(|| OpError::invalid("kernel_shape is missing"))?;
    window.check(kernel.len())?;
    let padded = window.pads.iter().enumerate().find(|&(i, &pad)| {
        let axis = i % kernel.len();
        pad < 0 || pad >= window.extent(axis, kernel[axis])
    });
    match padded {
        Some((_, pad)) => {
            Err(OpError::Invalid(format!("pads contains {pad}; each must be less than the kernel")))
        }
        None => Ok(window),
    }
}

/// The output's fact.
pub(in crate::ops) fn infer(window: &Window, inputs: &Inputs) -> Result<Fact, OpError> {
    let x = inputs.shape(0)?;
    let kernel = window.kernel_shape.as_deref().unwrap_or_default();
    if x.len() != kernel.len() + 2 {
        let text = format!("kernel_shape has {} entries and the input {} axes", kernel.len(), x.len());
        return Err(OpError::Invalid(text));
    }
    let mut shape: Shape = x[..2].to_vec();
    shape.extend(window.outputs(&x[2..], kernel)?);
    Ok(Fact::of(inputs.element_type(0)?, shape))
}

/// `x: [n, c, …] → y: [n, c, …]`, spatial axes blocked.
pub(in crate::ops) fn axes(inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
    let mut map = AxisMap::new(inputs.len(), outputs.len());
    let Ok(x) = inputs.shape(0) else { return map };
    let head: Vec<Axis> = x.iter().take(2).map(|dim| map.axis(dim, Role::Free)).collect();
    let mut axes = |shape: &[Dim]| {
        let tail = shape.iter().skip(2).map(|dim| map.axis(dim, Role::Blocked("a sliding window")));
        let tail: Vec<Axis> = tail.collect();
        Some([head.clone(), tail].concat())
    };
    let input = axes(x);
    let output = outputs.first().and_then(|y| axes(y.shape.as_deref()?));
    (map.inputs[0], map.outputs[0]) = (input, output);
    map
}

#[cfg(feature = "torch")]
pub(in crate::ops) use eval::Geometry;

#[cfg(feature = "torch")]
mod eval {
    use secateurs_torch::tch::{Device, Kind, Tensor};

    use super::super::window::{Window, pad};
    use crate::dim::Dim;
    use crate::op::OpError;

    /// A window laid over an input of known size.
    pub(in crate::ops) struct Geometry {
        pub kernel: Vec<i64>,
        pub strides: Vec<i64>,
        pub dilations: Vec<i64>,
        pub ceil_mode: bool,
        pub padding: Vec<(i64, i64)>,
        /// How far the last window of `ceil_mode` reaches beyond the end padding.
        overhang: Vec<i64>,
    }

    impl Geometry {
        pub fn new(window: &Window, x: &Tensor) -> Result<Geometry, OpError> {
            let kernel = window.kernel_shape.clone().unwrap_or_default();
            let spatial = x.size().split_off(2.min(x.dim()));
            let n = kernel.len();
            let padding = window.known_padding(&spatial, &kernel)?;
            let dims: Vec<Dim> = spatial.iter().map(|&size| size.into()).collect();
            let outputs = window.outputs(&dims, &kernel)?;
            let overhang = (0..n).map(|i| {
                let reach = (outputs[i].known()? - 1) * window.stride(i) + window.extent(i, kernel[i]);
                Some((reach - (spatial[i] + padding[i].0 + padding[i].1)).max(0))
            });
            let overhang = overhang.collect::<Option<_>>().ok_or(OpError::Undetermined)?;
            Ok(Geometry {
                strides: (0..n).map(|i| window.stride(i)).collect(),
                dilations: (0..n).map(|i| window.dilation(i)).collect(),
                ceil_mode: window.ceil_mode,
                kernel,
                padding,
                overhang,
            })
        }

        /// The padding as libtorch's pools take it: the same at both ends and at most half the kernel.
        pub fn even_padding(&self) -> Option<Vec<i64>> {
            let even = |(&(start, end), &kernel): (&(i64, i64), &i64)| {
                (start == end && (0..=kernel / 2).contains(&start)).then_some(start)
            };
            self.padding.iter().zip(&self.kernel).map(even).collect()
        }

        /// Padding and overhang filled with `value`: windows then fit without any.
        pub fn padded(&self, x: &Tensor, value: f64) -> Result<Tensor, OpError> {
            let padding =
                self.padding.iter().zip(&self.overhang).map(|(&(start, end), &over)| (start, end + over));
            let padding: Vec<(i64, i64)> = padding.collect();
            match padding.iter().all(|p| *p == (0, 0)) {
                true => Ok(x.shallow_clone()),
                false => pad(x, &padding, value),
            }
        }

        /// Sums over the windows of a padded input, channel by channel.
        pub fn sums(&self, padded: &Tensor) -> Result<Tensor, OpError> {
            let channels = padded.size()[1];
            let shape = [&[channels, 1], self.kernel.as_slice()].concat();
            let ones = Tensor::f_ones(shape, (padded.f_kind()?, padded.device()))?;
            let n = self.kernel.len();
            Ok(padded.f_convolution(
                &ones,
                None::<&Tensor>,
                &self.strides,
                vec![0; n],
                &self.dilations,
                false,
                vec![0; n],
                channels,
            )?)
        }

        /// How many elements each window covers: [1, 1, D1', …]; those of the padding count if `pads_count`.
        pub fn counts(&self, x: &Tensor, pads_count: bool) -> Result<Tensor, OpError> {
            let shape = [&[1, 1], &x.size()[2..]].concat();
            let mut ones = Tensor::f_ones(shape, (x.f_kind()?, x.device()))?;
            if pads_count {
                ones = pad(&ones, &self.padding, 1.0)?;
                let overhang: Vec<(i64, i64)> = self.overhang.iter().map(|&over| (0, over)).collect();
                return self.sums(&pad(&ones, &overhang, 0.0)?);
            }
            self.sums(&self.padded(&ones, 0.0)?)
        }
    }

    /// Runs `eval` in 32 bits where libtorch's processor kernels lack the kind: half precision and integers.
    pub(in crate::ops) fn widened(
        x: &Tensor,
        eval: impl FnOnce(&Tensor) -> Result<Tensor, OpError>,
    ) -> Result<Tensor, OpError> {
        let kind = x.f_kind()?;
        let narrow = match kind {
            Kind::Float | Kind::Double => false,
            Kind::Half | Kind::BFloat16 => x.device() == Device::Cpu,
            _ => true,
        };
        if !narrow {
            return eval(x);
        }
        Ok(eval(&x.f_to_kind(Kind::Float)?)?.f_to_kind(kind)?)
    }
}
#[cfg(feature = "torch")]
pub(in crate::ops) use eval::widened;
