//! HAP for language: heads by every score, alone and after an epoch, and an encoder of which half or less is left.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::{Experiment, Found, PRINTED, Page, mean_and_deviation, number, report, signed, table, words};
use crate::npz;

const MODEL: &str = "../shared/models/minilm-l6-movie-reviews.onnx";
const TEXTS: &str = "--tokenizer data/minilm/tokenizer.json --max-length 64";
const TRAIN: &str = "data/movie-reviews/train.tsv";
/// Sentences that the original has not seen, for choices.
const VALIDATION: &str = "data/movie-reviews/validation.tsv";
const TEST: &str = "data/movie-reviews/test.tsv";
/// Ours first.
const METHODS: &[&str] = &["joint", "quadratic", "gradient", "gradient-normalised", "magnitude", "random"];
/// Shares of the heads that stay.
const KEPT: &[&str] = &["0.8", "0.6", "0.4", "0.2"];
const SEEDS: &[&str] = &["0", "1", "2", "3", "4"];
/// What is tuned for an epoch: a method, what is compensated before, and with how many of the seeds.
type Way = (&'static str, &'static str, usize);
/// Ours first.
const TUNED: &[Way] = &[
    ("joint", "least-squares", 5),
    ("gradient", "least-squares", 1),
    ("joint", "none", 1),
    ("quadratic", "none", 1),
    ("gradient", "none", 5),
    ("gradient-normalised", "none", 1),
    ("magnitude", "none", 1),
    ("random", "none", 1),
];
/// The file of a tuned model's outputs, without its ending.
const OUTPUTS: &str = "outputs";
/// Scores that are held against true removals.
const SCORES: &[&str] = &["quadratic", "gradient", "taylor", "activation", "magnitude"];
/// What is truly removed, one at a time: kinds of units, how many of them, and what the program calls them.
const VERIFIED: &[(&str, &str, &str)] = &[("heads", "72", "head"), ("neurons", "120", "neuron")];
/// What the encoder may keep of its parameters.
const BUDGETS: &[&str] = &["0.5", "0.3"];
const WAYS: &[(&str, &[&str])] = &[("units", &[]), ("low-rank", &["--implant", "auto"])];

pub fn page() -> Page {
    let mut experiments: Vec<Experiment> = SEEDS.iter().map(|seed| heads(seed)).collect();
    experiments.extend(VERIFIED.iter().map(|(name, count, among)| verified(name, count, among)));
    let compress = format!("compress {MODEL} --data {TRAIN} --test {TEST} {TEXTS}");
    for kept in KEPT {
        for (method, fit, seeds) in TUNED {
            experiments.extend(SEEDS[..*seeds].iter().map(|seed| after_an_epoch(kept, method, fit, seed)));
        }
    }
    for budget in BUDGETS {
        for (way, more) in WAYS {
            let line = format!(
                "{compress} --validation-data {VALIDATION} --count encoder.* --keep params={budget} --epochs 3 --dim sequence=64 --latency-batches 1,32"
            );
            experiments.push(Experiment::run(format!("encoder-{budget}-{way}"), &line, more));
        }
    }
    Page { name: "hap-language", experiments, render }
}

/// The name of an experiment with an epoch of tuning.
fn tuned(kept: &str, method: &str, fit: &str, seed: &str) -> String {
    format!("tuned-{kept}-{method}-{fit}-seed-{seed}")
}

/// What a table calls it.
fn name((method, fit, _): &Way) -> String {
    format!("`{method}`{}", if *fit == "none" { "" } else { ", compensated" })
}

/// What every unit is worth, measured with a seed: once for all experiments.
fn measure(seed: &str) -> Vec<String> {
    let evidence = evidence(seed);
    words(&format!(
        "measure {MODEL} --data {TRAIN} {TEXTS} --batch-size 32 --samples 2048 --settled 1 --seed {seed} -o {evidence}"
    ))
    .collect()
}

fn evidence(seed: &str) -> String {
    format!("{{page}}/evidence-seed-{seed}.safetensors")
}

/// What a method goes by.
fn by(method: &str, seed: &str) -> String {
    match method {
        "magnitude" | "random" => String::new(),
        _ => format!(" --evidence {}", evidence(seed)),
    }
}

/// Heads that are removed, and an epoch of tuning. Nothing is held out, so that it is the tuned model which is the result.
fn after_an_epoch(kept: &str, method: &str, fit: &str, seed: &str) -> Experiment {
    let by = by(method, seed);
    let compress = format!(
        "compress {MODEL} --data {TRAIN} --test {TEST} {TEXTS} --method {method}{by} --among head --keep units={kept} --seed {seed} \
         --compensate {fit} --epochs 1 --validation 0 --no-latency -o {{run}}"
    );
    let eval = format!("eval {{run}}/model.onnx --data {TEST} {TEXTS} --save {{run}}/{OUTPUTS}.npz");
    let measure = (!by.is_empty()).then(|| measure(seed));
    let calls = measure.into_iter().chain([compress, eval].map(|line| words(&line).collect()));
    Experiment { name: tuned(kept, method, fit, seed), calls: calls.collect(), found: report_and_right }
}

