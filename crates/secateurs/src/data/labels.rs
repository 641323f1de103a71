//! Labels: class indices of samples or of their rows (tokens, pixels), flags that hold or not, and numbers.

use std::path::Path;

use secateurs_onnx::{ElementType, Tensor};

use super::arrays::rows;
use super::error::{DataError, Result};

/// What a label that does not count is in a batch.
pub const IGNORED: i64 = -100;
/// About so many labels are looked at together.
const CHUNK: usize = 1 << 20;

/// What labels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelKind {
    /// Class indices, below the number of classes where that is known. Where a sample has several, negative ones do not count.
    Classes(Option<usize>),
    /// 0 or 1; negative ones do not count.
    Flags,
    /// Numbers.
    Numbers,
}

/// The labels of all samples.
#[derive(Debug, Clone)]
pub struct Labels {
    /// `[N, …]` as they are stored, without axes of size 1 after the first.
    tensor: Tensor,
    kind: LabelKind,
    /// A label beside the negative ones that does not count.
    ignored: Option<i64>,
}

impl Labels {
    /// Labels `[N, …]` from an array of numbers.
    pub(super) fn of_array(path: &Path, name: &str, tensor: &Tensor, ignored: Option<i64>) -> Result<Labels> {
        let error = |message: String| DataError::Array {
            path: path.to_owned(),
            array: Some(name.to_owned()),
            message,
        };
        let element_type = tensor.element_type();
        let numbers =
            element_type.is_float() || element_type.is_integer() || element_type == ElementType::Bool;
        if tensor.shape().is_empty() || !numbers {
            return Err(error(format!(
                "labels are {element_type} {:?}; they must be numbers [samples, …]",
                tensor.shape()
            )));
        }
        let mut shape = tensor.shape().to_vec();
        let mut first = true;
        shape.retain(|size| std::mem::take(&mut first) || *size != 1);
        let tensor = tensor.reshaped(shape).map_err(|e| error(e.to_string()))?;
        Ok(Labels { tensor, kind: LabelKind::Numbers, ignored })
    }

    /// A class index a sample.
    pub(super) fn of_classes(classes: &[i64]) -> Result<Labels> {
        let tensor = Tensor::from_slice(vec![classes.len()], classes);
        let tensor = tensor.map_err(|e| DataError::Options(e.to_string()))?;
        Ok(Labels { tensor, kind: LabelKind::Classes(None), ignored: None })
    }

