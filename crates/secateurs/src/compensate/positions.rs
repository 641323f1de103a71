//! Which positions of what a layer makes are of samples that count.

use secateurs_graph::samples::{SampleAxis, first_samples};
use secateurs_torch::tch::{Device, Kind, TchError, Tensor};

/// The positions, all indices of a value of this size but those of its rows, that belong to the first `counted` of so many samples and,
/// where `mask` (`[samples, tokens]`) is 0 for padding and the value has its tokens beside its samples, to tokens; `None` where samples
/// cannot be told apart. `place` is where the value's samples lie.
pub(crate) fn counted_positions(
    size: &[i64],
    output_axis: usize,
    place: Option<&SampleAxis>,
    samples: usize,
    counted: usize,
    mask: Option<&Tensor>,
) -> Result<Option<Tensor>, TchError> {
    let (sizes, place) = without(size, output_axis, place);
    let all =
        Tensor::f_arange(sizes.iter().product::<i64>(), (Kind::Int64, Device::Cpu))?.f_view(&sizes[..])?;
    let own = first_samples(&all, place.as_ref(), samples, counted)?;
    let own = own.map(|own| own.f_reshape([-1])).transpose()?;
    let tokens = match (mask, place) {
        (Some(mask), Some(place)) => tokens(&sizes, &place, mask)?,
        _ => None,
    };
    match (own, tokens) {
        (Some(own), Some(tokens)) => {
            let counts = tokens.f_index_select(0, &own)?;
            Ok(Some(own.f_masked_select(&counts)?))
        }
        (own, _) => Ok(own),
    }
}

/// 1 at the positions of a value of this size that are of tokens and 0 at those of padding, with one index on `axis`; `None` where the
/// value has no tokens beside its samples. `mask` is that of [`counted_positions`].
pub(crate) fn token_positions(
    size: &[i64],
    axis: usize,
    place: Option<&SampleAxis>,
    mask: &Tensor,
) -> Result<Option<Tensor>, TchError> {
    let (sizes, Some(place)) = without(size, axis, place) else { return Ok(None) };
    let mut shape = size.to_vec();
    shape[axis] = 1;
    tokens(&sizes, &place, mask)?.map(|tokens| tokens.f_view(&shape[..])).transpose()
}

/// A size without one of its axes, and where samples lie then; nowhere if on that axis.
fn without(size: &[i64], axis: usize, place: Option<&SampleAxis>) -> (Vec<i64>, Option<SampleAxis>) {
    let mut sizes = size.to_vec();
    sizes.remove(axis);
    let place = place.filter(|place| place.axis != axis).map(|place| {
        let own = place.axis - usize::from(axis < place.axis);
        SampleAxis { axis: own, ..place.clone() }
    });
    (sizes, place)
}

/// Whether each position is one of a token: of `[…, samples, tokens, …]`, or of `[…, samples · tokens, …]`.
fn tokens(sizes: &[i64], place: &SampleAxis, mask: &Tensor) -> Result<Option<Tensor>, TchError> {
    let (samples, tokens) = mask.size2()?;
    let Some([outer, _, inner]) = place.factors(sizes[place.axis], samples) else { return Ok(None) };
    let before = sizes[..place.axis].iter().product::<i64>() * outer;
    let behind = &sizes[place.axis + 1..];
    let rest = match (inner, behind) {
        (inner, behind) if inner == tokens => behind,
        (1, [first, rest @ ..]) if *first == tokens => rest,
        _ => return Ok(None),
    };
    let rest: i64 = rest.iter().product();
    let own = mask.f_ne(0)?.f_view([1, samples, tokens, 1])?;
    own.f_expand([before, samples, tokens, rest], false)?.f_reshape([-1]).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(size: &[i64], output_axis: usize, place: Option<SampleAxis>) -> Option<Vec<i64>> {
        secateurs_torch::load().unwrap();
        let found = counted_positions(size, output_axis, place.as_ref(), 3, 2, None).unwrap();
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

    #[test]
    fn padding_is_no_position_where_tokens_lie_beside_their_samples() {
        secateurs_torch::load().unwrap();
        let mask = Tensor::f_from_slice(&[1.0, 0.0, 1.0, 1.0, 1.0, 1.0]).unwrap().f_view([3, 2]).unwrap();
        let places = |size: &[i64], output_axis, inner: i64, counted| {
            let place = SampleAxis { axis: 0, outer: 1.into(), inner: inner.into() };
            let found = counted_positions(size, output_axis, Some(&place), 3, counted, Some(&mask)).unwrap();
            Vec::<i64>::try_from(found.unwrap()).unwrap()
        };
        assert_eq!(places(&[3, 2, 5], 2, 1, 3), [0, 2, 3, 4, 5]);
        assert_eq!(places(&[3, 2, 5], 2, 1, 1), [0]);
        // With rows between them, and further positions behind.
        assert_eq!(places(&[3, 5, 2, 2], 1, 1, 2), [0, 1, 4, 5, 6, 7]);
        assert_eq!(places(&[6, 5], 1, 2, 3), [0, 2, 3, 4, 5]);
        // One position a sample is of all its tokens.
        assert_eq!(places(&[3, 5], 1, 1, 3), [0, 1, 2]);
    }
}
