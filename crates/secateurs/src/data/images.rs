//! Folders of image files: with a folder per class, or flat and without labels.

use std::path::{Path, PathBuf};

use secateurs_onnx::Tensor;

use super::augment::Augmenting;
use super::cast;
use super::color::luma;
use super::error::{DataError, Result};
use super::labels::class_index;
use super::resize::Image;
use super::signature::{InputSpec, describe};
use super::transform::Transform;
use super::view::View;

/// The suffixes of the formats that we decode.
pub(super) const SUFFIXES: [&str; 6] = ["png", "jpg", "jpeg", "bmp", "gif", "webp"];
/// Folders within a class's folder are followed this far, so that a link to a parent does no harm.
pub(crate) const MAX_DEPTH: usize = 8;
/// So many classes are named in a message.
const SHOWN: usize = 10;

/// The image files that were found.
#[derive(Debug)]
pub(super) struct ImageFiles {
    pub files: Vec<PathBuf>,
    pub transform: Transform,
}

/// What a folder holds: files, and labels with the names of the classes if there is a folder per class.
pub(super) struct Found {
    pub files: Vec<PathBuf>,
    pub labels: Option<(Vec<i64>, Vec<String>)>,
}

/// Lists a folder (or takes a single file). Hidden files and files that are no images are passed over.
///
/// The class of a folder is its place among the sorted names, as in torchvision's `ImageFolder`, or among
/// `classes` if they are given. Without these, one without images is refused as there: it would count all the same.
pub(super) fn find(path: &Path, classes: Option<&[String]>) -> Result<Found> {
    if path.is_file() {
        return Ok(Found { files: vec![path.to_owned()], labels: None });
    }
    let (folders, files) = list(path)?;
    let mut found = Vec::new();
    for folder in &folders {
        let mut inside = Vec::new();
        collect(folder, &mut inside, 0)?;
        found.push(inside);
    }
    let in_folders = found.iter().any(|inside| !inside.is_empty());
    match (in_folders, files.is_empty()) {
        (false, true) => Err(DataError::Empty {
            path: path.to_owned(),
            what: format!("no image files ({}) in the folder or in folders in it", SUFFIXES.join(", ")),
        }),
        (true, false) => Err(DataError::Unsupported {
            path: path.to_owned(),
            what: format!("has images both in the folder ({}, …) and in folders in it", name(&files[0])),
            remedy: "put every image into the folder of its class, or all of them into one folder".to_owned(),
        }),
        (false, false) => Ok(Found { files, labels: None }),
        (true, true) => {
            let names: Vec<String> = folders.iter().map(|folder| name(folder)).collect();
            let mut labels = Vec::new();
            let empty = folders.iter().zip(&found).find(|(_, inside)| inside.is_empty());
            if let (None, Some((folder, _))) = (classes, empty) {
                return Err(DataError::Unsupported {
                    path: folder.clone(),
                    what: "the folder of a class holds no image".to_owned(),
                    remedy: "remove it, or name the model's classes in order with --classes".to_owned(),
                });
            }
            let filled = names.iter().zip(&found).enumerate().filter(|(_, (_, inside))| !inside.is_empty());
            for (index, (class, inside)) in filled {
                let label = match classes {
                    None => index as i64,
                    Some(classes) => class_index(classes, class).ok_or_else(|| DataError::Label {
                        path: path.to_owned(),
                        place: format!("folder {class}"),
                        label: format!("'{class}'"),
                        message: format!("is not one of the classes {}", listed(classes)),
                    })?,
                };
                labels.extend(std::iter::repeat_n(label, inside.len()));
            }
            let names = classes.map_or(names, <[String]>::to_vec);
            Ok(Found { files: found.concat(), labels: Some((labels, names)) })
        }
    }
}

/// The names, or of many the first.
fn listed(classes: &[String]) -> String {
    match classes.get(..SHOWN) {
        Some(first) if classes.len() > SHOWN => format!("{}, … ({} in all)", first.join(", "), classes.len()),
        _ => classes.join(", "),
    }
}

