//! Our side: [`tune`] as the program calls it.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use secateurs::data::{Augment, DataOptions, Dataset, Preset};
use secateurs::pipeline::open_data;
use secateurs::tune::{Event, Objective, OptimizerKind, Schedule, TuneError, TuneJob, TuneOptions, tune};
use secateurs_graph::Graph;
use secateurs_torch::tch::{self, Device};

use crate::job::{self, BATCH_SIZE, Job, LOSSES, Task, Training};
use crate::memory::peak_memory;

/// What a child of ours does.
pub fn child(job: &Job) {
    match job.task {
        Task::Turns { warmup, lead_in, steps } => {
            let mut turns = Turns { warmup, lead_in, steps, start: Instant::now() };
            let augment = Augment { crop_padding: Some(4), flip: true, ..Augment::default() };
            train(job, augment, &mut |event| match event {
                Event::Step { step, .. } => turns.after(*step),
                _ => ControlFlow::Continue(()),
            });
        }
        Task::Losses => {
            let mut losses = Vec::new();
            train(job, Augment::default(), &mut |event| {
                if let Event::Step { loss, .. } = event {
                    losses.push(loss.to_string());
                }
                if losses.len() < LOSSES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            println!("{}", losses.join(" "));
        }
    }
}

/// The samples as the model takes them.
pub fn samples(graph: &Graph) -> Arc<Dataset> {
    let options = DataOptions { preset: Some(Preset::Cifar10), ..DataOptions::default() };
    Arc::new(open_data(graph, &job::data(), &options, None, Objective::Auto).expect("the data fit the model"))
}

fn train(job: &Job, augment: Augment, observe: &mut dyn FnMut(&Event) -> ControlFlow<()>) {
    secateurs_torch::keep_freed_memory();
    secateurs_torch::load().expect("libtorch loads; run `cargo xtask setup`");
    tch::set_num_threads(job.threads as i32);
    let graph = Graph::read(&job::model()).expect("the model can be read");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let options = TuneOptions {
        // As many as anyone asks for.
        epochs: 1000,
        batch_size: BATCH_SIZE,
        optimizer: Some(OptimizerKind::Sgd),
        learning_rate: Some(1e-3),
        momentum: Some(0.9),
        nesterov: true,
        weight_decay: Some(5e-4),
        warmup: 0.0,
        schedule: Schedule::Constant,
        precision: Some(job.precision),
        augment,
        validation: 0.0,
        ..TuneOptions::default()
    };
    let teacher = matches!(job.training, Training::Secateurs { teacher: true });
    let tuning = TuneJob {
        graph: &graph,
        teacher: teacher.then_some(&graph),
        teacher_cache: None,
        plan: None,
        data: &samples(&graph),
        validation: None,
        outputs: &[],
        options: &options,
        device: Device::Cpu,
        folder: folder.path(),
    };
    let ended = tune(&tuning, observe);
    assert!(matches!(ended, Err(TuneError::Interrupted { .. })), "the training fails: {ended:?}");
}

/// The parent's turns among the steps of a training.
struct Turns {
    warmup: usize,
    lead_in: usize,
    steps: usize,
    start: Instant,
}

impl Turns {
    fn after(&mut self, step: usize) -> ControlFlow<()> {
        let Some(done) = step.checked_sub(self.warmup) else { return ControlFlow::Continue(()) };
        let place = done % (self.lead_in + self.steps);
        if place == 0 {
            match done {
                0 => println!("{}", peak_memory()),
                _ => println!("{}", self.start.elapsed().as_secs_f64()),
            }
            let read = io::stdin().read_line(&mut String::new()).expect("stdin can be read");
            if read == 0 {
                return ControlFlow::Break(());
            }
        }
        if place == self.lead_in {
            self.start = Instant::now();
        }
        ControlFlow::Continue(())
    }
}
