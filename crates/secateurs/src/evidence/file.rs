//! Evidence as a safetensors file: the header is JSON under the key `secateurs` of the file's metadata, the sums are tensors of 64 bits
//! and the factor tensors of 32.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::error::EvidenceError;
use super::{Evidence, FORMAT_VERSION, Factor, Header, Moments, Sums};
use crate::implants::Explained;
use crate::whole;

const KEY: &str = "secateurs";

impl Evidence {
    /// Writes the file, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), EvidenceError> {
        let fail = |message: String| EvidenceError::File { path: path.to_owned(), message };
        let text = serde_json::to_string(&self.header).map_err(|e| fail(e.to_string()))?;
        let mut views = Vec::new();
        let mut add = |name: &str, dtype: Dtype, shape: Vec<usize>, bytes| {
            let view = TensorView::new(dtype, shape, bytes).map_err(|e| fail(format!("'{name}': {e}")))?;
            views.push((name.to_owned(), view));
            Ok::<_, EvidenceError>(())
        };
        for (name, values) in self.sums.named() {
            if !values.is_empty() {
                add(name, Dtype::F64, vec![values.len()], bytemuck::cast_slice(values))?;
            }
        }
        let Factor { sample_of, units, gradients, unit_of, shares } = &self.factor;
        let (rows, width, columns) = (sample_of.len(), self.header.units(), unit_of.len());
        add("factor.sample_of", Dtype::U32, vec![rows], bytemuck::cast_slice(sample_of))?;
        add("factor.units", Dtype::F32, vec![rows, width], bytemuck::cast_slice(units))?;
        add("factor.gradients", Dtype::F32, vec![rows, columns], bytemuck::cast_slice(gradients))?;
        add("factor.unit_of", Dtype::U32, vec![columns], bytemuck::cast_slice(unit_of))?;
        add("factor.shares", Dtype::F32, vec![columns], bytemuck::cast_slice(shares))?;
        for (i, Explained { form, energy, residual, .. }) in self.explained.iter().enumerate() {
            add(
                &format!("implants.{i}.energy"),
                Dtype::F64,
                vec![energy.len()],
                bytemuck::cast_slice(energy),
            )?;
            let shape = vec![energy.len(), form.levels()];
            add(&format!("implants.{i}.residual"), Dtype::F64, shape, bytemuck::cast_slice(residual))?;
        }
        let metadata = HashMap::from([(KEY.to_owned(), text)]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| fail(e.to_string()))?;
        whole::write(path, &bytes).map_err(|source| EvidenceError::Write { path: path.to_owned(), source })
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Evidence, EvidenceError> {
        let missing =
            || EvidenceError::File { path: path.to_owned(), message: "there is no such file".into() };
        Evidence::read_if_there(path)?.ok_or_else(missing)
    }

