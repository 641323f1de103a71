//! `cargo xtask fuzz`: many executions of what the tests of `secateurs-fuzz` run a few thousand times.

use anyhow::{Context, Result, bail, ensure};

use crate::run;

/// The targets, and the test of each.
const TARGETS: [(&str, &str); 3] = [
    ("reader", "the_reader_survives_mutated_models"),
    ("inference", "shape_inference_survives_mutated_models"),
    ("application", "application_of_plans_survives_mutated_models"),
];

pub fn command(arguments: &[String]) -> Result<()> {
    let (mut executions, mut seed, mut target) = (1_000_000u64, 1u64, None);
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument {
            "--executions" => executions = value()?.parse().context("--executions needs a number")?,
            "--seed" => seed = value()?.parse().context("--seed needs a number")?,
            "--target" => target = Some(value()?),
            other => bail!("unknown argument `{other}`; see `cargo xtask help`"),
        }
    }
    // The seed takes the upper bits of the numbers that mutations are made of.
    ensure!(
        seed < 1 << 24 && executions < 1 << 40,
        "--seed goes up to {}, --executions to 2^40",
        (1 << 24) - 1
    );
    let names = TARGETS.map(|(name, _)| name);
    if let Some(target) = target.filter(|target| !names.contains(target)) {
        bail!("there is no target `{target}`: {} are known", names.join(", "));
    }
    for (name, test) in TARGETS.iter().filter(|(name, _)| target.is_none_or(|target| target == *name)) {
        run::step(&format!("{executions} executions of {name}"), || {
            let mut cargo = run::cargo();
            cargo.args([
                "test",
                "--quiet",
                "--package",
                "secateurs-fuzz",
                "--test",
                "short",
                "--",
                "--nocapture",
            ]);
            cargo.args(["--exact", test]);
            run::run(cargo.env("FUZZ_EXECUTIONS", executions.to_string()).env("FUZZ_SEED", seed.to_string()))
        })?;
    }
    Ok(())
}
