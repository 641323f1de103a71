//! Smaller models that are made, compensated and scored on the way to the choice.

use std::sync::Arc;
use std::time::Instant;

use secateurs_graph::Graph;

use super::job::{JobError, Progress, Stage};
use super::metric_drop::{metric, points};
use super::plan::PlanOptions;
use super::record::{Record, Trial};
use super::stages::{Models, Stages, VALIDATION};
use super::timed::ROUNDS;
use super::write::{CheckOptions, write_checked};
use crate::compensate::Compensation;
use crate::data::Samples;
use crate::implants::{ImplantSettings, ImplantShare};
use crate::plan::Plan;
use crate::run;
use crate::search::Budget;
use crate::tune::Scores;

/// What a step begins with.
pub(super) struct Begin {
    /// Its number, from 1.
    pub of_step: usize,
    /// The model.
    pub model: Arc<Graph>,
    /// How units are chosen from there.
    pub options: PlanOptions,
    /// The loss of the labels.
    pub loss: Option<f64>,
}

/// What was tried.
pub(super) struct Tried {
    pub plan: Plan,
    pub trial: Trial,
    /// The model, unless it was tried by an earlier process.
    pub model: Option<Arc<Graph>>,
}

impl Stages<'_, '_> {
    /// Makes, compensates and scores the model that a budget leaves of the original, or reads what an earlier process found; `None` where the
    /// drop of the metric is limited and no choice meets the budget, as latency is measured. `before` holds what was tried so far. Implants are chosen where no step comes after this one (`last`): a step finds units by the layers that make
    /// them.
    pub(super) fn attempt(
        &mut self,
        original: &Arc<Graph>,
        begin: &Begin,
        budget: Budget,
        before: &[Tried],
        last: bool,
    ) -> Result<Option<Tried>, JobError> {
        let of_step = begin.of_step;
        let keep = budget.limits().to_vec();
        let unmeetable = self.find(|record| match record {
            Record::Unmeetable { of_step: step, keep: limits } if (step, &limits) == (of_step, &keep) => {
                Some(())
            }
            _ => None,
        });
        if unmeetable.is_some() {
            return Ok(None);
        }
        let number = before.len() + 1;
        let path = self.directory.file(&run::trial_file(number));
        let found = self.find(|record| match record {
            Record::Tried(trial)
                if trial.number == number && trial.of_step == of_step && trial.keep == keep =>
            {
                Some(trial)
            }
            _ => None,
        });
        if let Some(trial) = found.filter(|_| path.is_file()) {
            return Ok(Some(Tried { plan: Plan::read(&path)?, trial, model: None }));
        }
        let start = Instant::now();
        let settings = &self.job.settings.plan;
        let (steps, max_drop) = (settings.steps, settings.max_drop);
        let mut trial = Trial {
            number,
            of_step,
            keep,
            predicted: None,
            change: None,
            loss_change: None,
            scores: Scores::default(),
            drop: None,
            holds: true,
            seconds: 0.0,
        };
        let step = if steps > 1 { format!(" for step {of_step} of {steps}") } else { String::new() };
        self.begins(Stage::Plan, &format!("choosing units{step}: {}", trial.kept()), 0)?;
        let mut options = PlanOptions { budget, ..begin.options.clone() };
        if !last {
            options.implant = ImplantSettings { share: ImplantShare::None, ..options.implant };
        }
        let mut plan = match self.choose(original, &options, ROUNDS) {
            Err(error) if max_drop.is_some() && error.is_unmeetable() => {
                let text = format!("{}: cannot be met, as measured", trial.kept());
                self.done(Record::Unmeetable { of_step, keep: trial.keep })?;
                let _ = (self.observe)(Progress::Tried(&text));
                return Ok(None);
            }
            plan => plan?,
        };
        plan.asked.max_drop = max_drop;
        plan.asked.implant = begin.options.implant;
        trial.predicted = plan.predicted;
        let same = |tried: &&Tried| {
            tried.trial.of_step == trial.of_step
                && tried.plan.groups == plan.groups
                && tried.plan.implants == plan.implants
        };
        let model = match before.iter().find(same).map(|tried| &tried.trial) {
            Some(same) => {
                (trial.scores, trial.change) = (same.scores, same.change);
                None
            }
            None => {
                let model = self.made(&plan)?;
                let Samples { data, indices: samples } = self.validation.clone();
                if !samples.is_empty() {
                    let what = format!("scoring a model that keeps {} on the held-out samples", trial.kept());
                    self.begins(Stage::Score, &what, samples.len())?;
                    trial.scores = self.scored(&model, Some(original), &data, &samples)?;
                    trial.change = match of_step {
                        1 => trial.scores.change,
                        _ => self.scored(&model, Some(&begin.model), &data, &samples)?.change,
                    };
                }
                Some(model)
            }
        };
        trial.loss_change = trial.scores.loss.zip(begin.loss).map(|(now, before)| now - before);
        trial.drop = points(&trial.scores);
        // What is no number holds nowhere.
        trial.holds = max_drop.is_none_or(|most| trial.drop.is_some_and(|drop| drop <= most + 1e-9));
        trial.seconds = start.elapsed().as_secs_f64();
        plan.write(&path)?;
        self.done(Record::Tried(trial.clone()))?;
        let _ = (self.observe)(Progress::Tried(&text(&trial, max_drop)));
        Ok(Some(Tried { plan, trial, model }))
    }

    /// The smaller model of a plan, compensated as the result is before it is tuned.
    fn made(&mut self, plan: &Plan) -> Result<Arc<Graph>, JobError> {
        let (applied, _) = self.applied(plan)?;
        Ok(Arc::new(match self.job.settings.compensate.fit {
            Compensation::None => applied.graph,
            _ => self.fitted(applied, plan)?.graph,
        }))
    }

    /// The model that a step ends with, from its file.
    pub(super) fn step_model(&mut self, tried: &Tried) -> Result<Arc<Graph>, JobError> {
        let of_step = tried.trial.of_step;
        let name = run::step_file(of_step);
        let path = self.directory.file(&name);
        if !path.is_file() {
            let model = match &tried.model {
                Some(model) => model.clone(),
                None => self.made(&tried.plan)?,
            };
            self.begins(Stage::Write, &format!("checking the model of step {of_step} in ONNX Runtime"), 0)?;
            self.directory.remove_model(&name)?;
            let check = CheckOptions { check: self.job.check, sizes: &self.config.sizes };
            write_checked(self.job.graph, &model, &path, "the model of a step", &check)?;
        }
        Ok(Arc::new(Graph::read(&path)?))
    }

    /// The labels' loss of the original, as it was scored.
    pub(super) fn original_loss(&self) -> Option<f64> {
        self.scores(Models::ORIGINAL, VALIDATION).and_then(|scores| scores.loss)
    }
}

/// What came of a trial, in a line.
fn text(trial: &Trial, max_drop: Option<f64>) -> String {
    let mut text = trial.kept();
    let value = trial.scores.accuracy.or(trial.scores.agreement);
    if let Some(value) = value {
        text += &format!(": {} {:.2} %", metric(&trial.scores), 100.0 * value);
    }
    if let (Some(drop), Some(most)) = (trial.drop, max_drop) {
        let holds = if trial.holds { "within" } else { "more than" };
        text += &format!(", {drop:.2} points lost, {holds} {most}");
    }
    if let (Some(predicted), Some(change)) = (trial.predicted, trial.change) {
        text += &format!("; outputs changed by {change:.4}, {predicted:.4} predicted");
    }
    text
}