    /// The sizes, `[N, …]`, of which none but the first is 1.
    pub fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }

    /// What they are.
    pub fn kind(&self) -> LabelKind {
        self.kind
    }

    /// Whether every label is an integer.
    pub fn are_whole(&self) -> bool {
        !self.tensor.element_type().is_float() || self.all(|label| label.fract() == 0.0)
    }

    /// Whether every label is 0 or 1.
    pub fn are_flags(&self) -> bool {
        self.all(|label| label == 0.0 || label == 1.0)
    }

    /// Whether of the labels of every sample one is 1 and all others are 0.
    pub fn are_one_hot(&self) -> bool {
        let width = self.width();
        let one_hot = |labels: &[f64]| labels.iter().sum::<f64>() == 1.0;
        self.are_flags()
            && width > 1
            && self.chunks().all(|chunk| chunk.is_ok_and(|(_, labels)| labels.chunks(width).all(one_hot)))
    }

    fn all(&self, holds: impl Fn(f64) -> bool) -> bool {
        self.chunks().all(|chunk| chunk.is_ok_and(|(_, labels)| labels.into_iter().all(&holds)))
    }

    /// Labels of a sample.
    fn width(&self) -> usize {
        (self.tensor.len() / self.shape()[0].max(1)).max(1)
    }

    /// The labels of some samples after the others, with the first of these.
    fn chunks(&self) -> impl Iterator<Item = Result<(usize, Vec<f64>)>> {
        let samples = self.shape()[0];
        let together = (CHUNK / self.width()).max(1);
        (0..samples).step_by(together).map(move |first| {
            let indices: Vec<usize> = (first..(first + together).min(samples)).collect();
            Ok((first, self.values(&indices)?))
        })
    }

    fn values(&self, indices: &[usize]) -> Result<Vec<f64>> {
        rows(&self.tensor, indices)?.to_f64_vec().map_err(|e| DataError::Options(e.to_string()))
    }

    /// Whether a label does not count.
    fn is_ignored(&self, label: f64) -> bool {
        let several = self.shape().len() > 1 || self.kind == LabelKind::Flags;
        several
            && self.kind != LabelKind::Numbers
            && (label < 0.0 || self.ignored.is_some_and(|ignored| label == ignored as f64))
    }

    /// Takes labels for what they are to be, if they can be that; `place` names where those of a sample are.
    pub(super) fn taken_for(
        mut self,
        kind: LabelKind,
        path: &Path,
        place: impl Fn(usize) -> String,
    ) -> Result<Labels> {
        self.kind = kind;
        let valid = |label: f64| match kind {
            LabelKind::Numbers => label.is_finite(),
            _ if label.fract() != 0.0 => false,
            _ if self.is_ignored(label) => true,
            LabelKind::Flags => label == 0.0 || label == 1.0,
            LabelKind::Classes(classes) => {
                label >= 0.0 && classes.map_or(label < 9e15, |classes| label < classes as f64)
            }
        };
        let width = self.width();
        for chunk in self.chunks() {
            let (first, labels) = chunk?;
            if let Some(at) = labels.iter().position(|label| !valid(*label)) {
                return Err(DataError::Label {
                    path: path.to_owned(),
                    place: place(first + at / width),
                    label: labels[at].to_string(),
                    message: self.fault(labels[at]),
                });
            }
        }
        Ok(self)
    }

    fn fault(&self, label: f64) -> String {
        let several = match self.shape().len() {
            1 => "",
            _ => "; what does not count is negative, or given with --ignore-label",
        };
        match self.kind {
            LabelKind::Numbers => "is infinite or no number".to_owned(),
            LabelKind::Flags => {
                "is neither 0 nor 1, as labels that hold or not are; class indices are for --objective classes".to_owned()
            }
            LabelKind::Classes(_) if label.fract() != 0.0 => {
                "is no class index; numbers to be met are for --objective values".to_owned()
            }
            LabelKind::Classes(Some(classes)) if label >= 0.0 => format!(
                "is out of range: the model has {classes} classes, 0 to {}{several}",
                classes.max(1) - 1
            ),
            LabelKind::Classes(_) => format!("is negative: labels are class indices from 0{several}"),
        }
    }

    /// The class of every sample; `None` where samples have several labels or numbers.
    pub(super) fn classes(&self) -> Result<Option<Vec<i64>>> {
        match (self.kind, self.shape()) {
            (LabelKind::Classes(_), [samples]) => {
                let all: Vec<usize> = (0..*samples).collect();
                Ok(Some(self.values(&all)?.into_iter().map(|label| label as i64).collect()))
            }
            _ => Ok(None),
        }
    }

    /// Those of some samples, `[n, …]`: 64-bit integers, [`IGNORED`] where one does not count, or 64-bit floats for numbers.
    pub(super) fn batch(&self, indices: &[usize]) -> Result<Tensor> {
        let mut shape = self.shape().to_vec();
        shape[0] = indices.len();
        let values = self.values(indices)?;
        let tensor = match self.kind {
            LabelKind::Numbers => Tensor::from_slice(shape, &values),
            _ => {
                let label = |label: f64| if self.is_ignored(label) { IGNORED } else { label as i64 };
                Tensor::from_slice(shape, &values.into_iter().map(label).collect::<Vec<i64>>())
            }
        };
        tensor.map_err(|e| DataError::Options(e.to_string()))
    }
}

