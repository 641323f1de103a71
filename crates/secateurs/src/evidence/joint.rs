//! What sets of units are worth when the units that stay take over what they can.
//!
//! With masks m on all units, ½ (m − 1)ᵀ H (m − 1) predicts the change of the outputs, H = AᵀA/n + D with a small diagonal D. Removing
//! a set S fixes its masks at 0; the others are free to scale, and the least that this leaves is
//! f(S) = ½ 1ᵀ (H_SS − H_SK H_KK⁻¹ H_KS) 1 over the kept units K: the Schur complement that HAP (Yu, Yao, Gholami et al. 2022, section
//! 3.1) derives and then drops. One unit more costs f(S + u) − f(S) = ½ w_u² / [H_KK⁻¹]_uu (Optimal Brain Surgeon, Hassibi and Stork
//! 1993), where w_u is the scale that unit u has by now.
//!
//! H is never built. With n rows of A, M = I + A_K D_K⁻¹ A_Kᵀ / n is `[n, n]`, and everything follows from q_u = a_uᵀ M⁻¹ a_u and
//! p_u = a_uᵀ M⁻¹ Σ_S a: a removal costs n² + n·units operations. Means are absorbed: a is Σ (a − μ)·g.
//!
//! Where no layers are fitted afterwards the others stay as they are ([`Others::Stay`]): f(S) = ½ 1ᵀ H_SS 1 with M = I, and one unit more costs
//! ½ H_uu + p_u. Where nothing is, a is Σ a·g: what goes takes its mean along. Products of different units, of which the search picks the lowest, are shrunk there (as Ledoit and Wolf 2004 do), since n noisy rows
//! overstate them.
//!
//! The units that go are those of the least change on the rows that they are chosen by, and others take over most of what they do there: on these
//! rows too little would be predicted, tens of times too little where there are more units than rows. The samples that the search does not see are kept
//! for predictions ([`GoneSet`](super::GoneSet)).

use std::sync::Arc;

use super::Evidence;
use crate::compensate::Compensation;

/// The diagonal D over that of AᵀA/n, where the others scale. It stands for what samples do not show: without it, units take over what they only seem able to.
/// 0.01 lost the least accuracy of 0.003, 0.01 and 0.03 on PreResNet-29 at half its MACs and at 0.3 of its parameters.
const DAMPING: f64 = 0.01;
/// What is left of products of different units where the others stay. Of 1 and ½ the latter changed MiniLM less, as measured on held-out sentences
/// (heads, two calibration seeds, four levels).
const SHRUNK: f64 = 0.5;
/// The same over the mean of that diagonal, for units that do nothing.
const FLOOR: f64 = 1e-6;
/// Rows that units are chosen by at most where the others scale, as a removal costs their square; of more, those of evenly spread samples.
const MAX_ROWS: usize = 1024;
/// Numbers of A that units are chosen by at most, and that predictions are made from.
const MAX_NUMBERS: usize = 1 << 25;
/// The share of the samples that is kept for predictions at least, and how many samples there must be for that.
const HELD_OUT: f64 = 0.25;
const FEWEST_SAMPLES: usize = 64;

/// What becomes of the units that stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They are fitted to the original, and take over what they can by scaling.
    Scale,
    /// They stay as they are.
    Stay,
}

/// Units that go one by one, and what that costs.
#[derive(Clone)]
pub struct Joint {
    others: Others,
    /// Of the samples that units are chosen by.
    chosen: Arc<Rows>,
    /// Of samples that nothing is chosen by.
    held_out: Arc<Rows>,
    /// The diagonal of D.
    damping: Vec<f64>,
    /// M⁻¹; nothing where the others stay, as it is I.
    inverse: Vec<f64>,
    /// q and p of every unit.
    explained: Vec<f64>,
    carried: Vec<f64>,
    gone: Vec<bool>,
    change: f64,
}

