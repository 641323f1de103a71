//! `secateurs`: makes trained neural networks smaller and faster.

// They panic where nobody reads what they write.
#![deny(clippy::print_stdout, clippy::print_stderr)]

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

// What a command says of itself, in short and at length, stands at its arguments: here it would replace both.
#[derive(Subcommand)]
enum Command {
    Inspect(commands::inspect::Inspect),
    Compress(Box<commands::compress::Compress>),
    Tune(Box<commands::tune::Tune>),
    Prune(commands::prune::Prune),
    Plan(commands::plan::PlanCommand),
    Apply(commands::apply::Apply),
    Measure(commands::measure::Measure),
    Show(commands::show::Show),
    Merge(commands::merge::Merge),
    Methods(commands::methods::Methods),
    Eval(commands::eval::Eval),
    Run(commands::run::Run),
    Bench(commands::bench::Bench),
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

#[cfg(test)]
mod tests {
    use clap::{Arg, Command, CommandFactory};

    use super::Cli;

    fn commands() -> Vec<Command> {
        let mut all = Cli::command();
        all.build();
        all.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect()
    }

    fn help(name: &str) -> String {
        let mut command = commands().into_iter().find(|command| command.get_name() == name).unwrap();
        command.render_long_help().to_string()
    }

    #[test]
    fn help_at_length_says_more_than_the_summary() {
        assert!(help("compress").contains("RUN is a directory"));
        assert!(help("measure").contains("Labels are not needed"));
    }

    #[test]
    fn summaries_of_commands_are_a_line_each() {
        let list = Cli::command().render_help().to_string();
        for command in commands() {
            let summary = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!summary.is_empty() && list.lines().any(|line| line.ends_with(&summary)), "{list}");
        }
    }

    #[test]
    fn examples_are_not_wrapped() {
        for command in commands() {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.lines().all(|line| line.chars().count() < 78), "{examples}");
        }
    }

    /// The heading of an argument's section carries over to all arguments that are defined later.
    #[test]
    fn what_commands_share_stands_under_options() {
        let shared = ["data", "test", "out", "recipe", "restart", "output", "device", "no-check", "json"];
        for command in commands() {
            let elsewhere = |arg: &&Arg| arg.get_help_heading().is_some();
            let wrong = command.get_arguments().filter(elsewhere).filter_map(Arg::get_long);
            let wrong: Vec<&str> = wrong.filter(|long| shared.contains(long)).collect();
            assert!(wrong.is_empty(), "{}: {wrong:?}", command.get_name());
        }
    }
}
