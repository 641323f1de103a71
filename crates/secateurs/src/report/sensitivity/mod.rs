//! What units are worth: a section of a run's report, and a page of its own.

mod conditions;
mod heat;
mod removals;
mod units;

use maud::{Markup, html};
use secateurs_graph::surgery::Choice;
use serde::{Deserialize, Serialize};

use super::Fate;
use super::encoding;
use super::page::{Section, document};
use crate::evidence::{Evidence, MeasuredGroup, Score, Verification};
use crate::format::{count, significant};

/// What units are worth, as measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// The name of the model's file.
    pub model: String,
    /// The score, as in `quadratic`.
    pub score: String,
    /// Samples that were measured.
    pub samples: u64,
    /// How well the ranking by `quadratic` would repeat on other samples, 1 at best.
    #[serde(deserialize_with = "encoding::or_nan")]
    pub reliability: f64,
    /// How they were measured: names and values, for people.
    pub conditions: Vec<(String, String)>,
    /// What was assumed.
    pub notes: Vec<String>,
    /// The groups, in the order in which their units are numbered.
    pub groups: Vec<ScoredGroup>,
}

/// The scores of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredGroup {
    /// Its label, as in `conv1.weight[0]`.
    pub name: String,
    /// What a unit is, as in `channel`.
    pub kind: String,
    /// The scores of its units.
    pub scores: Vec<f64>,
    /// Their standard errors; `None` where one sample was measured.
    pub standard_errors: Vec<Option<f64>>,
    /// The numbers of the units that were removed, ascending from 0; empty where nothing was.
    pub removed: Vec<usize>,
    /// The same of those that stay and are implanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub implanted: Vec<usize>,
}

impl Sensitivity {
    /// What evidence says by one of its scores; `None` where that was not measured. `choice` says which units stay, where some go.
    pub fn of(evidence: &Evidence, score: Score, choice: Option<&Choice>) -> Option<Sensitivity> {
        let header = &evidence.header;
        let scored = evidence.score(score)?;
        let mut units = scored.values.into_iter().zip(scored.errors);
        let group = |(number, group): (usize, &MeasuredGroup)| {
            let kept = choice.and_then(|choice| choice.selection.kept.get(number));
            let implanted = choice.and_then(|choice| choice.implanted.get(number));
            let (scores, errors): (Vec<f64>, Vec<f64>) = units.by_ref().take(group.units).unzip();
            ScoredGroup {
                name: group.label(),
                kind: group.kind.clone(),
                scores,
                standard_errors: errors.into_iter().map(|e| Some(e).filter(|e| e.is_finite())).collect(),
                removed: kept.map_or_else(Vec::new, |kept| {
                    (0..group.units).filter(|unit| kept.binary_search(unit).is_err()).collect()
                }),
                implanted: implanted.cloned().unwrap_or_default(),
            }
        };
        Some(Sensitivity {
            model: header.model.clone(),
            score: score.name().into(),
            samples: header.samples as u64,
            reliability: evidence.reliability(),
            conditions: conditions::of(header, score),
            notes: header.notes.clone(),
            groups: header.groups.iter().enumerate().map(group).collect(),
        })
    }

    /// How many units there are in all groups.
    fn units(&self) -> usize {
        self.groups.iter().map(|group| group.scores.len()).sum()
    }

    /// What was measured, in a sentence.
    fn summary(&self) -> String {
        let removed: usize = self.groups.iter().map(|group| group.removed.len()).sum();
        let implanted: usize = self.groups.iter().map(|group| group.implanted.len()).sum();
        let fates = [(removed, Fate::Pruned), (implanted, Fate::Implanted)];
        let fates = fates.iter().filter(|(units, _)| *units > 0);
        let fates: Vec<String> =
            fates.map(|(units, fate)| format!("{} were {}", count(*units), fate.name())).collect();
        let fates = match &fates[..] {
            [] => String::new(),
            fates => format!(", of which {}", fates.join(" and ")),
        };
        format!(
            "{} units in {} group{}{fates}, scored by {} on {} samples; the ranking's reliability is {}.",
            count(self.units()),
            count(self.groups.len()),
            if self.groups.len() == 1 { "" } else { "s" },
            self.score,
            count(self.samples),
            significant(self.reliability, 4)
        )
    }
}

impl ScoredGroup {
    /// Its units from the lowest score to the highest.
    fn ranked(&self) -> Vec<usize> {
        let mut units: Vec<usize> = (0..self.scores.len()).collect();
        units.sort_by(|&a, &b| self.scores[a].total_cmp(&self.scores[b]));
        units
    }

    /// The lowest score, the median and the highest, as text; `None` without units.
    fn extent(&self) -> Option<[String; 3]> {
        let ranked = self.ranked();
        let score = |place: usize| ranked.get(place).map(|&unit| significant(self.scores[unit], 2));
        Some([score(0)?, score(ranked.len() / 2)?, score(ranked.len() - 1)?])
    }

    /// As in `64 × channel`.
    fn units_text(&self) -> String {
        format!("{} × {}", count(self.scores.len()), self.kind)
    }
}

/// The page of what units are worth, as one HTML file that loads nothing; with a verification, it is held against true removals.
pub fn render_sensitivity(sensitivity: &Sensitivity, verification: Option<&Verification>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let header = html! {
        p.kind { "Secateurs sensitivity" }
        h1 { (sensitivity.model) span.done { " what its units are worth" } }
        p.summary { (sensitivity.summary()) }
        p.small { "secateurs " (version) }
    };
    let title = format!("{}, what its units are worth", sensitivity.model);
    document(&title, version, header, &parts(sensitivity, verification))
}

