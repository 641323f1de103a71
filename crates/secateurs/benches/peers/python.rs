//! The Python that has PyTorch.

use std::path::Path;
use std::process::Command;

/// A script of `benches`, ready to run; `None`, saying so, where there is no Python for it.
pub fn script(path: &str) -> Option<Command> {
    let Ok(python) = std::env::var("SECATEURS_PYTHON_TORCH") else {
        println!("no peer: SECATEURS_PYTHON_TORCH is not set");
        return None;
    };
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(path));
    // The source tree stays as it is.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}
