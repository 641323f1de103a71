//! Distillation of hidden states: what the model adds up along its residual sums is to be what its teacher adds up there.
//!
//! States are matched by the names of their values, which surgery keeps. Where a state is narrower than the teacher's, the teacher's kept
//! units are compared, as the plan says; states that carry implanted units, which surgery puts in another order, are left out. Padding
//! does not count.

use std::collections::HashMap;

use secateurs_graph::coupling::{Coupling, Selection};
use secateurs_graph::rewrite::residuals;
use secateurs_graph::session::Tap;
use secateurs_graph::{Graph, ValueId};
use secateurs_torch::tch::{Device, Kind, Reduction, TchError, Tensor};

use super::TuneError;
use crate::plan::{Plan, PlanError};

/// The states that are compared.
pub(super) struct Hidden {
    states: Vec<State>,
    /// A hash of which states and units are compared, as the plan says.
    hash: String,
    /// What the distance is multiplied with.
    weight: f64,
}

struct State {
    own: ValueId,
    teachers: ValueId,
    /// Axes on which the teacher has more indices, with what picks those that are compared.
    picks: Vec<Pick>,
}

impl Hidden {
    /// The states that both graphs have, and what users should know. `plan` is what made the model of its teacher, where that is known.
    pub fn new(
        graph: &Graph,
        teacher: &Graph,
        plan: Option<&Plan>,
        weight: f64,
        device: Device,
    ) -> Result<(Hidden, String), TuneError> {
        let own: HashMap<&str, ValueId> =
            graph.values.iter().map(|(id, value)| (value.name.as_str(), id)).collect();
        let sums: Vec<ValueId> = residuals(teacher).into_iter().map(|residual| residual.sum).collect();
        let kept = plan.map(|plan| Kept::new(teacher, plan)).transpose()?;
        let (mut states, mut unknown) = (Vec::new(), Vec::new());
        let mut hasher = blake3::Hasher::new();
        for &sum in &sums {
            let name = teacher.values[sum].name.as_str();
            let Some(&value) = own.get(name) else { continue };
            match picks(graph, value, teacher, sum, kept.as_ref()) {
                Some(picks) => {
                    let compared = picks.iter().map(|kept| (kept.axis, &kept.indices));
                    hasher.update(format!("{name:?} {:?}", compared.collect::<Vec<_>>()).as_bytes());
                    let picks = picks.iter().map(|kept| Pick::new(kept, device)).collect::<Result<_, _>>()?;
                    states.push(State { own: value, teachers: sum, picks });
                }
                None => unknown.push(name),
            }
        }
        if states.is_empty() {
            let file = teacher.source.file();
            return Err(TuneError::Options(match unknown.first() {
                Some(name) => format!(
                    "hidden_distillation: '{name}' and all other residual sums are narrower than in {file}, or in another order as units \
                     of theirs are implanted, and which of its units they have is not known; give the plan that was applied with --plan \
                     where it implants none of them, or leave hidden_distillation out"
                ),
                None => format!(
                    "hidden_distillation: {file} has no residual sum that the model has too; leave it out, the outputs are distilled anyway"
                ),
            }));
        }
        let mut note =
            format!("{} of {} residual sums are compared with the teacher's", states.len(), sums.len());
        if let Some(name) = unknown.first() {
            note += &format!(
                "; which units '{name}' and {} more have is not known: --plan says it, where none of them is implanted",
                unknown.len() - 1
            );
        }
        Ok((Hidden { states, hash: hasher.finalize().to_hex().to_string(), weight }, note))
    }

    /// A hash of which states and units are compared.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What is to be caught of the model.
    pub fn taps(&self) -> Vec<Tap> {
        self.states.iter().map(|state| Tap::Value(state.own)).collect()
    }

    /// What is to be caught of its teacher.
    pub fn teacher_taps(&self) -> Vec<Tap> {
        self.states.iter().map(|state| Tap::Value(state.teachers)).collect()
    }

    /// The weighted distance of the states of a batch, whose tokens are where `mask` is not 0.
    pub fn distance(
        &self,
        own: &[Tensor],
        teachers: &[Tensor],
        mask: Option<&Tensor>,
    ) -> Result<Tensor, TuneError> {
        let mut sum: Option<Tensor> = None;
        for ((state, own), teachers) in self.states.iter().zip(own).zip(teachers) {
            let mut wanted = teachers.f_detach()?;
            for pick in &state.picks {
                wanted = pick.of(&wanted)?;
            }
            let distance = relative_error(own, &wanted, mask)?;
            sum = Some(match sum {
                Some(sum) => sum.f_add(&distance)?,
                None => distance,
            });
        }
        let sum = sum.ok_or_else(|| TuneError::Options("no hidden states are compared".into()))?;
        Ok(sum.f_mul_scalar(self.weight / self.states.len() as f64)?)
    }
}

/// Some of the indices of an axis, by a product with a matrix of zeros and ones: where the axis lies innermost in memory, as channels
/// do, that is several times as fast as a copy of every index.
struct Pick {
    axis: i64,
    /// `[all, picked]`.
    matrix: Tensor,
}

