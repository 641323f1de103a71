//! `secateurs measure`: what every unit is worth.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use secateurs::evidence::{
    Estimator, Evidence, EvidenceError, MeasureJob, MeasureOptions, Score, Trace, Verification,
    VerifyOptions, measure, verify,
};
use secateurs::format::{count, significant};
use secateurs::methods::METHODS;
use secateurs::pipeline;
use secateurs::plan::PlannedSplit;
use secateurs::recipe::MeasureSettings;
use secateurs::resizable::{coupling, resizable};
use secateurs::run::outside_data;
use secateurs::search::groups_named;
use secateurs::tune::{Objective, fixed_outputs};
use secateurs_graph::Graph;
use secateurs_graph::coupling::Coupling;
use secateurs_graph::session::{Precision, SessionOptions};
use serde::Serialize;

use super::show;
use crate::arguments::{
    DataArguments, DeviceArguments, OutputArguments, SplitArgument, check_results, objective, parse_quoted,
    parse_seed,
};
use crate::error::{CliError, Result};
use crate::table::Table;
use crate::{interrupt, progress};

/// Measure what every channel, head and neuron is worth, on data
///
/// The score of a unit is the change of the model's outputs that second order predicts for its removal: KL divergence for class scores and for
/// labels that hold or not, squared error for other numbers. Labels are not needed; with labels the change of their loss is predicted
/// too. The evidence is a safetensors file for `secateurs plan --evidence`; the same command goes on where it was interrupted.
#[derive(Args)]
#[command(after_help = "Examples:
  secateurs measure model.onnx --data train.npz -o evidence.safetensors
  secateurs measure model.onnx --data train.npz --verify 100 \\
      --report page.html -o evidence.safetensors
  secateurs measure model.onnx --data train.npz --output logits \\
      --output embedding=0.1 -o evidence.safetensors
  secateurs measure model.onnx --data train.npz --shard 1/2 \\
      -o first.safetensors")]
pub struct Measure {
    /// The ONNX model
    model: PathBuf,
    #[command(flatten)]
    data: DataArguments,
    /// Where to write the evidence
    #[arg(short = 'o', long = "evidence", value_name = "EVIDENCE")]
    file: PathBuf,
    /// Also write what was found as an HTML page: scores by layer with error bars, and what --verify found
    #[arg(long, value_name = "PAGE")]
    report: Option<PathBuf>,
    /// At most so many samples, drawn by the seed
    #[arg(long, value_name = "N", default_value_t = 2048)]
    samples: usize,
    /// End early once the ranking is so reliable; 1 for never
    ///
    /// The samples are split into two halves, and the rank correlation ρ of their scores is stepped up to the whole: 2ρ / (1 + ρ).
    /// It is looked at every 256 samples, from 512 on.
    #[arg(long, value_name = "SHARE", default_value_t = 0.998)]
    settled: f64,
    /// How the Hessian in the outputs is written as squares
    #[arg(long, value_parser = PossibleValuesParser::new(Estimator::ALL.iter().map(|e| e.name())).try_map(|name| parse_quoted::<Estimator>(&name)), default_value = "one-pass")]
    estimator: Estimator,
    /// Backward passes a batch, for estimators that draw
    #[arg(long, value_name = "N", default_value_t = 1)]
    draws: usize,
    /// Measure the trace of the Hessian in every unit's weights too, and HAP's score from it
    ///
    /// projected: gradients of weights on random directions, drawn batch by batch. per-sample: gradients of single samples; with
    /// --estimator exact the exact trace. hutchinson: random probes through the model twice, as HAP has it, whatever the estimator.
    #[arg(long, value_name = "WAY", num_args = 0..=1, require_equals = true, default_missing_value = "projected", value_parser = PossibleValuesParser::new(Trace::ALL.iter().map(|t| t.name())).try_map(|name| parse_quoted::<Trace>(&name)))]
    trace: Option<Trace>,
    /// Directions, for --trace=projected; parameters of no more weights a unit are exact
    #[arg(long, value_name = "N", default_value_t = 16)]
    directions: usize,
    /// Probes a batch, for --trace=hutchinson
    #[arg(long, value_name = "N", default_value_t = 3)]
    probes: usize,
    /// Measure the K-th of N parts of the samples, to be merged later
    #[arg(long, value_name = "K/N", default_value = "1/1")]
    shard: Shard,
    /// Samples in a batch; what is found does not depend on it, but for traces by directions or probes, which are drawn once a batch
    /// [default: 64, or what the model fixes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Option<u32>,
    /// Memory for what single samples gave, in MB; samples beyond are in the scores alone
    #[arg(long, value_name = "MB", default_value_t = 1024)]
    memory: u64,
    #[command(flatten)]
    outputs: OutputArguments,
    /// What the outputs are taken for
    #[arg(long, value_parser = objective(), default_value = "auto")]
    objective: Objective,
    /// Whole heads and groups of convolutions (outer), or dimensions of all heads and channels of all groups (inner)
    #[arg(long, value_enum, default_value_t)]
    split: SplitArgument,
    /// Inputs and outputs of the model that may shrink with the units that they carry, as for `secateurs plan`; such outputs are not looked
    /// at
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    resizable: Vec<String>,
    /// Seed of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse_seed())]
    seed: u64,
    /// Compute in 64 bits
    #[arg(long)]
    double: bool,
    #[command(flatten)]
    device: DeviceArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verify: VerifyArguments,
}

