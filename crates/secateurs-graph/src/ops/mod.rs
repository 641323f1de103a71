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
    parse: Parse,
    /// The calls in the op's file to try it with, and the model of each.
    #[cfg(any(test, feature = "harness"))]
    pub cases: fn() -> Vec<(crate::harness::Case, secateurs_onnx::Model)>,
}

type Parse = fn(&mut Attributes, &ParseContext) -> Result<Box<dyn Op>, OpError>;

macro_rules! registry {
    ($($module:ident::$op:ident,)*) => {
        $(mod $module; pub use $module::$op;)*

        /// All ops that we know, by name.
        pub static REGISTRY: &[Entry] = &[$(Entry {
            name: <$op as Register>::NAME,
            domain: <$op as Register>::DOMAIN,
            since: <$op as Register>::SINCE,
            parse: |attributes, cx| Ok(Box::new(<$op as Register>::parse(attributes, cx)?)),
            #[cfg(any(test, feature = "harness"))]
            cases: || {
                let cases = <$op as Register>::cases().into_iter();
                cases.map(|case| (case.clone(), case.model::<$op>(false))).collect()
            },
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
    affine_grid::AffineGrid,
    and::And,
    arg_max::ArgMax,
    arg_min::ArgMin,
    asin::Asin,
    asinh::Asinh,
    atan::Atan,
    atanh::Atanh,
    attention::Attention,
    average_pool::AveragePool,
    batch_normalization::BatchNormalization,
    bias_gelu::BiasGelu,
    bit_cast::BitCast,
    bit_shift::BitShift,
    bitwise_and::BitwiseAnd,
    bitwise_not::BitwiseNot,
    bitwise_or::BitwiseOr,
    bitwise_xor::BitwiseXor,
    blackman_window::BlackmanWindow,
    cast::Cast,
    cast_like::CastLike,
    causal_conv_with_state::CausalConvWithState,
    ceil::Ceil,
    celu::Celu,
    center_crop_pad::CenterCropPad,
    clip::Clip,
    col2im::Col2Im,
    compress::Compress,
    concat::Concat,
    constant::Constant,
    constant_of_shape::ConstantOfShape,
    conv::Conv,
    conv_integer::ConvInteger,
    conv_transpose::ConvTranspose,
    cos::Cos,
    cosh::Cosh,
    cum_prod::CumProd,
    cum_sum::CumSum,
    deform_conv::DeformConv,
    depth_to_space::DepthToSpace,
    dequantize_linear::DequantizeLinear,
    det::Det,
    dft::Dft,
    div::Div,
    dropout::Dropout,
    dynamic_quantize_linear::DynamicQuantizeLinear,
    dynamic_quantize_lstm::DynamicQuantizeLstm,
    einsum::Einsum,
    elu::Elu,
    embed_layer_normalization::EmbedLayerNormalization,
    equal::Equal,
    erf::Erf,
    exp::Exp,
    expand::Expand,
    eye_like::EyeLike,
    fast_gelu::FastGelu,
    flatten::Flatten,
    floor::Floor,
    fused_conv::FusedConv,
    fused_mat_mul::FusedMatMul,
    gather::Gather,
    gather_elements::GatherElements,
    gather_nd::GatherND,
    gelu::Gelu,
    gemm::Gemm,
    global_average_pool::GlobalAveragePool,
    global_lp_pool::GlobalLpPool,
    global_max_pool::GlobalMaxPool,
    greater::Greater,
    greater_or_equal::GreaterOrEqual,
    grid_sample::GridSample,
    group_normalization::GroupNormalization,
    group_query_attention::GroupQueryAttention,
    gru::Gru,
    hamming_window::HammingWindow,
    hann_window::HannWindow,
    hard_sigmoid::HardSigmoid,
    hard_swish::HardSwish,
    hardmax::Hardmax,
    identity::Identity,
    if_op::If,
    instance_normalization::InstanceNormalization,
    is_inf::IsInf,
    is_nan::IsNaN,
    layer_normalization::LayerNormalization,
    leaky_relu::LeakyRelu,
    less::Less,
    less_or_equal::LessOrEqual,
    linear_attention::LinearAttention,
    log::Log,
    log_softmax::LogSoftmax,
    loop_op::Loop,
    lp_normalization::LpNormalization,
    lp_pool::LpPool,
    lrn::Lrn,
    lstm::Lstm,
    mat_mul::MatMul,
    mat_mul_integer::MatMulInteger,
    max::Max,
    max_pool::MaxPool,
    max_roi_pool::MaxRoiPool,
    max_unpool::MaxUnpool,
    mean::Mean,
    mean_variance_normalization::MeanVarianceNormalization,
    microsoft_attention::MicrosoftAttention,
    microsoft_gelu::MicrosoftGelu,
    min::Min,
    mish::Mish,
    mod_op::Mod,
    mul::Mul,
    multi_head_attention::MultiHeadAttention,
    neg::Neg,
    negative_log_likelihood_loss::NegativeLogLikelihoodLoss,
    non_max_suppression::NonMaxSuppression,
    non_zero::NonZero,
    not::Not,
    one_hot::OneHot,
    or::Or,
    pad::Pad,
    pow::Pow,
    prelu::PRelu,
    qlinear_conv::QLinearConv,
    qlinear_mat_mul::QLinearMatMul,
    quantize_linear::QuantizeLinear,
    quick_gelu::QuickGelu,
    range::Range,
    reciprocal::Reciprocal,
    reduce_l1::ReduceL1,
    reduce_l2::ReduceL2,
    reduce_log_sum::ReduceLogSum,
    reduce_log_sum_exp::ReduceLogSumExp,
    reduce_max::ReduceMax,
    reduce_mean::ReduceMean,
    reduce_min::ReduceMin,
    reduce_prod::ReduceProd,
    reduce_sum::ReduceSum,
    reduce_sum_square::ReduceSumSquare,
    relu::Relu,
    reshape::Reshape,
    resize::Resize,
    reverse_sequence::ReverseSequence,
    rms_normalization::RMSNormalization,
    rnn::Rnn,
    roi_align::RoiAlign,
    rotary_embedding::RotaryEmbedding,
    round::Round,
    scan::Scan,
    scatter::Scatter,
    scatter_elements::ScatterElements,
    scatter_nd::ScatterND,
    selu::Selu,
    shape::Shape,
    shrink::Shrink,
    sigmoid::Sigmoid,
    sign::Sign,
    simplified_layer_normalization::SimplifiedLayerNormalization,
    sin::Sin,
    sinh::Sinh,
    size::Size,
    skip_layer_normalization::SkipLayerNormalization,
    skip_simplified_layer_normalization::SkipSimplifiedLayerNormalization,
    slice::Slice,
    softmax::Softmax,
    softmax_cross_entropy_loss::SoftmaxCrossEntropyLoss,
    softplus::Softplus,
    softsign::Softsign,
    space_to_depth::SpaceToDepth,
    split::Split,
    sqrt::Sqrt,
    squeeze::Squeeze,
    stft::Stft,
    sub::Sub,
    sum::Sum,
    swiglu::SwiGLU,
    swish::Swish,
    tan::Tan,
    tanh::Tanh,
    tensor_scatter::TensorScatter,
    thresholded_relu::ThresholdedRelu,
    tile::Tile,
    top_k::TopK,
    transpose::Transpose,
    trilu::Trilu,
    unique::Unique,
    unsqueeze::Unsqueeze,
    upsample::Upsample,
    where_op::Where,
    xor::Xor,
}

/// The op of a node. An op that is not registered, or not in this variant, becomes [`Unknown`]: it is shown and carried through, and
/// cannot run.
pub fn parse(
    name: &str,
    domain: &str,
    mut attributes: Attributes,
    cx: &ParseContext,
) -> Result<Box<dyn Op>, OpError> {
    match find(name, domain) {
        Some(entry) => {
            let all = attributes.clone();
            match (entry.parse)(&mut attributes, cx) {
                Err(OpError::Unsupported(lacking)) => {
                    Ok(Box::new(Unknown::new(name, domain, all.rest()).variant(lacking)))
                }
                parsed => parsed,
            }
        }
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
