//! HAP for vision: recovery at several budgets, methods at equal recovery, parts taken away, before any training, latency.

use super::{Experiment, Found, Page, mean_and_deviation, number, signed, table};

const DATA: &str = "--data data/cifar10/train.npz --test data/cifar10/test.npz --preset cifar10 --validation 0.04 \
                    --teacher-cache {page}/teacher";
const NARROW: &str = "assets/cifar10-preresnet29-dense.onnx";
const HALF: &str = "assets/cifar10-presnet29-w32-dense.onnx";
/// The share of MACs that is about as fast as `latency=0.6`, as measured.
const AS_FAST: &str = "macs=0.51";
/// Parts of our way, and the arguments that take each away or put it in.
const PARTS: &[(&str, &str, &[&str])] = &[
    ("hap", "`hap`", &[]),
    ("implant-auto", "with implants, as many as predicted to help", &["--implant", "auto"]),
    ("implant-tenth", "with a tenth implanted", &["--implant", "0.1"]),
    ("implant-zero", "with a tenth implanted from zero", &["--implant", "0.1", "--implant-start", "zero"]),
    ("no-distillation", "without distillation", &["--distillation", "0"]),
    ("trace", "by HAP's trace in place of `joint`", &["--method", "hap-trace"]),
    ("quadratic", "by single units (no interactions)", &["--method", "quadratic"]),
    ("means", "means absorbed alone", &["--compensate", "means"]),
    ("no-compensation", "without compensation", &["--compensate", "none"]),
];
const METHODS: &[&str] = &["magnitude", "gradient", "random"];
/// Shares of the parameters at equal recovery, and the seeds: more of them where methods are close.
const KEPT: &[(&str, &[&str])] = &[("0.5", SEEDS), ("0.3", &["0"])];
const RECOVERED: &[Recovered] = &[
    Recovered { name: "narrow", label: "PreResNet-29, 0.31 M", model: NARROW, kept: &["0.5", "0.3"] },
    Recovered {
        name: "half",
        label: "HAP's PreResNet-29 at half width, 0.72 M",
        model: HALF,
        kept: &["0.5", "0.3", "0.15"],
    },
];
const SEEDS: &[&str] = &["0", "1", "2"];

/// A net that recovers wholly, from several shares of its parameters.
struct Recovered {
    name: &'static str,
    label: &'static str,
    model: &'static str,
    kept: &'static [&'static str],
}

pub fn page() -> Page {
    let mut experiments = Vec::new();
    let mut add =
        |name: String, line: String, more: &[&str]| experiments.push(Experiment::run(name, &line, more));
    let compress = |model: &str, keep: &str| format!("compress {model} {DATA} --recipe hap --keep {keep}");
    let tune = |model: &str| format!("tune {model} {DATA} --recipe hap --teacher {model}");
    for (kept, seed) in KEPT.iter().flat_map(|(kept, seeds)| seeds.iter().map(move |seed| (kept, seed))) {
        let short = ["--epochs", "5", "--no-latency", "--seed", seed];
        let line = compress(NARROW, &format!("params={kept}"));
        for (name, _, more) in PARTS {
            add(equal(kept, name, seed), line.clone(), &[&short, *more].concat());
        }
        for method in METHODS {
            let more = ["--method", method, "--compensate", "none"];
            add(equal(kept, method, seed), line.clone(), &[&short[..], &more].concat());
        }
        let line = format!("compress {NARROW} {DATA} --recipe hap-paper --keep params={kept}");
        add(equal(kept, "hap-paper", seed), line, &short);
    }
    add("equal-dense".into(), tune(NARROW), &["--epochs", "5", "--no-latency"]);
    for method in ["joint", "quadratic", "magnitude", "hap-trace", "gradient", "random"] {
        for fit in ["least-squares", "none"] {
            let line = compress(NARROW, "macs=0.5");
            let more = ["--epochs", "0", "--no-latency", "--method", method, "--compensate", fit];
            add(format!("before-{method}-{fit}"), line, &more);
        }
    }
    for batch in ["1", "32"] {
        let line = compress(NARROW, "latency=0.6");
        add(format!("latency=0.6-batch-{batch}"), line, &["--epochs", "5", "--latency-batches", batch]);
    }
    add("as-fast".into(), compress(NARROW, AS_FAST), &["--epochs", "5", "--latency-batches", "1,32"]);
    for Recovered { name, model, kept, .. } in RECOVERED {
        add(format!("{name}-dense"), tune(model), &[]);
        for kept in *kept {
            let seeds = if *name == "half" && *kept == "0.3" { SEEDS } else { &SEEDS[..1] };
            for seed in seeds {
                let line = compress(model, &format!("params={kept}"));
                add(format!("{name}-{kept}-seed-{seed}"), line, &["--seed", seed]);
            }
        }
    }
    Page { name: "hap-vision", experiments, render }
}