impl Joint {
    /// The units of evidence, all of which stay at first.
    pub fn new(evidence: &Evidence, afterwards: Compensation) -> Joint {
        let (units, samples) = (evidence.header.units(), evidence.header.samples_in_factor);
        let rows_a_sample = (evidence.factor.sample_of.len() / samples.max(1)).max(1);
        let (others, max_rows) = match afterwards {
            Compensation::LeastSquares => (Others::Scale, MAX_ROWS),
            Compensation::None | Compensation::Means => (Others::Stay, usize::MAX),
        };
        let most = max_rows.min((MAX_NUMBERS / units.max(1)).max(64)) / rows_a_sample;
        let free = match samples < FEWEST_SAMPLES {
            true => samples,
            false => samples - (HELD_OUT * samples as f64) as usize,
        };
        let chosen = free.min(most.max(1));
        let held_out = if samples < FEWEST_SAMPLES { 0 } else { (samples - chosen).min(most) };
        let mut columns = Rows::new(units, chosen, rows_a_sample);
        let mut rest = Rows::new(units, held_out, rows_a_sample);
        let (mut sample, mut next) = (0, 0);
        let absorbed = afterwards != Compensation::None;
        evidence.rows(absorbed, |values, last| {
            if next < chosen && sample == next * samples / chosen {
                columns.push(values);
                next += usize::from(last);
            } else {
                rest.push(values);
            }
            sample += usize::from(last);
        });
        Joint { held_out: Arc::new(rest), ..Joint::over(columns, units, others) }
    }

    /// Of columns A/√n, unit by unit.
    #[cfg(test)]
    pub(crate) fn of(columns: Vec<f32>, rows: usize, units: usize, others: Others) -> Joint {
        Joint::over(Rows { rows, filled: rows, scale: 1.0, values: columns }, units, others)
    }

    fn over(mut chosen: Rows, units: usize, others: Others) -> Joint {
        let rows = chosen.rows;
        let share = match others {
            Others::Scale => DAMPING,
            Others::Stay => {
                chosen.values.iter_mut().for_each(|x| *x *= SHRUNK.sqrt() as f32);
                (1.0 - SHRUNK) / SHRUNK
            }
        };
        let diagonal: Vec<f64> =
            (0..units).map(|unit| chosen.of(unit).iter().map(|x| f64::from(*x).powi(2)).sum()).collect();
        let mean = diagonal.iter().sum::<f64>() / units.max(1) as f64;
        let damping: Vec<f64> =
            diagonal.iter().map(|f| share * f + FLOOR * mean.max(f64::MIN_POSITIVE)).collect();
        let (side, taking_over) = match others {
            Others::Scale => (rows, units),
            Others::Stay => (0, 0),
        };
        let mut inverse = vec![0.0; side * side];
        (0..side).for_each(|i| inverse[i * side + i] = 1.0);
        let mut joint = Joint {
            others,
            damping,
            inverse,
            explained: vec![0.0; units],
            carried: vec![0.0; units],
            gone: vec![false; units],
            change: 0.0,
            chosen: Arc::new(chosen),
            held_out: Arc::default(),
        };
        for unit in 0..taking_over {
            let z = joint.solved(unit);
            let own = joint.damping[unit] + dot(joint.column(unit), &z);
            joint.add_to_inverse(&z, -1.0 / own);
        }
        joint.explained = (0..units).map(|unit| dot(joint.column(unit), &joint.solved(unit))).collect();
        joint
    }

    /// How many units there are.
    pub fn units(&self) -> usize {
        self.gone.len()
    }

    /// What becomes of those that stay.
    pub fn others(&self) -> Others {
        self.others
    }

    /// The change of the outputs after what was removed so far, in nats or squares as the evidence has it, on the samples that units are
    /// chosen by.
    pub fn change(&self) -> f64 {
        self.change
    }

    /// How much more it would be without this unit too.
    pub fn increase(&self, unit: usize) -> f64 {
        let d = self.damping[unit];
        match self.others {
            Others::Scale => 0.5 * (d + self.carried[unit]).powi(2) / self.left(unit),
            Others::Stay => 0.5 * (d + self.explained[unit]) + self.carried[unit],
        }
    }