/// The folders and the image files in a folder, sorted by name.
fn list(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(DataError::io(folder))? {
        let path = entry.map_err(DataError::io(folder))?.path();
        if name(&path).starts_with('.') {
            continue;
        }
        if path.is_dir() {
            folders.push(path);
        } else if is_image(&path) {
            files.push(path);
        }
    }
    folders.sort();
    files.sort();
    Ok((folders, files))
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>, depth: usize) -> Result<()> {
    let (folders, files) = list(folder)?;
    into.extend(files);
    if depth < MAX_DEPTH {
        for folder in folders {
            collect(&folder, into, depth + 1)?;
        }
    }
    Ok(())
}

/// Whether the suffix is one of an image that we decode.
pub(super) fn is_image(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| SUFFIXES.iter().any(|s| s.eq_ignore_ascii_case(e)))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl ImageFiles {
    /// Reads, augments and transforms the files at `indices` into one tensor for `spec`.
    pub fn batch(
        &self,
        indices: &[usize],
        spec: &InputSpec,
        augmenting: Option<Augmenting<'_>>,
    ) -> Result<Tensor> {
        let mut values = Vec::new();
        let mut shape: Option<[usize; 3]> = None;
        for index in indices {
            let path = &self.files[*index];
            let image = decode(path, self.transform.channels)?;
            let got = self.transform.apply(View::from(&image), augmenting.map(|a| (a, *index)), &mut values);
            let first = *shape.get_or_insert(got);
            if first != got {
                return Err(DataError::Signature {
                    path: path.clone(),
                    input: spec.name.clone(),
                    expected: format!("images of one size, the first of the batch is {first:?}"),
                    got: describe(spec.element_type, &got),
                    remedy: "give the size with --resize HxW, or --resize N --center-crop N".to_owned(),
                });
            }
            values.reserve_exact(got.iter().product::<usize>() * (indices.len()) - values.len());
        }
        let mut full = vec![indices.len()];
        full.extend(shape.unwrap_or_default());
        cast::from_f32(values, full, spec.element_type).map_err(|message| DataError::Signature {
            path: self.files[indices[0]].clone(),
            input: spec.name.clone(),
            expected: spec.to_string(),
            got: message,
            remedy: "leave out scale, mean and std for a model that takes integers".to_owned(),
        })
    }
}