/// What is kept of the report, and which sentences the result gets right.
fn report_and_right(folder: &Path) -> Result<Value> {
    let mut found = report(folder)?;
    let (output, labels) = outputs(folder, OUTPUTS)?;
    found["right"] = right(&output, &labels).into();
    Ok(found)
}

/// Heads that are removed by every method, from one measurement, without tuning.
fn heads(seed: &str) -> Experiment {
    let mut calls: Vec<Vec<String>> = vec![
        measure(seed),
        words(&format!("eval {MODEL} --data {TEST} {TEXTS} --save {{run}}/original.npz")).collect(),
    ];
    for method in METHODS {
        let by = by(method, seed);
        for kept in KEPT {
            let prune = format!(
                "prune {MODEL} --method {method}{by} --seed {seed} --among head --keep units={kept} -o {{run}}/pruned.onnx"
            );
            let eval =
                format!("eval {{run}}/pruned.onnx --data {TEST} {TEXTS} --save {{run}}/{method}-{kept}.npz");
            calls.extend([prune, eval].map(|line| words(&line).collect()));
        }
    }
    Experiment { name: format!("heads-seed-{seed}"), calls, found: compared }
}

/// Scores against true removals.
fn verified(name: &str, count: &str, among: &str) -> Experiment {
    let line = format!(
        "measure {MODEL} --data {TRAIN} {TEXTS} --batch-size 32 --samples 1024 --settled 1 --seed 0 --verify {count} --verify-among {among} \
         --verify-sets 0 --verify-samples 512 --json -o {{run}}/evidence.safetensors"
    );
    Experiment { name: format!("verified-{name}"), calls: vec![words(&line).collect()], found: correlations }
}

/// What verification says of single units.
fn correlations(folder: &Path) -> Result<Value> {
    let path = folder.join(PRINTED);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut printed: Value = serde_json::from_str(&text)?;
    let verification = &mut printed["verification"];
    let parts = ["samples", "correlations"].map(|part| (part.to_owned(), verification[part].take()));
    Ok(Value::Object(parts.into_iter().collect()))
}

/// Scores of all sentences that `eval` wrote, and their labels.
fn outputs(folder: &Path, name: &str) -> Result<(Vec<f64>, Vec<f64>)> {
    let path = folder.join(format!("{name}.npz"));
    let arrays = npz::read(&path).with_context(|| path.display().to_string())?;
    let of = |name: &str| arrays.iter().find(|(own, _)| own == name).map(|(_, values)| values.clone());
    Ok((of("output").context("there is no output")?, of("label").context("there is no label")?))
}

/// Of every model its divergence from the original, and which sentences it gets right.
fn compared(folder: &Path) -> Result<Value> {
    let (original, labels) = outputs(folder, "original")?;
    let mut found = Map::new();
    found.insert("original".into(), json!({ "right": right(&original, &labels) }));
    for method in METHODS {
        for kept in KEPT {
            let name = format!("{method}-{kept}");
            let (output, _) = outputs(folder, &name)?;
            if output.len() != original.len() {
                bail!("{name} has {} scores, the original {}", output.len(), original.len());
            }
            let divergence = divergence(&original, &output);
            found.insert(name, json!({ "divergence": divergence, "right": right(&output, &labels) }));
        }
    }
    std::fs::remove_file(folder.join("pruned.onnx"))?;
    Ok(Value::Object(found))
}

/// Scores of two classes, sample by sample: 1 for a sample that is met, 0 for one that is not.
fn right(output: &[f64], labels: &[f64]) -> String {
    let met = |(scores, label): (&[f64], &f64)| (scores[1] > scores[0]) == (*label > 0.5);
    output.chunks_exact(2).zip(labels).map(|sample| if met(sample) { '1' } else { '0' }).collect()
}

/// The mean KL divergence of softmax probabilities of two classes from the original's, in nats.
fn divergence(original: &[f64], output: &[f64]) -> f64 {
    let logarithms = |scores: &[f64]| {
        let highest = scores[0].max(scores[1]);
        let sum = scores.iter().map(|score| (score - highest).exp()).sum::<f64>().ln() + highest;
        [scores[0] - sum, scores[1] - sum]
    };
    let of_sample = |(p, q): (&[f64], &[f64])| {
        let (p, q) = (logarithms(p), logarithms(q));
        (0..2).map(|class| p[class].exp() * (p[class] - q[class])).sum::<f64>()
    };
    let samples = original.len() as f64 / 2.0;
    original.chunks_exact(2).zip(output.chunks_exact(2)).map(of_sample).sum::<f64>() / samples
}

