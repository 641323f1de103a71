//! Labels: class indices from arrays, names and columns.

use std::path::Path;

use secateurs_onnx::Tensor;

use super::error::{DataError, Result};

/// The index of a class's name.
pub(super) fn class_index(classes: &[String], name: &str) -> Option<i64> {
    classes.iter().position(|class| class == name).map(|index| index as i64)
}

/// Labels from an array `[N]` or `[N, 1]` of integers, or of floats that are integers.
pub(super) fn from_tensor(path: &Path, name: &str, tensor: &Tensor) -> Result<Vec<i64>> {
    let error =
        |message: String| DataError::Array { path: path.to_owned(), array: Some(name.to_owned()), message };
    let shape = tensor.shape();
    if shape.is_empty() || shape[1..].iter().any(|size| *size != 1) {
        return Err(error(format!(
            "labels have the shape {shape:?}; they must be class indices [N] (of one-hot rows take the argmax)"
        )));
    }
    if !tensor.element_type().is_float() {
        return tensor.to_i64_vec().map_err(|e| error(e.to_string()));
    }
    let values = tensor.to_f64_vec().map_err(|e| error(e.to_string()))?;
    let integer = |(row, value): (usize, f64)| {
        if value.fract() == 0.0 && value.abs() < 9e15 {
            Ok(value as i64)
        } else {
            Err(error(format!("the label in row {row} is {value}, which is no class index")))
        }
    };
    values.into_iter().enumerate().map(integer).collect()
}

/// Checks that labels are class indices of a model with `classes` classes; `place` names where a label is.
pub(super) fn check(
    path: &Path,
    labels: &[i64],
    classes: Option<usize>,
    place: impl Fn(usize) -> String,
) -> Result<()> {
    let valid =
        |label: i64| usize::try_from(label).is_ok_and(|label| classes.is_none_or(|classes| label < classes));
    match labels.iter().position(|label| !valid(*label)) {
        None => Ok(()),
        Some(index) => Err(DataError::Label {
            path: path.to_owned(),
            place: place(index),
            label: labels[index].to_string(),
            message: match classes {
                Some(classes) => {
                    format!("is out of range: the model has {classes} classes, 0 to {}", classes.max(1) - 1)
                }
                None => "is negative: labels are class indices from 0".to_owned(),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> &'static Path {
        Path::new("data.npz")
    }

    #[test]
    fn integers_columns_and_whole_floats_are_labels() {
        let read = |tensor: &Tensor| from_tensor(path(), "y", tensor);
        assert_eq!(read(&Tensor::from_slice(vec![2], &[3_u8, 0]).unwrap()).unwrap(), [3, 0]);
        assert_eq!(read(&Tensor::from_slice(vec![2, 1], &[3_i32, -1]).unwrap()).unwrap(), [3, -1]);
        assert_eq!(read(&Tensor::from_slice(vec![2], &[3.0_f32, 1.0]).unwrap()).unwrap(), [3, 1]);
        let error = |tensor: &Tensor| read(tensor).unwrap_err().to_string();
        assert!(error(&Tensor::from_slice(vec![2], &[3.0_f32, 0.5]).unwrap()).contains("row 1"));
        assert!(error(&Tensor::from_slice(vec![1], &[f64::NAN]).unwrap()).contains("NaN"));
        assert!(error(&Tensor::from_slice(vec![1, 2], &[0_i64, 1]).unwrap()).contains("argmax"));
    }

    #[test]
    fn labels_out_of_range_are_named() {
        let error = |labels: &[i64], classes| {
            check(path(), labels, classes, |row| format!("row {row}")).unwrap_err().to_string()
        };
        assert!(check(path(), &[0, 9], Some(10), |_| String::new()).is_ok());
        let message = error(&[0, 10], Some(10));
        assert!(message.contains("data.npz, row 1: label 10") && message.contains("10 classes"), "{message}");
        assert!(error(&[-1], Some(10)).contains("label -1"));
        assert!(error(&[-1], None).contains("negative"));
    }
}
