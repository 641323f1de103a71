//! Whole datasets: what users give and what the model gets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secateurs_onnx::{ElementType, Tensor};

use super::text::tests::{TOKENIZER, input};
use super::*;

fn spec(name: &str, element_type: ElementType, shape: &[usize]) -> InputSpec {
    let shape = shape.iter().map(|size| (*size != 0).then_some(*size)).collect();
    InputSpec { name: name.to_owned(), element_type, shape }
}

fn images() -> InputSpec {
    spec("input", ElementType::Float32, &[0, 3, 2, 2])
}

/// A folder with an `.npz` file of these arrays.
fn npz(arrays: &[(&str, Tensor)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    let arrays: Vec<_> = arrays.iter().map(|(name, tensor)| (*name, tensor)).collect();
    npz::write(&path, &arrays).unwrap();
    (folder, path)
}

fn bytes(shape: &[usize]) -> Tensor {
    let values: Vec<u8> = (0..shape.iter().product::<usize>()).map(|v| (v * 7 % 256) as u8).collect();
    Tensor::from_slice(shape.to_vec(), &values).unwrap()
}

fn labels(values: &[i64]) -> Tensor {
    Tensor::from_slice(vec![values.len()], values).unwrap()
}

fn open(path: &Path, inputs: &[InputSpec]) -> Result<Dataset> {
    Dataset::open(path, &DataOptions::default(), inputs, below(10))
}

fn error(path: &Path, inputs: &[InputSpec]) -> String {
    open(path, inputs).unwrap_err().to_string()
}

fn below(classes: usize) -> impl Fn(&Labels) -> LabelKind {
    move |_| LabelKind::Classes(Some(classes))
}

fn any(_: &Labels) -> LabelKind {
    LabelKind::Classes(None)
}

fn classes(batch: &Batch) -> Vec<i64> {
    batch.labels.as_ref().unwrap().to_i64_vec().unwrap()
}

fn first(dataset: &Dataset, indices: &[usize]) -> Vec<f64> {
    dataset.batch(indices).unwrap().inputs[0].1.to_f64_vec().unwrap()
}

#[test]
fn byte_images_are_preprocessed_in_either_layout() {
    let options = DataOptions { preset: Some(Preset::Cifar10), ..DataOptions::default() };
    let (_folder, path) = npz(&[("x", bytes(&[5, 2, 2, 3])), ("y", labels(&[0, 1, 2, 3, 9]))]);
    let dataset = Dataset::open(&path, &options, &[images()], below(10)).unwrap();
    assert_eq!((dataset.len(), dataset.has_labels()), (5, true));
    let batch = dataset.batch(&[4, 0]).unwrap();
    assert_eq!(batch.inputs[0].0, "input");
    assert_eq!(batch.inputs[0].1.shape(), [2, 3, 2, 2]);
    assert_eq!((classes(&batch), batch.indices), (vec![9, 0], vec![4, 0]));
    // Sample 0, channel 1, second pixel: byte 4 of the array is 28.
    let value = first(&dataset, &[0])[5];
    assert!((value - (28.0 / 255.0 - 0.4822) / 0.2435).abs() < 1e-6, "{value}");

    // The same pixels with the channels first give the same batch.
    let planar: Vec<u8> = (0..5_usize)
        .flat_map(|n| {
            (0..3_usize).flat_map(move |c| (0..4_usize).map(move |p| ((n * 12 + p * 3 + c) * 7 % 256) as u8))
        })
        .collect();
    let (_folder, path) = npz(&[("x", Tensor::from_slice(vec![5, 3, 2, 2], &planar).unwrap())]);
    let turned = Dataset::open(&path, &options, &[images()], any).unwrap();
    assert_eq!(first(&turned, &[3, 1]), first(&dataset, &[3, 1]));
}

#[test]
fn floats_are_taken_as_they_are_unless_asked() {
    let values: Vec<f32> = (0..24).map(|v| v as f32).collect();
    let (_folder, path) = npz(&[("x", Tensor::from_slice(vec![2, 3, 2, 2], &values).unwrap())]);
    let dataset = open(&path, &[images()]).unwrap();
    assert_eq!(first(&dataset, &[1])[0], 12.0);
    assert!(dataset.preprocess().is_none() && !dataset.has_labels());

    let mut options = DataOptions::default();
    options.preprocess.scale = Some(1.0);
    options.preprocess.mean = Some(vec![2.0]);
    let dataset = Dataset::open(&path, &options, &[images()], any).unwrap();
    assert_eq!(first(&dataset, &[1])[0], 10.0);
    options.preprocess.resize = Some(Resize::ShorterSide(2));
    let error = Dataset::open(&path, &options, &[images()], any).unwrap_err().to_string();
    assert!(error.contains("only 8-bit"), "{error}");
}

#[test]
fn other_types_are_converted_where_nothing_is_lost() {
    let doubles = Tensor::from_slice(vec![2, 3], &[0.5_f64; 6]).unwrap();
    let (_folder, path) = npz(&[("features", doubles)]);
    let flat = spec("input", ElementType::Float32, &[0, 3]);
    assert_eq!(first(&open(&path, std::slice::from_ref(&flat)).unwrap(), &[0, 0]), [0.5; 6]);
    let integers = spec("input", ElementType::Int64, &[0, 3]);
    assert!(error(&path, &[integers]).contains("floats"));
    let half = spec("input", ElementType::Float16, &[0, 3]);
    assert_eq!(
        open(&path, &[half]).unwrap().batch(&[0]).unwrap().inputs[0].1.element_type(),
        ElementType::Float16
    );
    // An input of bytes gets the bytes.
    let (_folder, path) = npz(&[("x", bytes(&[2, 2, 2, 3]))]);
    let raw = spec("input", ElementType::Uint8, &[0, 2, 2, 3]);
    assert_eq!(first(&open(&path, &[raw]).unwrap(), &[0])[1], 7.0);
}

#[test]
fn arrays_serve_the_inputs_of_their_names() {
    let ids = Tensor::from_slice(vec![2, 3], &[1_i32, 2, 3, 4, 5, 6]).unwrap();
    let rate = Tensor::scalar(16_000_i64);
    let (_folder, path) = npz(&[("ids", ids), ("rate", rate), ("labels", labels(&[1, 0]))]);
    let inputs = [spec("rate", ElementType::Int64, &[]), spec("ids", ElementType::Int64, &[0, 0])];
    let batch = open(&path, &inputs).unwrap().batch(&[1]).unwrap();
    assert_eq!(batch.inputs[0].1.to_i64_vec().unwrap(), [16_000]);
    assert_eq!(batch.inputs[1].1.to_i64_vec().unwrap(), [4, 5, 6]);
    assert_eq!(classes(&batch), [0]);
    let missing = [spec("ids", ElementType::Int64, &[0, 0]), spec("mask", ElementType::Int64, &[0, 0])];
    let message = error(&path, &missing);
    assert!(message.contains("'mask'") && message.contains("'ids'"), "{message}");
}

#[test]
fn labels_of_pixels_and_numbers_come_in_batches() {
    let mask = Tensor::from_slice(vec![2, 2, 2], &[0_u8, 255, 9, 1, 2, 255, 255, 3]).unwrap();
    let (_folder, path) = npz(&[("x", bytes(&[2, 2, 2, 3])), ("y", mask)]);
    let message = error(&path, &[images()]);
    assert!(message.contains("row 0: label 255") && message.contains("--ignore-label"), "{message}");
    let options = DataOptions { ignore_label: Some(255), ..DataOptions::default() };
    let dataset = Dataset::open(&path, &options, &[images()], below(10)).unwrap();
    assert!(dataset.has_labels() && dataset.classes().is_none());
    let batch = dataset.batch(&[1]).unwrap();
    assert_eq!(batch.labels.as_ref().unwrap().shape(), [1, 2, 2]);
    assert_eq!(classes(&batch), [2, IGNORED, IGNORED, 3]);

    let numbers = Tensor::from_slice(vec![2, 3], &[0.5_f32, -1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    let (_folder, path) = npz(&[("x", bytes(&[2, 2, 2, 3])), ("labels", numbers)]);
    let numbers = |_: &Labels| LabelKind::Numbers;
    let dataset = Dataset::open(&path, &DataOptions::default(), &[images()], numbers).unwrap();
    assert_eq!(dataset.batch(&[1]).unwrap().labels.unwrap().to_f64_vec().unwrap(), [3.0, 4.0, 5.0]);
    assert!(error(&path, &[images()]).contains("label 0.5 is no class index"));
    // Every sample has its labels.
    let (_folder, path) = npz(&[("x", bytes(&[2, 2, 2, 3])), ("y", bytes(&[3, 2, 2]))]);
    assert!(error(&path, &[images()]).contains("'y' has 3"));
}

#[test]
fn archives_that_do_not_fit_are_errors_with_a_remedy() {
    let (_folder, path) = npz(&[("x", bytes(&[2, 4, 4, 3]))]);
    let message = error(&path, &[images()]);
    for part in ["data.npz", "'input'", "float32 [?, 3, 2, 2]", "float32 [1, 3, 4, 4]", "--resize 2x2"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let (_folder, path) = npz(&[("x", bytes(&[2, 2, 2, 4]))]);
    assert!(error(&path, &[images()]).contains("4 channels"));
    let (_folder, path) = npz(&[("a", bytes(&[2, 2])), ("b", bytes(&[2, 2]))]);
    assert!(error(&path, &[images()]).contains("'a', 'b'"));
    let (_folder, path) = npz(&[("x", bytes(&[2, 2, 2, 3])), ("y", labels(&[1, 2, 3]))]);
    let message = error(&path, &[images()]);
    assert!(message.contains("'x' has 2 samples and 'y' has 3"), "{message}");
    let (_folder, path) = npz(&[("x", bytes(&[2, 2, 2, 3])), ("y", labels(&[1, 10]))]);
    assert!(error(&path, &[images()]).contains("row 1: label 10"));
    let (_folder, path) = npz(&[("x", bytes(&[0, 2, 2, 3]))]);
    assert!(matches!(open(&path, &[images()]), Err(DataError::Empty { .. })));
    let floats = Tensor::from_slice(vec![2, 5], &[0.0_f32; 10]).unwrap();
    let (_folder, path) = npz(&[("x", floats)]);
    assert!(error(&path, &[images()]).contains("reshape"));
    let options = DataOptions { preset: Some(Preset::Imagenet), ..DataOptions::default() };
    let flat = spec("input", ElementType::Float32, &[0, 5]);
    assert!(Dataset::open(&path, &options, &[flat], any).unwrap_err().to_string().contains("preprocessing"));
}

/// `cat/a.png` (red), `cat/b.png` (4 × 2) and `dog/c.png` (blue).
fn pets() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str, width, height, colour| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_pixel(width, height, image::Rgb(colour)).save(path).unwrap();
    };
    save("cat/a.png", 2, 2, [255, 0, 0]);
    save("cat/b.png", 4, 2, [0, 255, 0]);
    save("dog/c.png", 2, 2, [0, 0, 255]);
    folder
}

#[test]
fn class_folders_become_batches() {
    let folder = pets();
    let dataset = open(folder.path(), &[images()]).unwrap();
    assert_eq!((dataset.len(), dataset.class_names()), (3, &["cat".to_owned(), "dog".to_owned()][..]));
    let batch = dataset.batch(&[2, 0]).unwrap();
    assert_eq!(classes(&batch), [1, 0]);
    assert_eq!(first(&dataset, &[2, 0])[8..16], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    // The second image has another size.
    let message = dataset.batch(&[0, 1]).unwrap_err().to_string();
    assert!(message.contains("b.png") && message.contains("--resize"), "{message}");

    let mut options = DataOptions::default();
    options.preprocess.resize = Some(Resize::ShorterSide(2));
    options.preprocess.center_crop = Some(Size { height: 2, width: 2 });
    let dataset = Dataset::open(folder.path(), &options, &[images()], below(2)).unwrap();
    assert_eq!(dataset.batch(&[0, 1, 2]).unwrap().inputs[0].1.shape(), [3, 3, 2, 2]);
    let error = Dataset::open(folder.path(), &options, &[images()], below(1)).unwrap_err().to_string();
    assert!(error.contains("c.png") && error.contains("label 1"), "{error}");
}

#[test]
fn of_fewer_class_folders_than_the_model_has_classes_it_is_said_which_they_are_taken_for() {
    let folder = pets();
    let mut options = DataOptions::default();
    options.preprocess.resize = Some(Resize::Exact(Size { height: 2, width: 2 }));
    let notes = |options: &DataOptions, classes: usize| {
        Dataset::open(folder.path(), options, &[images()], below(classes)).unwrap().notes()
    };
    assert!(notes(&options, 2).is_empty());
    let note = notes(&options, 1000).concat();
    assert!(note.contains("2 class folders") && note.contains("--classes"), "{note}");
    options.classes = Some((0..998).map(|i| i.to_string()).chain(["dog".into(), "cat".into()]).collect());
    assert!(notes(&options, 1000).is_empty());
}

#[test]
fn a_configuration_beside_the_images_is_used() {
    let folder = pets();
    std::fs::write(
        folder.path().join("preprocessor_config.json"),
        r#"{"size": 2, "do_resize": true, "do_rescale": false, "image_mean": [5, 5, 5], "image_std": [1, 1, 1]}"#,
    )
    .unwrap();
    let dataset = open(folder.path(), &[images()]).unwrap();
    assert_eq!(first(&dataset, &[1])[..5], [-5.0, -5.0, -5.0, -5.0, 250.0]);
    let options = DataOptions { preset: Some(Preset::Cifar10), ..DataOptions::default() };
    let dataset = Dataset::open(folder.path(), &options, &[images()], any).unwrap();
    assert_eq!(dataset.preprocess().unwrap().resize, None);
}

#[test]
fn an_unusable_configuration_concerns_images_alone_and_can_be_got_round() {
    let spoil = |folder: &Path| {
        std::fs::write(folder.join("preprocessor_config.json"), r#"{"do_pad": true}"#).unwrap();
    };
    let preset = DataOptions { preset: Some(Preset::Cifar10), ..DataOptions::default() };
    let floats = Tensor::from_slice(vec![2, 3, 2, 2], &[0.5_f32; 24]).unwrap();
    let (folder, path) = npz(&[("x", floats)]);
    spoil(folder.path());
    assert_eq!(first(&open(&path, &[images()]).unwrap(), &[1])[0], 0.5);

    let (folder, path) = npz(&[("x", bytes(&[2, 2, 2, 3]))]);
    spoil(folder.path());
    let message = error(&path, &[images()]);
    assert!(message.contains("do_pad") && message.contains("--preset or --preprocess"), "{message}");
    assert!(Dataset::open(&path, &preset, &[images()], any).is_ok());

    let folder = pets();
    spoil(folder.path());
    assert!(error(folder.path(), &[images()]).contains("--preset or --preprocess"));
    assert!(Dataset::open(folder.path(), &preset, &[images()], any).is_ok());
}

#[test]
fn images_of_the_wrong_layout_or_model_are_errors() {
    let folder = pets();
    let mut options = DataOptions::default();
    options.preprocess.layout = Some(Layout::Nhwc);
    let spec3 = spec("input", ElementType::Float32, &[0, 3, 2, 2]);
    let error = Dataset::open(folder.path(), &options, &[spec3], any).unwrap_err().to_string();
    assert!(error.contains("--layout"), "{error}");
    let two = [images(), spec("other", ElementType::Float32, &[0])];
    assert!(open(folder.path(), &two).unwrap_err().to_string().contains("one input"));
    std::fs::write(folder.path().join("cat/a.png"), b"no image").unwrap();
    assert!(open(folder.path(), &[images()]).unwrap_err().to_string().contains("a.png"));
}

#[test]
fn texts_use_the_tokenizer_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reviews.tsv");
    std::fs::write(&path, "text\tlabel\na good movie\t1\nmovie\t0\n").unwrap();
    let inputs = [input("input_ids", None), input("attention_mask", None)];
    assert!(open(&path, &inputs).unwrap_err().to_string().contains("--tokenizer"));
    std::fs::write(folder.path().join("tokenizer.json"), TOKENIZER).unwrap();
    let dataset = open(&path, &inputs).unwrap();
    let batch = dataset.batch(&[1, 0]).unwrap();
    assert_eq!(batch.inputs[0].1.to_i64_vec().unwrap(), [2, 5, 3, 0, 0, 2, 4, 6, 5, 3]);
    assert_eq!(classes(&batch), [0, 1]);
    assert_eq!(dataset.max_length(), Some(128));
    let error = Dataset::open(&path, &DataOptions::default(), &inputs, below(1)).unwrap_err().to_string();
    assert!(error.contains("line 2: label 1"), "{error}");
}

#[test]
fn what_is_no_data_is_an_error_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    for (name, part) in [("a.parquet", "tokens int64"), ("a.pt", "a .pt file"), ("data", "without a suffix")]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, b"").unwrap();
        assert!(error(&path, &[images()]).contains(part));
    }
    assert!(error(&folder.path().join("none.npz"), &[images()]).contains("none.npz"));
    assert!(error(folder.path(), &[]).contains("no inputs"));
}

