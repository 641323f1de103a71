//! `Dropout`: the input as it is, with a mask that keeps everything, if asked for. ONNX opset 1, 6, 7, 10, 12, 13, 22.
//!
//! Models are evaluated as for inference; `ratio` and `training_mode` are inputs since opset 12.

use super::shared::elementwise_content::first_only;
use crate::op::prelude::*;

/// `Dropout`.
#[derive(Clone, Debug)]
pub struct Dropout {
    /// Before opset 12.
    ratio: Option<f32>,
    seed: Option<i64>,
    /// Since opset 10; before, it has the type of the input.
    boolean_mask: bool,
}

impl Register for Dropout {
    const NAME: &'static str = "Dropout";
    const SINCE: &'static [i64] = &[7, 10, 12, 13, 22];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        Ok(Dropout {
            ratio: attributes.float("ratio")?,
            seed: attributes.int("seed")?,
            boolean_mask: cx.opset >= 10,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let ratio = |ratio: f32| Tensor::from_slice(vec![], &[ratio]).unwrap();
        let training = |on: bool| Tensor::from_slice(vec![], &[on]).unwrap();
        vec![
            // Before opset 12 the definition leaves open what the mask is; ONNX Runtime gives zeros.
            Case::new(9).float([2, 3]).attr("ratio", 0.3f32).outputs(2).without_runtime(),
            Case::new(10).float([2, 3]).outputs(2).without_runtime(),
            Case::new(13).float([2, 3, 4]),
            Case::new(13).float([2, 3, 4]).constant(ratio(0.3)).outputs(2),
            Case::new(22).float([5]).constant(ratio(0.3)).constant(training(false)).attr("seed", 7i64),
            Case::new(13).float([5]).constant(ratio(0.0)).constant(training(true)).outputs(2),
        ]
    }
}

impl Dropout {
    /// A node of this opset with a ratio, and the constants that it reads behind its data.
    pub(crate) fn with_ratio(opset: i64, ratio: f32, name: &str) -> (Dropout, Vec<(String, secateurs_onnx::Tensor)>) {
        let is_input = opset >= 12;
        let op = Dropout { ratio: (!is_input).then_some(ratio), seed: None, boolean_mask: opset >= 10 };
        let constant = || secateurs_onnx::Tensor::scalar(ratio);
        (op, if is_input { vec![(format!("{name}_ratio"), constant())] } else { Vec::new() })
    }
}

#[cfg(feature = "torch")]
impl Dropout {
    /// Each element is zero with probability `ratio`, the others are divided by 1 − `ratio`.
    fn train(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let ratio = match (self.ratio, args.get(1)) {
            (Some(ratio), _) => f64::from(ratio),
            (None, Some(_)) => args.floats(1)?.first().copied().unwrap_or(0.5),
            (None, None) => 0.5,
        };
        if args.outputs.len() < 2 {
            return Ok(vec![x.f_dropout(ratio, true)?]);
        }
        let (y, mask) = x.f_native_dropout(ratio, true)?;
        let kind = if self.boolean_mask { Kind::Bool } else { x.f_kind()? };
        Ok(vec![y, mask.f_to_kind(kind)?])
    }
}

impl Op for Dropout {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let ratio = self.ratio.map(|ratio| ("ratio", ratio.into()));
        ratio.into_iter().chain(self.seed.map(|seed| ("seed", seed.into()))).collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let x = Fact { content: None, ..inputs.fact(0)?.clone() };
        let element_type = if self.boolean_mask { Some(ElementType::Bool) } else { x.element_type };
        let mask = Fact { element_type, ..x.clone() };
        Ok([x, mask].into_iter().take(inputs.outputs).collect())
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::elementwise(&first_only(inputs), &outputs[0]);
        map.outputs.resize(outputs.len(), map.outputs[0].clone());
        map
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let training = args.get(2).is_some() && args.ints(2)?.iter().any(|&on| on != 0);
        if training {
            let ratio = if args.get(1).is_some() { args.floats(1)? } else { vec![0.5] };
            if ratio.iter().any(|&ratio| ratio != 0.0) {
                let text = "Dropout in training mode; export the model for inference";
                return Err(OpError::Unsupported(text.into()));
            }
        }
        let x = args.tensor(0)?;
        if args.training.dropout {
            return self.train(args);
        }
        let mut outputs = vec![x.f_alias()?];
        if args.outputs.len() > 1 {
            let kind = if self.boolean_mask { Kind::Bool } else { x.f_kind()? };
            outputs.push(Tensor::f_ones_like(x)?.f_to_kind(kind)?);
        }
        Ok(outputs)
    }
}
