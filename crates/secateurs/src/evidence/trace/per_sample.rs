//! Traces from the gradients of single samples, by whatever way the model computes: exact for each root.

use secateurs_graph::session::Session;
use secateurs_torch::tch::{self, Tensor};

use super::weights::Weights;
use super::{Sums, Traces};
use crate::data::Dataset;
use crate::evidence::EvidenceError;
use crate::tune::{Head, inputs};

impl Traces<'_> {
    /// A block a sample, of some parts of the weights.
    pub(super) fn per_sample(
        &self,
        session: &Session,
        parts: &[usize],
        data: &Dataset,
        heads: &[Head],
        samples: &[usize],
    ) -> Result<Sums, EvidenceError> {
        let tensors = tensors(session, &self.weights, parts);
        let mut blocks = Vec::with_capacity(samples.len());
        for &sample in samples {
            // Where the model fixes its batch, the sample comes with others, which do not count.
            let one = data.batch(&data.filled(vec![sample]))?;
            let run = session.forward(&inputs(session, &one)?, &[])?;
            let first = |output: &Tensor| match output.dim() {
                0 => output.f_view([1]),
                _ => output.f_narrow(0, 0, 1),
            };
            let outputs = run.outputs.iter().map(first).collect::<Result<Vec<_>, _>>()?;
            let samples = [sample];
            let roots = self.roots(heads, &outputs, &samples)?;
            let mut block = Sums::zeros(1, self.weights.units)?;
            let passes = roots.passes();
            for pass in 0..passes {
                let inputs: Vec<&Tensor> = tensors.iter().map(|(_, tensor)| *tensor).collect();
                let gradients =
                    Tensor::f_run_backward(&[&roots.sum(pass)?], &inputs, pass + 1 < passes, false)?;
                tch::no_grad(|| -> Result<(), EvidenceError> {
                    for ((value, _), gradient) in tensors.iter().zip(&gradients) {
                        if !gradient.defined() {
                            continue;
                        }
                        let squares = gradient.f_square()?;
                        for &part in
                            parts.iter().filter(|&&part| self.weights.parts[part].parameter == *value)
                        {
                            self.weights.parts[part].add(&mut block, &squares)?;
                        }
                    }
                    Ok(())
                })?;
            }
            blocks.push(block);
        }
        Sums::stacked(&blocks)
    }
}

/// The tensors of the parameters that some parts are of, in a session that trains them.
pub(super) fn tensors<'s>(
    session: &'s Session,
    weights: &Weights,
    parts: &[usize],
) -> Vec<(secateurs_graph::ValueId, &'s Tensor)> {
    let wanted = weights.parameters(parts);
    session.parameters().filter(|(value, _)| wanted.contains(value)).collect()
}
