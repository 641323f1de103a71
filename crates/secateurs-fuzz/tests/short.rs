//! Some thousand executions of every target, without any tool: mutations of the corpus that are the same each time.
//!
//! `FUZZ_EXECUTIONS` runs more or less of them, `FUZZ_SEED` others. An input that fails is kept in the folder for temporary files.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use secateurs_fuzz::mutate::mutate;
use secateurs_fuzz::{TARGETS, Target, seeds};

const EXECUTIONS: u64 = 10_000;
/// An execution that takes longer hangs. A loaded machine takes some tenths of a second.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn the_reader_survives_mutated_models() {
    survives("reader");
}

#[test]
fn shape_inference_survives_mutated_models() {
    survives("inference");
}

#[test]
fn application_of_plans_survives_mutated_models() {
    survives("application");
}

fn survives(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    let inputs = corpus(name);
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let executions = number("FUZZ_EXECUTIONS").unwrap_or(EXECUTIONS);
    let salt = number("FUZZ_SEED").unwrap_or(0);
    let watch = Watch::start(name);
    let mut panics = BTreeMap::new();
    let mut run = |input: &[u8], execution: u64| {
        if let Some((place, why)) = watch.run(target, input) {
            panics.entry(place).or_insert_with(|| {
                let path = std::env::temp_dir().join(format!("secateurs-fuzz-{name}-{salt}-{execution}"));
                std::fs::write(&path, input).expect("the folder for temporary files can be written");
                format!("{why}: {}", path.display())
            });
        }
    };
    (0..).zip(&inputs).for_each(|(execution, input)| run(input, execution));
    let mut pool = inputs.clone();
    for execution in 0..executions {
        let seed = (salt << 40) + execution;
        let pick = |n: u64| &pool[(seed.wrapping_mul(n) >> 7) as usize % pool.len()];
        let input = mutate(pick(0x9E37_79B9_7F4A_7C15), Some(pick(0xC2B2_AE3D_27D4_EB4F)), seed);
        run(&input, execution);
        // Some go on to be mutated again.
        if execution % 16 == 0 && input.len() < 1 << 14 {
            match pool.len() < 4 * inputs.len() {
                true => pool.push(input),
                false => {
                    let at = inputs.len() + (seed as usize >> 4) % (3 * inputs.len());
                    pool[at] = input;
                }
            }
        }
    }
    let panics: Vec<String> = panics.iter().map(|(place, why)| format!("{place}: {why}")).collect();
    eprintln!("{name}: {executions} executions, {} inputs to begin with", inputs.len());
    assert!(panics.is_empty(), "{name} panics in {} places:\n{}", panics.len(), panics.join("\n"));
}

/// Ends the process where an execution takes too long, and says where panics are.
struct Watch {
    /// The input that is being tried.
    path: PathBuf,
    /// The milliseconds at which the execution began, 0 between two.
    since: Arc<AtomicU64>,
    start: Instant,
}

thread_local! {
    static PANIC: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

impl Watch {
    fn start(name: &str) -> Watch {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let why = info.payload_as_str().unwrap_or("no text").to_owned();
            eprintln!("panic at {place}: {why}");
            PANIC.set(Some((place, why)));
        }));
        let path = std::env::temp_dir().join(format!("secateurs-fuzz-{name}-{}", std::process::id()));
        let watch = Watch { path, since: Arc::default(), start: Instant::now() };
        let (since, start, path, name) =
            (watch.since.clone(), watch.start, watch.path.clone(), name.to_owned());
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(500));
                let since = Duration::from_millis(since.load(Ordering::Relaxed));
                if !since.is_zero() && start.elapsed() > since + LIMIT {
                    eprintln!("{name}: an execution takes longer than {LIMIT:?}: {}", path.display());
                    std::process::abort();
                }
            }
        });
        watch
    }

    /// One execution; where it panics, and with what words.
    fn run(&self, target: &Target, input: &[u8]) -> Option<(String, String)> {
        // Written before, as what aborts or hangs can write nothing.
        std::fs::write(&self.path, input).expect("the folder for temporary files can be written");
        self.since.store(self.start.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
        let result = std::panic::catch_unwind(|| (target.run)(input));
        self.since.store(0, Ordering::Relaxed);
        std::fs::remove_file(&self.path).expect("it was written");
        let own = PANIC.take();
        result.is_err().then(|| own.unwrap_or_default())
    }
}

/// The kept inputs, and what they began with.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.map(|entry| entry.expect("a folder can be listed").path()).collect(),
        Err(_) => Vec::new(),
    };
    paths.sort();
    let kept = paths.iter().map(|path| std::fs::read(path).expect("a file can be read"));
    kept.chain(seeds().into_iter().map(|(_, bytes)| bytes.to_vec())).collect()
}
