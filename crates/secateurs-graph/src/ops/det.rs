//! `Det`: the determinant of square matrices. ONNX opset 11, 22. x: […, M, M] → y: […].

use crate::op::prelude::*;

/// `Det`.
#[derive(Clone, Debug)]
pub struct Det;

impl Register for Det {
    const NAME: &'static str = "Det";
    const SINCE: &'static [i64] = &[11, 22];

    fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Det)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![Case::new(11).float([3, 3]), Case::new(22).float([2, 4, 2, 2]).without_runtime()]
    }
}

impl Op for Det {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        Vec::new()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let [batch @ .., rows, columns] = inputs.shape(0)? else {
            return Err(OpError::invalid("the input must have 2 axes or more"));
        };
        expect_same(rows, columns, "the rows and the columns of the matrices")?;
        Ok(vec![Fact::of(inputs.element_type(0)?, batch.to_vec())])
    }

    /// `x: […, m, m] → y: […]`.
    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(x) = inputs.shape(0) else { return map };
        let batch = x.len().saturating_sub(2);
        let role = |i: usize| if i < batch { Role::Free } else { Role::Blocked("a determinant") };
        let axes: Vec<Axis> = x.iter().enumerate().map(|(i, dim)| map.axis(dim, role(i))).collect();
        map.outputs[0] = Some(axes[..batch].to_vec());
        map.inputs[0] = Some(axes);
        map
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![super::shared::pool::widened(args.tensor(0)?, |x| Ok(Tensor::f_linalg_det(x)?))?])
    }
}
