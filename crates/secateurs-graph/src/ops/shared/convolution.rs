//! What `Conv`, `ConvTranspose` and `DeformConv` share.

use super::window::Window;
use crate::attribute::Attributes;
use crate::axes::{Axis, AxisMap, Role, Segment, product};
use crate::dim::{Dim, element_count};
use crate::fact::Fact;
use crate::op::{Affine, Initial, Inputs, OpError, expect_same};
use crate::rows::Rows;
use crate::shrink::Kept;

/// Reads a number of groups.
pub(in crate::ops) fn parse_group(attributes: &mut Attributes, name: &str) -> Result<i64, OpError> {
    let group = attributes.int_or(name, 1)?;
    super::window::in_range(name, &[group], 1)?;
    Ok(group)
}

/// Checks ranks, groups and the kernel's size, and gives the kernel: x: [N, C, …], w: [A, B, k1, …] with A a multiple of
/// `group`.
pub(in crate::ops) fn kernel(window: &Window, x: &[Dim], w: &[Dim], group: i64) -> Result<Vec<i64>, OpError> {
    if x.len() < 3 || w.len() != x.len() {
        let text = format!(
            "the input has {} axes and the weight {}; both need the same, 3 or more",
            x.len(),
            w.len()
        );
        return Err(OpError::Invalid(text));
    }
    let n = x.len() - 2;
    window.check(n)?;
    if let Some(size) = w[0].known().filter(|size| size % group != 0) {
        return Err(OpError::Invalid(format!("{size} channels are not a multiple of group {group}")));
    }
    let known = w[2..].iter().map(Dim::known).collect::<Option<Vec<_>>>();
    let kernel = known.or_else(|| window.kernel_shape.clone()).ok_or(OpError::Undetermined)?;
    match &window.kernel_shape {
        Some(declared) if *declared != kernel => {
            Err(OpError::Invalid(format!("kernel_shape is {declared:?} and the weight's kernel {kernel:?}")))
        }
        _ if kernel.len() != n => {
            Err(OpError::Invalid(format!("kernel_shape has {} entries for {n} spatial axes", kernel.len())))
        }
        _ => Ok(kernel),
    }
}

/// Checks an optional bias of `channels` elements.
pub(in crate::ops) fn check_bias(bias: Option<&Fact>, channels: &Dim) -> Result<(), OpError> {
    match bias.and_then(|fact| fact.shape.as_deref()) {
        None => Ok(()),
        Some([size]) => expect_same(size, channels, "the bias and the output channels"),
        Some(_) => Err(OpError::invalid("the bias must have one axis")),
    }
}

/// `x: [n, (g c), …], w: [(g o), c, …], b: [(g o)] → y: [n, (g o), …]`; transposed with `w: [(g c), o, …]`.
/// The bias is input `bias`.
pub(in crate::ops) fn axes(
    inputs: &Inputs,
    outputs: &[Fact],
    group: i64,
    bias: usize,
    transposed: bool,
) -> AxisMap {
    let mut map = AxisMap::new(inputs.len(), 1);
    let (Ok(x), Ok(w), Some(y)) = (inputs.shape(0), inputs.shape(1), outputs[0].shape.as_deref()) else {
        return map;
    };
    if x.len() < 3 || w.len() != x.len() || y.len() != x.len() {
        return map;
    }
    let group = Dim::from(group);
    let batch = map.axis(&x[0], Role::Free);
    let mut atom = |size: Dim, role: Role| match size.is(1) {
        true => Vec::new(),
        false => vec![map.atom(size, role)],
    };
    let (first, second) = (w[0].floor_div(&group), w[1].clone());
    let (c, o) = if transposed { (first, second) } else { (second, first) };
    let (g, c, o) = (atom(group, Role::Free), atom(c, Role::Summed), atom(o, Role::Free));
    let channels = product([g.clone(), c.clone()].concat());
    let filters = product([g, o.clone()].concat());
    let weight = match transposed {
        true => vec![channels.clone(), product(o)],
        false => vec![filters.clone(), product(c)],
    };
    let mut axes = |head: Vec<Axis>, dims: &[Dim]| {
        let tail = dims[2..].iter().map(|dim| map.axis(dim, Role::Blocked("a sliding window")));
        let tail: Vec<Axis> = tail.collect();
        Some([head, tail].concat())
    };
    let (input, weight) = (axes(vec![batch.clone(), channels], x), axes(weight, w));
    let output = axes(vec![batch, filters.clone()], y);
    (map.inputs[0], map.inputs[1], map.outputs[0]) = (input, weight, output);
    if inputs.get(bias).is_some() {
        map.inputs[bias] = Some(vec![filters]);
    }
    map
}

/// How many of `group` groups are kept: the outermost factor of the channels, if there are several.
pub(in crate::ops) fn kept_groups(kept: &Kept, group: i64) -> i64 {
    let groups = || match kept.map.inputs.first()?.as_ref()?.get(1)?.first()? {
        Segment::Product(atoms) => atoms.first().copied().filter(|a| kept.map.atoms[a.0].size.is(group)),
        Segment::Pick { .. } => None,
    };
    groups().filter(|_| group > 1).and_then(|groups| kept.size(groups).known()).unwrap_or(group)
}

/// The product of input and weight plus the bias, input 2.
pub(in crate::ops) const AFFINE: Affine = Affine { bias: Some(2), bias_factor: 1.0 };

/// A weight is drawn as torchvision's ResNets draw theirs: by He's rule for the backward pass, whose fan is the number of outputs
/// that an input reaches at stride 1, `filters` · kernel; a bias is zero. `filters`: output channels over groups.
pub(in crate::ops) fn initial(input: usize, bias: usize, weight: &[Dim], filters: &Dim) -> Initial {
    match input {
        1 => Initial::he(&(filters.clone() * element_count(&weight[2..]))),
        _ if input == bias => Initial::Constant(0.0),
        _ => Initial::Keep,
    }
}

/// Multiply–accumulates: every one of `positions` meets all of the weight but its first axis.
pub(in crate::ops) fn macs(positions: Option<&[Dim]>, weight: Option<&[Dim]>) -> Dim {
    match (positions, weight.and_then(|w| w.get(1..))) {
        (Some(positions), Some(weight)) => element_count(positions) * element_count(weight),
        _ => Dim::unknown(),
    }
}

/// The filters of a convolution. An even kernel has no centre: the tap before the middle is taken for it.
pub(in crate::ops) fn rows(inputs: &Inputs, groups: i64) -> Result<Rows, &'static str> {
    let shape = inputs.get(1).and_then(Fact::known_shape);
    let Some([rows, channels, kernel @ ..]) = shape.as_deref() else {
        return Err("the shape of its weight is not known");
    };
    if inputs.get(0).and_then(Fact::rank) != Some(kernel.len() + 2) {
        return Err("the rank of its input is not known");
    }
    let centre = kernel.iter().enumerate().map(|(i, k)| (i + 2, (k - 1).max(0) as usize / 2));
    Ok(Rows {
        data: 0,
        data_axis: 1,
        weight: 1,
        weight_axis: 0,
        channel_axis: 1,
        centre: centre.collect(),
        factor: 1.0,
        bias: Some(2),
        output_axis: 1,
        groups: groups as usize,
        rows: *rows as usize,
        channels: *channels as usize,
        taps: kernel.iter().product::<i64>() as usize,
    })
}
