//! Where values lie on an axis, and the round numbers to mark there.

use crate::format::count;

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// Equal differences are equally long.
    Linear,
    /// Equal ratios are equally long; what is not positive cannot be shown.
    Logarithmic,
}

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    spacing: Spacing,
    ends: [f64; 2],
    /// The round numbers, ascending.
    ticks: Vec<f64>,
    /// From one mark to the next, where that is always as much.
    step: f64,
}

/// What is larger is not shown, so that nothing overflows.
pub(super) const LARGEST: f64 = 1e150;
/// What is smaller counts as 0.
const SMALLEST: f64 = 1e-150;

impl Scale {
    /// The axis from one round number to another that shows all of `values` that it can, with about so many `marks`.
    /// Without any it goes from 0 to 1 or from 1 to 10; around a single value it is widened.
    pub fn covering(values: impl IntoIterator<Item = f64>, spacing: Spacing, marks: usize) -> Scale {
        let range = range(values.into_iter().filter(|&v| shown(spacing, v)));
        let ticks = match spacing {
            Spacing::Linear => linear_ticks(range.unwrap_or((0.0, 1.0)), marks.max(2)),
            Spacing::Logarithmic => logarithmic_ticks(range.unwrap_or((1.0, 10.0)), marks.max(2)),
        };
        let step = ticks[1] - ticks[0];
        Scale { spacing, ends: [ticks[0], ticks[ticks.len() - 1]], ticks, step }
    }

    /// As [`covering`](Scale::covering), but it ends where the values do, unless too few marks lie between these.
    pub fn ending_with(values: impl IntoIterator<Item = f64>, spacing: Spacing, marks: usize) -> Scale {
        let values: Vec<f64> = values.into_iter().filter(|&v| shown(spacing, v)).collect();
        let mut scale = Scale::covering(values.iter().copied(), spacing, marks);
        let Some((low, high)) = range(values) else { return scale };
        match spacing {
            Spacing::Linear if high - low > 0.1 * scale.step => {
                scale.ends = [low, high];
                let slack = 1e-6 * scale.step;
                scale.ticks.retain(|t| (low - slack..=high + slack).contains(t));
            }
            Spacing::Linear => {}
            Spacing::Logarithmic => {
                let ticks = ticks_between((low, high), marks.max(2));
                if ticks.len() >= 2 {
                    (scale.ends, scale.ticks) = ([low, high], ticks);
                }
            }
        }
        scale
    }

    /// Where a value lies, from 0 to 1, and beyond for values beyond the ends; `None` where it cannot be shown.
    pub fn place(&self, value: f64) -> Option<f64> {
        if !shown(self.spacing, value) {
            return None;
        }
        let [low, high] = self.ends;
        Some(match self.spacing {
            Spacing::Linear => (value - low) / (high - low),
            Spacing::Logarithmic => (value / low).ln() / (high / low).ln(),
        })
    }

    /// The round numbers as places from 0 to 1, and as text.
    pub fn marks(&self) -> Vec<(f64, String)> {
        let marks = self.ticks.iter().zip(self.labels());
        marks.filter_map(|(tick, label)| Some((self.place(*tick)?, label))).collect()
    }

    /// The marks as text, with as many decimals as tell them apart.
    pub fn labels(&self) -> Vec<String> {
        let largest = self.ticks.iter().fold(0.0_f64, |most, t| most.max(t.abs()));
        let label = |&tick: &f64| {
            let step = match self.spacing {
                Spacing::Linear => self.step,
                Spacing::Logarithmic => tick,
            };
            let decimals = (-step.log10() - 1e-9).ceil().max(0.0) as usize;
            match (largest < 1e7, decimals) {
                _ if tick == 0.0 => "0".to_owned(),
                (true, 0) => count(tick.round() as i64),
                (true, 1..=5) => format!("{tick:.decimals$}"),
                _ => scientific(tick),
            }
        };
        self.ticks.iter().map(label).collect()
    }
}

/// `2.5e-6`, without zeros at the end.
fn scientific(x: f64) -> String {
    let text = format!("{x:.10e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
        None => text,
    }
}

fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((low, high)) => Some((v.min(low), v.max(high))),
    })
}

