//! The outputs of evaluated samples, in the order of the data.

use std::path::Path;

use secateurs_onnx::{ElementType, Tensor};

use crate::data::{DataError, npz};

/// One output of many samples and their labels, to be compared sample by sample with what another model makes.
#[derive(Debug, Default)]
pub struct Collected {
    /// The samples, as they came: batches have an order of their own.
    samples: Vec<usize>,
    output: Rows,
    label: Rows,
}

impl Collected {
    /// Takes a batch's output and labels `[N, …]`.
    pub fn add(&mut self, samples: &[usize], output: &Tensor, labels: &Tensor) {
        self.samples.extend_from_slice(samples);
        self.output.add(output);
        self.label.add(labels);
    }

    /// Writes the arrays `output` and `label` `[N, …]`, and `sample` `[N]` (from 0, as in the data), as `.npz`.
    pub fn write(self, path: &Path) -> Result<(), DataError> {
        let mut order: Vec<usize> = (0..self.samples.len()).collect();
        order.sort_by_key(|at| self.samples[*at]);
        let array = |rows: &Rows, what: &str| {
            let whole = rows.array(&order);
            whole.map_err(|reason| DataError::Options(format!("{}: {what} {reason}", path.display())))
        };
        let (output, label) = (array(&self.output, "outputs")?, array(&self.label, "labels")?);
        let sample: Vec<i64> = order.iter().map(|at| self.samples[*at] as i64).collect();
        let sample = Tensor::from_slice(vec![sample.len()], &sample).expect("a list has one axis");
        npz::write(path, &[("output", &output), ("label", &label), ("sample", &sample)])
    }
}

/// Rows of one shape.
#[derive(Debug, Default)]
struct Rows {
    rows: Vec<Vec<u8>>,
    /// The element type, and the shape of one row.
    like: Option<(ElementType, Vec<usize>)>,
    /// A shape that other rows do not have.
    other: Option<Vec<usize>>,
}

impl Rows {
    fn add(&mut self, batch: &Tensor) {
        let Some((&count, shape)) = batch.shape().split_first() else { return };
        let like = self.like.get_or_insert_with(|| (batch.element_type(), shape.to_vec()));
        if like.1 != shape {
            self.other = Some(shape.to_vec());
        }
        let width = batch.bytes().len() / count.max(1);
        self.rows.extend((0..count).map(|row| batch.bytes()[row * width..][..width].to_vec()));
    }

    fn array(&self, order: &[usize]) -> Result<Tensor, String> {
        let Some((element_type, shape)) = &self.like else { return Err("are of no sample".into()) };
        if let Some(other) = &self.other {
            return Err(format!(
                "have different shapes, {shape:?} and {other:?}, and make no array; choose an output that has one shape with --output, or \
                 --batch-size so large that all samples are padded alike"
            ));
        }
        let bytes: Vec<u8> = order.iter().flat_map(|at| self.rows[*at].iter().copied()).collect();
        let shape = [vec![order.len()], shape.clone()].concat();
        Tensor::new(*element_type, shape, bytes.into()).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(rows: usize, width: usize, from: f32) -> (Tensor, Tensor) {
        let values: Vec<f32> = (0..rows * width).map(|i| from + i as f32).collect();
        let labels: Vec<i64> = (0..rows).map(|i| from as i64 + i as i64).collect();
        let output = Tensor::from_slice(vec![rows, width], &values).unwrap();
        (output, Tensor::from_slice(vec![rows], &labels).unwrap())
    }

    #[test]
    fn outputs_and_labels_come_in_the_order_of_the_data() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outputs.npz");
        let mut collected = Collected::default();
        let ((first, labels), (second, more)) = (batch(2, 2, 10.0), batch(1, 2, 20.0));
        collected.add(&[3, 0], &first, &labels);
        collected.add(&[1], &second, &more);
        collected.write(&path).unwrap();
        let arrays = npz::read(&path).unwrap();
        let of = |name: &str| arrays.iter().find(|(own, _)| own == name).unwrap().1.to_f64_vec().unwrap();
        assert_eq!(of("sample"), [0.0, 1.0, 3.0]);
        assert_eq!(of("label"), [11.0, 20.0, 10.0]);
        assert_eq!(of("output"), [12.0, 13.0, 20.0, 21.0, 10.0, 11.0]);
    }

    #[test]
    fn outputs_of_different_shapes_make_no_array() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outputs.npz");
        let mut collected = Collected::default();
        for (sample, width) in [2, 3].into_iter().enumerate() {
            let (output, labels) = batch(1, width, 0.0);
            collected.add(&[sample], &output, &labels);
        }
        let error = collected.write(&path).unwrap_err().to_string();
        assert!(error.contains("[2] and [3]"), "{error}");
        assert!(!path.exists());
        assert!(Collected::default().write(&path).is_err());
    }
}
