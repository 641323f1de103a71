//! Traces by Hutchinson's probes: `E v·Hv` over random signs v, with Hv from differentiating twice. An oracle and a baseline: a probe
//! costs several passes, and what it says of single units is mostly noise.

use secateurs_torch::tch::{self, Kind, Tensor};

use super::per_sample::tensors;
use super::{Sums, Traces};
use crate::data::Batch;
use crate::evidence::EvidenceError;
use crate::rng::Rng;
use crate::tune::{Head, inputs};

impl Traces<'_> {
    /// A block a probe, of the loss of closeness to the model's own outputs.
    pub(super) fn hutchinson(
        &self,
        heads: &[Head],
        batch: &Batch,
        counted: usize,
    ) -> Result<Sums, EvidenceError> {
        let session = self.session.as_ref().expect("a session is open for this way");
        let all: Vec<usize> = (0..self.weights.parts.len()).collect();
        let tensors = tensors(session, &self.weights, &all);
        let weights: Vec<&Tensor> = tensors.iter().map(|(_, tensor)| *tensor).collect();
        let run = session.forward(&inputs(session, batch)?, &[])?;
        let mut loss: Option<Tensor> = None;
        for head in heads {
            let output = run.outputs[head.index].f_narrow(0, 0, counted as i64)?;
            let own = head.closeness(&output, &output.f_detach()?)?;
            loss = Some(match loss {
                Some(loss) => loss.f_add(&own)?,
                None => own,
            });
        }
        let loss = loss.expect("there is an output").f_mul_scalar(counted as f64)?;
        let gradients = Tensor::f_run_backward(&[&loss], &weights, true, true)?;
        let probes = self.options.probes;
        let mut blocks = Vec::with_capacity(probes);
        for probe in 0..probes {
            let mut signs = Vec::with_capacity(weights.len());
            for (number, weight) in weights.iter().enumerate() {
                let step = (probe << 20 | number) as u64;
                let mut rng = Rng::new(self.options.seed, "probes", step, batch.indices[0] as u64);
                let drawn = rng.signs(weight.numel());
                let drawn = Tensor::f_from_slice(&drawn)?.f_view_as(weight)?;
                signs.push(drawn.f_to_kind(weight.f_kind()?)?.f_to_device(weight.device())?);
            }
            let mut block = Sums::zeros(1, self.weights.units)?;
            let products = gradients.iter().zip(&signs).filter(|(gradient, _)| gradient.defined());
            let sums = products.map(|(gradient, signs)| gradient.f_mul(signs)?.f_sum(None::<Kind>));
            let sums = sums.collect::<Result<Vec<_>, _>>()?;
            let sum = Tensor::f_stack(&sums, 0)?.f_sum(None::<Kind>)?;
            let images = Tensor::f_run_backward(&[&sum], &weights, true, false)?;
            tch::no_grad(|| -> Result<(), EvidenceError> {
                for (((value, _), signs), image) in tensors.iter().zip(&signs).zip(&images) {
                    if !image.defined() {
                        continue;
                    }
                    let product = image.f_mul(signs)?.f_div_scalar(probes as f64)?;
                    for part in self.weights.parts.iter().filter(|part| part.parameter == *value) {
                        part.add(&mut block, &product)?;
                    }
                }
                Ok(())
            })?;
            blocks.push(block);
        }
        Sums::stacked(&blocks)
    }
}
