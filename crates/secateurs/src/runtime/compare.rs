//! How much two outputs differ.

use secateurs_onnx::Tensor;

/// `max|a − b| / max|b|`, the measure of all tolerances.
///
/// 0 for equal tensors; two NaN and two equal infinities in the same place are equal. Infinite if the shapes differ,
/// if only one of the tensors is not finite somewhere, if one differs from a `b` of zeros, or if the elements are no
/// numbers and not the same.
pub fn relative_difference(a: &Tensor, b: &Tensor) -> f64 {
    if a.shape() != b.shape() {
        return f64::INFINITY;
    }
    let (Ok(left), Ok(right)) = (a.to_f64_vec(), b.to_f64_vec()) else {
        return if a == b { 0.0 } else { f64::INFINITY };
    };
    let (mut difference, mut largest) = (0.0_f64, 0.0_f64);
    for (a, b) in left.into_iter().zip(right) {
        if a == b || a.is_nan() && b.is_nan() {
            // Equal infinities are no scale for the others.
        } else if a.is_finite() && b.is_finite() {
            difference = difference.max((a - b).abs());
        } else {
            return f64::INFINITY;
        }
        if b.is_finite() {
            largest = largest.max(b.abs());
        }
    }
    if difference == 0.0 { 0.0 } else { difference / largest }
}

/// The largest [`relative_difference`] over all outputs of `b`, each compared with its namesake in `a`, and the name
/// of that output. An output that `a` lacks differs infinitely.
pub fn largest_difference<'a>(a: &[(String, Tensor)], b: &'a [(String, Tensor)]) -> (f64, Option<&'a str>) {
    let mut worst = (0.0, None);
    for (name, tensor) in b {
        let other = a.iter().find(|(other, _)| other == name);
        let difference = other.map_or(f64::INFINITY, |(_, other)| relative_difference(other, tensor));
        if difference > worst.0 || worst.1.is_none() {
            worst = (difference, Some(name.as_str()));
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_slice(vec![values.len()], values).unwrap()
    }

    #[test]
    fn the_largest_difference_is_related_to_the_largest_value() {
        assert_eq!(relative_difference(&tensor(&[1.0, 3.5]), &tensor(&[1.5, -4.0])), 7.5 / 4.0);
        assert_eq!(relative_difference(&tensor(&[1.0]), &tensor(&[1.0])), 0.0);
        assert_eq!(relative_difference(&tensor(&[]), &tensor(&[])), 0.0);
        assert_eq!(relative_difference(&tensor(&[0.1]), &tensor(&[0.0])), f64::INFINITY);
    }

    #[test]
    fn what_is_not_finite_must_be_the_same() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        assert_eq!(relative_difference(&tensor(&[nan, inf, 1.0]), &tensor(&[nan, inf, 1.0])), 0.0);
        assert_eq!(relative_difference(&tensor(&[inf, 1.0]), &tensor(&[inf, 2.0])), 0.5);
        for (a, b) in [(nan, 1.0), (1.0, nan), (inf, 1.0), (1.0, inf), (inf, -inf), (nan, inf)] {
            assert_eq!(relative_difference(&tensor(&[a]), &tensor(&[b])), f64::INFINITY, "{a} {b}");
        }
        assert_eq!(relative_difference(&tensor(&[1.0]), &tensor(&[1.0, 1.0])), f64::INFINITY);
    }

    #[test]
    fn the_worst_output_is_named() {
        let output = |name: &str, value| (name.to_owned(), tensor(&[value]));
        let b = [output("logits", 2.0), output("features", 4.0)];
        assert_eq!(
            largest_difference(&[output("features", 3.0), output("logits", 2.0)], &b),
            (0.25, Some("features"))
        );
        assert_eq!(largest_difference(&[output("logits", 2.0)], &b), (f64::INFINITY, Some("features")));
        assert_eq!(largest_difference(&b, &b), (0.0, Some("logits")));
        assert_eq!(largest_difference(&b, &[]), (0.0, None));
    }
}
