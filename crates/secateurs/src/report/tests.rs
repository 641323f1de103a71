//! Whole pages.

use std::collections::BTreeMap;

use super::*;
use crate::evidence::{Correlation, Kind, Removal, Verification};

fn quality(accuracy: f64, loss: f64) -> Quality {
    let measured =
        |value, standard_error| Measured { value, standard_error: Some(standard_error), change: None };
    let metrics = [(Metric::Accuracy, measured(accuracy, 0.0027)), (Metric::Loss, measured(loss, 0.0081))];
    Quality { samples: 10_000, metrics: metrics.into() }
}

fn timing(median_ms: f64) -> Timing {
    Timing::from_times((0..=100).map(|i| median_ms * (0.9 + 0.002 * f64::from(i))).collect())
}

fn figures(parameters: u64, accuracy: f64, loss: f64, latency_ms: f64) -> Figures {
    Figures {
        test: Some(quality(accuracy, loss)),
        validation: Some(Quality { samples: 5000, ..quality(accuracy + 0.002, loss) }),
        parameters,
        macs: Count::Number(131 * parameters),
        file_bytes: Some(4 * parameters + 4096),
        latency: vec![timing(latency_ms), timing(8.0 * latency_ms)],
        units: Some(parameters / 250),
    }
}

fn png() -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(32, 24).write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

/// Two layers, one with a dead unit and one wider than charts are.
fn sensitivity() -> Sensitivity {
    let group = |name: &str, scores: Vec<f64>, removed: Vec<usize>| ScoredGroup {
        name: name.into(),
        kind: "channel".into(),
        standard_errors: scores.iter().map(|score| Some(0.1 * score)).collect(),
        scores,
        removed,
        implanted: Vec::new(),
    };
    let wide = (0..300).map(|i| 0.001 * f64::from(i + 1)).collect();
    Sensitivity {
        model: "preresnet.onnx".into(),
        score: "quadratic".into(),
        samples: 2048,
        reliability: 0.9981,
        conditions: vec![("estimator".into(), "one-pass, 1 backward pass a batch".into())],
        notes: vec!["samples ran one by one".into()],
        groups: vec![
            group("conv1.weight[0]", vec![0.02, 0.0, 0.3, 0.01], vec![1, 3]),
            group("conv2.weight[0]", wide, (0..120).collect()),
        ],
    }
}

fn verification() -> Verification {
    let removal = |kind, units: &[usize], predicted, change| Removal {
        kind,
        units: units.to_vec(),
        predicted,
        change,
        predicted_loss: None,
        loss_change: None,
    };
    let correlation = |score: &str, kind, outputs| Correlation {
        score: score.into(),
        kind,
        removals: 3,
        outputs,
        loss: Some(0.5 * outputs),
    };
    Verification {
        samples: 1024,
        same_samples: false,
        mean_p_max: Some(0.93),
        removals: vec![
            removal(Kind::Unit, &[1], 0.0, 0.0),
            removal(Kind::Unit, &[6], 0.003, 0.0031),
            removal(Kind::Unit, &[2], 0.3, 0.27),
            removal(Kind::Net, &[2, 5], 0.3, 0.4),
        ],
        correlations: vec![
            correlation("quadratic", Kind::Unit, 0.991),
            correlation("magnitude", Kind::Unit, f64::NAN),
        ],
    }
}

/// Two steps, of which the second was chosen.
fn frontier() -> Frontier {
    let point = |kept, change| FrontierPoint { kept, change };
    let line = |name: &str, points: &[(f64, f64)]| FrontierLine {
        name: name.into(),
        points: points.iter().map(|(kept, change)| point(*kept, *change)).collect(),
    };
    Frontier {
        parts: Vec::new(),
        resource: "params".into(),
        predicted: vec![
            line("step 1", &[(0.7, 0.002), (0.85, 0.0004), (1.0, 0.0)]),
            line("step 2", &[(0.45, 0.04), (0.5, 0.02), (0.7, 0.002)]),
        ],
        measured: vec![point(0.5, 0.031), point(0.7, 0.003)],
        chosen: point(0.5, 0.02),
    }
}

