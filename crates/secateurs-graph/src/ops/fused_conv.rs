//! `FusedConv`: a convolution, plus a tensor, and an activation. ONNX Runtime, version 1.
//!
//! x: [N, C, D1, …], w: [M, C / group, k1, …], b: [M], z like y → y: [N, M, D1', …].

use super::conv::Conv;
use super::shared::MICROSOFT;
use crate::op::prelude::*;

/// `FusedConv`.
#[derive(Clone, Debug)]
pub struct FusedConv {
    conv: Conv,
    activation: Option<String>,
    parameters: Vec<f32>,
}

const ADDED: usize = 3;

/// The activations and how many parameters each has.
const ACTIVATIONS: [(&str, usize); 6] =
    [("Relu", 0), ("Sigmoid", 0), ("Tanh", 0), ("LeakyRelu", 1), ("Clip", 2), ("HardSigmoid", 2)];

impl Register for FusedConv {
    const NAME: &'static str = "FusedConv";
    const DOMAIN: &'static str = MICROSOFT;
    const SINCE: &'static [i64] = &[1];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        let activation = attributes.string("activation")?;
        let parameters = attributes.floats("activation_params")?.unwrap_or_default();
        if let Some(name) = &activation {
            let known = ACTIVATIONS.iter().find(|(known, _)| known == name);
            let (_, count) =
                known.ok_or_else(|| OpError::Unsupported(format!("activation '{name}' of FusedConv")))?;
            if parameters.len() != *count {
                let text = format!("activation_params has {} entries; {name} needs {count}", parameters.len());
                return Err(OpError::Invalid(text));
            }
        }
        Ok(FusedConv { conv: Conv::parse(attributes, cx)?, activation, parameters })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = || Case::new(17).float([2, 4, 7, 6]).param([6, 2, 3, 2]).attr("group", 2i64);
        vec![
            case().param([6]).attr("activation", "Relu"),
            case().attr("activation", "Sigmoid").attr("strides", vec![2i64, 1]),
            case().param([6]).attr("activation", "LeakyRelu").attr("activation_params", vec![0.1f32]),
            case().param([6]).float([2, 6, 5, 5]).attr("activation", "Relu"),
            case().attr("activation", "Clip").attr("activation_params", vec![-0.5f32, 2.0]),
            case().attr("activation", "HardSigmoid").attr("activation_params", vec![0.2f32, 0.4]),
            case().attr("activation", "Tanh").attr("pads", vec![1i64, 0, 1, 1]),
        ]
    }
}

impl Op for FusedConv {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn domain(&self) -> &str {
        Self::DOMAIN
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = self.conv.attributes();
        list.extend(self.activation.as_deref().map(|name| ("activation", name.into())));
        if !self.parameters.is_empty() {
            list.push(("activation_params", self.parameters.clone().into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let outputs = self.conv.infer(inputs)?;
        if let (Some(added), Some(y)) =
            (inputs.get(ADDED).and_then(|z| z.shape.as_ref()), outputs[0].shape.as_ref())
        {
            if added.len() != y.len() {
                return Err(OpError::invalid("what is added must have the shape of the output"));
            }
            for (a, b) in added.iter().zip(y) {
                expect_same(a, b, "what is added and the output")?;
            }
        }
        Ok(outputs)
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = self.conv.axes(inputs, outputs);
        if inputs.get(ADDED).is_some() {
            map.inputs[ADDED] = map.outputs[0].clone();
        }
        map
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        Ok(Shrunk::op(FusedConv { conv: self.conv.shrunk(kept), ..self.clone() }))
    }

    fn macs(&self, inputs: &Inputs, outputs: &[Fact]) -> Dim {
        self.conv.macs(inputs, outputs)
    }

    fn role(&self, input: usize) -> InputRole {
        if matches!(input, 0 | ADDED) { InputRole::Data } else { InputRole::Parameter }
    }

    fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        if input == ADDED { Initial::Keep } else { self.conv.initial(input, inputs) }
    }

    fn channel_axis(&self, _rank: usize) -> usize {
        1
    }

    fn prefers_channels_last(&self) -> bool {
        true
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let sums = self.conv.convolve(args.tensor(0)?, args.tensor(1)?, args.get(2))?;
        let x = super::shared::plus(&sums, args.get(ADDED))?;
        let parameter = |i: usize| f64::from(self.parameters[i]);
        let y = match self.activation.as_deref() {
            Some("Relu") => x.f_relu()?,
            Some("Sigmoid") => x.f_sigmoid()?,
            Some("Tanh") => x.f_tanh()?,
            Some("LeakyRelu") => x.f_relu()?.f_add(&x.f_clamp_max(0.0)?.f_mul_scalar(parameter(0))?)?,
            Some("Clip") => x.f_clamp(parameter(0), parameter(1))?,
            Some(_) => x.f_mul_scalar(parameter(0))?.f_add_scalar(parameter(1))?.f_clamp(0.0, 1.0)?,
            None => x,
        };
        Ok(vec![y])
    }
}
