//! A Python script that answers line by line, so that ONNX is imported once.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use serde_json::Value;

pub struct Script(Option<Mutex<Process>>);

struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Script {
    /// Starts a script of this folder in the Python that has ONNX. Where there is none, a word about it, and no answers.
    pub fn start(name: &str) -> Script {
        let Ok(python) = std::env::var("SECATEURS_PYTHON") else {
            eprintln!("SECATEURS_PYTHON is not set: what {name} checks is skipped");
            return Script(None);
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zoo").join(name);
        let mut child = Command::new(python)
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("SECATEURS_PYTHON is a Python");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Script(Some(Mutex::new(Process { child, input, output })))
    }

    /// What the script says of a file: an object that has an `error` where something is wrong; `None` where there is no script.
    pub fn ask(&self, file: &Path) -> Result<Option<Value>, String> {
        let Some(process) = &self.0 else { return Ok(None) };
        let mut process = process.lock().unwrap();
        writeln!(process.input.as_mut().unwrap(), "{}", file.display()).map_err(|e| e.to_string())?;
        let mut line = String::new();
        process.output.read_line(&mut line).map_err(|e| e.to_string())?;
        let answer: Value = serde_json::from_str(&line).map_err(|e| format!("the script ended: {e}"))?;
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(Some(answer)),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The script ends with its input.
        self.input = None;
        let _ = self.child.wait();
    }
}
