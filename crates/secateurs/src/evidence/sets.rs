//! What a growing set of units is predicted to change, without account of what the others would add: for sets that are given.

use super::joint::{Joint, dot};

/// A set of units that are gone.
///
/// What is gone and what the kept units' best rescaling, found on the samples that units are chosen by, leaves of it on others. Where all samples
/// chose, it is the least that this rescaling leaves, f(S) = ½ (rᵀ M⁻¹ r + 1ᵀ D_S 1), r the sum of the set's columns (see [`Joint`]): n² operations a unit,
/// and n² + n·units a question.
pub struct GoneSet {
    joint: Joint,
    /// r.
    sum: Vec<f64>,
    /// 1ᵀ D_S 1.
    damping: f64,
}

impl GoneSet {
    /// Of units all of which stay at first.
    pub fn new(joint: Joint) -> GoneSet {
        GoneSet { sum: vec![0.0; joint.rows()], joint, damping: 0.0 }
    }

    /// Adds a unit, which must not be in it.
    pub fn add(&mut self, unit: usize) {
        self.damping += self.joint.drop_unit(unit);
        self.sum.iter_mut().zip(self.joint.column(unit)).for_each(|(sum, x)| *sum += f64::from(*x));
    }

    /// The predicted change of the outputs, in nats or squares as the evidence has it.
    pub fn change(&self) -> f64 {
        let column: Vec<f32> = self.sum.iter().map(|x| *x as f32).collect();
        let on_the_same = || 0.5 * (dot(&column, &self.joint.inverted(&column)) + self.damping);
        self.joint.held_out(&column).unwrap_or_else(on_the_same)
    }

    /// The predicted change of the outputs without one unit, the others as they are.
    pub fn alone(&self, unit: usize) -> f64 {
        self.joint.alone(unit)
    }
}
