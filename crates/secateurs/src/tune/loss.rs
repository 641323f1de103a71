//! What training makes small: distance from the labels and from the teacher's outputs.

use secateurs_graph::{Graph, Source, ValueId};
use secateurs_torch::tch::{Kind, Reduction, TchError, Tensor};
use serde::{Deserialize, Serialize};

use super::options::Objective;

/// What an output holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// Class scores before a softmax, along this axis.
    Logits {
        /// The axis of the classes.
        axis: usize,
    },
    /// Class probabilities along this axis.
    Probabilities {
        /// The axis of the classes.
        axis: usize,
    },
    /// Numbers.
    Values,
}

/// An output that training looks at.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// Its place among the graph's outputs.
    pub index: usize,
    pub meaning: Meaning,
}

impl Head {
    /// What an output holds, by its last op, its name and its shape, and by whether the data have class labels for it.
    pub fn of(graph: &Graph, index: usize, labelled: bool, objective: Objective) -> Head {
        let value = &graph.values[graph.outputs[index]];
        let rank = value.fact.rank().unwrap_or(2);
        // Classes come second ([N, K, …] of classifiers and segmentation), but last for tokens, [N, T, K].
        let axis = if rank == 3 { 2 } else { 1 };
        let name = value.name.to_lowercase();
        let named = |words: &[&str]| words.iter().any(|word| name.contains(word));
        let classes = match objective {
            Objective::Classes => rank >= 2,
            Objective::Values => false,
            Objective::Auto => {
                labelled
                    || named(&["logit", "class", "score", "prob"])
                    || (rank == 2
                        && !named(&["embed", "feature", "hidden", "pool", "state", "regress", "value"]))
            }
        };
        let float = value.fact.element_type.is_none_or(|t| t.is_float());
        let meaning = match (classes && float, gives_probabilities(graph, graph.outputs[index])) {
            (false, _) => Meaning::Values,
            (true, true) => Meaning::Probabilities { axis },
            (true, false) => Meaning::Logits { axis },
        };
        Head { index, meaning }
    }

    /// Log-probabilities `[rows, classes]` in at least 32 bits, at a temperature; `None` for values.
    pub(crate) fn log_probabilities(
        &self,
        output: &Tensor,
        temperature: f64,
    ) -> Result<Option<Tensor>, TchError> {
        let (axis, logarithm) = match self.meaning {
            Meaning::Logits { axis } => (axis, false),
            Meaning::Probabilities { axis } => (axis, true),
            Meaning::Values => return Ok(None),
        };
        let classes = output.size()[axis];
        let kind = if output.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
        let rows = output.f_movedim_int(axis as i64, -1)?.f_reshape([-1, classes])?.f_to_kind(kind)?;
        let rows = if logarithm { rows.f_clamp_min(1e-30)?.f_log()? } else { rows };
        let rows = if temperature == 1.0 { rows } else { rows.f_div_scalar(temperature)? };
        Ok(Some(rows.f_log_softmax(-1, None)?))
    }

    /// Mean cross-entropy with labels `[N]`, one a row; in nats.
    pub fn cross_entropy(
        &self,
        output: &Tensor,
        labels: &Tensor,
        smoothing: f64,
    ) -> Result<Option<Tensor>, TchError> {
        let Some(logs) = self.log_probabilities(output, 1.0)? else { return Ok(None) };
        let loss = logs.f_cross_entropy_loss(labels, None::<Tensor>, Reduction::Mean, -100, smoothing)?;
        Ok(Some(loss))
    }

    /// Distance from a teacher's output: T²·KL(teacher ‖ student) at temperature T, the mean over rows, in nats (Hinton, Vinyals and
    /// Dean 2015); for values the squared error over the variance of the teacher's output, or over its
    /// mean square where it does not vary (one number), or over 1 where that is 0 as well.
    pub fn distance(&self, output: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor, TchError> {
        let logs = self.log_probabilities(output, temperature)?;
        match logs.zip(self.log_probabilities(teacher, temperature)?) {
            Some((student, teacher)) => {
                let rows = student.size()[0] as f64;
                let divergence = student.f_kl_div(&teacher, Reduction::Sum, true)?;
                divergence.f_mul_scalar(temperature * temperature / rows)
            }
            None => {
                let teacher = teacher.f_to_kind(output.f_kind()?)?;
                let (variance, square) = (teacher.f_var(false)?, teacher.f_square()?.f_mean(None)?);
                let ones = square.f_ones_like()?;
                let square = square.f_where_self(&square.f_gt(0.0)?, &ones)?;
                let varies = variance.f_gt_tensor(&square.f_mul_scalar(1e-12)?)?;
                output.f_mse_loss(&teacher, Reduction::Mean)?.f_div(&variance.f_where_self(&varies, &square)?)
            }
        }
    }

    /// The rows of scores, of which each has one class; `None` for values.
    pub fn rows(&self, output: &Tensor) -> Option<usize> {
        match self.meaning {
            Meaning::Logits { axis } | Meaning::Probabilities { axis } => {
                let sizes = output.size();
                let others = sizes.iter().enumerate().filter(|(i, _)| *i != axis);
                Some(others.map(|(_, n)| *n as usize).product())
            }
            Meaning::Values => None,
        }
    }

    /// The class with the highest score, for every row; −1, which is none, where a score is no number. `None` for values.
    pub fn classes(&self, output: &Tensor) -> Result<Option<Tensor>, TchError> {
        let Some(logs) = self.log_probabilities(output, 1.0)? else { return Ok(None) };
        let nan = logs.f_isnan()?.f_any_dim(-1, false)?;
        Ok(Some(logs.f_argmax(-1, false)?.f_masked_fill(&nan, -1)?))
    }
}

/// Whether an output has been through a softmax, so that its logarithm stands for the logits.
pub(crate) fn gives_probabilities(graph: &Graph, output: ValueId) -> bool {
    match graph.values[output].source {
        Source::Node(node, _) => graph.nodes[node].op.name() == "Softmax",
        _ => false,
    }
}