    /// Removes a unit.
    pub fn remove(&mut self, unit: usize) {
        debug_assert!(!self.gone[unit], "a unit goes once");
        self.change += self.increase(unit);
        let (z, left) = (self.solved(unit), self.left(unit));
        // What the others explain less of, and with what weight the unit is carried on.
        let (lost, weight) = match self.others {
            Others::Scale => (1.0 / left, (self.carried[unit] + self.damping[unit]) / left),
            Others::Stay => (0.0, 1.0),
        };
        self.gone[unit] = true;
        self.add_to_inverse(&z, lost);
        for other in (0..self.gone.len()).filter(|other| !self.gone[*other]) {
            let t = dot(self.column(other), &z);
            self.explained[other] += t * t * lost;
            self.carried[other] += t * weight;
        }
    }

    /// d_u − q_u, which is d_u² [H_KK⁻¹]_uu: above 0 but for rounding.
    fn left(&self, unit: usize) -> f64 {
        let d = self.damping[unit];
        (d - self.explained[unit]).max(1e-9 * d)
    }

    /// By how much the outputs change on samples that nothing was chosen by, with the sum of the columns of the units that are gone; `None`
    /// where there are none.
    pub(super) fn held_out(&self, sum: &[f32]) -> Option<f64> {
        let held_out = &*self.held_out;
        if held_out.rows == 0 {
            return None;
        }
        let explained = self.inverted(sum);
        let mut left = vec![0.0; held_out.rows];
        for (unit, gone) in self.gone.iter().enumerate() {
            // By how much less of it there is.
            let share = match (gone, self.others) {
                (true, _) => 1.0,
                (false, Others::Scale) => -dot(self.column(unit), &explained) / self.damping[unit],
                (false, Others::Stay) => continue,
            };
            left.iter_mut().zip(held_out.of(unit)).for_each(|(left, x)| *left += share * f64::from(*x));
        }
        Some(0.5 * left.iter().map(|x| x * x).sum::<f64>())
    }

    /// ½ aᵀa of a unit, on samples that nothing was chosen by where there are any.
    pub(super) fn alone(&self, unit: usize) -> f64 {
        let (column, shrunk) = match (self.held_out.rows, self.others) {
            (0, Others::Stay) => (self.column(unit), SHRUNK),
            (0, Others::Scale) => (self.column(unit), 1.0),
            _ => (self.held_out.of(unit), 1.0),
        };
        0.5 / shrunk * column.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>()
    }

    pub(super) fn column(&self, unit: usize) -> &[f32] {
        self.chosen.of(unit)
    }

    /// M⁻¹ a_u.
    fn solved(&self, unit: usize) -> Vec<f64> {
        self.inverted(self.column(unit))
    }

    /// M⁻¹ a.
    pub(super) fn inverted(&self, column: &[f32]) -> Vec<f64> {
        match self.others {
            Others::Scale => {
                self.inverse.chunks_exact(self.rows().max(1)).map(|row| dot(column, row)).collect()
            }
            Others::Stay => column.iter().map(|x| f64::from(*x)).collect(),
        }
    }

    /// How many rows are used.
    pub(super) fn rows(&self) -> usize {
        self.chosen.rows
    }

    /// Takes a unit out of M and leaves what is known of the others as it is. Its share of D is what it returns.
    pub(super) fn drop_unit(&mut self, unit: usize) -> f64 {
        debug_assert!(!self.gone[unit], "a unit goes once");
        self.gone[unit] = true;
        let d = self.damping[unit];
        if self.others == Others::Stay {
            return d;
        }
        let z = self.solved(unit);
        let left = (d - dot(self.column(unit), &z)).max(1e-9 * d);
        self.add_to_inverse(&z, 1.0 / left);
        d
    }

    /// M⁻¹ + factor · z zᵀ.
    fn add_to_inverse(&mut self, z: &[f64], factor: f64) {
        for (row, zi) in self.inverse.chunks_exact_mut(self.chosen.rows.max(1)).zip(z) {
            let scaled = factor * zi;
            row.iter_mut().zip(z).for_each(|(to, zj)| *to += scaled * zj);
        }
    }
}

