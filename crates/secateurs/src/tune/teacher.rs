//! The model whose outputs a training is to reach, and what it has answered before.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_graph::rewrite::fold_batch_norms;
use secateurs_graph::session::{Precision, Run, Session, SessionOptions, Tap};
use secateurs_torch::tch::{self, Tensor};

use super::error::TuneError;
use super::{scores, stored};
use crate::data::Batch;
use crate::whole;

/// A teacher, whose batch norms are folded: it runs once a step.
pub(super) struct Teacher {
    session: Session,
    answers: Option<Answers>,
}

impl Teacher {
    /// `cache` is the folder of what teachers answered before.
    pub fn new(graph: &Graph, options: SessionOptions, cache: Option<&Path>) -> Result<Teacher, TuneError> {
        let answers = cache.map(|folder| Answers::of(graph, options, folder));
        let mut folded = graph.clone();
        if options.precision != Precision::Double {
            fold_batch_norms(&mut folded)?;
        }
        Ok(Teacher { session: Session::new(Arc::new(folded), options)?, answers })
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What it computes of a batch. Taps are for teachers without a cache.
    pub fn answer(&self, batch: &Batch, taps: &[Tap]) -> Result<Run, TuneError> {
        let compute = || tch::no_grad(|| scores::forward(&self.session, batch, taps));
        let Some(answers) = &self.answers else { return compute() };
        debug_assert!(taps.is_empty(), "the trainer refuses hidden distillation with a cache");
        let path = answers.path(batch);
        if let Some(outputs) = Answers::read(&path)? {
            let device = self.session.options().device;
            let outputs = outputs.into_iter().map(|output| output.f_to_device(device));
            return Ok(Run { outputs: outputs.collect::<Result<_, _>>()?, taps: Vec::new() });
        }
        let run = compute()?;
        Answers::write(&path, &run.outputs)?;
        Ok(run)
    }
}

/// A folder with a file for each batch that a teacher has seen, as in Shen and Xing 2022 (*A Fast Knowledge Distillation Framework for
/// Visual Recognition*). Trainings with the same seed see the same batches, pictures changed at random among them (Beyer et al. 2022:
/// a teacher must see what its student sees), so that many of one original ask it once.
///
/// A file is named by a hash of all that an answer depends on, to its last digit on the same processor: a training ends with the same
/// bytes as without.
struct Answers {
    folder: PathBuf,
    /// Has seen the teacher, and where and how it computes.
    hasher: blake3::Hasher,
}

impl Answers {
    fn of(graph: &Graph, options: SessionOptions, folder: &Path) -> Answers {
        let mut hasher = blake3::Hasher::new();
        let threads = tch::get_num_threads();
        let how = format!("{} {} {options:?} {threads}", env!("CARGO_PKG_VERSION"), graph.hash());
        hasher.update(how.as_bytes());
        Answers { folder: folder.to_owned(), hasher }
    }

    fn path(&self, batch: &Batch) -> PathBuf {
        let mut hasher = self.hasher.clone();
        for (name, input) in &batch.inputs {
            hasher.update(format!("\n{name} {} {:?}\n", input.element_type(), input.shape()).as_bytes());
            hasher.update(input.bytes());
        }
        let name = hasher.finalize().to_hex();
        let (first, rest) = name.split_at(2);
        self.folder.join(first).join(format!("{rest}.safetensors"))
    }

    /// What was answered; `None` where it was not, or the file was cut off.
    fn read(path: &Path) -> Result<Option<Vec<Tensor>>, TuneError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(TuneError::Read { path: path.to_owned(), source }),
        };
        let Ok(mut tensors) = stored::from_bytes(&bytes) else { return Ok(None) };
        Ok((0..tensors.len()).map(|output| tensors.remove(&output.to_string())).collect())
    }

    /// Keeps an answer; a file that a power cut has spoiled is not read, and made again.
    fn write(path: &Path, outputs: &[Tensor]) -> Result<(), TuneError> {
        let fail = |source| TuneError::Write { path: path.to_owned(), source };
        let names: Vec<String> = (0..outputs.len()).map(|output| output.to_string()).collect();
        let bytes = stored::to_bytes(names.iter().map(String::as_str).zip(outputs), None)
            .map_err(|reason| fail(std::io::Error::other(reason)))?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(fail)?;
        }
        whole::write_unsynchronised(path, &bytes).map_err(fail)
    }
}
