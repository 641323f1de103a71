//! Whether what was fitted is nearer to the original than what it was fitted in.
//!
//! Layers are fitted one by one. Of few samples each fit is poor, means alone leave what lies around them, and what all layers add up to can be
//! further from the original's outputs than the model that was only pruned.

use std::cmp::Ordering::{Equal, Less};
use std::sync::Arc;

use secateurs_graph::Graph;

use super::job::{JobError, Stage};
use super::stages::Stages;
use crate::compensate::{Compensated, Compensation};
use crate::data;
use crate::format::significant;

impl Stages<'_, '_> {
    /// What was fitted in a pruned model, or the pruned model where its outputs differ less from the original's: on samples that
    /// are held out, or where there are none on those that were fitted on. `seed` draws the samples.
    pub(super) fn nearer(
        &mut self,
        original: &Arc<Graph>,
        pruned: &Arc<Graph>,
        compensated: Compensated,
        seed: u64,
    ) -> Result<Compensated, JobError> {
        let settings = self.job.settings.compensate;
        if compensated.layers[0] == 0 {
            return Ok(compensated);
        }
        let (which, data, samples) = match self.validation.indices.is_empty() {
            true => ("", self.data.clone(), &self.training),
            false => ("held-out ", self.validation.data.clone(), &self.validation.indices),
        };
        let samples = data::drawn(samples, settings.samples, seed);
        self.begins(Stage::Score, "comparing what was fitted with the pruned model", 2 * samples.len())?;
        let fitted = Arc::new(compensated.graph.clone());
        let mut divergence = |graph| -> Result<Option<f64>, JobError> {
            Ok(self.scored(graph, Some(original), &data, &samples)?.divergence)
        };
        let (before, after) = (divergence(pruned)?, divergence(&fitted)?);
        let worse = before
            .zip(after)
            .filter(|(before, after)| !matches!(after.partial_cmp(before), Some(Less | Equal)));
        let Some((before, after)) = worse else {
            return Ok(compensated);
        };
        let remedy = match settings.fit {
            Compensation::LeastSquares => "; more samples would give a better fit",
            Compensation::None | Compensation::Means => "",
        };
        let note = format!(
            "what was fitted on {} samples is left out: on {} {which}samples the outputs are {} from the original's with it, \
             {} without{remedy}",
            compensated.samples,
            samples.len(),
            significant(after, 3),
            significant(before, 3)
        );
        let layers = [0, compensated.layers[1]];
        Ok(Compensated { graph: (**pruned).clone(), layers, notes: vec![note], ..compensated })
    }
}