#[test]
fn a_fixed_batch_size_is_kept() {
    let (_folder, path) = npz(&[("x", bytes(&[5, 2, 2, 3]))]);
    let dataset = open(&path, &[spec("input", ElementType::Float32, &[2, 3, 2, 2])]).unwrap();
    assert_eq!(dataset.fixed_batch_size(), Some(2));
    assert!(dataset.batch(&[0, 1]).is_ok());
    assert!(dataset.batch(&[0]).unwrap_err().to_string().contains("--batch-size 2"));
}

#[test]
fn the_loader_gives_every_batch_in_order() {
    let values: Vec<f32> = (0..103).map(|v| v as f32).collect();
    let (_folder, path) = npz(&[("x", Tensor::from_slice(vec![103, 1], &values).unwrap())]);
    let dataset = Arc::new(open(&path, &[spec("input", ElementType::Float32, &[0, 1])]).unwrap());
    let order = shuffled(dataset.len(), 1, 0);
    assert_ne!(order, shuffled(dataset.len(), 1, 1));
    for threads in [1, 4] {
        let batches: Vec<Batch> = dataset.loader(order.clone(), 10, threads).map(Result::unwrap).collect();
        assert_eq!(batches.len(), 11);
        assert_eq!(batches[10].indices.len(), 3);
        let read: Vec<usize> =
            batches.iter().flat_map(|b| b.inputs[0].1.to_f64_vec().unwrap()).map(|v| v as usize).collect();
        assert_eq!(read, order);
    }
    assert_eq!(dataset.loader(Vec::new(), 10, 2).count(), 0);
    // Dropped half way: the workers end.
    let mut loader = dataset.loader(order, 1, 3);
    assert!(loader.next().is_some());
}

