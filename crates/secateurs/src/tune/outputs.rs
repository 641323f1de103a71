//! The outputs that are looked at: what each is taken for, what its loss weighs, and whether labels are for it.

use std::fmt;
use std::str::FromStr;

use secateurs_graph::samples::sample_axes;
use secateurs_graph::{Graph, Source, ValueId};
use serde::{Deserialize, Deserializer, Serialize};

use super::error::TuneError;
use super::loss::{Head, Meaning};
use super::options::Objective;
use crate::data::{Dataset, LabelKind, Labels};

/// An output and the weight of its loss: `logits`, or `logits=0.5`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WeightedOutput {
    /// The output's name.
    pub name: String,
    /// The weight, above 0.
    pub weight: f64,
}

impl FromStr for WeightedOutput {
    type Err = String;

    /// What follows the last `=` is the weight if it is a number.
    fn from_str(text: &str) -> Result<WeightedOutput, String> {
        let weighted = text.rsplit_once('=').and_then(|(name, weight)| Some((name, weight.parse().ok()?)));
        match weighted {
            Some((_, weight)) if !(weight > 0.0 && f64::is_finite(weight)) => {
                Err(format!("'{text}': a weight must be a number above 0"))
            }
            Some((name, weight)) => Ok(WeightedOutput { name: name.into(), weight }),
            None => Ok(WeightedOutput { name: text.into(), weight: 1.0 }),
        }
    }
}

impl fmt::Display for WeightedOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.weight {
            1.0 => f.write_str(&self.name),
            weight => write!(f, "{}={weight}", self.name),
        }
    }
}

impl TryFrom<String> for WeightedOutput {
    type Error = String;

    fn try_from(text: String) -> Result<WeightedOutput, String> {
        text.parse()
    }
}

impl From<WeightedOutput> for String {
    fn from(output: WeightedOutput) -> String {
        output.to_string()
    }
}

/// None, one or a list of outputs: files of versions before name at most one.
pub(crate) fn none_one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<WeightedOutput>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Many(Vec<WeightedOutput>),
        One(WeightedOutput),
    }
    Ok(match Option::deserialize(from)? {
        None => Vec::new(),
        Some(Either::One(output)) => vec![output],
        Some(Either::Many(outputs)) => outputs,
    })
}

/// The place of the output that labels are for: the one that is named, or the first of floats.
pub(crate) fn labelled_output(graph: &Graph, wanted: Option<&str>) -> Result<usize, TuneError> {
    let name = |i: &usize| graph.values[graph.outputs[*i]].name.as_str();
    let missing = |wanted: &str, known: String| TuneError::NoOutput { wanted: wanted.into(), known };
    let mut all = 0..graph.outputs.len();
    match wanted {
        Some(wanted) => all
            .clone()
            .find(|i| name(i) == wanted)
            .ok_or_else(|| missing(wanted, all.map(|i| name(&i)).collect::<Vec<_>>().join(", "))),
        None => all.find(|&i| is_float(graph, i)).ok_or_else(|| missing("(of floats)", "none".into())),
    }
}

/// The outputs that training, measuring and scores look at: those that are named, or all of floats. The first is the one that labels
/// are for.
pub(crate) fn heads(
    graph: &Graph,
    data: &Dataset,
    outputs: &[WeightedOutput],
    objective: Objective,
) -> Result<Vec<Head>, TuneError> {
    let places: Vec<(usize, f64)> = match outputs {
        [] => {
            let first = labelled_output(graph, None)?;
            (first..graph.outputs.len()).filter(|&i| is_float(graph, i)).map(|i| (i, 1.0)).collect()
        }
        named => {
            let place = |output: &WeightedOutput| {
                let place = labelled_output(graph, Some(&output.name))?;
                match is_float(graph, place) {
                    true => Ok((place, output.weight)),
                    false => Err(TuneError::Options(format!(
                        "output '{}' has no floats, so that nothing can be learned or measured there; --output names others",
                        output.name
                    ))),
                }
            };
            named.iter().map(place).collect::<Result<_, TuneError>>()?
        }
    };
    if let Some((twice, _)) =
        places.iter().enumerate().find_map(|(n, (i, _))| places[..n].iter().find(|(before, _)| before == i))
    {
        let name = &graph.values[graph.outputs[*twice]].name;
        return Err(TuneError::Options(format!(
            "output '{name}' is named twice; name it once, with its weight"
        )));
    }
    by_samples(graph, places.iter().map(|(index, _)| *index), false)?;
    let head = |(n, &(index, weight)): (usize, &(usize, f64))| {
        let labels = data.labels().filter(|_| n == 0);
        Head { weight, ..Head::of(graph, index, labels, objective) }
    };
    Ok(places.iter().enumerate().map(head).collect())
}