impl Pick {
    fn new(kept: &KeptIndices, device: Device) -> Result<Pick, TchError> {
        let indices: Vec<i64> = kept.indices.iter().map(|&i| i as i64).collect();
        let indices = Tensor::f_from_slice(&indices)?;
        let matrix = Tensor::f_eye(kept.of, (Kind::Float, Device::Cpu))?.f_index_select(1, &indices)?;
        Ok(Pick { axis: kept.axis as i64, matrix: matrix.f_to_device(device)? })
    }

    fn of(&self, states: &Tensor) -> Result<Tensor, TchError> {
        let matrix = self.matrix.f_to_kind(states.f_kind()?)?;
        states.f_movedim_int(self.axis, -1)?.f_matmul(&matrix)?.f_movedim_int(-1, self.axis)
    }
}

/// The mean squared error over the variance of what is wanted, of positions that count: `mask` is `[N, length]` for states
/// `[N, length, …]`.
fn relative_error(own: &Tensor, wanted: &Tensor, mask: Option<&Tensor>) -> Result<Tensor, TchError> {
    let kind = if own.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
    let size = own.size();
    let positions = |mask: &&Tensor| size.len() > 2 && mask.size()[..] == size[..2];
    let Some(mask) = mask.filter(positions) else {
        // States of 16 bits stay so, as they are large, and are seen in the order in which they lie in memory, as their gradient will be.
        let last = size.len() > 2 && !own.is_contiguous() && own.f_movedim_int(1, -1)?.is_contiguous();
        let in_order =
            |states: &Tensor| if last { states.f_movedim_int(1, -1) } else { Ok(states.shallow_clone()) };
        // A teacher of 16 bits has states of another kind.
        let (own, wanted) = (in_order(own)?, in_order(&wanted.f_to_kind(own.f_kind()?)?)?);
        let spread = wanted.f_sub(&wanted.f_mean(None)?)?.f_square()?.f_mean(None)?;
        let variance = spread.f_to_kind(kind)?.f_clamp_min(1e-12)?;
        return own.f_mse_loss(&wanted, Reduction::Mean)?.f_to_kind(kind)?.f_div(&variance);
    };
    let (own, wanted) = (own.f_to_kind(kind)?, wanted.f_to_kind(kind)?);
    let mut shape = vec![1; size.len()];
    shape[..2].copy_from_slice(&size[..2]);
    let mask = mask.f_to_kind(kind)?.f_to_device(own.device())?.f_view(&shape[..])?;
    let others = size[2..].iter().product::<i64>() as f64;
    let count = mask.f_sum(None::<Kind>)?.f_mul_scalar(others)?.f_clamp_min(1.0)?;
    let mean = |values: &Tensor| values.f_mul(&mask)?.f_sum(None::<Kind>)?.f_div(&count);
    let center = mean(&wanted)?;
    let variance = mean(&wanted.f_sub(&center)?.f_square()?)?.f_clamp_min(1e-12)?;
    mean(&own.f_sub(&wanted)?.f_square()?)?.f_div(&variance)
}

/// What a plan keeps of its model.
struct Kept {
    coupling: Coupling,
    selection: Selection,
    /// Without all units of groups of which some are implanted: these are put in another order.
    in_order: Selection,
}

impl Kept {
    fn new(teacher: &Graph, plan: &Plan) -> Result<Kept, TuneError> {
        let refused = |e: PlanError| TuneError::Options(format!("--plan: {e}"));
        let coupling = plan.coupling(teacher).map_err(refused)?;
        let choice = plan.choice(teacher, &coupling).map_err(refused)?;
        let mut in_order = Selection::all(&coupling);
        for (units, implanted) in in_order.kept.iter_mut().zip(&choice.implanted) {
            units.retain(|_| implanted.is_empty());
        }
        Ok(Kept { coupling, selection: choice.selection, in_order })
    }
}

/// What is left of an axis of the teacher's.
struct KeptIndices {
    axis: usize,
    indices: Vec<usize>,
    /// How many there were.
    of: i64,
}

/// The axes of a state on which the teacher has more indices; `None` where it is not known which are left.
fn picks(
    graph: &Graph,
    own: ValueId,
    teacher: &Graph,
    teachers: ValueId,
    kept: Option<&Kept>,
) -> Option<Vec<KeptIndices>> {
    let own = graph.values[own].fact.shape.as_ref()?;
    let wanted = teacher.values[teachers].fact.shape.as_ref()?;
    if own.len() != wanted.len() {
        return None;
    }
    let mut picks = Vec::new();
    for (axis, (own, wanted)) in own.iter().zip(wanted).enumerate() {
        if kept.is_some_and(|kept| kept.coupling.kept_indices(&kept.in_order, teachers, axis).is_some()) {
            return None;
        }
        let (Some(own), Some(wanted)) = (own.known(), wanted.known()) else { continue };
        if own == wanted {
            continue;
        }
        let kept = kept?;
        let indices = kept.coupling.kept_indices(&kept.selection, teachers, axis)?;
        if indices.len() as i64 != own {
            return None;
        }
        picks.push(KeptIndices { axis, indices, of: wanted });
    }
    Some(picks)
}
