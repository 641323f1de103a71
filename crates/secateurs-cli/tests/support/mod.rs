//! What the tests of commands share: a folder of models and data, and runs of the program.
#![allow(dead_code)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use secateurs::data::npz;
use secateurs::rng::Rng;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor, WriteOptions, write};

pub const SECATEURS: &str = env!("CARGO_BIN_EXE_secateurs");

pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    pub fn model(&self, name: &str, model: ModelBuilder) -> String {
        write(&model.build().unwrap(), Path::new(&self.path(name)), &WriteOptions::default()).unwrap();
        self.path(name)
    }

    /// Points in 4 dimensions, of the class whose coordinate is the largest.
    pub fn data(&self, name: &str, samples: usize, labelled: bool) -> String {
        let x = normal(&[samples, 4], 7);
        let values = x.to_f64_vec().unwrap();
        let class = |row: &[f64]| (0..3).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap() as i64;
        let y: Vec<i64> = values.chunks_exact(4).map(class).collect();
        let y = Tensor::from_slice(vec![samples], &y).unwrap();
        let arrays: &[(&str, &Tensor)] = if labelled { &[("x", &x), ("y", &y)] } else { &[("x", &x)] };
        npz::write(Path::new(&self.path(name)), arrays).unwrap();
        self.path(name)
    }

    pub fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    pub fn bytes(&self, run: &str, name: &str) -> Vec<u8> {
        std::fs::read(Path::new(&self.path(run)).join(name)).unwrap()
    }
}

pub fn normal(shape: &[usize], number: u64) -> Tensor {
    let mut rng = Rng::new(0, "test", number, 0);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal() as f32).collect();
    Tensor::from_slice(shape.to_vec(), &values).unwrap()
}

/// Two dense layers with 16 hidden neurons.
pub fn dense() -> ModelBuilder {
    dense_in(ModelBuilder::new(17), "batch")
}

/// The same in a model that was begun, for batches of this size.
pub fn dense_in(model: ModelBuilder, batch: &str) -> ModelBuilder {
    model
        .input("x", ElementType::Float32, &[batch, "4"])
        .constant("w", &normal(&[4, 16], 0))
        .constant("b", &normal(&[16], 1))
        .constant("v", &normal(&[16, 3], 2))
        .node("MatMul", &["x", "w"], &["h"])
        .node("Add", &["h", "b"], &["i"])
        .node("Relu", &["i"], &["j"])
        .node("MatMul", &["j", "v"], &["y"])
        .output("y")
}

pub fn secateurs(words: &[impl AsRef<OsStr>]) -> Output {
    Command::new(SECATEURS).args(words).output().expect("the program starts")
}

/// Runs it where no file may become larger than so many bytes, as on a full disk.
pub fn with_room(bytes: u64, words: &[impl AsRef<OsStr>]) -> Output {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(SECATEURS);
    command.args(words);
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: both calls are safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    command.output().expect("the program starts")
}

/// What nobody reads.
pub fn unread() -> Stdio {
    let (_, writer) = std::io::pipe().unwrap();
    writer.into()
}

pub fn start(words: &[String]) -> Child {
    Command::new(SECATEURS)
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Runs it, expects this exit code and these words on standard error, and returns standard output.
pub fn ends(code: i32, words: &[impl AsRef<OsStr>], expected: &[&str]) -> String {
    let output = secateurs(words);
    ended(code, &output, expected)
}

pub fn ended(code: i32, output: &Output, expected: &[&str]) -> String {
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    for word in expected {
        assert!(message.contains(word), "no '{word}' in: {message}");
    }
    String::from_utf8_lossy(&output.stdout).into_owned()
}
