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