fn render(found: &Found) -> String {
    let mut text = String::from(
        "Test accuracy on CIFAR-10 in percent; validation images (2,000 of the training images) choose the epoch, the test images are read once, \
         at the end. The standard error of one figure is about 0.27 points.\n\n",
    );
    text += "### Recovery\n\nAt most 15 epochs of `--recipe hap`. The dense model as it is, and tuned by the same recipe.\n\n";
    let columns = ["0.5", "0.3", "0.15"];
    let row = |Recovered { name, label, kept: shares, .. }: &Recovered| {
        let tuned = found.accuracy(&format!("{name}-dense"), "result");
        let run = |kept: &str, seed: &str| format!("{name}-{kept}-seed-{seed}");
        let runs = || shares.iter().flat_map(|kept| SEEDS.iter().map(|seed| run(kept, seed)));
        let original = runs().find_map(|run| found.accuracy(&run, "original"));
        let dense = [original, tuned].into_iter().flatten().reduce(f64::max);
        let mut cells = vec![(*label).to_owned(), number(original), number(tuned)];
        for kept in columns {
            let all: Vec<f64> =
                SEEDS.iter().filter_map(|seed| found.accuracy(&run(kept, seed), "result")).collect();
            cells.push(if shares.contains(&kept) { against(&all, dense) } else { String::new() });
        }
        cells
    };
    let head = ["net", "dense", "dense, tuned", "params=0.5", "params=0.3", "params=0.15"];
    text += &table(&head, RECOVERED.iter().map(row).collect());
    text += "\nIn brackets what is lost against the better of the dense ones that there are; of several seeds the mean with its 95 % interval (Student's t).\n";

    text += "\n### At equal recovery\n\nThe narrow net, 5 epochs; seed 0, or three seeds with the 95 % interval of their mean where there is one. Methods without our parts are tuned by the same recipe without compensation; `hap-paper` is the authors' way, \
             its 120 epochs cut to 5. Before tuning on the validation images, as test images are read once.\n\n";
    let labels = PARTS.iter().map(|(name, label, _)| (*name, (*label).to_owned()));
    let others = METHODS
        .iter()
        .map(|name| (*name, format!("`{name}`")))
        .chain([("hap-paper", "`hap-paper`".to_owned())]);
    let row = |(name, label): (&str, String)| {
        let cells = KEPT.iter().flat_map(|(kept, seeds)| {
            [("validation", "pruned"), ("test", "result")].map(|(samples, model)| {
                let of = |seed: &&str| found.accuracy_on(samples, &equal(kept, name, seed), model);
                mean(&seeds.iter().filter_map(of).collect::<Vec<_>>())
            })
        });
        [label].into_iter().chain(cells).collect()
    };
    let head = ["", "params=0.5, before tuning", "after", "params=0.3, before tuning", "after"];
    text += &table(&head, labels.chain(others).map(row).collect());
    text +=
        &format!("\nThe dense model tuned by the same recipe: {}.\n", number(better(found, "equal-dense")));

    text += "\n### Before any training\n\nThe narrow net at macs=0.5: change in points.\n\n";
    let row = |method: &str| {
        let change = |fit: &str| {
            let name = format!("before-{method}-{fit}");
            Some(found.accuracy(&name, "result")? - found.accuracy(&name, "original")?)
        };
        vec![format!("`{method}`"), signed(change("none")), signed(change("least-squares"))]
    };
    let methods = ["joint", "quadratic", "magnitude", "hap-trace", "gradient", "random"];
    text += &table(&["method", "as pruned", "compensated"], methods.map(row).to_vec());

    text += &format!(
        "\n### Latency\n\nThe narrow net, 5 epochs: the measured share of the original's latency in ONNX Runtime with one thread; and \
         {AS_FAST}, which is about as fast.\n\n"
    );
    let row = |budget: &str, batch: &str, name: &str, at: usize| {
        let share = |of: &dyn Fn(&str) -> Option<f64>| Some(of("result")? / of("original")?);
        let latency = share(&|model| found.latency(name, model, at));
        let macs = share(&|model| found.get(name)?[model]["macs"].as_f64());
        let (latency, macs) = (number(latency), number(macs));
        vec![budget.to_owned(), batch.to_owned(), latency, macs, number(found.accuracy(name, "result"))]
    };
    let rows = ["1", "32"].iter().enumerate().flat_map(|(at, batch)| {
        let limited = row("latency=0.6", batch, &format!("latency=0.6-batch-{batch}"), 0);
        [limited, row(AS_FAST, batch, "as-fast", at)]
    });
    text + &table(&["budget", "batch", "latency kept", "MACs kept", "accuracy"], rows.collect())
}

/// The better of a dense model and itself tuned.
fn better(found: &Found, name: &str) -> Option<f64> {
    Some(found.accuracy(name, "original")?.max(found.accuracy(name, "result")?))
}

/// The experiment that tunes a method's net as long as the others'.
fn equal(kept: &str, method: &str, seed: &str) -> String {
    match seed {
        "0" => format!("equal-{kept}-{method}"),
        _ => format!("equal-{kept}-{method}-seed-{seed}"),
    }
}

/// What several seeds give, with the 95 % interval of three; the number of others but one is told.
fn mean(all: &[f64]) -> String {
    let (mean, deviation) = mean_and_deviation(all);
    match all.len() {
        0 => number(None),
        1 => number(Some(mean)),
        3 => format!("{mean:.2} ± {:.2}", STUDENT_2 * deviation / 3f64.sqrt()),
        count => format!("{mean:.2} ({count})"),
    }
}

fn against(all: &[f64], dense: Option<f64>) -> String {
    match all {
        [] => number(None),
        _ => format!("{} ({})", mean(all), signed(dense.map(|dense| mean_and_deviation(all).0 - dense))),
    }
}

/// The 97.5 % quantile of Student's t with 2 degrees of freedom.
const STUDENT_2: f64 = 4.303;
