//! Axis maps of interpolation.

use super::{Coordinates, Line, Mode, Rules};
use crate::axes::{AxisMap, Role};
use crate::fact::Fact;
use crate::op::Inputs;
use crate::ops::shared::pieces::{blocked, picked};

/// The axis maps of an interpolation: what stays is free, nearest indices are picked.
pub(in crate::ops) fn resample_axes(
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