    /// Reads a file; `None` where there is none.
    pub(super) fn read_if_there(path: &Path) -> Result<Option<Evidence>, EvidenceError> {
        let fail = |message: String| EvidenceError::File { path: path.to_owned(), message };
        let foreign =
            |why: String| fail(format!("is no evidence that this program can read ({why}); measure it anew"));
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail(e.to_string())),
        };
        let file = SafeTensors::deserialize(&bytes).map_err(|e| foreign(e.to_string()))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| foreign(e.to_string()))?;
        let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let text = text.ok_or_else(|| foreign("it has no header".into()))?;
        let version: Version = serde_json::from_str(text).map_err(|e| foreign(e.to_string()))?;
        if version.format_version != FORMAT_VERSION {
            return Err(foreign(format!(
                "its format is version {}, not {FORMAT_VERSION}",
                version.format_version
            )));
        }
        let header: Header = serde_json::from_str(text).map_err(|e| foreign(e.to_string()))?;
        let reader = Reader { file: &file, foreign: &foreign };
        let (units, labels) = (header.units(), header.labels);
        let mut sums = Sums::default();
        let factor = Factor {
            sample_of: reader.values("factor.sample_of", Dtype::U32, None)?,
            units: reader.values("factor.units", Dtype::F32, None)?,
            gradients: reader.values("factor.gradients", Dtype::F32, None)?,
            unit_of: reader.values("factor.unit_of", Dtype::U32, None)?,
            shares: reader.values("factor.shares", Dtype::F32, None)?,
        };
        let (rows, columns) = (factor.sample_of.len(), factor.unit_of.len());
        for (name, values) in sums.named_mut() {
            let is = |of: &[&str]| of.iter().any(|own| name.starts_with(own));
            let measured = match () {
                () if is(&["trace", "hap"]) => header.settings.trace.is_some(),
                () => labels || is(&["quadratic", "activation", "means"]),
            };
            let len = if name == "means" { columns } else { units };
            if measured {
                *values = reader.values(name, Dtype::F64, Some(len))?;
            }
        }
        let explained = header.implants.iter().enumerate().map(|(i, (node, form))| {
            let energy: Vec<f64> = reader.values(&format!("implants.{i}.energy"), Dtype::F64, None)?;
            let len = Some(energy.len() * form.levels());
            let residual = reader.values(&format!("implants.{i}.residual"), Dtype::F64, len)?;
            Ok(Explained { node: node.clone(), form: form.clone(), energy, residual })
        });
        let explained = explained.collect::<Result<Vec<_>, EvidenceError>>()?;
        let whole = factor.units.len() == rows * units
            && factor.gradients.len() == rows * columns
            && factor.shares.len() == columns
            && factor.unit_of.iter().all(|unit| (*unit as usize) < units)
            && factor.sample_of.is_sorted()
            && factor.sample_of.last().is_none_or(|last| (*last as usize) < header.samples_in_factor)
            && header.samples_in_factor <= header.samples
            && header.implants.iter().all(|(_, form)| form.is_ascending());
        if !whole {
            return Err(foreign("its tensors do not fit together".into()));
        }
        Ok(Some(Evidence { header, sums, factor, explained }))
    }
}

#[derive(serde::Deserialize)]
struct Version {
    format_version: u64,
}

struct Reader<'a> {
    file: &'a SafeTensors<'a>,
    foreign: &'a dyn Fn(String) -> EvidenceError,
}

impl Reader<'_> {
    fn values<T: bytemuck::Pod>(
        &self,
        name: &str,
        dtype: Dtype,
        len: Option<usize>,
    ) -> Result<Vec<T>, EvidenceError> {
        let view = self.file.tensor(name).map_err(|e| (self.foreign)(e.to_string()))?;
        let values: Vec<T> = match view.dtype() == dtype {
            // The bytes of a file lie anywhere.
            true => view.data().chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect(),
            false => return Err((self.foreign)(format!("'{name}' has the type {:?}", view.dtype()))),
        };
        match len.is_none_or(|len| len == values.len()) {
            true => Ok(values),
            false => Err((self.foreign)(format!("'{name}' has {} numbers", values.len()))),
        }
    }
}

/// Every sum with its name, by shared or mutable reference.
macro_rules! named {
    ($sums:expr, $($borrow:tt)+) => {{
        let Sums { quadratic, quadratic_of_half, first_order, loss, gradient, taylor, activation, means, trace, hap } = $sums;
        let mut list = vec![("quadratic.of_half", quadratic_of_half), ("means", means)];
        for (sum, squares, moments) in [
            ("quadratic.sum", "quadratic.squares", quadratic),
            ("first_order.sum", "first_order.squares", first_order),
            ("loss.sum", "loss.squares", loss),
            ("gradient.sum", "gradient.squares", gradient),
            ("taylor.sum", "taylor.squares", taylor),
            ("activation.sum", "activation.squares", activation),
            ("trace.sum", "trace.squares", trace),
            ("hap.sum", "hap.squares", hap),
        ] {
            let Moments { sum: own, squares: own_squares } = moments;
            list.push((sum, $($borrow)+ *own));
            list.push((squares, $($borrow)+ *own_squares));
        }
        list
    }};
}

impl Sums {
    fn named(&self) -> Vec<(&'static str, &Vec<f64>)> {
        named!(self, &)
    }

    pub(super) fn named_mut(&mut self) -> Vec<(&'static str, &mut Vec<f64>)> {
        named!(self, &mut)
    }

    /// Adds the sums of other samples.
    pub(super) fn add(&mut self, other: &Sums) {
        for ((_, own), (_, other)) in self.named_mut().into_iter().zip(other.named()) {
            own.iter_mut().zip(other).for_each(|(own, other)| *own += other);
        }
    }
}