/// The index of a class's name.
pub(super) fn class_index(classes: &[String], name: &str) -> Option<i64> {
    classes.iter().position(|class| class == name).map(|index| index as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tensor: &Tensor, kind: LabelKind) -> Result<Labels> {
        let labels = Labels::of_array(Path::new("data.npz"), "y", tensor, None)?;
        labels.taken_for(kind, Path::new("data.npz"), |row| format!("row {row}"))
    }

    fn error(tensor: &Tensor, kind: LabelKind) -> String {
        read(tensor, kind).unwrap_err().to_string()
    }

    fn tensor<T: secateurs_onnx::Element>(shape: &[usize], values: &[T]) -> Tensor {
        Tensor::from_slice(shape.to_vec(), values).unwrap()
    }

    const CLASSES: LabelKind = LabelKind::Classes(Some(10));

    #[test]
    fn integers_columns_and_whole_floats_are_class_indices() {
        let classes = |tensor: &Tensor| read(tensor, CLASSES).unwrap().classes().unwrap().unwrap();
        assert_eq!(classes(&tensor(&[2], &[3_u8, 0])), [3, 0]);
        assert_eq!(classes(&tensor(&[2, 1], &[3_i32, 1])), [3, 1]);
        assert_eq!(classes(&tensor(&[2], &[3.0_f32, 1.0])), [3, 1]);
        assert!(
            error(&tensor(&[2], &[3.0_f32, 0.5]), CLASSES).contains("row 1: label 0.5 is no class index")
        );
        assert!(error(&tensor(&[1], &[f64::NAN]), CLASSES).contains("NaN"));
        assert!(error(&Tensor::scalar(1_i64), CLASSES).contains("'y'"));
    }

    #[test]
    fn labels_out_of_range_are_named() {
        let message = error(&tensor(&[2], &[0_i64, 10]), CLASSES);
        assert!(message.contains("data.npz, row 1: label 10") && message.contains("10 classes"), "{message}");
        assert!(error(&tensor(&[1], &[-1_i64]), CLASSES).contains("label -1"));
        assert!(error(&tensor(&[1], &[-1_i64]), LabelKind::Classes(None)).contains("negative"));
        let message = error(&tensor(&[2, 2], &[0_u8, 1, 9, 255]), CLASSES);
        assert!(message.contains("row 1: label 255") && message.contains("--ignore-label"), "{message}");
    }

    #[test]
    fn large_labels_are_looked_at_a_few_at_a_time_and_named_all_the_same() {
        let mut values = vec![1_u8; 3 * CHUNK / 2];
        let whole = Labels::of_array(Path::new("data.npz"), "y", &tensor(&[3, CHUNK / 2], &values), None);
        let whole = whole.unwrap();
        let chunks: Vec<(usize, usize)> =
            whole.chunks().map(|chunk| chunk.unwrap()).map(|(first, labels)| (first, labels.len())).collect();
        assert_eq!(chunks, [(0, CHUNK), (2, CHUNK / 2)]);
        values[CHUNK + 1] = 10;
        assert!(error(&tensor(&[3, CHUNK / 2], &values), CLASSES).contains("row 2: label 10"));
        // Not even one fits.
        let wide = tensor(&[2, CHUNK + 1], &vec![1_u8; 2 * CHUNK + 2]);
        assert!(read(&wide, CLASSES).is_ok());
    }

    #[test]
    fn of_several_labels_those_that_do_not_count_are_marked() {
        let batch = |labels: &Labels| labels.batch(&[1, 0]).unwrap().to_i64_vec().unwrap();
        let rows = read(&tensor(&[2, 1, 2], &[0_i64, -1, 9, -100]), CLASSES).unwrap();
        assert_eq!(
            (rows.shape(), batch(&rows), rows.classes().unwrap()),
            (&[2, 2][..], vec![9, IGNORED, 0, IGNORED], None)
        );
        let mask = tensor(&[2, 2], &[255_u8, 1, 9, 255]);
        let mask = Labels::of_array(Path::new("data.npz"), "y", &mask, Some(255)).unwrap();
        let mask = mask.taken_for(CLASSES, Path::new("data.npz"), |_| String::new()).unwrap();
        assert_eq!(batch(&mask), [9, IGNORED, IGNORED, 1]);
        let flags = read(&tensor(&[2, 2], &[0.0_f32, 1.0, -1.0, 1.0]), LabelKind::Flags).unwrap();
        assert_eq!(batch(&flags), [IGNORED, 1, 0, 1]);
        assert!(error(&tensor(&[2, 2], &[0_i64, 1, 2, 1]), LabelKind::Flags).contains("neither 0 nor 1"));
    }

    #[test]
    fn numbers_are_taken_as_they_are_if_they_are_numbers() {
        let numbers = read(&tensor(&[2, 2], &[0.5_f32, -1.0, 2.0, 3.5]), LabelKind::Numbers).unwrap();
        let batch = numbers.batch(&[1]).unwrap();
        assert_eq!((batch.element_type(), batch.shape()), (ElementType::Float64, &[1, 2][..]));
        assert_eq!(batch.to_f64_vec().unwrap(), [2.0, 3.5]);
        assert!(error(&tensor(&[1], &[f32::INFINITY]), LabelKind::Numbers).contains("infinite"));
    }

    #[test]
    fn what_labels_may_be_is_seen_from_them() {
        let labels = |tensor: &Tensor| Labels::of_array(Path::new("data.npz"), "y", tensor, None).unwrap();
        let one_hot = labels(&tensor(&[2, 2], &[0_u8, 1, 1, 0]));
        assert!(one_hot.are_one_hot() && one_hot.are_flags() && one_hot.are_whole());
        let flags = labels(&tensor(&[2, 2], &[0.0_f32, 0.0, 1.0, 1.0]));
        assert!(!flags.are_one_hot() && flags.are_flags());
        let numbers = labels(&tensor(&[2], &[0.0_f32, 0.5]));
        assert!(!numbers.are_flags() && !numbers.are_whole());
        // One number a sample is no row.
        assert!(!labels(&tensor(&[1], &[1_u8])).are_one_hot());
    }
}