/// A run with all that a report can hold.
fn full() -> Report {
    let (epochs, steps_per_epoch) = (30, 351);
    let step = |step| TrainingStep {
        step,
        // Between 2 and 0.15, not a number once.
        loss: if step == 3150 { f64::NAN } else { 0.15 + 1.85 * (-(step as f64) / 2000.0).exp() },
        learning_rate: 0.05 * (1.0 - step as f64 / 10_530.0),
    };
    let evaluation = |epoch| TrainingEvaluation {
        step: epoch * steps_per_epoch,
        weights: Some(0.85 + 0.002 * epoch as f64),
        averaged: Some(0.86 + 0.0019 * epoch as f64),
    };
    let layer = |i: u64| Layer {
        name: format!("/layer{i}/Conv"),
        op: "Conv".into(),
        channels: [64, 64 - i],
        units: (i > 0).then(|| LayerUnits {
            kind: "channel".into(),
            kept: 60 - i,
            implanted: if i == 29 { 4 } else { 0 },
            removed: if i == 29 { i } else { i + 4 },
        }),
        parameters: [36_864, 576 * (64 - i)],
        macs: [Count::Number(9_437_184), Count::Formula(format!("{}*batch", 147_456 * (64 - i)))],
    };
    let prediction = |class: &str| Some(Prediction { class: class.into(), probability: Some(0.93) });
    let sample = |plain, augmented, result| Sample {
        plain,
        augmented,
        label: Some("cat".into()),
        original: prediction("cat"),
        result: prediction(result),
    };
    let divergence = |value, error| Some(Measured { value, standard_error: Some(error), change: None });
    Report {
        format_version: FORMAT_VERSION,
        model: "preresnet.onnx".into(),
        date: "2026-11-24 14:35 UTC".into(),
        seconds: 2764.0,
        command: ["secateurs", "compress", "my models/preresnet.onnx"].map(str::to_owned).to_vec(),
        original: figures(312_218, 0.918, 0.2634, 1.42),
        pruned: Some(Figures { file_bytes: None, ..figures(156_043, 0.6131, 1.23, 0.911) }),
        result: figures(156_043, 0.9151, 0.2711, 0.91),
        sizes: [("batch".to_owned(), 1)].into(),
        latency: Some(LatencyConditions {
            threads: 1,
            batches: [1, 8]
                .map(|batch| LatencyBatch { batch, shapes: vec![("input".into(), vec![batch, 3, 32, 32])] })
                .to_vec(),
        }),
        notes: vec![
            Note { weight: NoteWeight::Warning, text: "Training went back to step 2,808.".into() },
            Note { weight: NoteWeight::Note, text: "Equal in ONNX Runtime to 2e-7.".into() },
        ],
        layers: (0..30).map(layer).collect(),
        attention: vec![Attention {
            name: "block.0".into(),
            heads: vec![Fate::Kept, Fate::Pruned, Fate::Implanted],
        }],
        frontier: Some(frontier()),
        sensitivity: Some(sensitivity()),
        training: Some(Training {
            epochs,
            steps_per_epoch,
            metric: Metric::Accuracy,
            steps: (1..=epochs * steps_per_epoch).map(step).collect(),
            evaluations: (1..=epochs).map(evaluation).collect(),
            rollbacks: vec![Rollback { step: 3150, reason: "the loss was not a number".into() }],
            chosen: Some(ChosenState { step: 28 * steps_per_epoch, averaged: true }),
            stopped: Some("no gain for 2 epochs".into()),
        }),
        ledger: vec![
            Step { name: "plan".into(), seconds: 0.8, quantities: vec![] },
            Step {
                name: "apply".into(),
                seconds: 95.0,
                quantities: vec![
                    Quantity {
                        name: "parameters".into(),
                        unit: Unit::Count,
                        predicted: Some(Measured::exact(156_109.0)),
                        measured: Some(Measured::exact(156_043.0)),
                    },
                    Quantity {
                        name: "divergence".into(),
                        unit: Unit::Nats,
                        predicted: divergence(0.31, 0.02),
                        measured: divergence(0.42, 0.011),
                    },
                ],
            },
        ],
        samples: vec![
            sample(Content::Picture(png()), Some(Content::Picture(png())), "dog"),
            sample(Content::Text("a long film".into()), None, "cat"),
            sample(Content::Array { shape: vec![3, 32], first: vec![0.5, -1.25] }, None, "cat"),
        ],
        data: Some(DataDescription {
            path: "data/train.npz".into(),
            validation_path: Some("data/held-out.npz".into()),
            test_path: Some("data/test.npz".into()),
            training: 45_000,
            validation: 5000,
            test: Some(10_000),
            classes: vec!["cat".into(), "dog".into()],
            preprocessing: vec!["divided by 255".into()],
            augmentation: vec!["flipped".into()],
        }),
        settings: toml::from_str("method = 'magnitude'\n[tune]\nlearning_rate = 0.05").unwrap(),
        seeds: [("run".to_owned(), 17)].into(),
        environment: Environment {
            secateurs: "0.1.0".into(),
            libtorch: Some("2.11.0".into()),
            onnx_runtime: Some("1.24.1".into()),
            device: "cpu".into(),
            cpu: "A processor".into(),
            threads: 2,
        },
        files: vec![FileHash { role: "plan".into(), path: "plan.json".into(), hash: "2f0c6f9e".into() }],
    }
}

