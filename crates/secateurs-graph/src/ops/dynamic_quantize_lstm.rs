//! `DynamicQuantizeLSTM`: an `LSTM` whose weights are integers, and which rounds what it multiplies them with by its own range: the inputs
//! of all steps at once, the hidden units before every step. ONNX Runtime, version 1.
//!
//! Inputs and outputs are those of [`Lstm`], but w: [d, i, (g h)] and r: [d, h, (g h)] are integers, and then there are scale and zero point
//! of w, scale and zero point of r: [d] or [d, (g h)].

use super::lstm::Lstm;
use super::shared::MICROSOFT;
use crate::op::prelude::*;

/// `DynamicQuantizeLSTM`.
#[derive(Clone, Debug)]
pub struct DynamicQuantizeLstm {
    lstm: Lstm,
}

const W: usize = 1;
const R: usize = 2;
/// Where scale and zero point of W and of R are.
#[cfg(feature = "torch")]
const QUANTIZATION: [(usize, usize); 2] = [(W, 8), (R, 10)];
/// The inputs that [`Lstm`] has too.
const SHARED: usize = 8;

impl Register for DynamicQuantizeLstm {
    const NAME: &'static str = "DynamicQuantizeLSTM";
    const DOMAIN: &'static str = MICROSOFT;
    const SINCE: &'static [i64] = &[1];

    fn parse(attributes: &mut Attributes, context: &ParseContext) -> Result<Self, OpError> {
        Ok(DynamicQuantizeLstm { lstm: Lstm::parse(attributes, context)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let numbers = |shape: &[usize], seed: usize| -> Vec<i64> {
            (0..shape.iter().product()).map(|i: usize| ((i + seed) * 7919 % 251) as i64).collect()
        };
        let signed = |shape: &[usize], seed| {
            let values: Vec<i8> = numbers(shape, seed).into_iter().map(|n| (n - 125) as i8).collect();
            Tensor::from_slice(shape.to_vec(), &values).unwrap()
        };
        let unsigned = |shape: &[usize], seed| {
            let values: Vec<u8> = numbers(shape, seed).into_iter().map(|n| n as u8).collect();
            Tensor::from_slice(shape.to_vec(), &values).unwrap()
        };
        let floats = |shape: &[usize], value: f32| {
            let values: Vec<f32> =
                (0..shape.iter().product()).map(|i: usize| value * (1.0 + 0.05 * (i % 7) as f32)).collect();
            Tensor::from_slice(shape.to_vec(), &values).unwrap()
        };
        // A batch of 1, as ONNX Runtime may round the sequences of a batch apart.
        let case = |directions: usize| {
            let case = Case::new(17).float([4, 1, 5]).attr("hidden_size", 6i64).outputs(3).without_axes();
            if directions == 2 { case.attr("direction", "bidirectional") } else { case }
        };
        let weights = |case: Case, d: usize| {
            let case = case.constant(signed(&[d, 5, 24], 1)).constant(signed(&[d, 6, 24], 2));
            case.param([d as i64, 48])
        };
        let zeros = |shape: &[usize]| Tensor::from_slice(shape.to_vec(), &vec![0i8; shape.iter().product()]).unwrap();
        let scaled = |case: Case, shape: &[usize]| {
            let case = case.constant(floats(shape, 0.004)).constant(zeros(shape));
            case.constant(floats(shape, 0.003)).constant(zeros(shape))
        };
        let points = |case: Case| {
            let points = |n: u8| Tensor::from_slice(vec![1], &[n]).unwrap();
            let case = case.constant(floats(&[1], 0.004)).constant(points(120));
            case.constant(floats(&[1], 0.003)).constant(points(131))
        };
        let four = |case: Case| case.absent().absent().absent().absent();
        let given = case(2).constant(signed(&[2, 5, 24], 3)).constant(signed(&[2, 6, 24], 4)).absent();
        vec![
            scaled(four(weights(case(1), 1)), &[1]),
            scaled(four(weights(case(1), 1)), &[1, 24]),
            scaled(four(weights(case(2), 2)), &[2]),
            points(four(case(1).constant(unsigned(&[1, 5, 24], 5)).constant(unsigned(&[1, 6, 24], 6)).param([1, 48]))),
            scaled(given.absent().float([2, 1, 6]).float([2, 1, 6]).absent(), &[2, 24]),
            scaled(four(weights(case(1), 1)), &[1]).attr("clip", 0.5f32),
        ]
    }
}

impl DynamicQuantizeLstm {
    /// Calls `f` with the inputs as [`Lstm`] has them.
    fn as_lstm<T>(&self, inputs: &Inputs, f: impl FnOnce(&Inputs) -> T) -> T {
        let turned = |i: usize| {
            inputs.get(i).map(|fact| {
                let mut fact = Fact { content: None, ..fact.clone() };
                if let Some([_, a, b]) = fact.shape.as_deref_mut() {
                    std::mem::swap(a, b);
                }
                fact
            })
        };
        let (w, r) = (turned(W), turned(R));
        let fact = |i: usize| match i {
            W => w.as_ref(),
            R => r.as_ref(),
            _ => inputs.get(i),
        };
        let facts: Vec<Option<&Fact>> = (0..inputs.len().min(SHARED)).map(fact).collect();
        f(&Inputs::new(&facts, inputs.outputs))
    }
}

impl Op for DynamicQuantizeLstm {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn domain(&self) -> &str {
        Self::DOMAIN
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.lstm.attributes()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        self.as_lstm(inputs, |inputs| self.lstm.infer(inputs))
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        super::shared::quantize::blocked(inputs, outputs)
    }

    fn macs(&self, inputs: &Inputs, outputs: &[Fact]) -> Dim {
        self.as_lstm(inputs, |inputs| self.lstm.macs(inputs, outputs))
    }

    fn role(&self, input: usize) -> InputRole {
        if input < SHARED { self.lstm.role(input) } else { InputRole::Control }
    }

    fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        match input {
            // Integers are not trained.
            W | R | SHARED.. => Initial::Keep,
            _ => self.as_lstm(inputs, |inputs| self.lstm.initial(input, inputs)),
        }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        use super::shared::quantize::{by_range, centred};
        let kind = args.floats.single;
        let rounded = |x: &Tensor| -> Result<Tensor, OpError> {
            // Nothing has no range.
            if x.numel() == 0 {
                return Ok(x.shallow_clone());
            }
            let [q, scale, zero_point] = by_range(x)?;
            Ok(centred(&q, Some(&zero_point))?.f_to_kind(x.f_kind()?)?.f_mul(&scale)?)
        };
        let mut own: Vec<Option<Tensor>> =
            (0..SHARED).map(|i| args.get(i).map(Tensor::shallow_clone)).collect();
        own[0] = Some(rounded(args.tensor(0)?)?);
        for (weight, scale) in QUANTIZATION {
            let spread = |i: usize| {
                args.get(i).map(|t| t.f_reshape([t.size().first().copied().unwrap_or(1), 1, -1])).transpose()
            };
            let scale_of = spread(scale)?.ok_or_else(|| OpError::Invalid(format!("input {scale} is missing")))?;
            let weights = centred(args.tensor(weight)?, spread(scale + 1)?.as_ref())?;
            let real = weights.f_mul(&scale_of.f_to_kind(Kind::Double)?)?;
            own[weight] = Some(real.f_transpose(1, 2)?.f_to_kind(kind)?);
        }
        let tensors: Vec<Option<&Tensor>> = own.iter().map(Option::as_ref).collect();
        self.as_lstm(&args.inputs, |inputs| {
            self.lstm.run(&args.with(&tensors, *inputs), rounded)
        })
    }
}
