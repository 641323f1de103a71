//! What a teacher has answered is not asked again, and changes nothing.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use secateurs_graph::Graph;
use secateurs_torch::tch::Device;

use super::tests::{data, graph, net, whole};
use super::*;

/// The weights after six steps that see six batches.
fn trained(teacher: &Graph, teacher_cache: Option<&Path>, options: &TuneOptions) -> Result<String, String> {
    secateurs_torch::load().unwrap();
    let (folder, model) = (tempfile::tempdir().unwrap(), graph(net(0.0)));
    let data = data(folder.path(), &model, true);
    let job = TuneJob {
        graph: &model,
        teacher: Some(teacher),
        teacher_cache,
        plan: None,
        data: &data,
        validation: None,
        outputs: &[],
        options,
        device: Device::Cpu,
        folder: folder.path(),
    };
    let tuned = tune(&job, &mut |_| ControlFlow::Continue(()));
    tuned.map(|tuned| tuned.graph.hash()).map_err(|e| e.to_string())
}

fn options() -> TuneOptions {
    TuneOptions { batch_size: 8, epochs: 2, ..whole() }
}

fn files(cache: &Path) -> Vec<PathBuf> {
    let inside = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    inside(cache).flat_map(|folder| inside(&folder)).collect()
}

#[test]
fn batches_seen_before_are_answered_from_files_with_the_same_result() {
    let (cache, teacher) = (tempfile::tempdir().unwrap(), graph(net(0.3)));
    let cache = cache.path();
    let plain = trained(&teacher, None, &options()).unwrap();
    assert_eq!(trained(&teacher, Some(cache), &options()).unwrap(), plain);
    assert_eq!(files(cache).len(), 6);
    assert_eq!(trained(&teacher, Some(cache), &options()).unwrap(), plain);
    assert_eq!(files(cache).len(), 6);

    // One answer in the place of all others: what is read is used.
    let answers = files(cache);
    let answer = fs::read(&answers[0]).unwrap();
    answers.iter().for_each(|path| fs::write(path, &answer).unwrap());
    assert_ne!(trained(&teacher, Some(cache), &options()).unwrap(), plain);
}

#[test]
fn other_batches_and_other_teachers_have_answers_of_their_own() {
    let (cache, teacher) = (tempfile::tempdir().unwrap(), graph(net(0.3)));
    let cache = cache.path();
    trained(&teacher, Some(cache), &options()).unwrap();
    let other = graph(net(0.4));
    let seeded = TuneOptions { seed: 1, ..options() };
    let single = TuneOptions { precision: Some(TunePrecision::F32), ..options() };
    for (teacher, options, answers) in
        [(&other, options(), 12), (&teacher, seeded, 18), (&teacher, single, 24)]
    {
        assert_eq!(trained(teacher, Some(cache), &options), trained(teacher, None, &options));
        assert_eq!(files(cache).len(), answers);
    }
}

#[test]
fn spoiled_answers_are_asked_for_again() {
    let (cache, teacher) = (tempfile::tempdir().unwrap(), graph(net(0.3)));
    let cache = cache.path();
    let plain = trained(&teacher, Some(cache), &options()).unwrap();
    let whole: Vec<Vec<u8>> = files(cache).iter().map(|path| fs::read(path).unwrap()).collect();
    for (number, path) in files(cache).iter().enumerate() {
        fs::write(path, &whole[number][..number * whole[number].len() / 6]).unwrap();
    }
    assert_eq!(trained(&teacher, Some(cache), &options()).unwrap(), plain);
    let again: Vec<Vec<u8>> = files(cache).iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(again, whole);
}

#[test]
fn folders_that_cannot_be_written_are_named() {
    let (folder, teacher) = (tempfile::tempdir().unwrap(), graph(net(0.3)));
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = trained(&teacher, Some(&file), &options()).unwrap_err();
    assert!(error.contains(&file.display().to_string()), "{error}");
    let hidden = TuneOptions { hidden_distillation: Some(1.0), ..options() };
    let error = trained(&teacher, Some(folder.path()), &hidden).unwrap_err();
    assert!(error.contains("--teacher-cache"), "{error}");
}