/// A run without data: pruned only, nothing measured.
fn minimal() -> Report {
    let figures = |parameters, macs: &str| Figures {
        test: None,
        validation: None,
        parameters,
        macs: Count::Formula(macs.into()),
        file_bytes: None,
        latency: vec![],
        units: None,
    };
    Report {
        command: vec!["secateurs".into()],
        original: figures(1000, "640*batch"),
        pruned: None,
        result: figures(1000, "640*batch"),
        sizes: BTreeMap::new(),
        latency: None,
        notes: vec![],
        layers: vec![],
        attention: Vec::new(),
        frontier: None,
        sensitivity: None,
        training: None,
        ledger: vec![],
        samples: vec![],
        data: None,
        settings: toml::Table::new(),
        seeds: BTreeMap::new(),
        files: vec![],
        ..full()
    }
}

/// What a reader sees: the page without tags, entities resolved, spaces as one.
fn text(page: &str) -> String {
    let body = page.split_once("<body>").unwrap().1;
    let mut text = String::new();
    for part in body.split('<') {
        text += part.split_once('>').map_or(part, |(_, text)| text);
        text.push(' ');
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_full_report_has_every_figure() {
    let page = render(&full());
    let text = text(&page);
    for expected in [
        "preresnet.onnx pruned and tuned",
        "312,218 → 156,043 parameters (50.0 %), accuracy 91.8 → 91.5 % (within noise) on the test set, 1.42 → 0.910 ms at batch 1.",
        "2026-11-24 14:35 UTC · secateurs 0.1.0 · took 46 min 04 s",
        // Before and after.
        "original pruned, not tuned result change",
        "Test set 10,000 samples",
        "accuracy 91.80 % ± 0.27 61.31 % ± 0.27 91.51 % ± 0.27 −0.29 ± 0.38 points, within noise",
        "loss (cross-entropy), nats 0.2634 ± 0.0081 1.2300 ± 0.0081 0.2711 ± 0.0081 +0.008 ± 0.011 within noise",
        "Validation split 5,000 samples accuracy 92.00 %",
        "parameters 312,218 156,043 156,043 −50.0 % 50.0 % kept",
        "Size MACs at batch=1",
        "MACs 40,900,558 20,441,633 20,441,633 −50.0 %",
        "file 1.25 MB – 628.3 kB −49.9 %",
        "units 1,248 624 624 −50.0 %",
        "Latency ONNX Runtime, 1 thread, input [1, 3, 32, 32], input [8, 3, 32, 32], 101 runs each",
        "median, batch 1 1.42 ms 1.31–1.53 0.911 ms 0.838–0.984 0.910 ms 0.837–0.983 1.56× as fast",
        // Notes.
        "Warning. Training went back to step 2,808. Equal in ONNX Runtime to 2e-7.",
        // Layers.
        "29 of 30 layers have fewer output channels",
        "kept implanted pruned layer output channels units parameters MACs",
        "/ layer29/ Conv Conv 64 → 35 31 kept, 4 implanted, 29 pruned 36.9 k → 20.2 k 9.44 M → 5160960*batch",
        // What smaller models cost and change.
        "Cost and predicted change What a smaller model is predicted to change",
        "Units were measured anew for every step; the changes of steps are added up. Measured are models",
        "change of the outputs (logarithmic), by % of parameters kept step 1 step 2 measured chosen",
        "The smaller, the larger the change; chosen: 50.0 % of parameters kept, 0.0200 predicted.",
        "% kept 50.00 step 1: 0.002000 step 2: 0.02000 measured: 0.03100",
        "Chosen: 50.0 % of parameters kept, 0.0200 predicted.",
        // What units are worth.
        "304 units in 2 groups, of which 122 were pruned, scored by quadratic on 2,048 samples; the ranking's reliability is 0.9981.",
        "Of layers with more than 96 units, as many are shown, spread evenly over the ranking. kept pruned",
        "conv1. weight[0] 4 × channel, 2 pruned conv1.weight[0] 4 × channel, 2 pruned: lowest score 0, median 0.020, highest 0.30, 1 of them 0.",
        "channel 1, rank 1 of 4 0 ± 0, pruned",
        "channel 3, rank 2 of 4 0.0100 ± 0.0020, pruned channel 0, rank 3 of 4 0.0200 ± 0.0040 channel 2",
        "layer units scores lowest median highest",
        "conv2. weight[0] 300 × channel conv2.weight[0]: from 0.0010 to 0.30 0.0010 0.15 0.30",
        "estimator one-pass, 1 backward pass a batch reliability of the ranking 0.9981 samples ran one by one",
        // Training.
        "10,530 steps, 351 an epoch: 30 of 30 epochs. Stopped early: no gain for 2 epochs.",
        "the moving average of the weights after step 9,828, where the accuracy was 91.32 % on the validation split.",
        "mean of 18 steps smoothed rollback chosen",
        "weights averaged weights rollback chosen",
        "learning rate",
        "Rollback at step 3,150: the loss was not a number.",
        // Steps.
        "plan 0.80 s apply parameters 156,109 156,043 1 min 35 s",
        "divergence 0.310 ± 0.020 0.420 ± 0.011 not as predicted",
        "whole run 46 min 04 s",
        // Samples.
        "label cat original cat 93 % result dog 93 % wrong the two disagree",
        "a long film label cat original cat 93 % result cat 93 % the two agree",
        "[3, 32] 0.500, -1.25, …",
        // Settings.
        "training data data/train.npz validation data data/held-out.npz test data data/test.npz samples trained on 45,000 samples for validation 5,000",
        "samples tested on 10,000 classes 2: cat, dog preprocessing divided by 255 augmentation flipped",
        "settings method magnitude settings: tune learning_rate 0.05",
        "seeds run 17",
        "secateurs 0.1.0 libtorch 2.11.0 ONNX Runtime 1.24.1 device cpu processor A processor threads 2",
        "plan plan.json 2f0c6f9e",
        "secateurs compress 'my models/preresnet.onnx'",
    ] {
        assert!(text.contains(expected), "no {expected:?} in {text}");
    }
    assert_eq!(page.matches(r#"<img class="pixels" alt="cat"#).count(), 2);
    assert_eq!(page.matches(r#"width="32" height="24" src="data:image/png;base64,iVBORw0KGgo"#).count(), 2);
    assert!(page.len() < 300_000, "{} bytes", page.len());
}

#[test]
fn a_minimal_report_says_what_was_not_done_and_no_more() {
    let text = text(&render(&minimal()));
    for expected in [
        "preresnet.onnx written anew 1,000 parameters as before.",
        "before after change Size parameters 1,000 1,000 none MACs 640*batch 640*batch –",
        "Training There was no training.",
        "versions and machine",
    ] {
        assert!(text.contains(expected), "no {expected:?} in {text}");
    }
    let absent = [
        "Cost and predicted change",
        "Test set",
        "Validation",
        "Latency",
        "file",
        "units",
        "Notes",
        "Layers",
        "Samples",
        "percentile",
        "score",
    ];
    for absent in absent {
        assert!(!text.contains(absent), "{absent:?} in {text}");
    }
}

#[test]
fn units_are_parts_of_a_whole_bar_and_the_choice_is_a_dot_on_the_chart() {
    let page = render(&full());
    // 31 kept, 4 implanted and 29 pruned of 64.
    let bar = r#"<rect class="kept" x="0.00%" width="48.44%" y="0" height="12"></rect><rect class="implanted" x="48.44%" width="6.25%" y="0" height="12"></rect><rect class="pruned" x="54.69%" width="45.31%" y="0" height="12"></rect>"#;
    assert!(page.contains(bar), "{page}");
    // Half of the parameters, from 45 % on the left to all on the right.
    assert!(page.contains(r#"<circle class="chosen" cx="9.09%""#) && page.contains(r#"r="5""#), "{page}");
    // One step has no name, and without implants none are explained.
    let mut report = full();
    report.frontier.as_mut().unwrap().predicted.truncate(1);
    report.layers.truncate(20);
    report.attention.clear();
    let text = text(&render(&report));
    assert!(text.contains("predicted measured chosen") && !text.contains("step 1"), "{text}");
    assert!(text.contains("kept pruned layer output channels units") && !text.contains("implanted"));
}

#[test]
fn a_report_of_before_has_no_frontier_and_can_be_read() {
    let mut json = serde_json::to_value(full()).unwrap();
    let parts = json.as_object_mut().unwrap();
    ["frontier", "attention"].iter().for_each(|part| drop(parts.remove(*part)));
    for layer in json["layers"].as_array_mut().unwrap() {
        layer.as_object_mut().unwrap().remove("units");
    }
    let report: Report = serde_json::from_value(json).unwrap();
    assert!(
        report.frontier.is_none()
            && report.attention.is_empty()
            && report.layers.iter().all(|layer| layer.units.is_none())
    );
    assert!(!text(&render(&report)).contains("Cost and predicted change"));
}

#[test]
fn without_labels_agreement_stands_for_accuracy() {
    let mut report = full();
    let measured = |value| Measured { value, standard_error: Some(0.002), change: None };
    let quality = |agreement, divergence| {
        let metrics = [(Metric::Agreement, measured(agreement)), (Metric::Divergence, measured(divergence))];
        Some(Quality { samples: 800, metrics: metrics.into() })
    };
    report.original.test = None;
    report.result.test = quality(0.945, 0.0678);
    report.pruned = None;
    let text = text(&render(&report));
    for expected in [
        "agreement with the original 94.5 % on the test set",
        "Test set 800 samples agreement with the original – 94.50 % ± 0.20 –",
        "KL divergence from the original, nats – 0.0678 ± 0.0020 –",
        "before after change",
        "preresnet.onnx tuned",
    ] {
        assert!(text.contains(expected), "no {expected:?} in {text}");
    }
}

#[test]
fn a_change_beyond_noise_is_not_called_noise_and_overlapping_latencies_are_told() {
    let mut report = full();
    report.result = Figures { latency: vec![timing(1.40)], ..figures(156_043, 0.89, 0.35, 1.0) };
    let text = text(&render(&report));
    assert!(text.contains(
        "accuracy 91.8 → 89.0 % on the test set, 1.42 → 1.40 ms at batch 1 (the spreads overlap)."
    ));
    assert!(text.contains("−2.80 ± 0.38 points loss"), "{text}");
    assert!(text.contains("1.01× as fast the spreads overlap"), "{text}");
    assert!(!text.contains("within noise"));
}

#[test]
fn hostile_texts_stay_texts() {
    const EVIL: &str = r#"</style></title><script src="http://evil/x.js">alert('1')</script>&amp;"'><img src=//evil onerror=x>"#;
    let evil = || EVIL.to_owned();
    let mut report = full();
    report.model = evil();
    report.date = evil();
    report.command = vec![evil(), evil()];
    report.sizes = [(evil(), 1)].into();
    report.original.macs = Count::Formula(evil());
    report.latency = Some(LatencyConditions {
        threads: 1,
        batches: vec![LatencyBatch { batch: 1, shapes: vec![(evil(), vec![1])] }],
    });
    report.notes = vec![Note { weight: NoteWeight::Note, text: evil() }];
    report.layers[0].name = evil();
    report.layers[0].op = evil();
    report.layers[0].units = Some(LayerUnits { kind: evil(), kept: 1, implanted: 1, removed: 1 });
    report.attention[0].name = evil();
    let frontier = report.frontier.as_mut().unwrap();
    (frontier.resource, frontier.predicted[0].name) = (evil(), evil());
    report.layers[0].macs[0] = Count::Formula(evil());
    let sensitivity = report.sensitivity.as_mut().unwrap();
    (sensitivity.score, sensitivity.notes) = (evil(), vec![evil()]);
    sensitivity.conditions = vec![(evil(), evil())];
    (sensitivity.groups[0].name, sensitivity.groups[0].kind) = (evil(), evil());
    let page =
        render_sensitivity(&Sensitivity { model: evil(), ..sensitivity.clone() }, Some(&verification()));
    assert!(!page.contains("<script") && !page.contains("<img") && page.matches("<style>").count() == 1);
    let training = report.training.as_mut().unwrap();
    training.rollbacks[0].reason = evil();
    training.stopped = Some(evil());
    report.ledger[1].name = evil();
    report.ledger[1].quantities[0].name = evil();
    let prediction = || Some(Prediction { class: evil(), probability: None });
    let sample = |plain| Sample {
        plain,
        augmented: None,
        label: Some(evil()),
        original: prediction(),
        result: prediction(),
    };
    report.samples = vec![sample(Content::Text(evil())), sample(Content::Picture(EVIL.into()))];
    report.settings = [(evil(), toml::Value::String(evil()))].into_iter().collect();
    report.seeds = [(evil(), 1)].into();
    report.data = Some(DataDescription {
        path: evil(),
        validation_path: Some(evil()),
        test_path: Some(evil()),
        training: 1,
        validation: 1,
        test: None,
        classes: vec![evil()],
        preprocessing: vec![evil()],
        augmentation: vec![evil()],
    });
    report.environment = Environment {
        secateurs: evil(),
        libtorch: Some(evil()),
        onnx_runtime: Some(evil()),
        device: evil(),
        cpu: evil(),
        threads: 1,
    };
    report.files = vec![FileHash { role: evil(), path: evil(), hash: evil() }];
    let page = render(&report);
    for tag in ["<script", "<img src=//", "</style></title>"] {
        assert!(!page.contains(tag), "{tag}");
    }
    assert_eq!(page.matches("<style>").count(), 1);
    // Attributes end where we end them: a quote in a text would leave this one open.
    assert!(page.contains("alt=\"&lt;/style&gt;"));
    assert!(page.matches("&lt;script src=&quot;http://evil/x.js&quot;&gt;").count() > 30);
    assert!(text(&page).contains(r#"onerror=x>"#));
}

#[test]
fn nothing_is_loaded() {
    let alone = render_sensitivity(&sensitivity(), Some(&verification()));
    for page in [render(&full()), render(&minimal()), alone] {
        for load in
            ["http://", "https://", "<script", "<link", "@import", "url(", "src=\"/", "<iframe", "<object"]
        {
            assert!(!page.contains(load), "{load}");
        }
        assert!(page.contains("default-src 'none'"));
        let sources = page.matches("src=").count();
        assert_eq!(sources, page.matches("src=\"data:image/png;base64,").count());
    }
}

#[test]
fn charts_and_tables_can_be_read_out() {
    let page = render(&full());
    // Three of the training, the frontier, one a layer, and the shades of the heat map.
    assert_eq!(page.matches("role=\"img\" aria-labelledby").count(), 7);
    assert_eq!(page.matches("<desc id=").count(), 7);
    let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|part| part.split('"').next()).collect();
    assert_eq!(ids.len(), ids.iter().collect::<std::collections::BTreeSet<_>>().len(), "{ids:?}");
    // What is not named is hidden, or lies in what is named.
    for svg in page.split("<svg").skip(1) {
        let tag = svg.split('>').next().unwrap();
        assert!(["aria-labelledby", "aria-hidden", "viewBox"].iter().any(|name| tag.contains(name)), "{tag}");
    }
    assert_eq!(page.matches("<table").count(), page.matches("<caption>").count() + 1);
    let tables = page.split("<table").skip(1).map(|table| table.split("</table>").next().unwrap());
    for table in tables {
        assert!(table.contains("<th scope=\"row\"") || table.contains("scope=\"rowgroup\""), "{table}");
    }
    assert!(page.contains("lang=\"en\"") && page.contains("width=device-width"));
}

#[test]
fn sensitivity_has_a_page_with_what_removals_did() {
    let page = render_sensitivity(&sensitivity(), Some(&verification()));
    let text = text(&page);
    for expected in [
        "Secateurs sensitivity preresnet.onnx what its units are worth 304 units in 2 groups,",
        "Units of each layer All layers Against true removals What was measured",
        "truly removed, on 1,024 samples that were not measured.",
        "single units 3 removals, ρ = 0.991 single units 3 removals, ρ = 0.991: predicted against true change",
        "channel 1 of conv1.weight[0] predicted 0, true 0",
        "channel 2 of conv2.weight[0] predicted 0.00300, true 0.00310",
        "sets of the net 1 removal",
        "2 units predicted 0.300, true 0.400",
        "change of the outputs change of the labels' loss score single units single units",
        "quadratic 0.991 0.495 magnitude – –",
        "verified on 1,024 samples that were not measured mean highest probability 0.930",
    ] {
        assert!(text.contains(expected), "no {expected:?} in {text}");
    }
    assert!(!text.contains("sets of a layer"));
    assert_eq!(page.matches("<line class=\"diagonal\"").count(), 2);
    let alone = render_sensitivity(&sensitivity(), None);
    assert!(!alone.contains("removals") && alone.contains("reliability"));
}

#[test]
fn what_becomes_of_units_is_marked() {
    let marked = |sensitivity: &Sensitivity| {
        let page = render_sensitivity(sensitivity, None);
        let paths =
            page.split("<path class=\"dots ").skip(1).map(|path| path.split("></path>").next().unwrap());
        let count = |class: &str| {
            let of_class = paths.clone().filter(|path| path.starts_with(class));
            of_class.map(|path| path.matches('M').count()).sum::<usize>()
        };
        ["kept", "implanted", "pruned"].map(count)
    };
    // 96 of the 300 units of the second layer are shown, 120 of which were removed.
    assert_eq!(marked(&sensitivity()), [2 + 58, 0, 2 + 38]);
    let mut implanted = sensitivity();
    implanted.groups[0].implanted = vec![0];
    assert_eq!(marked(&implanted), [1 + 58, 1, 2 + 38]);
    let mut whole = sensitivity();
    whole.groups.iter_mut().for_each(|group| group.removed.clear());
    assert_eq!(marked(&whole), [4 + 96, 0, 0]);
    assert!(!render_sensitivity(&whole, None).contains(", pruned"));
}

#[test]
fn broken_trainings_make_a_page() {
    let mut report = full();
    let training = report.training.as_mut().unwrap();
    training.steps.truncate(1);
    training.evaluations.truncate(1);
    assert!(text(&render(&report)).contains("351 steps, 351 an epoch: 1 of 30 epochs."));
    let training = report.training.as_mut().unwrap();
    training.steps[0].loss = f64::NAN;
    training.evaluations.clear();
    training.chosen = None;
    assert!(text(&render(&report)).contains("No values."));
    let training = report.training.as_mut().unwrap();
    training.steps.clear();
    (training.epochs, training.steps_per_epoch) = (0, 0);
    assert!(text(&render(&report)).contains("The result is the last state."));
}

#[test]
fn json_gives_the_report_back() {
    let report = full();
    let json = serde_json::to_string(&report).unwrap();
    let back: Report = serde_json::from_str(&json).unwrap();
    assert!(back.training.as_ref().unwrap().steps[3149].loss.is_nan());
    assert_eq!(back.samples, report.samples);
    assert_eq!(render(&back), render(&report));
    assert!(serde_json::from_str::<Report>(&json.replace("iVBORw0KGgo", "iVB~")).is_err());
}