/// Reads an image as RGB (3 channels; transparency is dropped) or grey (1 channel). The orientation in the
/// metadata is not applied, as in torchvision.
pub(super) fn decode(path: &Path, channels: usize) -> Result<Image> {
    let image_error = |source| DataError::Image { path: path.to_owned(), source: Box::new(source) };
    let reader = image::ImageReader::open(path)
        .and_then(image::ImageReader::with_guessed_format)
        .map_err(DataError::io(path))?;
    let image = reader.decode().map_err(image_error)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let grey = !image.color().has_color();
    let rgb = image.into_rgb8().into_raw();
    let pixels = match channels {
        1 if grey => rgb.into_iter().step_by(3).collect(),
        1 => rgb.chunks_exact(3).map(|p| luma([p[0], p[1], p[2]])).collect(),
        _ => rgb,
    };
    Ok(Image { height, width, channels: if channels == 1 { 1 } else { 3 }, pixels })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        folder
    }

    #[test]
    fn class_folders_are_sorted_and_nested_files_found() {
        let folder = folder_with(&[
            "dog/b.png",
            "cat/z.JPG",
            "cat/a.webp",
            "cat/deep/c.gif",
            "cat/.hidden.png",
            "cat/notes.txt",
        ]);
        let found = find(folder.path(), None).unwrap();
        let (labels, names) = found.labels.unwrap();
        assert_eq!(names, ["cat", "dog"]);
        assert_eq!(labels, [0, 0, 0, 1]);
        assert!(found.files[0].ends_with("cat/a.webp") && found.files[3].ends_with("dog/b.png"));

        let order = ["dog".to_owned(), "bird".to_owned(), "cat".to_owned()];
        let (labels, names) = find(folder.path(), Some(&order)).unwrap().labels.unwrap();
        assert_eq!((labels, names.len()), (vec![2, 2, 2, 0], 3));
        let unknown = find(folder.path(), Some(&order[..1])).err().unwrap().to_string();
        assert!(unknown.contains("folder cat") && unknown.ends_with("classes dog"), "{unknown}");
        let many: Vec<String> = (0..1000).map(|class| class.to_string()).collect();
        let unknown = find(folder.path(), Some(&many)).err().unwrap().to_string();
        assert!(unknown.contains("9, … (1000 in all)") && !unknown.contains("10,"), "{unknown}");
    }

    #[test]
    fn class_folders_without_images_count_only_where_classes_are_named() {
        let folder = folder_with(&["ant/notes.txt", "bee/a.png", "cat/b.png"]);
        let error = find(folder.path(), None).err().unwrap().to_string();
        assert!(
            error.contains("ant: ") && error.contains("no image") && error.contains("--classes"),
            "{error}"
        );
        let classes = ["bee".to_owned(), "cat".to_owned()];
        assert_eq!(find(folder.path(), Some(&classes)).unwrap().labels.unwrap().0, [0, 1]);
    }

    #[test]
    fn a_flat_folder_has_no_labels() {
        let folder = folder_with(&["b.png", "a.bmp", ".x/c.png", "readme.md"]);
        let found = find(folder.path(), None).unwrap();
        assert!(found.labels.is_none());
        assert_eq!(found.files.len(), 2);
        assert!(found.files[0].ends_with("a.bmp"));
    }

    #[test]
    fn empty_and_mixed_folders_are_errors() {
        for files in [&[][..], &["notes.txt"], &["cat/notes.txt", "dog/.hidden.png"]] {
            let folder = folder_with(files);
            let error = find(folder.path(), None).err().unwrap();
            assert!(matches!(error, DataError::Empty { .. }), "{error}");
        }
        let folder = folder_with(&["a.png", "cat/b.png"]);
        assert!(find(folder.path(), None).err().unwrap().to_string().contains("both"));
        assert!(find(Path::new("no/such"), None).err().unwrap().to_string().contains("no/such"));
    }

    #[test]
    fn files_are_decoded_as_rgb_or_grey() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let image = image::RgbaImage::from_raw(2, 1, vec![200, 100, 50, 0, 1, 2, 3, 255]).unwrap();
        image.save(&path).unwrap();
        let rgb = decode(&path, 3).unwrap();
        assert_eq!((rgb.height, rgb.width, rgb.pixels), (1, 2, vec![200, 100, 50, 1, 2, 3]));
        // Pillow: Image.new("RGB", (1, 1), (200, 100, 50)).convert("L") is 124.
        assert_eq!(decode(&path, 1).unwrap().pixels, [124, 2]);
        // A wrong suffix does not matter, the content does.
        let jpg = folder.path().join("a.jpg");
        std::fs::copy(&path, &jpg).unwrap();
        assert_eq!(decode(&jpg, 3).unwrap().width, 2);
    }

    #[test]
    fn corrupt_images_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.png");
        image::RgbImage::new(8, 8).save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for keep in [0, 7, 20, whole.len() / 2] {
            std::fs::write(&path, &whole[..keep]).unwrap();
            let error = decode(&path, 3).unwrap_err();
            assert!(
                matches!(error, DataError::Image { .. }) && error.to_string().contains("broken.png"),
                "{error}"
            );
        }
    }

    #[test]
    fn every_format_is_decoded() {
        let folder = tempfile::tempdir().unwrap();
        let image = image::RgbImage::from_fn(8, 4, |x, _| image::Rgb([if x < 4 { 250 } else { 10 }, 20, 30]));
        for suffix in SUFFIXES {
            let path = folder.path().join(format!("a.{suffix}"));
            image.save(&path).unwrap();
            let decoded = decode(&path, 3).unwrap();
            assert_eq!((decoded.height, decoded.width, decoded.channels), (4, 8, 3));
            for (got, saved) in decoded.pixels.iter().zip(image.as_raw()) {
                assert!(got.abs_diff(*saved) <= 16, "{suffix}: {got} for {saved}");
            }
        }
    }
}
