//! `Resize`: interpolation to other sizes. ONNX opset 10, 11, 13, 18, 19.
//!
//! Inputs are x and scales in opset 10; x, roi, scales, sizes since, of which one of the last two is given.

use super::shared::resample::{COORDINATES, Coordinates, Line, Mode, NEAREST, Nearest, Rules, resample_axes, resample_shrunk, scaled_size};
use crate::op::prelude::*;

/// `Resize`.
#[derive(Clone, Debug)]
pub struct Resize {
    rules: Rules,
    policy: Policy,
    axes: Option<Vec<i64>>,
    /// The input that holds the scales.
    scales: usize,
}

/// What `sizes` mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Policy {
    Stretch,
    NotLarger,
    NotSmaller,
}

const POLICIES: [(&str, Policy); 3] =
    [("stretch", Policy::Stretch), ("not_larger", Policy::NotLarger), ("not_smaller", Policy::NotSmaller)];

/// Reads an attribute that is one of a list of names.
fn one_of<T: Copy>(
    attributes: &mut Attributes,
    name: &str,
    default: T,
    names: &[(&str, T)],
) -> Result<T, OpError> {
    let Some(given) = attributes.string(name)? else { return Ok(default) };
    let found = names.iter().find(|(text, _)| *text == given);
    found.map(|(_, value)| *value).ok_or_else(|| {
        OpError::Invalid(format!("{name} is '{given}', which ONNX does not define"))
    })
}

