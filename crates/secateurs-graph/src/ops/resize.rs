//! `Resize`: interpolation to other sizes. ONNX opset 10, 11, 13, 18, 19.
//!
//! Inputs are x and scales in opset 10; x, roi, scales, sizes since, of which one of the last two is given.

use super::shared::pieces::{blocked, picked};
use super::shared::resample::{Coordinates, Line, Mode, Nearest, Rules};
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

macro_rules! names {
    ($($type:ident: $($name:literal => $variant:ident),*;)*) => {
        $(impl $type {
            #[allow(unreachable_patterns)]
            fn named(name: &str) -> Option<$type> {
                match name { $($name => Some($type::$variant),)* _ => None }
            }
            fn text(self) -> Option<&'static str> {
                match self { $($type::$variant => Some($name),)* #[allow(unreachable_patterns)] _ => None }
            }
        })*
    };
}
names! {
    Policy: "stretch" => Stretch, "not_larger" => NotLarger, "not_smaller" => NotSmaller;
    Nearest: "round_prefer_floor" => RoundPreferFloor, "round_prefer_ceil" => RoundPreferCeil, "floor" => Floor,
        "ceil" => Ceil;
    Coordinates: "half_pixel" => HalfPixel, "half_pixel_symmetric" => HalfPixelSymmetric,
        "pytorch_half_pixel" => PytorchHalfPixel, "align_corners" => AlignCorners, "asymmetric" => Asymmetric,
        "tf_half_pixel_for_nn" => TfHalfPixelForNn, "tf_crop_and_resize" => TfCropAndResize;
}

fn one_of<T>(
    attributes: &mut Attributes,
    name: &str,
    default: T,
    parse: fn(&str) -> Option<T>,
) -> Result<T, OpError> {
    match attributes.string(name)? {
        None => Ok(default),
        Some(text) => parse(&text)
            .ok_or_else(|| OpError::Invalid(format!("{name} is '{text}', which ONNX does not define"))),
    }
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
        let nearest = one_of(attributes, "nearest_mode", nearest, Nearest::named)?;
        let a = attributes.float_or("cubic_coeff_a", -0.75)?;
        let mode = one_of(attributes, "mode", Mode::Nearest(nearest), |text| match text {
            "nearest" => Some(Mode::Nearest(Nearest::RoundPreferFloor)),
            "linear" => Some(Mode::Linear),
            "cubic" => Some(Mode::Cubic(0.0)),
            _ => None,
        })?;
        let mode = match mode {
            Mode::Nearest(_) => Mode::Nearest(nearest),
            Mode::Linear => Mode::Linear,
            Mode::Cubic(_) => Mode::Cubic(a),
        };
        let rules = Rules {
            mode,
            coordinates: one_of(attributes, "coordinate_transformation_mode", coordinates, Coordinates::named)?,
            antialias: attributes.flag("antialias", false)?,
            exclude_outside: attributes.flag("exclude_outside", false)?,
            extrapolation_value: attributes.float_or("extrapolation_value", 0.0)?,
        };
        if rules.antialias && matches!(mode, Mode::Nearest(_)) {
            return Err(OpError::invalid("antialias is only defined for linear and cubic interpolation"));
        }
        let policy = one_of(attributes, "keep_aspect_ratio_policy", Policy::Stretch, Policy::named)?;
        Ok(Resize { rules, policy, axes: attributes.ints("axes")?, scales: if first { 1 } else { 2 } })
    }

    #[cfg(test)]
    fn cases() -> Vec<Case> {
        let scaled = |x: &[i64], by: &[f32]| Case::new(13).float(x.to_vec()).absent().float_values(by);
        let sized = |to: &[i64]| Case::new(18).float([1, 2, 6, 5]).absent().absent().int_values(to);
        let linear = |mode: &str| {
            scaled(&[1, 2, 4, 5], &[1.0, 1.0, 1.5, 0.8]).attr("mode", "linear").attr(COORDINATES, mode)
        };
        const COORDINATES: &str = "coordinate_transformation_mode";
        vec![
            scaled(&[1, 2, 3, 4], &[1.0, 1.0, 2.0, 3.0]).attr("nearest_mode", "floor").attr(COORDINATES, "asymmetric"),
            scaled(&[1, 2, 3, 4], &[1.0, 1.0, 0.6, 1.7]),
            scaled(&[1, 2, 3, 4], &[1.0, 1.0, 2.0, 2.0]).attr("nearest_mode", "ceil").attr(COORDINATES, "align_corners"),
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
            sized(&[7, 8]).attr("axes", vec![-1i64, 2]),
            scaled(&[1, 2, 5], &[1.0, 1.0, 2.0]).attr("mode", "linear"),
            scaled(&[1, 2, 3, 4, 2], &[1.0, 1.0, 2.0, 1.5, 2.0]).attr("mode", "linear"),
            scaled(&[4, 6], &[2.0, 0.5]).attr("mode", "linear"),
            Case::new(13)
                .float([1, 1, 4, 4])
                .float_values(&[0.0, 0.0, 0.4, 0.6, 1.0, 1.0, 1.2, 1.7])
                .float_values(&[])
                .int_values(&[1, 1, 3, 3])
                .attr("mode", "linear")
                .attr(COORDINATES, "tf_crop_and_resize")
                .attr("extrapolation_value", 10.0f32),
            Case::new(10).float([1, 2, 4, 6]).float_values(&[1.0, 1.0, 0.6, 2.0]),
            Case::new(10).float([1, 2, 4, 6]).float_values(&[1.0, 1.0, 0.5, 2.0]).attr("mode", "linear"),
        ]
    }
}