/// How to check the evidence against true removals.
#[derive(Args)]
#[command(next_help_heading = "Verification")]
struct VerifyArguments {
    /// Truly remove K units spread over the ranking, one at a time, and random sets, on samples that were not measured
    #[arg(long, value_name = "K")]
    verify: Option<usize>,
    /// Random sets of a layer to remove, and as many of the whole net
    #[arg(long, value_name = "N", default_value_t = 40)]
    verify_sets: usize,
    /// The smallest and the largest share of a layer or the net in a set, in percent
    #[arg(long, value_name = "A..B", default_value = "5..30")]
    verify_share: Shares,
    /// Remove only units with one of these in their name: kinds of units (head, neuron, channel) or parameters
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    verify_among: Vec<String>,
    /// At most so many samples [default: as many as were measured]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    verify_samples: Option<u32>,
    /// Verify on the samples that were measured
    #[arg(long)]
    verify_same: bool,
}

/// What is truly removed.
struct ToVerify {
    units: usize,
    coupling: Coupling,
    groups: Option<Vec<usize>>,
}

/// Two shares.
#[derive(Clone)]
struct Shares([f64; 2]);

impl FromStr for Shares {
    type Err = String;

    fn from_str(text: &str) -> Result<Shares, String> {
        let parts = text.split_once("..").and_then(|(a, b)| {
            Some([a.trim().parse::<f64>().ok()?, b.trim().trim_end_matches('%').trim().parse::<f64>().ok()?])
        });
        match parts {
            Some([a, b]) if a >= 0.0 && a <= b && b < 100.0 => Ok(Shares([a / 100.0, b / 100.0])),
            _ => Err("expected two percentages below 100, the smaller first, as in 5..30".into()),
        }
    }
}

/// A part of the samples.
#[derive(Clone)]
struct Shard([usize; 2]);

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parts =
            text.split_once('/').and_then(|(k, n)| Some([k.trim().parse().ok()?, n.trim().parse().ok()?]));
        match parts {
            Some([k, n]) if k >= 1 && k <= n => Ok(Shard([k, n])),
            _ => Err("expected K/N with K from 1 to N, as in 2/4".into()),
        }
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    evidence: String,
    #[serde(flatten)]
    header: &'a secateurs::evidence::Header,
    reliability: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<Verification>,
}

impl Measure {
    pub fn run(self) -> Result {
        let results = [Some(&*self.file), self.report.as_deref()];
        check_results(&results)?;
        results.into_iter().flatten().try_for_each(|result| outside_data(result, &self.data.data))?;
        let graph = Arc::new(Graph::read_live(&self.model)?);
        let options = self.data.options(&self.model);
        let ports = resizable(&graph, &self.resizable)
            .map_err(|e| CliError::Input(format!("{}: {e}", self.model.display())))?;
        let outputs = fixed_outputs(&graph, &self.outputs.outputs, &ports)?;
        let labelled = outputs.first().map(|output| output.name.as_str());
        let data = pipeline::open_data(&graph, &self.data.data, &options, labelled, self.objective)?;
        let data = Arc::new(data);
        self.device.prepare()?;
        interrupt::watch(false)?;
        let precision = if self.double { Precision::Double } else { Precision::Single };
        let settings = MeasureSettings {
            samples: self.samples,
            estimator: self.estimator,
            draws: self.draws,
            trace: self.trace,
            directions: self.directions,
            probes: self.probes,
            settled: self.settled,
        };
        let defaults = settings.options();
        let options = MeasureOptions {
            shard: self.shard.0,
            batch_size: self.batch_size.map_or(defaults.batch_size, |n| n as usize),
            seed: self.seed,
            memory: self.memory.saturating_mul(1_000_000),
            outputs: &outputs,
            objective: self.objective,
            split: PlannedSplit::from(self.split),
            resizable: &self.resizable,
            session: SessionOptions { device: self.device.device, precision, ..SessionOptions::default() },
            ..defaults
        };
        // Names of nothing are told before hours of measuring.
        let verified = self.verify.verify.map(|units| self.to_verify(&graph, &options, units)).transpose()?;
        let among: Vec<usize> = (0..data.len()).collect();
        let job =
            MeasureJob { graph: &graph, data: &data, among: &among, options: &options, file: &self.file };
        let evidence = measured(&job)?;
        let verification = verified.map(|wanted| self.verified(&evidence, &job, wanted)).transpose()?;
        if let Some(path) = &self.report {
            pipeline::write_sensitivity(path, &evidence, Score::Quadratic, verification.as_ref())?;
        }
        let mut out = io::stdout().lock();
        if self.json {
            let summary = Summary {
                evidence: self.file.display().to_string(),
                header: &evidence.header,
                reliability: evidence.reliability(),
                verification,
            };
            writeln!(out, "{}", serde_json::to_string_pretty(&summary).map_err(io::Error::from)?)?;
            return Ok(());
        }
        show::print(&evidence, &mut out)?;
        if let Some(verification) = &verification {
            print_verification(verification, &mut out)?;
        }
        writeln!(out, "evidence  {}", self.file.display())?;
        if let Some(path) = &self.report {
            writeln!(out, "report    {}", path.display())?;
        }
        Ok(())
    }