/// The name of a value that is not the default.
fn name_of<T: Copy + PartialEq>(value: T, default: T, names: &[(&'static str, T)]) -> Option<&'static str> {
    names.iter().find(|(_, v)| *v == value && value != default).map(|(text, _)| *text)
}

impl Register for Resize {
    const NAME: &'static str = "Resize";
    const SINCE: &'static [i64] = &[10, 11, 13, 18, 19];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        // Opset 10 has only the mode.
        let first = cx.opset < 11;
        let (nearest, coordinates) = match first {
            true => (Nearest::Outward, Coordinates::Asymmetric),
            false => (Nearest::RoundPreferFloor, Coordinates::HalfPixel),
        };
        let nearest = one_of(attributes, "nearest_mode", nearest, &NEAREST)?;
        let a = attributes.float_or("cubic_coeff_a", -0.75)?;
        let modes = [("nearest", Mode::Nearest(nearest)), ("linear", Mode::Linear), ("cubic", Mode::Cubic(a))];
        let mode = one_of(attributes, "mode", modes[0].1, &modes)?;
        let rules = Rules {
            mode,
            coordinates: one_of(attributes, "coordinate_transformation_mode", coordinates, &COORDINATES)?,
            antialias: attributes.flag("antialias", false)?,
            exclude_outside: attributes.flag("exclude_outside", false)?,
            extrapolation_value: attributes.float_or("extrapolation_value", 0.0)?,
        };
        if rules.antialias && matches!(mode, Mode::Nearest(_)) {
            return Err(OpError::invalid("antialias is only defined for linear and cubic interpolation"));
        }
        let policy = one_of(attributes, "keep_aspect_ratio_policy", Policy::Stretch, &POLICIES)?;
        Ok(Resize { rules, policy, axes: attributes.ints("axes")?, scales: if first { 1 } else { 2 } })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let scaled = |x: &[i64], by: &[f32]| Case::new(13).float(x.to_vec()).absent().float_values(by);
        let sized = |to: &[i64]| Case::new(18).float([1, 2, 6, 5]).absent().absent().int_values(to);
        let linear = |mode: &str| {
            scaled(&[1, 2, 4, 5], &[1.0, 1.0, 1.5, 0.8]).attr("mode", "linear").attr(BY, mode)
        };
        const BY: &str = "coordinate_transformation_mode";
        vec![
            scaled(&[1, 2, 3, 4], &[1.0, 1.0, 2.0, 3.0]).attr("nearest_mode", "floor").attr(BY, "asymmetric"),
            scaled(&[1, 2, 3, 4], &[1.0, 1.0, 0.6, 1.7]),
            scaled(&[1, 3, 4], &[1.0, 1.0, 1.7]),
            scaled(&[1, 2, 3, 4], &[1.0, 1.0, 2.0, 2.0]).attr("nearest_mode", "ceil").attr(BY, "align_corners"),
            linear("half_pixel"),
            linear("pytorch_half_pixel"),
            linear("align_corners"),
            linear("asymmetric"),
            linear("half_pixel_symmetric"),
            sized(&[1, 2, 9, 3]).attr("mode", "cubic"),
            sized(&[1, 2, 9, 3]).attr("mode", "cubic").attr("exclude_outside", 1i64).attr("cubic_coeff_a", -0.5f32),
            sized(&[1, 2, 3, 2]).attr("mode", "linear").attr("antialias", 1i64),
            sized(&[1, 2, 3, 2]).attr("mode", "cubic").attr("antialias", 1i64).without_runtime(),
            sized(&[7, 8]).attr("axes", vec![2i64, 3]).attr("keep_aspect_ratio_policy", "not_larger"),
            sized(&[7, 8]).attr("axes", vec![2i64, 3]).attr("keep_aspect_ratio_policy", "not_smaller"),
            sized(&[7, 8]).attr("axes", vec![-1i64, 2]).without_runtime(),
            scaled(&[1, 2, 5], &[1.0, 1.0, 2.0]).attr("mode", "linear"),
            scaled(&[1, 2, 3, 4, 2], &[1.0, 1.0, 2.0, 1.5, 2.0]).attr("mode", "linear"),
            scaled(&[4, 6], &[2.0, 0.5]).attr("mode", "linear"),
            Case::new(13)
                .float([1, 1, 4, 4])
                .float_values(&[0.0, 0.0, 0.4, 0.6, 1.0, 1.0, 1.2, 1.7])
                .float_values(&[])
                .int_values(&[1, 1, 3, 3])
                .attr("mode", "linear")
                .attr(BY, "tf_crop_and_resize")
                .attr("extrapolation_value", 10.0f32),
            Case::new(10).float([1, 2, 4, 6]).float_values(&[1.0, 1.0, 0.6, 2.0]),
            Case::new(10).float([1, 2, 4, 6]).float_values(&[1.0, 1.0, 0.5, 2.0]).attr("mode", "linear"),
        ]
    }
}

impl Resize {
    /// The axes that scales, sizes and the region are about.
    fn axes_of(&self, rank: usize) -> Result<Vec<usize>, OpError> {
        let Some(axes) = &self.axes else { return Ok((0..rank).collect()) };
        normalize_axes(axes, rank)?;
        axes.iter().map(|&axis| normalize_axis(axis, rank)).collect()
    }

    /// An input that is given; one without elements counts as absent.
    fn given<'a>(&self, inputs: &Inputs<'a>, i: usize) -> Option<&'a Fact> {
        inputs.get(i).filter(|f| !matches!(f.shape.as_deref(), Some([n]) if n.is(0)))
    }

    /// The scales of `axes`, or the sizes.
    fn target<'a>(&self, inputs: &Inputs<'a>, axes: usize) -> Result<Target<'a>, OpError> {
        let fits = |what: &str, n: usize| match n == axes {
            true => Ok(()),
            false => Err(OpError::Invalid(format!("there are {n} {what} for {axes} axes"))),
        };
        if let Some(fact) = self.given(inputs, self.scales) {
            let scales = fact.floats().ok_or(OpError::Undetermined)?;
            fits("scales", scales.len())?;
            if let Some(bad) = scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
                return Err(OpError::Invalid(format!("a scale is {bad}; it must be positive")));
            }
            return Ok(Target::Scales(scales.iter().map(|&s| s as f32).collect()));
        }
        let fact = self.given(inputs, 3).ok_or_else(|| OpError::invalid("neither scales nor sizes are given"))?;
        let sizes = fact.ints().ok_or(OpError::Undetermined)?;
        fits("sizes", sizes.len())?;
        Ok(Target::Sizes(sizes))
    }

    fn shape(&self, inputs: &Inputs) -> Result<Shape, OpError> {
        let from = inputs.shape(0)?;
        let axes = self.axes_of(from.len())?;
        let mut shape = from.to_vec();
        let target = match self.target(inputs, axes.len()) {
            Ok(target) => target,
            Err(OpError::Undetermined) => {
                axes.iter().for_each(|&axis| shape[axis] = Dim::unknown());
                return Ok(shape);
            }
            Err(e) => return Err(e),
        };
        match target {
            Target::Scales(scales) => {
                for (&axis, scale) in axes.iter().zip(scales) {
                    shape[axis] = scaled_size(&from[axis], scale);
                }
            }
            Target::Sizes(sizes) if self.policy == Policy::Stretch => {
                for (&axis, size) in axes.iter().zip(sizes) {
                    shape[axis] = size.clone();
                }
            }
            Target::Sizes(sizes) => {
                let scale = self.common_scale(from, &axes, sizes);
                for &axis in &axes {
                    shape[axis] = match scale.zip(from[axis].known()) {
                        Some((scale, size)) => Dim::from((scale * size as f32 + 0.5).floor() as i64),
                        None => Dim::unknown(),
                    };
                }
            }
        }
        Ok(shape)
    }

    /// The scale that keeps the aspect ratio.
    fn common_scale(&self, from: &[Dim], axes: &[usize], sizes: &[Dim]) -> Option<f32> {
        let scales = axes.iter().zip(sizes).map(|(&axis, size)| Some(size.known()? as f32 / from[axis].known()? as f32));
        let scales = scales.collect::<Option<Vec<f32>>>()?;
        let pick = if self.policy == Policy::NotLarger { f32::min } else { f32::max };
        scales.into_iter().reduce(pick).filter(|s| s.is_finite())
    }

    /// Every axis by numbers.
    fn lines(&self, inputs: &Inputs) -> Result<Vec<Line>, OpError> {
        let from = inputs.shape(0)?;
        let to = self.shape(inputs)?;
        let axes = self.axes_of(from.len())?;
        let mut lines = Vec::with_capacity(from.len());
        for (size, len) in from.iter().zip(&to) {
            let (input, output) = size.known().zip(len.known()).ok_or(OpError::Undetermined)?;
            if input == 0 && output > 0 {
                return Err(OpError::invalid("an axis without elements cannot be resized"));
            }
            lines.push(Line { input, output, scale: output as f32 / input.max(1) as f32, roi: None });
        }
        match self.target(inputs, axes.len())? {
            Target::Scales(scales) => axes.iter().zip(scales).for_each(|(&axis, s)| lines[axis].scale = s),
            Target::Sizes(sizes) if self.policy != Policy::Stretch => {
                let scale = self.common_scale(from, &axes, sizes).ok_or(OpError::Undetermined)?;
                axes.iter().for_each(|&axis| lines[axis].scale = scale);
            }
            Target::Sizes(_) => {}
        }
        if self.rules.coordinates == Coordinates::TfCropAndResize {
            let roi = inputs.fact(1)?.floats().ok_or(OpError::Undetermined)?;
            if roi.len() != 2 * axes.len() {
                return Err(OpError::Invalid(format!("roi has {} entries for {} axes", roi.len(), axes.len())));
            }
            for (i, &axis) in axes.iter().enumerate() {
                lines[axis].roi = Some((roi[i] as f32, roi[axes.len() + i] as f32));
            }
        }
        Ok(lines)
    }
}

