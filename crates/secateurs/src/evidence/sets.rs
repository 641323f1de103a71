//! What a growing set of units is predicted to change, without account of what the others would add: for sets that are given.

use super::joint::{Joint, dot};

/// A set of units that are gone.
///
/// The least that the kept units' best rescaling leaves is f(S) = ½ (rᵀ M⁻¹ r + 1ᵀ D_S 1), r the sum of the set's columns (see [`Joint`]):
/// n² operations a unit and a question.
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
        0.5 * (dot(&column, &self.joint.inverted(&column)) + self.damping)
    }
}
