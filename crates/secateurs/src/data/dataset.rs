//! Samples for a model, whatever they are stored as.

use std::path::{Path, PathBuf};

use secateurs_onnx::Tensor;

use super::arrays::{Arrays, Wishes};
use super::augment::{Augment, Augmenting};
use super::error::{DataError, Result};
use super::images::{self, ImageFiles};
use super::labels::{LabelKind, Labels};
use super::options::DataOptions;
use super::preprocess::{Layout, Preprocess};
use super::records::{self, Columns, Records};
use super::signature::{InputSpec, Mismatch, check};
use super::text::{Texts, find_tokenizer};
use super::token_inputs::TokenInputs;
use super::transform::Transform;

/// Some samples as a model takes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The model's inputs by name, each `[N, …]`.
    pub inputs: Vec<(String, Tensor)>,
    /// What the samples are labelled with, if they are, `[N, …]`: 64-bit integers, of which [`IGNORED`](super::IGNORED) do not count,
    /// or 64-bit floats.
    pub labels: Option<Tensor>,
    /// Which samples of the dataset these are.
    pub indices: Vec<usize>,
}

/// An open dataset, checked against the inputs of a model.
#[derive(Debug)]
pub struct Dataset {
    path: PathBuf,
    inputs: Vec<InputSpec>,
    pub(super) source: Source,
    labels: Option<Labels>,
    /// Where every sample has one.
    classes: Option<Vec<i64>>,
    class_names: Vec<String>,
    reading: String,
}

#[derive(Debug)]
pub(super) enum Source {
    Images(ImageFiles),
    Arrays(Arrays),
    Texts(Box<Texts>),
}

impl Dataset {
    /// Opens data for a model with these inputs; `kind` says what labels are to be.
    ///
    /// `path` is a folder of images or of class folders of images, an image, an `.npz` or `.npy` file, or a text
    /// file. The first sample is read and compared with every input, all labels with what they are to be.
    pub fn open(
        path: &Path,
        options: &DataOptions,
        inputs: &[InputSpec],
        kind: impl Fn(&Labels) -> LabelKind,
    ) -> Result<Dataset> {
        let metadata = std::fs::metadata(path).map_err(DataError::io(path))?;
        if inputs.is_empty() {
            return Err(DataError::Options("the model has no inputs, so it needs no data".to_owned()));
        }
        let suffix = path.extension().unwrap_or_default().to_ascii_lowercase();
        let suffix = suffix.to_str().unwrap_or_default();
        let (mut places, mut array_labels) = (Places::Samples, None);
        let (mut preprocess, mut read_by) = (Preprocess::default(), None);
        let (source, labels, class_names) = if metadata.is_dir() || images::is_image(path) {
            let found = images::find(path, options.classes.as_deref())?;
            let [input] = inputs else {
                return Err(DataError::Unsupported {
                    path: path.to_owned(),
                    what: format!("image files serve one input, the model has {}", inputs.len()),
                    remedy: "give arrays named as the model's inputs as .npz".to_owned(),
                });
            };
            preprocess = options.image_preprocess(path)?;
            let transform = Transform::new(path, &preprocess, input, None)?;
            let (labels, names) = found.labels.unzip();
            places = Places::Files(found.files.clone());
            (Source::Images(ImageFiles { files: found.files, transform }), labels, names.unwrap_or_default())
        } else if suffix == "npz" || suffix == "npy" {
            let wishes = Wishes {
                explicit: &options.explicit_preprocess()?,
                images: &|| options.image_preprocess(path),
            };
            let (arrays, labels) = Arrays::open(path, inputs, &wishes, options.ignore_label)?;
            array_labels = labels;
            // A file beside arrays that are no images may be anything.
            preprocess = options.image_preprocess(path).or_else(|_| options.explicit_preprocess())?;
            (Source::Arrays(arrays), None, options.classes.clone().unwrap_or_default())
        } else if records::SUFFIXES.contains(&suffix) {
            let mapping = TokenInputs::new(path, options, inputs)?;
            let columns = Columns {
                texts: &mapping.columns,
                label: options.label_column.as_deref(),
                classes: options.classes.as_deref(),
            };
            let Records { texts, labels, lines } = records::read(path, &columns)?;
            let tokenizer =
                find_tokenizer(options.tokenizer.as_deref(), path, options.model_folder.as_deref())?;
            if !lines.is_empty() {
                places = Places::Lines(lines.clone());
            }
            let texts = Texts::open(path, (texts, lines), &tokenizer, options, mapping, inputs)?;
            read_by = Some(tokenizer);
            (Source::Texts(Box::new(texts)), labels, options.classes.clone().unwrap_or_default())
        } else {
            return Err(unsupported(path, suffix));
        };
        let labels = match labels {
            Some(classes) => Some(Labels::of_classes(&classes)?),
            None => array_labels,
        };
        let taken = |labels: Labels| {
            let kind = kind(&labels);
            labels.taken_for(kind, path, |index| places.name(index))
        };
        let labels = labels.map(taken).transpose()?;
        let classes = labels.as_ref().map(Labels::classes).transpose()?.flatten();
        let (path, inputs) = (path.to_owned(), inputs.to_vec());
        let reading = options.reading(preprocess, read_by.as_deref())?;
        let dataset = Dataset { path, inputs, source, labels, classes, class_names, reading };
        dataset.check_first()?;
        Ok(dataset)
    }

