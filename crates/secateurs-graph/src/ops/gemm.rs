//! `Gemm`: alpha · A · B + beta · C. ONNX opset 7, 9, 11, 13.
//!
//! a: [M, K] (transA: [K, M]), b: [K, N] (transB: [N, K]), c: broadcasts to [M, N] → y: [M, N].

use super::shared::equation::{Equation, Labelled};
use crate::op::prelude::*;

/// `Gemm`.
#[derive(Clone, Debug)]
pub struct Gemm {
    alpha: f32,
    beta: f32,
    trans_a: bool,
    trans_b: bool,
}

impl Register for Gemm {
    const NAME: &'static str = "Gemm";
    const SINCE: &'static [i64] = &[1, 6, 7, 9, 11, 13];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        // Before opset 7 broadcasting had to be asked for; what is valid means the same.
        attributes.take("broadcast");
        Ok(Gemm {
            alpha: attributes.float_or("alpha", 1.0)?,
            beta: attributes.float_or("beta", 1.0)?,
            trans_a: attributes.flag("transA", false)?,
            trans_b: attributes.flag("transB", false)?,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let ints = || Case::new(13).ints([2, 3], -9..9).ints([3, 4], -9..9).ints([4], -9..9);
        vec![
            Case::new(13).float([3, 4]).param([5, 4]).param([5]).attr("transB", 1i64),
            Case::new(13).float([4, 3]).param([4, 5]).attr("transA", 1i64),
            Case::new(9).float([3, 4]).float([4, 5]).float([3, 1]).attr("alpha", 0.5f32).attr("beta", -2f32),
            Case::new(11).float([3, 4]).float([4, 5]).float([]).attr("beta", 0.25f32),
            Case::new(11).float([1, 4]).float([4, 5]).float([1, 5]),
            Case::new(11).float([3, 4]).float([4, 5]).absent().attr("alpha", 3f32),
            Case::new(13).float([3, 4]).float([4, 5]).float([3, 5]),
            Case::new(13).float([3, 4]).float([4, 5]).float([1]),
            ints().without_runtime(),
            ints().attr("alpha", 2f32).without_runtime(),
        ]
    }
}

impl Gemm {
    /// Whether nothing need be added: since opset 11.
    pub(crate) fn adds_at_will(opset: i64) -> bool {
        opset >= 11
    }

    fn labelled(&self, inputs: &Inputs) -> Result<Labelled, OpError> {
        let mut equation = format!(
            "{},{}",
            if self.trans_a { "km" } else { "mk" },
            if self.trans_b { "nk" } else { "kn" }
        );
        let mut ranks = vec![inputs.shape(0)?.len(), inputs.shape(1)?.len()];
        if inputs.get(2).is_some() {
            let rank = inputs.shape(2)?.len();
            equation += [",", ",n", ",mn"].get(rank).ok_or_else(|| {
                OpError::Invalid(format!("C has {rank} axes; it must broadcast to two"))
            })?;
            ranks.push(rank);
        }
        Equation::parse(&(equation + "->mn"))?.label(&ranks)
    }
}

impl Op for Gemm {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        for (name, value) in [("alpha", self.alpha), ("beta", self.beta)] {
            if value != 1.0 {
                list.push((name, value.into()));
            }
        }
        for (name, value) in [("transA", self.trans_a), ("transB", self.trans_b)] {
            if value {
                list.push((name, true.into()));
            }
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        self.labelled(inputs)?;
        let (a, b) = (inputs.shape(0)?, inputs.shape(1)?);
        let (m, k) = if self.trans_a { (&a[1], &a[0]) } else { (&a[0], &a[1]) };
        let (n, k2) = if self.trans_b { (&b[0], &b[1]) } else { (&b[1], &b[0]) };
        expect_same(k, k2, "the axes that are summed over")?;
        let shape = vec![m.clone(), n.clone()];
        if inputs.get(2).is_some() {
            let joint = broadcast(&[&shape, inputs.shape(2)?])?;
            for (size, wanted) in joint.iter().zip(&shape) {
                expect_same(size, wanted, "C must broadcast to the product")?;
            }
        }
        Ok(vec![Fact::of(inputs.element_type(0)?.or(inputs.element_type(1)?), shape)])
    }

