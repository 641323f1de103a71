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
    abs::Abs,
    acos::Acos,
    acosh::Acosh,
    add::Add,
    and::And,
    asin::Asin,
    asinh::Asinh,
    atan::Atan,
    atanh::Atanh,
    bit_cast::BitCast,
    bit_shift::BitShift,
    bitwise_and::BitwiseAnd,
    bitwise_not::BitwiseNot,
    bitwise_or::BitwiseOr,
    bitwise_xor::BitwiseXor,
    cast::Cast,
    cast_like::CastLike,
    ceil::Ceil,
    celu::Celu,
    clip::Clip,
    constant::Constant,
    conv::Conv,
    cos::Cos,
    cosh::Cosh,
    div::Div,
    dropout::Dropout,
    elu::Elu,
    equal::Equal,
    erf::Erf,
    exp::Exp,
    floor::Floor,
    gelu::Gelu,
    greater::Greater,
    greater_or_equal::GreaterOrEqual,
    hard_sigmoid::HardSigmoid,
    hard_swish::HardSwish,
    identity::Identity,
    is_inf::IsInf,
    is_nan::IsNaN,
    leaky_relu::LeakyRelu,
    less::Less,
    less_or_equal::LessOrEqual,
    log::Log,
    max::Max,
    mean::Mean,
    min::Min,
    mish::Mish,
    mod_op::Mod,
    mul::Mul,
    neg::Neg,
    not::Not,
    or::Or,
    pow::Pow,
    prelu::PRelu,
    reciprocal::Reciprocal,
    relu::Relu,
    reshape::Reshape,
    round::Round,
    selu::Selu,
    shrink::Shrink,
    sigmoid::Sigmoid,
    sign::Sign,
    sin::Sin,
    sinh::Sinh,
    softplus::Softplus,
    softsign::Softsign,
    sqrt::Sqrt,
    sub::Sub,
    sum::Sum,
    swiglu::SwiGLU,
    swish::Swish,
    tan::Tan,
    tanh::Tanh,
    thresholded_relu::ThresholdedRelu,
    where_op::Where,
    xor::Xor,
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