/// Refuses outputs that have the samples behind another axis, as the last states of a recurrent layer; with `alone` also those that have
/// several indices of the first axis for a sample.
pub(crate) fn by_samples(
    graph: &Graph,
    outputs: impl IntoIterator<Item = usize>,
    alone: bool,
) -> Result<(), TuneError> {
    let is_free = |input: &ValueId| {
        let shape = graph.values[*input].fact.shape.as_ref();
        shape.and_then(|shape| shape.first()).is_some_and(|size| size.known().is_none())
    };
    // By a number samples are not told from other axes.
    if !graph.inputs.iter().all(is_free) {
        return Ok(());
    }
    let places = sample_axes(graph);
    let mixed = |output: &usize| {
        let place = places.get(graph.outputs[*output]);
        place.is_some_and(|place| place.axis != 0 || alone && !place.is_whole())
    };
    match outputs.into_iter().find(mixed) {
        None => Ok(()),
        Some(output) => Err(TuneError::Options(format!(
            "output '{}' does not have one sample after the other along its first axis, so that nothing can be told of single ones; name \
             others with --output, or export the model with the batch first there",
            graph.values[graph.outputs[output]].name
        ))),
    }
}

/// The outputs to look at where some shrink: those can be compared with nothing. `outputs` are those that are asked for, if any.
pub fn fixed_outputs(
    graph: &Graph,
    outputs: &[WeightedOutput],
    resizable: &[ValueId],
) -> Result<Vec<WeightedOutput>, TuneError> {
    let shrinks = |output: usize| resizable.contains(&graph.outputs[output]);
    if !(0..graph.outputs.len()).any(shrinks) {
        return Ok(outputs.to_vec());
    }
    let name = |output: usize| graph.values[graph.outputs[output]].name.clone();
    let shrinking = |wanted: &&WeightedOutput| {
        (0..graph.outputs.len()).any(|output| shrinks(output) && name(output) == wanted.name)
    };
    if let Some(named) = outputs.iter().find(shrinking) {
        return Err(TuneError::Options(format!(
            "output '{}' is to shrink, so that it cannot be compared with the original's; leave it out of --output or of --resizable",
            named.name
        )));
    }
    if !outputs.is_empty() {
        return Ok(outputs.to_vec());
    }
    let others = (0..graph.outputs.len()).filter(|&output| !shrinks(output) && is_float(graph, output));
    let others: Vec<WeightedOutput> =
        others.map(|output| WeightedOutput { name: name(output), weight: 1.0 }).collect();
    match others.is_empty() {
        true => Err(TuneError::Options(
            "all outputs of the model are to shrink, so that none can be compared with the original's; name fewer with --resizable"
                .into(),
        )),
        false => Ok(others),
    }
}

fn is_float(graph: &Graph, output: usize) -> bool {
    graph.values[graph.outputs[output]].fact.element_type.is_none_or(|t| t.is_float())
}

impl Head {
    /// What an output holds, by its last op, its name, its shape and the labels that the data have for it.
    pub fn of(graph: &Graph, index: usize, labels: Option<&Labels>, objective: Objective) -> Head {
        let value = &graph.values[graph.outputs[index]];
        let rank = value.fact.rank().unwrap_or(2);
        let sizes = sizes(graph, index);
        // Classes come second ([N, K, …] of classifiers and segmentation), but last for tokens, [N, T, K].
        let axis = if rank == 3 { 2 } else { 1 };
        let last_op = match value.source {
            Source::Node(node, _) => graph.nodes[node].op.name(),
            _ => "",
        };
        let classes = match last_op {
            "Softmax" => Meaning::Probabilities { axis },
            _ => Meaning::Logits { axis },
        };
        let flags = match last_op {
            "Sigmoid" => Meaning::BinaryProbabilities,
            _ => Meaning::BinaryLogits,
        };
        let name = value.name.to_lowercase();
        let named = |words: &[&str]| words.iter().any(|word| name.contains(word));
        let alike = labels.is_some_and(|labels| agree(labels.shape(), sizes.as_deref()));
        let (meaning, reason) = match (objective, labels) {
            _ if !is_float(graph, index) => (Meaning::Values, "its numbers are no floats"),
            (Objective::Classes, _) if rank >= 2 => (classes, ""),
            (Objective::MultiLabel, _) => (flags, ""),
            (Objective::Classes | Objective::Values, _) => (Meaning::Values, ""),
            (Objective::Auto, Some(labels)) if alike && labels.are_flags() => {
                match labels.are_one_hot() && last_op != "Sigmoid" {
                    true => (classes, "of the labels of every sample one is 1"),
                    false => (flags, "the labels are 0 or 1 for every number of it"),
                }
            }
            (Objective::Auto, Some(_)) if alike => (Meaning::Values, "the labels are numbers of its shape"),
            (Objective::Auto, Some(labels)) if labels.are_whole() => (classes, "the data have class labels"),
            (Objective::Auto, Some(_)) => (Meaning::Values, "the labels are no integers"),
            (Objective::Auto, None) if last_op == "Sigmoid" => (flags, "a sigmoid gives it"),
            (Objective::Auto, None) if rank == 2 && sizes.is_some_and(|sizes| sizes.len() == 1) => {
                (Meaning::Values, "it is one number a sample")
            }
            (Objective::Auto, None) if rank >= 2 && last_op == "Softmax" => (classes, "a softmax gives it"),
            (Objective::Auto, None) if rank >= 2 && named(&["logit", "class", "score", "prob"]) => {
                (classes, "its name says so")
            }
            (Objective::Auto, None)
                if rank == 2
                    && !named(&["embed", "feature", "hidden", "pool", "state", "regress", "value"]) =>
            {
                (classes, "it is a row of numbers a sample")
            }
            (Objective::Auto, None) => (Meaning::Values, "nothing says that it is class scores"),
        };
        // Of class labels for numbers that are asked for nothing can be made.
        let labelled =
            labels.is_some() && (meaning != Meaning::Values || objective == Objective::Auto || alike);
        Head { index, meaning, weight: 1.0, labelled, reason }
    }