    /// `a: [m, k], b: [k, n], c: [m, n] → y: [m, n]`.
    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        self.labelled(inputs).map_or_else(|_| AxisMap::new(inputs.len(), 1), |labelled| labelled.axes(inputs))
    }

    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> Dim {
        self.labelled(inputs).map_or_else(|_| Dim::unknown(), |labelled| labelled.macs(inputs))
    }

    fn role(&self, _: usize) -> InputRole {
        InputRole::Parameter
    }

    fn mixed(&self) -> Mixed {
        Mixed::Low
    }

    fn affine(&self) -> Option<Affine> {
        Some(Affine { bias: Some(2), bias_factor: self.beta.into() })
    }

    fn rows(&self, weight: usize, inputs: &Inputs) -> Result<Rows, &'static str> {
        if weight != 1 {
            return Err("its second operand is computed");
        }
        let shape = inputs.get(1).and_then(Fact::known_shape);
        let Some(&[first, second]) = shape.as_deref() else {
            return Err("the shape of its weight is not known");
        };
        let (rows, channels) = if self.trans_b { (first, second) } else { (second, first) };
        Ok(Rows {
            data: 0,
            data_axis: usize::from(!self.trans_a),
            weight: 1,
            weight_axis: usize::from(!self.trans_b),
            channel_axis: usize::from(self.trans_b),
            centre: Vec::new(),
            factor: self.alpha.into(),
            bias: Some(2),
            output_axis: 1,
            groups: 1,
            rows: rows as usize,
            channels: channels as usize,
            taps: 1,
        })
    }

    fn rows_by(&self, way: Way, _: usize, _: &Inputs) -> Result<RowOps, &'static str> {
        match way {
            Way::Same => Ok(RowOps::one(self.clone())),
            Way::Pointwise => Err("it is a matrix product, which looks at one position already"),
            Way::Factored { own_bias } => {
                let first = Gemm { alpha: 1.0, beta: 1.0, ..self.clone() };
                let beta = if own_bias { 1.0 } else { self.beta };
                let second = Gemm { beta, trans_a: false, ..first.clone() };
                Ok(RowOps { crops: Vec::new(), ops: vec![Box::new(first), Box::new(second)] })
            }
        }
    }

    fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        match (input, self.labelled(inputs)) {
            (0 | 1, Ok(labelled)) => labelled.initial(input, inputs),
            (2, _) => Initial::Constant(0.0),
            _ => Initial::Keep,
        }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let matrix = |i: usize, transposed: bool| match (args.tensor(i), transposed) {
            (Ok(tensor), true) => Ok(tensor.f_transpose(0, 1)?),
            (tensor, _) => tensor.map(Tensor::shallow_clone),
        };
        let (a, b) = (matrix(0, self.trans_a)?, matrix(1, self.trans_b)?);
        let c = args.get(2).filter(|_| self.beta != 0.0);
        if let (Some(c), true) = (c, self.alpha == 1.0 && self.beta == 1.0) {
            return Ok(vec![c.f_addmm(&a, &b)?]);
        }
        let scaled = |tensor: Tensor, factor: f32| match factor == 1.0 {
            true => Ok(tensor),
            false => tensor.f_mul_scalar(f64::from(factor)),
        };
        let mut y = scaled(a.f_matmul(&b)?, self.alpha)?;
        if let Some(c) = c {
            y = y.f_add(&scaled(c.shallow_clone(), self.beta)?)?;
        }
        Ok(vec![super::shared::promote(args, 0, y)?])
    }
}
