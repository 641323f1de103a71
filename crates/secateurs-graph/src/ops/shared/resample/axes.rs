//! Axis maps of interpolation.

use super::{Coordinates, Line, Mode, Rules};
use crate::axes::{AxisMap, Role};
use crate::fact::Fact;
use crate::op::Inputs;
use crate::ops::Gather;
use crate::ops::shared::pieces::{blocked, picked};
use crate::shrink::{Kept, Shrunk};

/// The axis maps of an interpolation: what stays is free, nearest indices are picked.
pub(in crate::ops) fn resample_axes(
    inputs: &Inputs,
    output: &Fact,
    rules: &Rules,
    lines: Option<&[Line]>,
) -> AxisMap {
    let mut map = AxisMap::new(inputs.len(), 1);
    let (Ok(from), Some(to)) = (inputs.shape(0), &output.shape) else { return map };
    // A list of indices can take its place along one axis.
    let alone = lines.is_some_and(|lines| lines.iter().filter(|line| !rules.is_identity(line)).count() == 1);
    let (mut input, mut result) = (Vec::new(), Vec::new());
    for (axis, (size, len)) in from.iter().zip(to).enumerate() {
        let line = lines.and_then(|lines| lines.get(axis));
        // Symbolic sizes that agree stay as they are, except where a part is cropped.
        let same = line.map_or(size == len && rules.coordinates != Coordinates::TfCropAndResize, |line| {
            rules.is_identity(line)
        });
        let sources = line.filter(|_| alone).and_then(|line| sources(rules, line));
        let (before, after) = match sources {
            _ if same => {
                let axis = map.axis(size, Role::Free);
                (axis.clone(), axis)
            }
            Some(indices) => picked(&mut map, size, &indices),
            None => blocked(&mut map, size, len, "interpolated"),
        };
        input.push(before);
        result.push(after);
    }
    (map.inputs[0], map.outputs[0]) = (Some(input), Some(result));
    map
}

/// Longer axes are not followed index by index: a few bytes of a file can ask for any size.
const MAX_SOURCES: i64 = 1 << 16;

/// Where every index of an axis comes from, if each comes from one.
fn sources(rules: &Rules, line: &Line) -> Option<Vec<usize>> {
    let taps = Some(line)
        .filter(|line| line.output <= MAX_SOURCES)
        .filter(|_| matches!(rules.mode, Mode::Nearest(_)))
        .and_then(|line| rules.taps(line))?;
    (!taps.outside.contains(&true)).then(|| taps.indices.iter().map(|&i| i as usize).collect())
}

/// What an interpolation becomes that loses indices of the one axis it enlarges or reduces; `None` if it loses none.
pub(in crate::ops) fn resample_shrunk(kept: &Kept, rules: &Rules, lines: &[Line]) -> Option<Shrunk> {
    let (input, output) = (kept.map.inputs[0].as_ref()?, kept.map.outputs[0].as_ref()?);
    let resized = |i: &usize| !rules.is_identity(&lines[*i]);
    let axis = (0..lines.len()).find(resized)?;
    if kept.is_whole(&input[axis]) && kept.is_whole(&output[axis]) {
        return None;
    }
    let left = kept.axis_indices(&input[axis])?;
    let survivors =
        sources(rules, &lines[axis])?.iter().filter_map(|i| left.binary_search(i).ok()).collect::<Vec<_>>();
    Some(Gather::instead(axis, &survivors))
}
