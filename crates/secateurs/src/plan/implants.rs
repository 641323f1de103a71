//! Implants in plans: nodes whose rows of implanted units other layers compute.

use std::collections::HashMap;

use secateurs_graph::coupling::Coupling;
use secateurs_graph::surgery::{Choice, Form, NodeForm, Site, offers};
use secateurs_graph::{Graph, NodeId};
use serde::{Deserialize, Serialize};

use super::PlanError;

/// A node that gets implants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedImplant {
    /// The node's name; that of its first output where nodes share a name or have none.
    pub node: String,
    /// What computes the rows of implanted units.
    #[serde(flatten)]
    pub form: PlannedForm,
    /// Whether these rows get a bias of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bias: bool,
}

/// [`Form`] as plans write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum PlannedForm {
    /// A convolution of one tap.
    Pointwise,
    /// Two layers of this rank.
    LowRank {
        /// The numbers between them.
        rank: usize,
    },
}

impl From<Form> for PlannedForm {
    fn from(form: Form) -> PlannedForm {
        match form {
            Form::Pointwise => PlannedForm::Pointwise,
            Form::LowRank { rank } => PlannedForm::LowRank { rank },
        }
    }
}

impl From<PlannedForm> for Form {
    fn from(form: PlannedForm) -> Form {
        match form {
            PlannedForm::Pointwise => Form::Pointwise,
            PlannedForm::LowRank { rank } => Form::LowRank { rank },
        }
    }
}

/// What plans call a node: its name, or its first output's where nodes share a name or have none.
pub fn node_name(graph: &Graph, id: NodeId) -> String {
    let node = &graph.nodes[id];
    let unique = || graph.nodes.values().filter(|other| other.name == node.name).count() == 1;
    if !node.name.is_empty() && unique() {
        return node.name.clone();
    }
    let output = node.outputs.iter().flatten().next();
    output.map_or_else(|| node.name.clone(), |value| graph.values[*value].name.clone())
}

impl PlannedImplant {
    /// The nodes of a choice.
    pub fn of_choice(graph: &Graph, choice: &Choice) -> Vec<PlannedImplant> {
        let implant = |form: &NodeForm| PlannedImplant {
            node: node_name(graph, form.node),
            form: form.form.into(),
            bias: form.bias,
        };
        choice.forms.iter().map(implant).collect()
    }

    fn error(&self, problem: impl Into<String>) -> PlanError {
        PlanError::Implant { node: self.node.clone(), problem: problem.into() }
    }

    fn find(&self, graph: &Graph) -> Result<NodeId, PlanError> {
        let named = |id: &&NodeId| graph.nodes[**id].name == self.node;
        let makes = |id: &&NodeId| {
            graph.nodes[**id].outputs.iter().flatten().any(|value| graph.values[*value].name == self.node)
        };
        let mut found = graph.order.iter().filter(named);
        match (found.next(), found.next(), graph.order.iter().find(makes)) {
            (Some(id), None, _) | (None, _, Some(id)) | (Some(_), Some(_), Some(id)) => Ok(*id),
            (Some(_), Some(_), None) => {
                Err(self.error("is a name of several nodes; give the name of its output"))
            }
            (None, ..) => Err(self.error("is no node of the model; give a node's name, or its output's")),
        }
    }
}

/// The nodes of a plan's implants, each of which must make an implanted unit, and each implanted unit must be made by one of them.
pub(super) fn resolve(
    implants: &[PlannedImplant],
    graph: &Graph,
    coupling: &Coupling,
    implanted: &[Vec<usize>],
) -> Result<Vec<NodeForm>, PlanError> {
    let is_implanted = |group: usize, unit: usize| implanted[group].binary_search(&unit).is_ok();
    if implants.is_empty() && implanted.iter().all(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let sites: HashMap<NodeId, Site> =
        coupling.sites(graph).into_iter().map(|site| (site.node, site)).collect();
    if sites.is_empty() {
        return Err(PlanError::NoSites(coupling.why_no_sites(graph)));
    }
    let mut forms: Vec<NodeForm> = Vec::new();
    let mut made: Vec<Vec<usize>> = vec![Vec::new(); implanted.len()];
    for implant in implants {
        let node = implant.find(graph)?;
        if forms.iter().any(|form| form.node == node) {
            return Err(implant.error("is listed twice; list each node once"));
        }
        let (form, site) = (Form::from(implant.form), sites.get(&node));
        if let (Form::LowRank { rank }, Some(site)) = (form, site) {
            let most = site.rows.rows.min(site.rows.channels);
            if !(1..=most).contains(&rank) {
                return Err(implant.error(format!("has the rank {rank}; give 1 to {most}")));
            }
        }
        offers(graph, node, form).map_err(|e| implant.error(format!("cannot be computed so: {e}")))?;
        let units = site.map(|site| &site.units[..]).unwrap_or_default();
        let own = units.iter().filter(|at| is_implanted(at.group, at.unit));
        let before: usize = made.iter().map(Vec::len).sum();
        own.for_each(|at| made[at.group].push(at.unit));
        if made.iter().map(Vec::len).sum::<usize>() == before {
            return Err(implant
                .error("makes no implanted unit; list units as 'implanted' in its group, or leave it out"));
        }
        forms.push(NodeForm { node, form, bias: implant.bias });
    }
    for (group, (units, made)) in implanted.iter().zip(&made).enumerate() {
        if let Some(unit) = units.iter().find(|unit| !made.contains(unit)) {
            let offering: Vec<String> = sites
                .values()
                .filter(|site| site.units.iter().any(|at| (at.group, at.unit) == (group, *unit)))
                .map(|site| format!("'{}'", node_name(graph, site.node)))
                .collect();
            let remedy = match offering.is_empty() {
                true => "no node that makes it can; leave it out".to_owned(),
                false => format!("add {} to 'implants', or leave it out", offering.join(" or ")),
            };
            let names = super::parameter_names(graph, &coupling.groups[group]);
            return Err(PlanError::Group {
                group: names.first().cloned().unwrap_or_default(),
                problem: format!("implants unit {unit}, which no node in 'implants' computes; {remedy}"),
            });
        }
    }
    Ok(forms)
}
