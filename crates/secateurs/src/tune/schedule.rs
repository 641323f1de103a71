//! The learning rate of every step: a linear rise, then a fall.

use super::options::Schedule;

/// Learning rates of a training.
#[derive(Debug, Clone, Copy)]
pub(super) struct LearningRates {
    /// The highest one.
    pub peak: f64,
    /// The last one, as a share of the peak.
    pub last: f64,
    /// Steps of the rise.
    pub warmup: usize,
    /// All steps.
    pub steps: usize,
    /// The form of the fall.
    pub schedule: Schedule,
}

impl LearningRates {
    /// The learning rate of a step, counted from 0. The first step of a rise over n steps has 1/n of the peak.
    pub fn at(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let falling = self.steps.saturating_sub(self.warmup).max(1);
        let done = ((step - self.warmup) as f64 / falling as f64).min(1.0);
        let left = match self.schedule {
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Schedule::Linear => 1.0 - done,
            Schedule::Steps if done >= 0.75 => 0.01,
            Schedule::Steps if done >= 0.5 => 0.1,
            Schedule::Steps | Schedule::Constant => 1.0,
        };
        self.peak * (self.last + (1.0 - self.last) * left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_and_fall_as_said() {
        let rates = |schedule| LearningRates { peak: 2.0, last: 0.1, warmup: 4, steps: 14, schedule };
        let cosine = rates(Schedule::Cosine);
        assert_eq!([0, 1, 3, 4].map(|step| cosine.at(step)), [0.5, 1.0, 2.0, 2.0]);
        assert!((cosine.at(9) - 1.1).abs() < 1e-12);
        assert!((cosine.at(14) - 0.2).abs() < 1e-12);
        assert!((rates(Schedule::Linear).at(9) - 1.1).abs() < 1e-12);
        assert_eq!(rates(Schedule::Constant).at(13), 2.0);
        let stepped = LearningRates { last: 0.0, warmup: 0, steps: 8, ..rates(Schedule::Steps) };
        assert_eq!([0, 3, 4, 5, 6, 7].map(|step| stepped.at(step)), [2.0, 2.0, 0.2, 0.2, 0.02, 0.02]);
        let none = LearningRates { warmup: 0, steps: 0, ..cosine };
        assert_eq!(none.at(0), 2.0);
    }
}