#[test]
fn samples_are_drawn_from_the_whole_of_a_list_and_the_same_by_the_same_seed() {
    let samples: Vec<usize> = (100..300).collect();
    let few = drawn(&samples, 40, 3);
    assert_eq!(few, drawn(&samples, 40, 3));
    assert_ne!(few, drawn(&samples, 40, 4));
    assert!(few.iter().filter(|sample| **sample >= 200).count() > 8, "{few:?}");
    let mut all = drawn(&samples, 1000, 3);
    assert_eq!(all[..40], few);
    all.sort_unstable();
    assert_eq!(all, samples);
}

#[test]
fn the_loader_ends_after_an_error() {
    let folder = pets();
    let dataset = Arc::new(open(folder.path(), &[images()]).unwrap());
    std::fs::write(folder.path().join("dog/c.png"), b"broken since").unwrap();
    let results: Vec<_> = dataset.loader(vec![0, 2, 0, 0], 1, 2).collect();
    assert_eq!(results.len(), 2);
    assert!(results[0].is_ok() && results[1].is_err());
}

#[test]
#[ignore = "measures"]
fn batches_are_fast() {
    let (_folder, path) = npz(&[("x", bytes(&[1000, 32, 32, 3]))]);
    let options = DataOptions { preset: Some(Preset::Cifar10), ..DataOptions::default() };
    let dataset =
        Dataset::open(&path, &options, &[spec("input", ElementType::Float32, &[0, 3, 0, 0])], any).unwrap();
    let indices: Vec<usize> = (0..128).map(|i| i * 7).collect();
    for _ in 0..3 {
        let start = std::time::Instant::now();
        for _ in 0..100 {
            std::hint::black_box(dataset.batch(&indices).unwrap());
        }
        eprintln!("{:.3} ms a batch of 128", start.elapsed().as_secs_f64() * 10.0);
    }
}