fn render(found: &Found) -> String {
    let mut text = String::from(
        "MiniLM-L6 fine-tuned on movie reviews: six layers of twelve heads; 1,065 test sentences. Calibration on 2,048 training sentences.\n\n",
    );
    text += "### Heads, without tuning\n\nMean over five calibration seeds; in brackets the standard deviation over seeds. `random` draws other heads with every seed, `magnitude` the same.\n\n";
    let mut head = vec!["method"];
    let shares = ["20 %", "40 %", "60 %", "80 %"];
    head.extend(shares);
    for (title, of) in [("KL to the original, nats", "divergence"), ("accuracy, %", "accuracy")] {
        let row = |method: &&str| {
            let cell = |kept: &&str| {
                let values: Vec<f64> = SEEDS
                    .iter()
                    .filter_map(|seed| head_figure(found, seed, &format!("{method}-{kept}"), of))
                    .collect();
                spread(&values, if of == "divergence" { 3 } else { 2 })
            };
            std::iter::once(format!("`{method}`")).chain(KEPT.iter().map(cell)).collect()
        };
        text += &format!("{title}, with so much of the heads removed:\n\n");
        text += &table(&head, METHODS.iter().map(row).collect());
        text.push('\n');
    }
    text += "`joint` against others: the difference of accuracies in points, with its standard error over the same sentences, averaged over the four levels and the seeds.\n\n";
    let row = |method: &&str| {
        let paired = paired(found, METHODS[0], method);
        vec![
            format!("`{method}`"),
            signed(paired.map(|(mean, _)| mean)),
            number(paired.map(|(_, error)| error)),
        ]
    };
    text += &table(&["against", "difference", "standard error"], METHODS[1..].iter().map(row).collect());

    text += "\n### Heads and neurons, one at a time\n\nSpearman's rank correlation of scores with the true change of the outputs (KL divergence), on 512 sentences that were not measured: all 72 heads, and 120 \
             neurons spread over the ranking.\n\n";
    let row = |(name, _, _): &(&str, &str, &str)| {
        let cell = |score: &&str| {
            let found = found.get(&format!("verified-{name}"))?;
            let all = found["correlations"].as_array()?.clone();
            all.iter().find(|own| own["score"] == **score && own["kind"] == "unit")?["outputs"].as_f64()
        };
        std::iter::once((*name).to_owned()).chain(SCORES.iter().map(|score| number(cell(score)))).collect()
    };
    let scores: Vec<String> = SCORES.iter().map(|score| format!("`{score}`")).collect();
    let columns: Vec<&str> = std::iter::once("").chain(scores.iter().map(String::as_str)).collect();
    text += &table(&columns, VERIFIED.iter().map(row).collect());

    text += "\n### Heads, after one epoch\n\n`compress --epochs 1 --validation 0` with its defaults for transformers, the result always being the tuned model: mean over five seeds (calibration and tuning), in brackets the standard \
             deviation; without brackets the first seed alone. `compress` compensates layers (`least-squares`) before tuning; the baselines are as their authors have them, without, and \
             Michel et al.'s gradient with it as well.\n\n";
    for (title, metric, scale, digits) in
        [("KL to the original, nats", "divergence", 1.0, 3), ("accuracy, %", "accuracy", 100.0, 2)]
    {
        let row = |way: &Way| {
            let (method, fit, _) = way;
            let cell = |kept: &&str| {
                let of = |seed: &&str| {
                    found.metric("test", &tuned(kept, method, fit, seed), "result", metric).map(|x| scale * x)
                };
                spread(&SEEDS.iter().filter_map(of).collect::<Vec<_>>(), digits)
            };
            std::iter::once(name(way)).chain(KEPT.iter().map(cell)).collect()
        };
        text += &format!("{title}, with so much of the heads removed:\n\n");
        text += &table(&head, TUNED.iter().map(row).collect());
        text.push('\n');
    }
    let row = |other: &Way| {
        let cell = |kept: &&str| {
            let right = |(method, fit, _): &Way, seed: &str| {
                Some(found.get(&tuned(kept, method, fit, seed))?["right"].as_str()?.to_owned())
            };
            let pair = |seed: &&str| Some((right(&TUNED[0], seed)?, right(other, seed)?));
            let pairs: Vec<(String, String)> = SEEDS.iter().filter_map(pair).collect();
            let told = |(mean, error)| format!("{} ± {error:.2}", signed(Some(mean)));
            by_sentences(&pairs).map_or("–".into(), told)
        };
        std::iter::once(name(other)).chain(KEPT.iter().map(cell)).collect()
    };
    text += &format!(
        "{} against others: the difference of accuracies in points with its standard error over the same sentences, averaged over the seeds that both have:\n\n",
        name(&TUNED[0])
    );
    let mut against = head.clone();
    against[0] = "against";
    text += &table(&against, TUNED[1..].iter().map(row).collect());
    text.push('\n');

    text += "### The encoder\n\nHeads and neurons under one budget of the encoder layers' parameters, alone and beside low-rank implants as many as predicted to help; at most 3 epochs; sentences that the original has not seen \
             choose among the model before tuning and the epochs. \
             Speed in ONNX Runtime with one thread, sentences of 64 tokens.\n\n";
    let mut rows = Vec::new();
    for budget in BUDGETS {
        for (way, _) in WAYS {
            let name = format!("encoder-{budget}-{way}");
            let original = found.accuracy(&name, "original");
            let result = found.accuracy(&name, "result");
            let speed = |at: usize| speedup(found, &name, at);
            rows.push(vec![
                format!("params={budget}, {way}"),
                number(original),
                number(result),
                signed(result.zip(original).map(|(result, original)| result - original)),
                number(speed(0)),
                number(speed(1)),
            ]);
        }
    }
    let head = ["budget", "original", "result", "change", "times as fast, 1 × 64", "32 × 64"];
    text + &table(&head, rows)
}

