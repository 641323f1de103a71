//! `If`: one of two subgraphs, by a condition. ONNX opset 1, 11, 13, 16, 19, 21, 23, 24, 25.
//!
//! condition: one boolean → what the branch gives; branches read outer values by name.

use crate::op::prelude::*;
use crate::subgraph::{Subgraph, either};

/// `If`.
#[derive(Clone, Debug)]
pub struct If {
    then_branch: Subgraph,
    else_branch: Subgraph,
}

impl Register for If {
    const NAME: &'static str = "If";
    const SINCE: &'static [i64] = &[1, 11, 13, 16, 19, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let mut branch = |name: &str| {
            let missing = || OpError::Invalid(format!("the attribute '{name}' is missing"));
            attributes.graph(name)?.ok_or_else(missing)
        };
        Ok(If { then_branch: branch("then_branch")?, else_branch: branch("else_branch")? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::{ModelBuilder, Tensor};
        let branch = |op: &str| {
            let builder = ModelBuilder::new(17).constant("c", &Tensor::from_slice(vec![2], &[0.5f32, -3.0]).unwrap());
            Subgraph::of(&builder.node(op, &["c", "c"], &["y"]).output("y").build().unwrap())
        };
        let case = |condition: bool| {
            Case::new(17).attr("then_branch", branch("Add")).attr("else_branch", branch("Mul")).flag_values(&[condition])
        };
        let fed = Case::new(17).attr("then_branch", branch("Add")).attr("else_branch", branch("Mul"));
        vec![case(true), case(false), fed.fed(Tensor::scalar(true))]
    }
}

impl Op for If {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        vec![("then_branch", self.then_branch.clone().into()), ("else_branch", self.else_branch.clone().into())]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let condition = inputs.fact(0)?.known_ints();
        let (then, other) = (self.then_branch.infer(&[], inputs), self.else_branch.infer(&[], inputs));
        match condition.as_deref().and_then(<[i64]>::first) {
            Some(0) => Ok(other),
            Some(_) => Ok(then),
            None if then.len() != other.len() => Err(OpError::Undetermined),
            None => Ok(then.iter().zip(&other).map(|(a, b)| either(a, b)).collect()),
        }
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::blocked(inputs.facts, outputs, "a branch of the graph")
    }

    /// Those of the branch that costs more, unless it is known which one runs.
    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> Dim {
        let branches = [&self.then_branch, &self.else_branch].map(|branch| branch.macs(&[], inputs));
        let [then, other] = branches;
        match inputs.ints(0).ok().as_deref().and_then(<[i64]>::first) {
            Some(0) => other,
            Some(_) => then,
            None => then.max_with(&other),
        }
    }

    fn role(&self, _: usize) -> InputRole {
        InputRole::Control
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let condition = args.tensor(0)?;
        if condition.numel() != 1 {
            return Err(OpError::Invalid(format!("its condition has {} elements; it needs one", condition.numel())));
        }
        match args.ints(0)?.first() {
            Some(0) | None => self.else_branch.run(&[], args),
            Some(_) => self.then_branch.run(&[], args),
        }
    }
}
