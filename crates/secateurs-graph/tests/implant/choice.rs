//! Random choices of implants.

use secateurs_graph::Graph;
use secateurs_graph::coupling::{Coupling, Selection};
use secateurs_graph::surgery::{Choice, Form, NodeForm, Request, Start};

use crate::rng::Rng;
use crate::start::start;

/// Of the units that stay a random part implanted, by random nodes; `None` where no node offers a form.
pub fn random(graph: &Graph, coupling: &Coupling, selection: &Selection, rng: &mut Rng) -> Option<Choice> {
    let mut choice = Choice::from(selection.clone());
    let mut makers = vec![Vec::new(); coupling.groups.len()];
    for site in coupling.sites(graph) {
        let pointwise = site.offers(Form::Pointwise).is_ok();
        let form = if pointwise { Form::Pointwise } else { Form::LowRank { rank: 1 + rng.below(3) } };
        let form = NodeForm { node: site.node, form, bias: rng.percent(40) };
        for at in site.units.iter().filter(|at| selection.kept[at.group].binary_search(&at.unit).is_ok()) {
            if makers[at.group].last() != Some(&form) {
                makers[at.group].push(form);
            }
        }
    }
    for (group, makers) in makers.iter().enumerate() {
        let share = *rng.pick(&[0, 30, 60, 100]);
        let own: Vec<usize> = selection.kept[group].iter().copied().filter(|_| rng.percent(share)).collect();
        let taken: Vec<&NodeForm> = makers.iter().filter(|_| rng.percent(70)).collect();
        if own.is_empty() || taken.is_empty() {
            continue;
        }
        choice.implanted[group] = own;
        for form in taken {
            if !choice.forms.contains(form) {
                choice.forms.push(*form);
            }
        }
    }
    (!choice.forms.is_empty()).then_some(choice)
}

/// What a request is given.
pub fn random_start(request: &Request, rng: &mut Rng) -> Start {
    start(request.rows.len(), request.original_channels.len(), request.form, request.bias, rng)
}