    /// What the data's labels must be for this output.
    pub fn label_kind(&self, graph: &Graph) -> LabelKind {
        match self.meaning {
            Meaning::Logits { axis } | Meaning::Probabilities { axis } => {
                let shape = graph.values[graph.outputs[self.index]].fact.shape.as_deref();
                let classes = shape.and_then(|shape| shape.get(axis)?.known());
                LabelKind::Classes(classes.map(|n| n as usize))
            }
            Meaning::BinaryLogits | Meaning::BinaryProbabilities => LabelKind::Flags,
            Meaning::Values => LabelKind::Numbers,
        }
    }

    /// What was assumed, if something was, as a sentence.
    pub fn assumption(&self, graph: &Graph) -> Option<String> {
        let name = &graph.values[graph.outputs[self.index]].name;
        let assumed = !self.reason.is_empty();
        assumed.then(|| {
            format!(
                "output '{name}' is taken for {}, as {}; --objective says otherwise",
                self.meaning, self.reason
            )
        })
    }
}

/// The sizes of an output but those that are 1, the first of them that of the batch; `None` where its rank is not known.
fn sizes(graph: &Graph, index: usize) -> Option<Vec<Option<usize>>> {
    let shape = graph.values[graph.outputs[index]].fact.shape.as_ref()?;
    let sizes = shape.iter().map(|dim| dim.known().map(|n| n as usize)).enumerate();
    Some(sizes.filter(|(i, size)| *i == 0 || *size != Some(1)).map(|(_, size)| size).collect())
}

/// Whether labels have the shape of an output, as far as that is known.
fn agree(labels: &[usize], output: Option<&[Option<usize>]>) -> bool {
    output.is_some_and(|output| {
        let same = |(label, size): (&usize, &Option<usize>)| size.is_none_or(|size| size == *label);
        labels.len() == output.len() && labels[1..].iter().zip(&output[1..]).all(same)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_follows_the_last_equals_sign() {
        let parsed = |text: &str| text.parse::<WeightedOutput>();
        assert_eq!(parsed("a").unwrap(), WeightedOutput { name: "a".into(), weight: 1.0 });
        assert_eq!(parsed("a=b=0.5").unwrap(), WeightedOutput { name: "a=b".into(), weight: 0.5 });
        assert_eq!(parsed("a=b").unwrap().name, "a=b");
        assert_eq!(parsed("a=0.5").unwrap().to_string(), "a=0.5");
        for text in ["a=0", "a=-1", "a=inf", "a=NaN"] {
            assert!(parsed(text).unwrap_err().contains("above 0"), "{text}");
        }
    }

    #[test]
    fn files_of_versions_before_name_at_most_one() {
        #[derive(Deserialize)]
        struct File {
            #[serde(default, alias = "output", deserialize_with = "none_one_or_many")]
            outputs: Vec<WeightedOutput>,
        }
        let names = |text: &str| -> Vec<String> {
            let file: File = serde_json::from_str(text).unwrap();
            file.outputs.iter().map(ToString::to_string).collect()
        };
        assert_eq!(names("{}"), [""; 0]);
        assert_eq!(names(r#"{"output": null}"#), [""; 0]);
        assert_eq!(names(r#"{"output": "a"}"#), ["a"]);
        assert_eq!(names(r#"{"outputs": ["a=2", "b"]}"#), ["a=2", "b"]);
    }
}