/// The same within the report of a run.
pub fn section(sensitivity: &Sensitivity) -> Markup {
    html! {
        p { (sensitivity.summary()) }
        @for part in parts(sensitivity, None) {
            h3 id=(part.id) { (part.title) }
            (part.content)
        }
    }
}

fn parts(sensitivity: &Sensitivity, verification: Option<&Verification>) -> Vec<Section> {
    let mut parts = vec![
        Section { id: "units", title: "Units of each layer", content: units::charts(&sensitivity.groups) },
        Section { id: "layers-by-score", title: "All layers", content: heat::map(&sensitivity.groups) },
    ];
    if let Some(verification) = verification {
        let content = removals::charts(&sensitivity.groups, verification);
        parts.push(Section { id: "removals", title: "Against true removals", content });
    }
    let content = conditions::table(sensitivity, verification);
    parts.push(Section { id: "measured", title: "What was measured", content });
    parts
}

#[cfg(test)]
mod tests {
    use secateurs_graph::coupling::Selection;

    use super::*;
    use crate::evidence::{
        Estimator, Factor, Header, MeasuredData, MeasuredOutput, MeasuredParameter, Moments, Settings, Sums,
    };
    use crate::plan::PlannedSplit;
    use crate::tune::Objective;

    /// Two groups of three units and one, of which the sums are given.
    fn evidence(samples: usize, quadratic: Moments) -> Evidence {
        let parameter =
            |name: &str, made| MeasuredParameter { name: name.into(), axis: 0, made, indices: vec![] };
        let group = |units, parameters| MeasuredGroup { kind: "channel".into(), parameters, units };
        let header = Header {
            format_version: crate::evidence::FORMAT_VERSION,
            secateurs: "0.1.0".into(),
            model: "model.onnx".into(),
            model_hash: "2f0c".into(),
            settings: Settings {
                estimator: Estimator::OnePass,
                draws: 2,
                trace: None,
                seed: 5,
                outputs: Vec::new(),
                objective: Objective::Auto,
                split: PlannedSplit::Outer,
                resizable: Vec::new(),
                precision: 32,
            },
            data: vec![MeasuredData {
                path: "train.npz".into(),
                fingerprint: "".into(),
                reading: None,
                of: 5000,
                samples: vec![[0, 3], [7, 8]],
            }],
            samples,
            samples_in_factor: 0,
            trace_blocks: 0,
            labels: false,
            outputs: vec![MeasuredOutput {
                name: "logits".into(),
                loss: "KL divergence".into(),
                weight: 1.0,
                label_loss: None,
            }],
            groups: vec![
                group(
                    3,
                    vec![
                        parameter("reads", false),
                        parameter("onnx::MatMul_7", true),
                        parameter("makes", true),
                    ],
                ),
                group(1, vec![parameter("only", false)]),
            ],
            implants: Vec::new(),
            notes: vec![],
            ended: None,
        };
        let half = quadratic.sum.iter().map(|sum| 0.5 * sum).collect();
        let sums = Sums { quadratic, quadratic_of_half: half, ..Sums::default() };
        Evidence { header, sums, factor: Factor::default(), explained: Vec::new() }
    }

    #[test]
    fn scores_go_to_their_groups_with_what_was_removed() {
        let moments = Moments { sum: vec![4.0, 0.0, 8.0, 2.0], squares: vec![10.0, 0.0, 40.0, 1.0] };
        let kept = Selection { kept: vec![vec![0, 2], vec![0]] };
        let choice = Choice { implanted: vec![vec![2], vec![]], ..Choice::from(kept) };
        let found = Sensitivity::of(&evidence(4, moments.clone()), Score::Quadratic, Some(&choice)).unwrap();
        let [first, second] = &found.groups[..] else { panic!("{:?}", found.groups) };
        assert_eq!((first.name.as_str(), second.name.as_str()), ("makes[0]", "only[0]"));
        assert_eq!((&first.scores[..], &second.scores[..]), (&[1.0, 0.0, 2.0][..], &[0.5][..]));
        assert_eq!((&first.removed[..], &second.removed[..]), (&[1][..], &[][..]));
        assert_eq!((&first.implanted[..], &second.implanted[..]), (&[2][..], &[][..]));
        let summary = found.summary();
        assert!(summary.contains(", of which 1 were pruned and 1 were implanted, scored by"), "{summary}");
        assert_eq!(first.standard_errors, [Some(0.5_f64.sqrt()), Some(0.0), Some(2.0_f64.sqrt())]);
        let condition = |name: &str| found.conditions.iter().find(|(n, _)| n == name).unwrap().1.as_str();
        assert_eq!(condition("data"), "train.npz: 4 of 5,000 samples");
        assert_eq!(condition("estimator"), "one-pass, 2 backward passes a batch");
        assert_eq!(condition("loss of the outputs"), "KL divergence of 'logits'");
        assert!(condition("ended").contains("not yet"));

        let found = Sensitivity::of(&evidence(1, moments.clone()), Score::Quadratic, None).unwrap();
        assert_eq!(found.groups[0].standard_errors, [None, Some(0.0), None]);
        assert!(found.groups.iter().all(|group| group.removed.is_empty()));
        assert_eq!(Sensitivity::of(&evidence(4, moments), Score::Loss, None), None);
    }
}