fn shown(spacing: Spacing, value: f64) -> bool {
    match spacing {
        Spacing::Linear => value.abs() <= LARGEST,
        Spacing::Logarithmic => (SMALLEST..=LARGEST).contains(&value),
    }
}

/// The next of 1, 2, 5, 10 times a power of ten that is no smaller.
fn round_up(x: f64) -> f64 {
    let power = 10_f64.powf(x.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= x * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// Multiples of a round step.
fn linear_ticks((low, high): (f64, f64), marks: usize) -> Vec<f64> {
    let size = low.abs().max(high.abs());
    // Below that, neighbours of floats would be told apart.
    let (low, high) = match high - low > (size * 1e-9).max(SMALLEST) {
        true => (low, high),
        false if size < SMALLEST => (0.0, 1.0),
        false => (low - 0.05 * size, high + 0.05 * size),
    };
    let step = round_up((high - low) / marks as f64);
    let first = (low / step + 1e-9).floor();
    let last = (high / step - 1e-9).ceil().max(first + 1.0);
    (0..=(last - first) as usize).map(|i| (first + i as f64) * step).collect()
}

/// Powers of ten, with twice and five times them where these are few.
fn logarithmic_ticks((low, high): (f64, f64), marks: usize) -> Vec<f64> {
    let first = (low.log10() + 1e-9).floor() as i32;
    let last = ((high.log10() - 1e-9).ceil() as i32).max(first + 1);
    let power = |exponent: i32| 10_f64.powi(exponent);
    let decades = (last - first) as usize;
    if decades >= marks {
        let stride = decades.div_ceil(marks);
        return (0..=decades.div_ceil(stride)).map(|i| power(first + (i * stride) as i32)).collect();
    }
    let ladder: Vec<f64> = (first..=last).flat_map(|e| [1.0, 2.0, 5.0].map(|f| f * power(e))).collect();
    let start = ladder.iter().rposition(|&t| t <= low * (1.0 + 1e-9)).unwrap_or(0);
    let end = ladder.iter().position(|&t| t >= high * (1.0 - 1e-9)).unwrap_or(ladder.len() - 1);
    ladder[start.min(ladder.len() - 2)..=end.max(start + 1)].to_vec()
}

/// Round numbers from `low` to `high`, not many more than `marks`: powers of ten, or every few of them, or twice and five times them
/// besides.
fn ticks_between((low, high): (f64, f64), marks: usize) -> Vec<f64> {
    let exponents = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let inside = |t: &f64| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(t);
    let every = |stride: i32, factors: &[f64]| -> Vec<f64> {
        let powers = exponents.clone().filter(|e| e.rem_euclid(stride) == 0).map(|e| 10_f64.powi(e));
        powers.flat_map(|power| factors.iter().map(move |f| f * power)).filter(inside).collect()
    };
    let mut ticks = every(1, &[1.0, 2.0, 5.0]);
    let mut stride = 1;
    while ticks.len() > marks + 1 {
        ticks = every(stride, &[1.0]);
        stride += 1;
    }
    ticks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(values: &[f64], spacing: Spacing) -> String {
        Scale::covering(values.iter().copied(), spacing, 5).labels().join(" ")
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&[0.0, 30.0], Spacing::Linear), "0 10 20 30");
        assert_eq!(labels(&[88.3, 91.8], Spacing::Linear), "88 89 90 91 92");
        assert_eq!(labels(&[-0.3, 0.25], Spacing::Linear), "-0.4 -0.2 0.0 0.2 0.4".replace("0.0", "0"));
        assert_eq!(labels(&[0.0, 10_530.0], Spacing::Linear), "0 5,000 10,000 15,000");
        assert_eq!(labels(&[0.0, 0.000_05], Spacing::Linear), "0 0.00001 0.00002 0.00003 0.00004 0.00005");
        assert_eq!(labels(&[0.0, 4e-7], Spacing::Linear), "0 1e-7 2e-7 3e-7 4e-7");
        assert_eq!(labels(&[0.31, 2.4], Spacing::Logarithmic), "0.2 0.5 1 2 5");
        assert_eq!(
            Scale::ending_with([0.0, 10_530.0], Spacing::Linear, 6).labels().join(" "),
            "0 2,000 4,000 6,000 8,000 10,000"
        );
        assert_eq!(labels(&[1e-6, 40.0], Spacing::Logarithmic), "1e-6 0.0001 0.01 1 100");
    }

    #[test]
    fn logarithmic_axes_that_end_with_their_values_have_round_marks_between() {
        let labels =
            |values: [f64; 2]| Scale::ending_with(values, Spacing::Logarithmic, 4).labels().join(" ");
        assert_eq!(labels([0.31, 2.4]), "0.5 1 2");
        assert_eq!(labels([9.6e-5, 0.25]), "0.0001 0.001 0.01 0.1");
        assert_eq!(labels([1e-9, 0.25]), "1e-8 1e-6 0.0001 0.01");
        // Too few lie between.
        assert_eq!(labels([3.0, 4.0]), "2 5");
        let scale = Scale::ending_with([9.6e-5, 0.25], Spacing::Logarithmic, 4);
        assert_eq!((scale.place(9.6e-5), scale.place(0.25)), (Some(0.0), Some(1.0)));
    }

    #[test]
    fn nothing_one_value_and_equal_values_have_axes() {
        for spacing in [Spacing::Linear, Spacing::Logarithmic] {
            for values in [&[][..], &[f64::NAN, f64::INFINITY], &[3.0], &[3.0; 5], &[0.0], &[-2.0, -2.0]] {
                let scale = Scale::covering(values.iter().copied(), spacing, 5);
                assert!(scale.ticks.len() >= 2, "{values:?}");
                if let Some(place) = scale.place(3.0).filter(|_| values.contains(&3.0)) {
                    assert!((0.0..=1.0).contains(&place));
                }
            }
        }
        assert_eq!(Scale::covering([1.0], Spacing::Logarithmic, 5).place(0.0), None);
        assert_eq!(Scale::covering([1.0], Spacing::Linear, 5).place(f64::NAN), None);
    }

    proptest! {
        #[test]
        fn every_scale_holds_its_values_between_its_ends(
            values in prop::collection::vec(any::<f64>(), 0..8),
            logarithmic in any::<bool>(),
            marks in 0_usize..12,
        ) {
            let spacing = if logarithmic { Spacing::Logarithmic } else { Spacing::Linear };
            let scale = Scale::covering(values.iter().copied(), spacing, marks);
            let ticks = &scale.ticks;
            prop_assert!((2..=3 * marks.max(2) + 4).contains(&ticks.len()), "{ticks:?}");
            prop_assert!(ticks.iter().all(|t| t.is_finite()));
            prop_assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]), "{ticks:?}");
            for &value in &values {
                if let Some(place) = scale.place(value) {
                    prop_assert!((-1e-6..=1.0 + 1e-6).contains(&place), "{value} at {place} of {ticks:?}");
                }
            }
            let values: Vec<f64> = values.into_iter().filter(|v| shown(spacing, *v)).collect();
            let scale = Scale::ending_with(values.iter().copied(), spacing, marks);
            prop_assert!(scale.ticks.len() <= 3 * marks.max(2) + 4);
            // Round numbers beyond what can be shown have no place.
            for value in values.iter().chain(scale.ticks.iter().filter(|t| shown(spacing, **t))) {
                let place = scale.place(*value);
                prop_assert!(place.is_some_and(|p| (-1e-6..=1.0 + 1e-6).contains(&p)), "{value} at {place:?}");
            }
        }

        #[test]
        fn marks_of_ordinary_values_are_told_apart(low in -1e4..1e4, size in 1e-3..1e4, marks in 2_usize..8) {
            let labels = Scale::covering([low, low + size], Spacing::Linear, marks).labels();
            prop_assert!(labels.windows(2).all(|pair| pair[0] != pair[1]), "{labels:?}");
            prop_assert!(labels.len() <= marks + 3, "{labels:?}");
        }

        #[test]
        fn greater_values_lie_further(a in 1e-9..1e9, b in 1e-9..1e9, logarithmic in any::<bool>()) {
            let spacing = if logarithmic { Spacing::Logarithmic } else { Spacing::Linear };
            let scale = Scale::covering([a, b], spacing, 5);
            prop_assert_eq!(a < b, scale.place(a) < scale.place(b));
        }
    }
}
