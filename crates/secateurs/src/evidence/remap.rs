//! Evidence of a smaller model in the units of the model that it was made of.

use super::{Evidence, Factor, Header, Moments, Sums};

impl Evidence {
    /// The same with units numbered as `like` has them: `from` has for each of its units, numbered through all groups, the unit here.
    /// Those without one do nothing: they count 0 in all sums. What was measured of units that none comes from is left out. What
    /// implants can make of rows is that of `like`.
    pub fn renumbered(&self, like: &Evidence, from: &[Option<usize>]) -> Evidence {
        let width = self.header.units();
        let values = |old: &[f64]| -> Vec<f64> {
            // What was not measured stays so.
            if old.len() != width {
                return old.to_vec();
            }
            from.iter().map(|unit| unit.map_or(0.0, |unit| old[unit])).collect()
        };
        let moments = |old: &Moments| Moments { sum: values(&old.sum), squares: values(&old.squares) };
        let mut to = vec![None; width];
        for (new, old) in from.iter().enumerate().filter_map(|(new, old)| Some((new, (*old)?))) {
            to[old] = Some(new as u32);
        }
        let Factor { sample_of, units, gradients, unit_of, shares } = &self.factor;
        let columns: Vec<usize> = (0..unit_of.len()).filter(|c| to[unit_of[*c] as usize].is_some()).collect();
        let rows = units.chunks_exact(width.max(1));
        let of_unit = |row: &[f32]| -> Vec<f32> {
            from.iter().map(|unit| unit.map_or(0.0, |unit| row[unit])).collect()
        };
        let gradient_rows = gradients.chunks_exact(unit_of.len().max(1));
        let sums = &self.sums;
        Evidence {
            header: Header {
                model: like.header.model.clone(),
                model_hash: like.header.model_hash.clone(),
                groups: like.header.groups.clone(),
                implants: like.header.implants.clone(),
                ..self.header.clone()
            },
            sums: Sums {
                quadratic: moments(&sums.quadratic),
                quadratic_of_half: values(&sums.quadratic_of_half),
                first_order: moments(&sums.first_order),
                loss: moments(&sums.loss),
                gradient: moments(&sums.gradient),
                taylor: moments(&sums.taylor),
                activation: moments(&sums.activation),
                means: columns.iter().map(|c| sums.means[*c]).collect(),
                trace: moments(&sums.trace),
                hap: moments(&sums.hap),
            },
            factor: Factor {
                sample_of: sample_of.clone(),
                units: rows.flat_map(of_unit).collect(),
                gradients: gradient_rows.flat_map(|row| columns.iter().map(|c| row[*c])).collect(),
                unit_of: columns.iter().filter_map(|c| to[unit_of[*c] as usize]).collect(),
                shares: columns.iter().map(|c| shares[*c]).collect(),
            },
            explained: like.explained.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use secateurs_graph::coupling::{CouplingOptions, Selection};

    use crate::compensate::Compensation;
    use crate::evidence::tests::{assert_near, data, double, measured, two_outputs};
    use crate::evidence::{Joint, MeasureOptions, Score, Trace};

    #[test]
    fn what_a_smaller_model_shows_in_units_of_the_original_is_what_the_masked_original_shows() {
        let folder = tempfile::tempdir().unwrap();
        let original = two_outputs();
        let coupling = original.coupling(&CouplingOptions::default());
        let mut kept = Selection::all(&coupling);
        // Every third unit goes.
        kept.kept.iter_mut().for_each(|units| units.retain(|unit| unit % 3 != 1));
        let (mut smaller, mut masked) = ((*original).clone(), (*original).clone());
        coupling.surgery(&original, &kept).unwrap().apply(&mut smaller).unwrap();
        coupling.masking(&original, &kept).unwrap().apply(&mut masked).unwrap();
        let smaller_coupling = smaller.coupling(&CouplingOptions::default());
        let origins = coupling.origins(&original, &kept, &smaller, &smaller_coupling);
        let offsets: Vec<usize> = coupling
            .groups
            .iter()
            .scan(0, |next, group| Some(std::mem::replace(next, *next + group.units.len())))
            .collect();
        let units: usize = coupling.groups.iter().map(|group| group.units.len()).sum();
        let mut from = vec![None; units];
        for (number, (group, unit)) in origins.iter().flatten().flatten().enumerate() {
            from[offsets[*group] + unit] = Some(number);
        }
        let left: usize = kept.kept.iter().map(Vec::len).sum();
        assert_eq!((from.iter().flatten().count(), left), (left, 3), "all units are found again");
        let data = data(&original, folder.path(), None);
        let options = MeasureOptions { trace: Some(Trace::PerSample), ..double() };
        let of_original = measured(&original, &data, &options);
        let of_masked = measured(&Arc::new(masked), &data, &options);
        let renumbered = measured(&Arc::new(smaller), &data, &options).renumbered(&of_original, &from);
        assert!(renumbered.check(&original, &coupling, options.split, &[]).is_ok());
        for &score in Score::ALL {
            let Some((mut wanted, found)) = of_masked.score(score).zip(renumbered.score(score)) else {
                continue;
            };
            // The weights of what is gone, and what it would have been activated by, are still in the masked model.
            for (unit, _) in from.iter().enumerate().filter(|(_, from)| from.is_none()) {
                (wanted.values[unit], wanted.errors[unit]) = (0.0, 0.0);
            }
            // A trace is that of a unit's own weights, which read fewer channels now.
            if !score.needs_trace() {
                assert_near(&found.values, &wanted.values, 1e-6);
                assert_near(&found.errors, &wanted.errors, 1e-5);
            }
        }
        let set: Vec<usize> = (0..units).filter(|unit| unit % 2 == 0).collect();
        let (wanted, found) = (of_masked.predicted(&set), renumbered.predicted(&set));
        assert!((wanted.0 / found.0 - 1.0).abs() < 1e-6, "{wanted:?} {found:?}");
        // With means absorbed and the others rescaled as well.
        let change = |evidence| {
            let mut joint = Joint::new(evidence, Compensation::LeastSquares);
            (0..units).filter(|unit| from[*unit].is_some()).take(3).for_each(|unit| joint.remove(unit));
            joint.change()
        };
        let (wanted, found) = (change(&of_masked), change(&renumbered));
        assert!((wanted / found - 1.0).abs() < 1e-3, "{wanted} {found}");
    }
}
