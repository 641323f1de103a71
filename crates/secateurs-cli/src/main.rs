//! `secateurs`: makes trained neural networks smaller and faster.

mod arguments;
mod commands;
mod error;
mod interrupt;
mod progress;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Makes trained neural networks smaller and faster without losing what they learned.
///
/// Models are ONNX files. Results go to standard output, progress and messages to standard error.
/// Exit codes: 0 done, 1 failed, 2 bad usage or input, 3 the budget cannot be met,
/// 130 interrupted.
#[derive(Parser)]
#[command(name = "secateurs", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show a model's layers with shapes, parameters and MACs
    Inspect(commands::inspect::Inspect),
    /// Prune a model, tune it against the original, and report what was gained and lost
    Compress(Box<commands::compress::Compress>),
    /// Tune a model: against a teacher, on labels, or from scratch
    Tune(Box<commands::tune::Tune>),
    /// Remove units of a model without data
    Prune(commands::prune::Prune),
    /// Choose which units to remove, and write the choice as a plan
    Plan(commands::plan::PlanCommand),
    /// Remove the units that a plan does not keep
    Apply(commands::apply::Apply),
    /// Measure what every unit is worth, on data
    Measure(commands::measure::Measure),
    /// Show what was measured
    Show(commands::show::Show),
    /// Add up what was measured in parts
    Merge(commands::merge::Merge),
    /// List the methods for --method, with their sources
    Methods(commands::methods::Methods),
    /// Measure a model's accuracy and loss on data
    Eval(commands::eval::Eval),
    /// Run a model on arrays
    Run(commands::run::Run),
    /// Measure the latency of models side by side in ONNX Runtime
    Bench(commands::bench::Bench),
    /// Print a shell's completion script
    Completions(commands::completions::Completions),
    /// The child process that measures latency
    #[command(hide = true)]
    LatencyChild,
}

fn main() -> ExitCode {
    secateurs_torch::keep_freed_memory();
    let result = match Cli::parse().command {
        Command::Inspect(command) => command.run(),
        Command::Compress(command) => command.run(),
        Command::Tune(command) => command.run(),
        Command::Prune(command) => command.run(),
        Command::Plan(command) => command.run(),
        Command::Apply(command) => command.run(),
        Command::Measure(command) => command.run(),
        Command::Show(command) => command.run(),
        Command::Merge(command) => command.run(),
        Command::Methods(command) => command.run(),
        Command::Eval(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Completions(command) => command.run::<Cli>(),
        Command::LatencyChild => commands::bench::child(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
