//! Scores of units, with standard errors, from what was measured.

use super::{Evidence, Header, Moments};

/// What a unit can be scored by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Score {
    /// The change of the outputs that second order predicts for the unit's removal: ½ E A².
    Quadratic,
    /// The same where the unit's mean is absorbed: ½ E (Σ (a − μ)·g)².
    QuadraticAbsorbed,
    /// The change of the labels' loss: first order and second order.
    Loss,
    /// The first order alone.
    FirstOrder,
    /// E ∣Σ a·∂ℓ/∂a∣.
    Gradient,
    /// E (Σ a·∂ℓ/∂a)².
    Taylor,
    /// E ∣a∣.
    Activation,
    /// The trace of the Hessian's block of the weights that make the unit.
    Trace,
    /// HAP's score: the trace over twice the number of weights, times their squared norm; of kernels and matrices.
    HapTrace,
}

impl Score {
    /// All scores.
    pub const ALL: &[Score] = &[
        Score::Quadratic,
        Score::QuadraticAbsorbed,
        Score::Loss,
        Score::FirstOrder,
        Score::Gradient,
        Score::Taylor,
        Score::Activation,
        Score::Trace,
        Score::HapTrace,
    ];

    /// The name, as commands and files write it.
    pub fn name(self) -> &'static str {
        match self {
            Score::Quadratic => "quadratic",
            Score::QuadraticAbsorbed => "quadratic-absorbed",
            Score::Loss => "loss",
            Score::FirstOrder => "first-order",
            Score::Gradient => "gradient",
            Score::Taylor => "taylor",
            Score::Activation => "activation",
            Score::Trace => "trace",
            Score::HapTrace => "hap-trace",
        }
    }

    /// Whether traces must be measured for it.
    pub fn needs_trace(self) -> bool {
        matches!(self, Score::Trace | Score::HapTrace)
    }

    /// Whether it is of the labels' loss.
    pub fn needs_labels(self) -> bool {
        matches!(self, Score::Loss | Score::FirstOrder | Score::Gradient | Score::Taylor)
    }

    /// The score of this name.
    pub fn named(name: &str) -> Option<Score> {
        Score::ALL.iter().copied().find(|score| score.name() == name)
    }
}

/// A score of every unit, numbered through all groups, with its standard error over samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The scores.
    pub values: Vec<f64>,
    /// Their standard errors; infinite where one sample was measured.
    pub errors: Vec<f64>,
}

impl Scored {
    fn of(moments: &Moments, samples: usize) -> Scored {
        Scored::of_blocks(moments, samples, samples)
    }

    /// Means over samples from sums over independent blocks of them.
    fn of_blocks(moments: &Moments, samples: usize, blocks: usize) -> Scored {
        let (n, b) = (samples as f64, blocks as f64);
        let of = |(sum, squares): (&f64, &f64)| {
            let variance = (squares / b - (sum / b).powi(2)).max(0.0);
            let error = match (blocks, variance > 0.0) {
                (_, false) if *squares == 0.0 => 0.0,
                (0 | 1, _) => f64::INFINITY,
                _ => b * (variance / (b - 1.0)).sqrt() / n,
            };
            (sum / n, error)
        };
        let (values, errors) = moments.sum.iter().zip(&moments.squares).map(of).unzip();
        Scored { values, errors }
    }
}

impl Evidence {
    /// A score of every unit; `None` where it was not measured, as first-order scores without labels.
    pub fn score(&self, score: Score) -> Option<Scored> {
        let sums = &self.sums;
        let moments = match score {
            Score::Quadratic => &sums.quadratic,
            Score::QuadraticAbsorbed => {
                return Some(Scored::of(&self.absorbed(), self.header.samples_in_factor));
            }
            Score::Loss => &sums.loss,
            Score::FirstOrder => &sums.first_order,
            Score::Gradient => &sums.gradient,
            Score::Taylor => &sums.taylor,
            Score::Activation => &sums.activation,
            Score::Trace => &sums.trace,
            Score::HapTrace => &sums.hap,
        };
        let Header { samples, trace_blocks, .. } = self.header;
        let blocks = if score.needs_trace() { trace_blocks } else { samples };
        (moments.sum.len() == self.header.units()).then(|| Scored::of_blocks(moments, samples, blocks))
    }

    /// The change of the outputs that second order predicts for the removal of a set of units, ½ ‖A 1ₛ‖² / n, and its standard error.
    pub fn predicted(&self, units: &[usize]) -> (f64, f64) {
        let width = self.header.units();
        let rows = self.factor.units.chunks_exact(width.max(1));
        let of_row = |row: &[f32]| units.iter().map(|&unit| f64::from(row[unit])).sum::<f64>();
        let mut by_sample = vec![0.0; self.header.samples_in_factor];
        for (row, sample) in rows.zip(&self.factor.sample_of) {
            by_sample[*sample as usize] += 0.5 * of_row(row).powi(2);
        }
        let moments = Moments {
            sum: vec![by_sample.iter().sum()],
            squares: vec![by_sample.iter().map(|x| x * x).sum()],
        };
        let scored = Scored::of(&moments, by_sample.len());
        (scored.values[0], scored.errors[0])
    }

    /// How well the ranking by [`Score::Quadratic`] would repeat on as many other samples: the rank correlation ρ of two halves of the
    /// samples, stepped up to their whole by 2ρ / (1 + ρ) (Spearman 1910, Brown 1910).
    pub fn reliability(&self) -> f64 {
        let half = &self.sums.quadratic_of_half;
        let other: Vec<f64> =
            self.sums.quadratic.sum.iter().zip(half).map(|(all, half)| all - half).collect();
        // Halves that disagree say nothing of the ranking.
        let rho = super::spearman(half, &other).max(0.0);
        2.0 * rho / (1.0 + rho)
    }

    /// Sums of ½ Σ (A − μ·G)² over the roots of a sample.
    fn absorbed(&self) -> Moments {
        let units = self.header.units();
        let mut moments = Moments { sum: vec![0.0; units], squares: vec![0.0; units] };
        let mut sample = vec![0.0; units];
        self.rows(true, |row, last| {
            sample.iter_mut().zip(row).for_each(|(sum, x)| *sum += 0.5 * x * x);
            if last {
                for (unit, value) in sample.iter_mut().enumerate() {
                    moments.sum[unit] += *value;
                    moments.squares[unit] += *value * *value;
                    *value = 0.0;
                }
            }
        });
        moments
    }

    /// Visits the rows of A, or of A − μ·G where the means of what is removed are absorbed: what they hold, and whether they are the last of a
    /// sample.
    pub(super) fn rows(&self, absorbed: bool, mut visit: impl FnMut(&[f64], bool)) {
        let (units, columns) = (self.header.units(), self.factor.unit_of.len());
        let n = self.header.samples as f64;
        let means = self.sums.means.iter().zip(&self.factor.shares).filter(|_| absorbed);
        let weights: Vec<f64> = means.map(|(sum, share)| sum / n * f64::from(*share)).collect();
        let factor = &self.factor;
        let rows = factor.units.chunks_exact(units.max(1)).zip(factor.gradients.chunks_exact(columns.max(1)));
        let mut values = vec![0.0; units];
        for (number, (row, gradients)) in rows.enumerate() {
            values.iter_mut().zip(row).for_each(|(to, from)| *to = f64::from(*from));
            for ((unit, weight), gradient) in factor.unit_of.iter().zip(&weights).zip(gradients) {
                values[*unit as usize] -= weight * f64::from(*gradient);
            }
            visit(&values, factor.sample_of.get(number + 1) != factor.sample_of.get(number));
        }
    }
}
