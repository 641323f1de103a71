//! Logarithmic axes on which 0 has a place too.

use super::scale::{LARGEST, Scale, Spacing};

/// Decades below the highest value that are told apart.
const DECADES: i32 = 8;
/// The part of the axis that is set apart for what lies below.
const FOOT: f64 = 0.15;
/// Where in it that stands, so that its mark is clear of the lowest of the others.
const STANDS: f64 = 0.3;

/// A logarithmic axis with a foot for what it cannot show: 0, negative numbers, and what is next to nothing beside the highest
/// value.
#[derive(Debug, Clone, PartialEq)]
pub struct FlooredScale {
    scale: Scale,
    /// What is lower stands in the foot.
    floor: f64,
    /// How long the foot is, from 0 to 1; 0 where nothing stands in it.
    foot: f64,
    /// What stands in it.
    foot_label: &'static str,
}

impl FlooredScale {
    /// The axis that shows all of `values` that are finite and ends with them, with about so many `marks`.
    pub fn covering(values: impl IntoIterator<Item = f64>, marks: usize) -> FlooredScale {
        let values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).map(|v| v.min(LARGEST)).collect();
        let highest = values.iter().copied().fold(0.0, f64::max);
        let floor = (highest * 10_f64.powi(-DECADES)).max(f64::MIN_POSITIVE);
        let scale =
            Scale::ending_with(values.iter().copied().filter(|v| *v >= floor), Spacing::Logarithmic, marks);
        let (mut foot, mut foot_label) = (0.0, "0");
        for &value in values.iter().filter(|v| **v < floor) {
            foot = FOOT;
            match value {
                0.0 => {}
                value if value < 0.0 => foot_label = "≤ 0",
                _ if foot_label == "0" => foot_label = "≈ 0",
                _ => {}
            }
        }
        FlooredScale { scale, floor, foot, foot_label }
    }

    /// Where a value lies on the part that is logarithmic, from 0 to 1; `None` for what stands in the foot.
    pub fn share(&self, value: f64) -> Option<f64> {
        if !value.is_finite() || value < self.floor {
            return None;
        }
        self.scale.place(value.min(LARGEST)).map(|share| share.clamp(0.0, 1.0))
    }

    /// Where a value lies, from 0 to 1; `None` if it is not finite.
    pub fn place(&self, value: f64) -> Option<f64> {
        let above = |share: f64| self.foot + (1.0 - self.foot) * share;
        value.is_finite().then(|| self.share(value).map_or(STANDS * self.foot, above))
    }

    /// How long the foot is, from 0 to 1; 0 where there is none.
    pub fn foot(&self) -> f64 {
        self.foot
    }

    /// Places of the round numbers, and of the foot, from 0 to 1, with their texts.
    pub fn marks(&self) -> Vec<(f64, String)> {
        let foot = (self.foot > 0.0).then(|| (STANDS * self.foot, self.foot_label.to_owned()));
        let above = |(share, text)| (self.foot + (1.0 - self.foot) * share, text);
        foot.into_iter().chain(self.scale.marks().into_iter().map(above)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marks(values: &[f64]) -> String {
        let scale = FlooredScale::covering(values.iter().copied(), 5);
        scale.marks().into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_cannot_be_shown_stands_apart() {
        assert_eq!(marks(&[0.01, 1.1]), "0.01 0.1 1");
        assert_eq!(marks(&[0.0, 0.1, 1.0]), "0 0.1 0.2 0.5 1");
        assert_eq!(marks(&[0.0, 1e-12, 0.1, 1.0]), "≈ 0 0.1 0.2 0.5 1");
        assert_eq!(marks(&[-0.2, 1e-12, 0.1, 1.0]), "≤ 0 0.1 0.2 0.5 1");
        let scale = FlooredScale::covering([0.0, 1e-12, 0.1, 1.0, f64::NAN, f64::INFINITY], 5);
        let places = [0.0, 1e-12, 0.1, 1.0, f64::NAN, f64::INFINITY].map(|v| scale.place(v));
        assert_eq!(places, [Some(STANDS * FOOT), Some(STANDS * FOOT), Some(FOOT), Some(1.0), None, None]);
        assert_eq!([0.0, 0.1, 1.0].map(|v| scale.share(v)), [None, Some(0.0), Some(1.0)]);
        assert_eq!(FlooredScale::covering([0.1, 1.0], 5).place(0.1), Some(0.0));
        // What is too large to be shown lies where the largest does.
        let scale = FlooredScale::covering([1e147, 6e152], 5);
        assert_eq!([1e147, 6e152].map(|v| scale.place(v)), [Some(0.0), Some(1.0)]);
    }

    proptest! {
        #[test]
        fn every_number_has_a_place_and_greater_ones_lie_no_lower(
            values in prop::collection::vec(any::<f64>(), 0..8),
        ) {
            let scale = FlooredScale::covering(values.iter().copied(), 5);
            let mut finite: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
            finite.sort_by(f64::total_cmp);
            let places: Vec<f64> = finite.iter().filter_map(|v| scale.place(*v)).collect();
            prop_assert_eq!(places.len(), finite.len());
            prop_assert!(places.iter().all(|p| (0.0..=1.0).contains(p)), "{:?}", places);
            prop_assert!(places.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", places);
        }
    }
}