/// A figure of a model without some heads.
fn head_figure(found: &Found, seed: &str, model: &str, of: &str) -> Option<f64> {
    let found = found.get(&format!("heads-seed-{seed}"))?;
    match of {
        "divergence" => found[model]["divergence"].as_f64(),
        _ => {
            let right = found[model]["right"].as_str()?;
            Some(100.0 * right.matches('1').count() as f64 / right.len() as f64)
        }
    }
}

/// The mean difference of two methods' accuracies in points and its standard error, over all levels and seeds.
fn paired(found: &Found, ours: &str, theirs: &str) -> Option<(f64, f64)> {
    let mut pairs = Vec::new();
    for seed in SEEDS {
        let found = found.get(&format!("heads-seed-{seed}"))?;
        for kept in KEPT {
            let of = |method: &str| Some(found[format!("{method}-{kept}")]["right"].as_str()?.to_owned());
            pairs.push((of(ours)?, of(theirs)?));
        }
    }
    by_sentences(&pairs)
}

/// The mean difference of accuracies in points of pairs of models, and its standard error over sentences: each counts with its mean over the
/// pairs.
fn by_sentences(pairs: &[(String, String)]) -> Option<(f64, f64)> {
    let mut differences: Vec<f64> = Vec::new();
    for (a, b) in pairs {
        differences.resize(a.len(), 0.0);
        let own = a.bytes().zip(b.bytes()).map(|(a, b)| f64::from(a) - f64::from(b));
        differences.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
    }
    if pairs.is_empty() {
        return None;
    }
    let points = |sum: f64| 100.0 * sum / pairs.len() as f64;
    let (mean, deviation) = mean_and_deviation(&differences);
    Some((points(mean), points(deviation / (differences.len() as f64).sqrt())))
}

fn spread(values: &[f64], digits: usize) -> String {
    let (mean, deviation) = mean_and_deviation(values);
    match values.len() {
        0 => "–".into(),
        1 => format!("{mean:.digits$}"),
        _ => format!("{mean:.digits$} ({deviation:.digits$})"),
    }
}

fn speedup(found: &Found, name: &str, at: usize) -> Option<f64> {
    Some(found.latency(name, "original", at)? / found.latency(name, "result", at)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_met_and_diverge() {
        let original = [0.0, 1.0, 2.0, -2.0];
        assert_eq!(right(&original, &[1.0, 1.0]), "10");
        assert!(divergence(&original, &original).abs() < 1e-15);
        // Half and half against p: Σ p ln 2p.
        let p = 1.0 / (1.0 + (-1.0f64).exp());
        let expected = p * (2.0 * p).ln() + (1.0 - p) * (2.0 * (1.0 - p)).ln();
        assert!((divergence(&[0.0, 1.0], &[3.0, 3.0]) - expected).abs() < 1e-12);
    }

    #[test]
    fn differences_are_paired_by_sentences() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(by_sentences(&[]), None);
        // One of four is won: 25 points, and of 1, 0, 0, 0 the deviation is a half, the error a quarter.
        assert_eq!(by_sentences(&[pair("1101", "0101")]), Some((25.0, 25.0)));
        // What one seed wins and another loses at the same sentence is no difference at all.
        assert_eq!(by_sentences(&[pair("10", "00"), pair("00", "10")]), Some((0.0, 0.0)));
    }
}
