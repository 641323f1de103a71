//! Which positions of what a layer makes are of samples that count.

use secateurs_graph::samples::{SampleAxis, first_samples};
use secateurs_torch::tch::{Device, Kind, TchError, Tensor};

/// The positions, all indices of a value of this size but those of its rows, that belong to the first `counted` of so many samples;
/// `None` where they cannot be told apart. `place` is where the value's samples lie.
pub(crate) fn counted_positions(
    size: &[i64],
    output_axis: usize,
    place: Option<&SampleAxis>,
    samples: usize,
    counted: usize,
) -> Result<Option<Tensor>, TchError> {
    let mut sizes = size.to_vec();
    sizes.remove(output_axis);
    let place = place.filter(|place| place.axis != output_axis).map(|place| {
        let axis = place.axis - usize::from(output_axis < place.axis);
        SampleAxis { axis, ..place.clone() }
    });
    let all =
        Tensor::f_arange(sizes.iter().product::<i64>(), (Kind::Int64, Device::Cpu))?.f_view(&sizes[..])?;
    let own = first_samples(&all, place.as_ref(), samples, counted)?;
    own.map(|own| own.f_reshape([-1])).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(size: &[i64], output_axis: usize, place: Option<SampleAxis>) -> Option<Vec<i64>> {
        secateurs_torch::load().unwrap();
        let found = counted_positions(size, output_axis, place.as_ref(), 3, 2).unwrap();
        found.map(|found| Vec::try_from(found).unwrap())
    }

    #[test]
    fn positions_of_samples_are_found_on_either_side_of_the_rows_and_within_an_axis() {
        let whole = |axis| Some(SampleAxis { axis, outer: 1.into(), inner: 1.into() });
        assert_eq!(places(&[3, 5, 2], 1, whole(0)), Some(vec![0, 1, 2, 3]));
        assert_eq!(places(&[2, 5, 3], 1, whole(2)), Some(vec![0, 1, 3, 4]));
        // `[2 · samples · 2, rows]`.
        let within = Some(SampleAxis { axis: 0, outer: 2.into(), inner: 2.into() });
        assert_eq!(places(&[12, 5], 1, within), Some(vec![0, 1, 2, 3, 6, 7, 8, 9]));
        assert_eq!(places(&[3, 5], 0, whole(0)), None);
        assert_eq!(places(&[4, 5], 1, whole(0)), None);
        assert_eq!(places(&[3, 5], 1, None), None);
    }
}