/// Rows of A/√n, unit by unit.
#[derive(Default)]
struct Rows {
    rows: usize,
    filled: usize,
    scale: f64,
    values: Vec<f32>,
}

impl Rows {
    fn new(units: usize, samples: usize, rows_a_sample: usize) -> Rows {
        let rows = samples * rows_a_sample;
        let scale = 1.0 / (samples.max(1) as f64).sqrt();
        Rows { rows, filled: 0, scale, values: vec![0.0; rows * units] }
    }

    /// A row more, where there is room.
    fn push(&mut self, row: &[f64]) {
        if self.filled == self.rows {
            return;
        }
        for (unit, value) in row.iter().enumerate() {
            self.values[unit * self.rows + self.filled] = (self.scale * value) as f32;
        }
        self.filled += 1;
    }

    fn of(&self, unit: usize) -> &[f32] {
        &self.values[unit * self.rows..][..self.rows]
    }
}

/// In eight sums, which a processor adds up side by side.
pub(super) fn dot(a: &[f32], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 =
        a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| f64::from(*x) * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for i in 0..8 {
            sums[i] += f64::from(x[i]) * y[i];
        }
    }
    rest + sums.iter().sum::<f64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evidence::tests::{data_of, double, measured_among, two_outputs};
    use crate::evidence::{GoneSet, Score};

    /// f(S) by solving for the scales of all kept units, where they scale; and how much less there is of every unit.
    fn direct(joint: &Joint, gone: &[bool]) -> (f64, Vec<f64>) {
        let (rows, units, damping) = (joint.rows(), joint.units(), &joint.damping);
        let a = |unit: usize, row: usize| f64::from(joint.column(unit)[row]);
        let h = |u: usize, v: usize| {
            (0..rows).map(|row| a(u, row) * a(v, row)).sum::<f64>() + if u == v { damping[u] } else { 0.0 }
        };
        let scales = joint.others == Others::Scale;
        let kept: Vec<usize> = (0..units).filter(|u| scales && !gone[*u]).collect();
        let lost: Vec<usize> = (0..units).filter(|u| gone[*u]).collect();
        let right: Vec<f64> = kept.iter().map(|&u| lost.iter().map(|&v| h(u, v)).sum()).collect();
        let mut system: Vec<Vec<f64>> = kept
            .iter()
            .zip(&right)
            .map(|(&u, b)| kept.iter().map(|&v| h(u, v)).chain([*b]).collect())
            .collect();
        for i in 0..kept.len() {
            let pivot = system[i].clone();
            for row in &mut system[i + 1..] {
                let factor = row[i] / pivot[i];
                row.iter_mut().zip(&pivot).for_each(|(to, from)| *to -= factor * from);
            }
        }
        let mut scales = vec![0.0; kept.len()];
        for i in (0..kept.len()).rev() {
            let known: f64 = (i + 1..kept.len()).map(|j| system[i][j] * scales[j]).sum();
            scales[i] = (system[i][kept.len()] - known) / system[i][i];
        }
        let all: f64 = lost.iter().flat_map(|&u| lost.iter().map(move |&v| h(u, v))).sum();
        let mut less: Vec<f64> = gone.iter().map(|gone| f64::from(u8::from(*gone))).collect();
        kept.iter().zip(&scales).for_each(|(u, scale)| less[*u] = -scale);
        (0.5 * (all - right.iter().zip(&scales).map(|(b, s)| b * s).sum::<f64>()), less)
    }

    proptest! {
        #[test]
        fn every_removal_costs_what_the_others_leave(
            columns in prop::collection::vec(-2.0f32..2.0, 7 * 12),
            others_rows in prop::collection::vec(-2.0f32..2.0, 5 * 12),
            units in 2usize..12,
            order in Just((0..12).collect::<Vec<usize>>()).prop_shuffle(),
            scale in any::<bool>(),
        ) {
            let rows = 7;
            let others = if scale { Others::Scale } else { Others::Stay };
            let mut joint = Joint::of(columns[..rows * units].to_vec(), rows, units, others);
            let mut set = GoneSet::new(joint.clone());
            let held_out = Rows { rows: 5, filled: 5, scale: 1.0, values: others_rows[..5 * units].to_vec() };
            let mut predicted =
                GoneSet::new(Joint { held_out: Arc::new(held_out), ..joint.clone() });
            let mut gone = vec![false; units];
            for unit in order.into_iter().filter(|u| *u < units) {
                let before = joint.change();
                let increase = joint.increase(unit);
                joint.remove(unit);
                gone[unit] = true;
                let (wanted, less) = direct(&joint, &gone);
                prop_assert!((joint.change() - wanted).abs() <= 1e-6 * wanted.max(1e-3), "{} {wanted}", joint.change());
                prop_assert!((before + increase - joint.change()).abs() <= 1e-12 * joint.change().max(1.0));
                set.add(unit);
                prop_assert!((set.change() - wanted).abs() <= 1e-5 * wanted.max(1e-3), "{} {wanted}", set.change());
                predicted.add(unit);
                let change = |row: usize| (0..units).map(|u| less[u] * f64::from(others_rows[u * 5 + row])).sum::<f64>();
                let wanted = 0.5 * (0..5).map(|row| change(row).powi(2)).sum::<f64>();
                let found = predicted.change();
                prop_assert!((found - wanted).abs() <= 1e-4 * wanted.max(1e-2), "{found} {wanted}");
            }
        }
    }

    #[test]
    fn every_sample_either_chooses_or_predicts() {
        let folder = tempfile::tempdir().unwrap();
        let graph = two_outputs();
        for samples in [FEWEST_SAMPLES - 1, FEWEST_SAMPLES, 90] {
            let data = data_of(samples, &graph, folder.path(), None);
            let among: Vec<usize> = (0..samples).collect();
            let evidence = measured_among(&among, &graph, &data, &double());
            let rows_a_sample = evidence.factor.sample_of.len() / samples;
            assert!(rows_a_sample > 1);
            let joint = Joint::new(&evidence, Compensation::LeastSquares);
            let (chosen, held_out) = (joint.rows() / rows_a_sample, joint.held_out.rows / rows_a_sample);
            assert_eq!(chosen + held_out, samples);
            assert_eq!(held_out, if samples < FEWEST_SAMPLES { 0 } else { samples / 4 });
            for (unit, score) in evidence.score(Score::QuadraticAbsorbed).unwrap().values.iter().enumerate() {
                let energy = |column: &[f32], n: usize| {
                    n as f64 * column.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>()
                };
                let all = energy(joint.column(unit), chosen) + energy(joint.held_out.of(unit), held_out);
                assert!((all / samples as f64 / (2.0 * score) - 1.0).abs() < 1e-4, "{samples} {unit}");
            }
        }
    }

    #[test]
    fn a_twin_takes_over_and_a_dead_unit_costs_nothing() {
        // Units 0 and 1 are the same, unit 2 does nothing, unit 3 stands alone.
        let columns = [[1.0f32, 2.0], [1.0, 2.0], [0.0, 0.0], [2.0, -1.0]].concat();
        let mut joint = Joint::of(columns.clone(), 2, 4, Others::Scale);
        assert!(joint.increase(2) < 1e-4);
        assert!(joint.increase(0) < 0.02 * joint.increase(3), "{} {}", joint.increase(0), joint.increase(3));
        joint.remove(0);
        assert!(joint.increase(1) > 4.0, "{}", joint.increase(1));
        // Where nothing is fitted it takes over nothing, and the second one costs twice the first: three times, if products were not shrunk.
        let mut joint = Joint::of(columns, 2, 4, Others::Stay);
        let first = joint.increase(0);
        joint.remove(0);
        assert!((joint.increase(1) / first - 2.0).abs() < 0.02, "{first} {}", joint.increase(1));
    }
}