enum Target<'a> {
    Scales(Vec<f32>),
    Sizes(&'a [Dim]),
}

impl Op for Resize {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        let rules = &self.rules;
        match rules.mode {
            Mode::Nearest(nearest) => {
                let text = name_of(nearest, Nearest::RoundPreferFloor, &NEAREST);
                list.extend(text.map(|text| ("nearest_mode", text.into())));
            }
            Mode::Linear => list.push(("mode", "linear".into())),
            Mode::Cubic(a) => list.extend([("mode", "cubic".into()), ("cubic_coeff_a", a.into())]),
        }
        // Opset 10 has one rule and no attribute for it.
        if self.scales == 2 {
            let text = name_of(rules.coordinates, Coordinates::HalfPixel, &COORDINATES);
            list.extend(text.map(|text| ("coordinate_transformation_mode", text.into())));
        }
        let text = name_of(self.policy, Policy::Stretch, &POLICIES);
        list.extend(text.map(|text| ("keep_aspect_ratio_policy", text.into())));
        let flags = [("antialias", rules.antialias), ("exclude_outside", rules.exclude_outside)];
        list.extend(flags.into_iter().filter(|(_, set)| *set).map(|(name, set)| (name, set.into())));
        if rules.extrapolation_value != 0.0 {
            list.push(("extrapolation_value", rules.extrapolation_value.into()));
        }
        list.extend(self.axes.iter().map(|axes| ("axes", axes.clone().into())));
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![Fact::of(inputs.element_type(0)?, self.shape(inputs)?)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        resample_axes(inputs, &outputs[0], &self.rules, self.lines(inputs).ok().as_deref())
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let lines = self.lines(&kept.inputs).unwrap_or_default();
        if let Some(shrunk) = resample_shrunk(kept, &self.rules, &lines) {
            return Ok(shrunk);
        }
        let axes = self.axes_of(kept.inputs.shape(0)?.len())?;
        let (Some(output), Ok(Target::Sizes(old))) = (&kept.map.outputs[0], self.target(&kept.inputs, axes.len()))
        else {
            return Ok(Shrunk::default());
        };
        // Under a policy an axis need not get the size that is asked for.
        let sizes = axes.into_iter().zip(old).map(|(axis, old)| match kept.is_whole(&output[axis]) {
            true => old.clone(),
            false => kept.axis_size(&output[axis]),
        });
        Ok(Shrunk::default().control(3, kept.inputs.get(3), sizes.collect()))
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let lines = super::shared::at_run::at_run(args, &[1, 2, 3], |inputs| self.lines(inputs))?;
        Ok(vec![super::shared::resample::resample(args.tensor(0)?, &self.rules, &lines)?])
    }
}
