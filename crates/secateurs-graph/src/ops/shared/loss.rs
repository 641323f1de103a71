//! The negative log-likelihood of classes: NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss.
//!
//! scores: [N, C, D1, …], classes: [N, D1, …], class weights: [C] → loss: [N, D1, …], or one number.

use crate::attribute::{Attribute, Attributes};
use crate::axes::{AxisMap, Role};
use crate::fact::{Fact, Shape};
use crate::op::{InputRole, Inputs, OpError, expect_same, is_wanted};
#[cfg(feature = "torch")]
use secateurs_torch::tch::{Kind, Reduction as TorchReduction, Tensor};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reduction {
    None,
    Sum,
    /// Weighted by the weights of the classes.
    Mean,
}

#[derive(Clone, PartialEq, Debug)]
pub(in crate::ops) struct ClassLoss {
    reduction: Reduction,
    /// Elements of this class do not count.
    ignore_index: Option<i64>,
}

impl ClassLoss {
    pub fn parse(attributes: &mut Attributes) -> Result<ClassLoss, OpError> {
        let reduction = match attributes.string("reduction")?.as_deref() {
            None | Some("mean") => Reduction::Mean,
            Some("sum") => Reduction::Sum,
            Some("none") => Reduction::None,
            Some(other) => {
                return Err(OpError::Invalid(format!(
                    "reduction is '{other}'; it must be mean, sum or none"
                )));
            }
        };
        Ok(ClassLoss { reduction, ignore_index: attributes.int("ignore_index")? })
    }

    pub fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        match self.reduction {
            Reduction::Mean => {}
            Reduction::Sum => list.push(("reduction", "sum".into())),
            Reduction::None => list.push(("reduction", "none".into())),
        }
        if let Some(index) = self.ignore_index {
            list.push(("ignore_index", index.into()));
        }
        list
    }

    /// The loss.
    pub fn infer(&self, inputs: &Inputs) -> Result<Fact, OpError> {
        let scores = inputs.shape(0)?;
        let [n, c, rest @ ..] = scores else {
            return Err(OpError::invalid("the scores need at least 2 axes: samples and classes"));
        };
        let each: Shape = std::iter::once(n).chain(rest).cloned().collect();
        if let Some(classes) = &inputs.fact(1)?.shape {
            if classes.len() != each.len() {
                let text = format!("scores of {} axes and classes of {}", scores.len(), classes.len());
                return Err(OpError::Invalid(text));
            }
            each.iter().zip(classes).try_for_each(|(a, b)| expect_same(a, b, "scores and classes"))?;
        }
        if let Some([weights]) = inputs.get(2).and_then(|f| f.shape.as_deref()) {
            expect_same(weights, c, "the class weights and the classes")?;
        }
        let shape = if self.reduction == Reduction::None { each } else { Shape::new() };
        Ok(Fact::of(inputs.element_type(0)?, shape))
    }

    /// A further output is shaped as the scores. `zero` says whether scores of zero make no loss.
    pub fn axis_map(&self, inputs: &Inputs, outputs: &[Fact], zero: bool) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), outputs.len());
        let Ok([n, c, rest @ ..]) = inputs.shape(0) else { return map };
        let role = match self.reduction {
            Reduction::None => Role::Free,
            _ if !zero || is_wanted(outputs, 1) => Role::Mixed("a loss over all elements"),
            Reduction::Sum => Role::Summed,
            Reduction::Mean if inputs.get(2).is_none() && self.ignore_index.is_none() => Role::Averaged,
            Reduction::Mean => Role::Mixed("a weighted mean over all elements"),
        };
        let mut each = vec![map.axis(n, role.clone())];
        each.extend(rest.iter().map(|dim| map.axis(dim, role.clone())));
        let classes = map.axis(c, Role::Blocked("indices of classes"));
        let mut scores = each.clone();
        scores.insert(1, classes.clone());
        for (input, axes) in map.inputs.iter_mut().zip([scores.clone(), each.clone(), vec![classes]]) {
            *input = Some(axes);
        }
        map.outputs.fill(Some(scores));
        if let Some(loss) = map.outputs.first_mut() {
            *loss = Some(if self.reduction == Reduction::None { each } else { Vec::new() });
        }
        map
    }

    pub fn role(input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    /// The loss, from logarithms of probabilities.
    #[cfg(feature = "torch")]
    pub fn eval(
        &self,
        log_probabilities: &Tensor,
        classes: &Tensor,
        weights: Option<&Tensor>,
    ) -> Result<Tensor, OpError> {
        let kind = log_probabilities.f_kind()?;
        // libtorch's kernel has no half precision.
        let wide = if matches!(kind, Kind::Half | Kind::BFloat16) { Kind::Float } else { kind };
        let weights = weights.map(|w| w.f_to_kind(wide)).transpose()?;
        let reduction = match self.reduction {
            Reduction::None => TorchReduction::None,
            Reduction::Sum => TorchReduction::Sum,
            Reduction::Mean => TorchReduction::Mean,
        };
        let loss = log_probabilities.f_to_kind(wide)?.f_nll_loss_nd(
            &classes.f_to_kind(Kind::Int64)?,
            weights.as_ref(),
            reduction,
            self.ignore_index.unwrap_or(-100),
        )?;
        Ok(loss.f_to_kind(kind)?)
    }
}