    fn to_verify(&self, graph: &Arc<Graph>, options: &MeasureOptions, units: usize) -> Result<ToVerify> {
        let coupling = coupling(graph, options.split, options.resizable)
            .map_err(|e| CliError::Input(format!("{}: {e}", self.model.display())))?;
        let groups = groups_named(graph, &coupling, &self.verify.verify_among).map_err(|e| {
            let names = self.verify.verify_among.join(",");
            CliError::Input(format!("{}: --verify-among {names}: {e}", self.model.display()))
        })?;
        Ok(ToVerify { units, coupling, groups })
    }

    fn verified(&self, evidence: &Evidence, job: &MeasureJob, wanted: ToVerify) -> Result<Verification> {
        let ToVerify { units, coupling, groups } = wanted;
        let options = VerifyOptions {
            units,
            sets: self.verify.verify_sets,
            shares: self.verify.verify_share.0,
            groups,
            samples: self.verify.verify_samples.map_or(evidence.header.samples, |n| n as usize),
            same_samples: self.verify.verify_same,
            batch_size: job.options.batch_size,
            seed: self.seed,
            session: job.options.session,
        };
        let unmeasured = METHODS.iter().filter(|method| !method.needs_evidence());
        let scores = unmeasured.filter_map(|method| {
            // A model whose weights give no scores may still be measured.
            let scores = method.score(job.graph, &coupling, self.seed, None).ok()?;
            Some((method.name, scores.concat()))
        });
        let baselines: Vec<(&str, Vec<f64>)> = scores.collect();
        let bar = progress::bar(options.samples.min(job.data.len()), "samples verified");
        let mut progress = |done: usize| bar.inc(done as u64);
        let verification = verify(evidence, job.graph, job.data, &options, &baselines, &mut progress);
        bar.finish_and_clear();
        Ok(verification?)
    }
}

/// Measures with a progress bar.
fn measured(job: &MeasureJob) -> Result<Evidence> {
    let bar = progress::bar(job.options.samples.min(job.data.len()), "samples");
    interrupt::training(true);
    let mut begun = false;
    let evidence = measure(job, &mut |progress| {
        bar.set_length(progress.of as u64);
        match begun {
            true => bar.set_position(progress.samples as u64),
            // The rate is that of this process.
            false => bar.reset_eta(),
        }
        begun = true;
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    interrupt::training(false);
    bar.finish_and_clear();
    match evidence {
        Err(EvidenceError::Interrupted { samples }) => {
            progress::say(format_args!("{} samples are measured and written", count(samples)));
            Err(CliError::Interrupted)
        }
        evidence => Ok(evidence?),
    }
}

fn print_verification(verification: &Verification, out: &mut impl Write) -> io::Result<()> {
    let which = if verification.same_samples { "the measured" } else { "other" };
    write!(out, "\nverified on {} {which} samples", count(verification.samples))?;
    match verification.mean_p_max {
        Some(p_max) => writeln!(out, ", mean highest probability {p_max:.3}")?,
        None => writeln!(out)?,
    }
    let mut table = Table::new(&["score", "removed", "times", "outputs", "loss"], 2);
    for c in &verification.correlations {
        let loss = c.loss.map_or("–".into(), |rho| significant(rho, 3));
        let cells =
            [c.score.clone(), c.kind.name().into(), count(c.removals), significant(c.outputs, 3), loss];
        table.row(cells);
    }
    table.print(out)?;
    writeln!(out, "Spearman's rank correlation of the score with the true change of outputs and loss")
}
