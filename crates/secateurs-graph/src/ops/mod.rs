//! The ops, one file each, and the one list that registers them.
//!
//! To add an op: write its file, and add its line to the list below. The common harness tests it.

use crate::attribute::Attributes;
use crate::op::{Op, OpError, ParseContext, Register};

#[macro_use]
mod shared;

mod unknown;
pub use unknown::Unknown;

/// What the registry knows of an op.
pub struct Entry {
    /// The ONNX op type.
    pub name: &'static str,
    /// The ONNX domain; empty for the standard one.
    pub domain: &'static str,
    /// The opset versions in which its definition changed.
    pub since: &'static [i64],
    parse: fn(&mut Attributes, &ParseContext) -> Result<Box<dyn Op>, OpError>,
}

macro_rules! registry {
    ($($module:ident::$op:ident,)*) => {
        $(mod $module; pub use $module::$op;)*

        /// All ops that we know, by name.
        pub static REGISTRY: &[Entry] = &[$(Entry {
            name: <$op as Register>::NAME,
            domain: <$op as Register>::DOMAIN,
            since: <$op as Register>::SINCE,
            parse: |attributes, cx| Ok(Box::new(<$op as Register>::parse(attributes, cx)?)),
        },)*];

        #[cfg(all(test, feature = "torch"))]
        mod tests {
            $(#[test] fn $module() { crate::harness::check::<super::$op>(); })*
        }
    };
}

registry! {
    add::Add,
    affine_grid::AffineGrid,
    bit_cast::BitCast,
    center_crop_pad::CenterCropPad,
    col2im::Col2Im,
    compress::Compress,
    concat::Concat,
    constant::Constant,
    constant_of_shape::ConstantOfShape,
    conv::Conv,
    cum_sum::CumSum,
    depth_to_space::DepthToSpace,
    expand::Expand,
    eye_like::EyeLike,
    flatten::Flatten,
    gather::Gather,
    gather_elements::GatherElements,
    gather_nd::GatherND,
    grid_sample::GridSample,
    identity::Identity,
    non_zero::NonZero,
    one_hot::OneHot,
    pad::Pad,
    range::Range,
    relu::Relu,
    reshape::Reshape,
    resize::Resize,
    reverse_sequence::ReverseSequence,
    scatter::Scatter,
    scatter_elements::ScatterElements,
    scatter_nd::ScatterND,
    shape::Shape,
    size::Size,
    slice::Slice,
    space_to_depth::SpaceToDepth,
    split::Split,
    squeeze::Squeeze,
    tensor_scatter::TensorScatter,
    tile::Tile,
    transpose::Transpose,
    trilu::Trilu,
    unique::Unique,
    unsqueeze::Unsqueeze,
    upsample::Upsample,
}

/// The op of a node. An op that is not registered becomes [`Unknown`]: it is shown and carried through, and cannot run.
pub fn parse(
    name: &str,
    domain: &str,
    mut attributes: Attributes,
    cx: &ParseContext,
) -> Result<Box<dyn Op>, OpError> {
    match find(name, domain) {
        Some(entry) => (entry.parse)(&mut attributes, cx),
        None => Ok(Box::new(Unknown::new(name, domain, attributes.rest()))),
    }
}

/// The registry's entry of an op.
pub fn find(name: &str, domain: &str) -> Option<&'static Entry> {
    use std::collections::HashMap;
    use std::sync::LazyLock;
    static BY_NAME: LazyLock<HashMap<(&str, &str), &Entry>> =
        LazyLock::new(|| REGISTRY.iter().map(|e| ((e.name, e.domain), e)).collect());
    BY_NAME.get(&(name, domain)).copied()
}