    /// A hash of how the samples are read: of the preprocessing, columns and tokenizer.
    pub fn reading(&self) -> &str {
        &self.reading
    }

    /// Number of samples, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a dataset without samples cannot be opened")]
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Images(images) => images.files.len(),
            Source::Arrays(arrays) => arrays.len,
            Source::Texts(texts) => texts.len(),
        }
    }

    /// Where the data come from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether samples are labelled.
    pub fn has_labels(&self) -> bool {
        self.labels.is_some()
    }

    /// What the samples are labelled with.
    pub fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    /// The class of every sample, where each has one.
    pub fn classes(&self) -> Option<&[i64]> {
        self.classes.as_deref()
    }

    /// The names of the classes, if they are known (from folders or [`DataOptions::classes`]); empty otherwise.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// The inputs that the batches are for.
    pub fn inputs(&self) -> &[InputSpec] {
        &self.inputs
    }

    /// The preprocessing of images with every choice made, for reports; `None` where there is none.
    pub fn preprocess(&self) -> Option<Preprocess> {
        match &self.source {
            Source::Images(images) => Some(images.transform.describe()),
            Source::Arrays(arrays) => arrays.preprocess(),
            Source::Texts(_) => None,
        }
    }

    /// The tokens that texts are cut to; `None` for data that are no texts.
    pub fn max_length(&self) -> Option<usize> {
        match &self.source {
            Source::Texts(texts) => Some(texts.max_length()),
            _ => None,
        }
    }

    /// What a user should know of how the data are taken.
    pub fn notes(&self) -> Vec<String> {
        let texts = match &self.source {
            Source::Texts(texts) => texts,
            Source::Images(_) => return self.fewer_folders().into_iter().collect(),
            Source::Arrays(_) => return Vec::new(),
        };
        if !texts.padding_counts(&self.inputs) {
            return Vec::new();
        }
        let remedy = match self.cuts_by_length() {
            true => "so that texts are run beside others of the same length, but for training",
            false => "so that it computes with padding as with any text",
        };
        vec![format!("none of the model's inputs says which tokens are padding, {remedy}")]
    }

    /// That the model has more classes than there are folders, which then stand for its first ones: a guess.
    fn fewer_folders(&self) -> Option<String> {
        let LabelKind::Classes(Some(classes)) = self.labels.as_ref()?.kind() else { return None };
        let folders = self.class_names.len();
        (folders < classes).then(|| {
            format!(
                "the {folders} class folders are taken for the first of the model's {classes} classes, in the order of their names; \
                 --classes says which they are"
            )
        })
    }

    /// Whether batches are to hold samples of one length only: padding would change what the model makes of them.
    pub(super) fn cuts_by_length(&self) -> bool {
        let Source::Texts(texts) = &self.source else { return false };
        self.fixed_batch_size().is_none() && texts.padding_counts(&self.inputs) && texts.lengths().is_some()
    }

    /// How long every sample is, where batches are padded to their longest one and may be of any size.
    pub(super) fn lengths(&self) -> Option<&[u32]> {
        match &self.source {
            Source::Texts(texts) if self.fixed_batch_size().is_none() => texts.lengths(),
            _ => None,
        }
    }

    /// The place among [`Batch::inputs`] of what is 1 for tokens and 0 for padding, where there is such an input.
    pub fn mask_input(&self) -> Option<usize> {
        match &self.source {
            Source::Texts(texts) => texts.mask_input(),
            _ => None,
        }
    }

    /// The batch size that the model fixes, if it does.
    pub fn fixed_batch_size(&self) -> Option<usize> {
        self.inputs.iter().find_map(|input| input.size(0))
    }

    /// How many threads keep a training run supplied without taking cores from it: more than one only where image
    /// files are decoded.
    pub fn reading_threads(&self) -> usize {
        if let Source::Images(_) = self.source { 2 } else { 1 }
    }

    /// Whether the data can be changed so at random: its numbers can be used, and the data are 8-bit images.
    pub fn check_augment(&self, augment: &Augment) -> Result<()> {
        augment.check().map_err(|message| DataError::Options(format!("augmentation: {message}")))?;
        if augment.is_empty() {
            return Ok(());
        }
        let unsupported = |what: String, remedy: &str| DataError::Unsupported {
            path: self.path.clone(),
            what,
            remedy: remedy.to_owned(),
        };
        let images = self.byte_images();
        if images.is_empty() {
            let kind = match self.source {
                Source::Texts(_) => "texts",
                _ => "arrays other than 8-bit images",
            };
            return Err(unsupported(
                format!("augmentation changes 8-bit images, these data are {kind}"),
                "leave augmentation out, or give images as files or as bytes [N, H, W, C] (with --scale 1 for a model \
                 that takes integers)",
            ));
        }
        match images.iter().find(|(_, _, channels)| !matches!(channels, 1 | 3)) {
            Some((_, _, channels)) if augment.color.is_some() => Err(unsupported(
                format!("colours can be changed in grey and RGB images, these have {channels} channels"),
                "leave color out of the augmentation",
            )),
            _ => Ok(()),
        }
    }

    /// The inputs that get 8-bit images: their places, what becomes of the images, and the images' channels.
    pub(super) fn byte_images(&self) -> Vec<(usize, &Transform, usize)> {
        match &self.source {
            Source::Images(images) => vec![(0, &images.transform, images.transform.channels)],
            Source::Arrays(arrays) => arrays.byte_images(),
            Source::Texts(_) => Vec::new(),
        }
    }

    /// These samples, the last one over again until they fill batches where the model fixes the size of batches.
    pub(crate) fn filled(&self, mut samples: Vec<usize>) -> Vec<usize> {
        if let (Some(fixed), Some(&last)) = (self.fixed_batch_size(), samples.last()) {
            samples.resize(samples.len().next_multiple_of(fixed), last);
        }
        samples
    }

    /// The samples at `indices`, which may repeat.
    ///
    /// # Panics
    /// If an index is not below [`Dataset::len`].
    pub fn batch(&self, indices: &[usize]) -> Result<Batch> {
        self.augmented_batch(indices, None)
    }

    /// The samples at `indices`, changed at random if that is asked for and [`Dataset::check_augment`] allows it.
    pub(super) fn augmented_batch(
        &self,
        indices: &[usize],
        augmenting: Option<Augmenting<'_>>,
    ) -> Result<Batch> {
        if let Some(fixed) = self.fixed_batch_size().filter(|fixed| *fixed != indices.len()) {
            return Err(DataError::Options(format!(
                "the model takes batches of {fixed}, not {}; use --batch-size {fixed} or export the model with a \
                 dynamic batch axis",
                indices.len()
            )));
        }
        let tensors = self.tensors(indices, augmenting)?;
        for (input, tensor) in self.inputs.iter().zip(&tensors) {
            self.check(input, tensor)?;
        }
        Ok(Batch {
            inputs: self.inputs.iter().map(|input| input.name.clone()).zip(tensors).collect(),
            labels: self.labels.as_ref().map(|labels| labels.batch(indices)).transpose()?,
            indices: indices.to_vec(),
        })
    }

    /// One tensor for each of the inputs.
    pub(super) fn tensors(
        &self,
        indices: &[usize],
        augmenting: Option<Augmenting<'_>>,
    ) -> Result<Vec<Tensor>> {
        match &self.source {
            Source::Images(images) => Ok(vec![images.batch(indices, &self.inputs[0], augmenting)?]),
            Source::Arrays(arrays) => self
                .inputs
                .iter()
                .enumerate()
                .map(|(i, input)| arrays.batch(indices, i, input, augmenting))
                .collect(),
            Source::Texts(texts) => texts.batch(indices, &self.inputs),
        }
    }

    fn check_first(&self) -> Result<()> {
        let tensors = self.tensors(&[0], None)?;
        self.inputs.iter().zip(&tensors).try_for_each(|(input, tensor)| self.check(input, tensor))
    }

    fn check(&self, input: &InputSpec, tensor: &Tensor) -> Result<()> {
        check(&self.path, input, tensor, |mismatch| self.remedy(input, tensor, mismatch))
    }

    fn remedy(&self, input: &InputSpec, tensor: &Tensor, mismatch: Mismatch) -> String {
        if let Source::Texts(_) = self.source {
            return "set --max-length, or export the model with a dynamic sequence axis".to_owned();
        }
        let Some(preprocess) = self.preprocess() else {
            return match mismatch {
                Mismatch::ElementType => format!("save the array as {}", input.element_type),
                Mismatch::Rank | Mismatch::Size(_) => {
                    "reshape the array; its first axis counts samples".to_owned()
                }
            };
        };
        let nhwc = preprocess.layout == Some(Layout::Nhwc);
        let (channels, height, width) = if nhwc { (3, 1, 2) } else { (1, 2, 3) };
        let other = if nhwc { 1 } else { 3 };
        match mismatch {
            Mismatch::Size(axis)
                if axis == channels || input.size(other) == Some(tensor.shape()[channels]) =>
            {
                format!(
                    "choose the axis of the channels with --layout {}",
                    if nhwc { "nchw" } else { "nhwc" }
                )
            }
            _ => {
                let wanted = |axis: usize| input.size(axis).unwrap_or(tensor.shape()[axis]);
                format!("resize the images with --resize {}x{}", wanted(height), wanted(width))
            }
        }
    }
}

/// Where samples are, for messages about their labels.
enum Places {
    Samples,
    Lines(Vec<u64>),
    Files(Vec<PathBuf>),
}

impl Places {
    fn name(&self, index: usize) -> String {
        match self {
            Places::Samples => format!("row {index}"),
            Places::Lines(lines) => format!("line {}", lines[index]),
            Places::Files(files) => files[index].display().to_string(),
        }
    }
}

fn unsupported(path: &Path, suffix: &str) -> DataError {
    let (what, remedy) = match suffix {
        "" => ("a file without a suffix".to_owned(), REMEDY),
        other => (format!("a .{other} file is not data that can be read"), REMEDY),
    };
    DataError::Unsupported { path: path.to_owned(), what, remedy: remedy.to_owned() }
}

const REMEDY: &str =
    "give a folder of images or of class folders of images, .npz, .npy, .tsv, .csv, .jsonl, .parquet or .txt";