/// A size times a scale, rounded down; in 32 bits, as ONNX Runtime does.
pub(super) fn scaled_size(size: &Dim, scale: f32) -> Dim {
    if let Some(size) = size.known() {
        return Dim::from((size as f32 * scale).floor() as i64);
    }
    let whole = |n: i64| (f64::from(scale) * n as f64).fract() == 0.0;
    match (1..=64i64).find(|&n| whole(n)) {
        Some(n) => (size.clone() * ((f64::from(scale) * n as f64) as i64).into()).floor_div(&n.into()),
        None => Dim::unknown(),
    }
}

/// The axis maps of an interpolation: what stays is free, nearest indices are picked.
pub(super) fn resample_axes(
    inputs: &Inputs,
    output: &Fact,
    rules: &Rules,
    lines: Option<&[Line]>,
) -> AxisMap {
    let mut map = AxisMap::new(inputs.len(), 1);
    let (Ok(from), Some(to)) = (inputs.shape(0), &output.shape) else { return map };
    let (mut input, mut result) = (Vec::new(), Vec::new());
    for (axis, (size, len)) in from.iter().zip(to).enumerate() {
        let line = lines.and_then(|lines| lines.get(axis));
        // Symbolic sizes that agree stay as they are, except where a part is cropped.
        let same = line.map_or(size == len && rules.coordinates != Coordinates::TfCropAndResize, |line| {
            rules.is_identity(line)
        });
        let taps = line.filter(|_| matches!(rules.mode, Mode::Nearest(_))).and_then(|line| rules.taps(line));
        let (before, after) = match taps.filter(|t| !t.outside.contains(&true)) {
            _ if same => {
                let axis = map.axis(size, Role::Free);
                (axis.clone(), axis)
            }
            Some(taps) => {
                let indices: Vec<usize> = taps.indices.iter().map(|&i| i as usize).collect();
                picked(&mut map, size, &indices)
            }
            None => blocked(&mut map, size, len, "interpolated"),
        };
        input.push(before);
        result.push(after);
    }
    (map.inputs[0], map.outputs[0]) = (Some(input), Some(result));
    map
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
                if let Some(text) = nearest.text().filter(|_| nearest != Nearest::RoundPreferFloor) {
                    list.push(("nearest_mode", text.into()));
                }
            }
            Mode::Linear => list.push(("mode", "linear".into())),
            Mode::Cubic(a) => list.extend([("mode", "cubic".into()), ("cubic_coeff_a", a.into())]),
        }
        let default = self.scales == 1 || rules.coordinates == Coordinates::HalfPixel;
        if let Some(text) = rules.coordinates.text().filter(|_| !default) {
            list.push(("coordinate_transformation_mode", text.into()));
        }
        if let Some(text) = self.policy.text().filter(|_| self.policy != Policy::Stretch) {
            list.push(("keep_aspect_ratio_policy", text.into()));
        }
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

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let lines = super::shared::at_run::at_run(args, &[1, 2, 3], |inputs| self.lines(inputs))?;
        Ok(vec![super::shared::resample::resample(args.tensor(0)?, &self.rules, &lines)?])
    }
}
