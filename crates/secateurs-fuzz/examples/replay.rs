//! Runs a target on files: `cargo run --package secateurs-fuzz --example replay -- TARGET FILE...`

use std::process::ExitCode;

use secateurs_fuzz::TARGETS;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, files)) = arguments.split_first() else { return ExitCode::from(2) };
    let Some(target) = TARGETS.iter().find(|target| target.name == *name) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("there is no target `{name}`; there are {}", names.join(", "));
        return ExitCode::from(2);
    };
    for file in files {
        match std::fs::read(file) {
            Ok(input) => (target.run)(&input),
            Err(error) => {
                eprintln!("{file}: {error}");
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::SUCCESS
}
