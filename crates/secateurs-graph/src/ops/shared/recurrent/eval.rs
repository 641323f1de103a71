//! Recurrent layers on libtorch: the inputs of all steps are multiplied at once, then the steps go one by one.

use secateurs_torch::tch::TchError;

use super::activation::Activation;
use super::{BIAS, Direction, INITIAL, LENGTHS, Layer, PEEPHOLES, R, W, X};
use crate::op::prelude::*;
use crate::ops::shared::promote;

/// One direction of a layer.
pub(in crate::ops) struct Cell<'l> {
    /// [h, (g h)].
    pub recurrent: Tensor,
    /// [(3 h)].
    pub peepholes: Option<Tensor>,
    /// The recurrent bias of the last gate, [h], where it is not in the inputs already.
    pub bias: Option<Tensor>,
    functions: &'l [Activation],
    clip: Option<f32>,
}

impl Cell<'_> {
    /// The function with this number, of a clipped input.
    pub fn activate(&self, function: usize, x: &Tensor) -> Result<Tensor, TchError> {
        match self.clip.map(f64::from) {
            Some(clip) => self.functions[function].apply(&x.f_clamp(-clip, clip)?),
            None => self.functions[function].apply(x),
        }
    }

    /// The function with this number, without clipping.
    pub fn activate_whole(&self, function: usize, x: &Tensor) -> Result<Tensor, TchError> {
        self.functions[function].apply(x)
    }
}

impl Layer {
    /// Y and the last states. `step` makes the next states, each [b, h], of which the first comes out, from the gates'
    /// share of the input, [b, (g h)], and the states before. `apart` leaves the recurrent bias of the last gate to it.
    pub fn run(
        &self,
        args: &Args,
        apart: bool,
        step: impl Fn(&Cell, &Tensor, &[Tensor]) -> Result<Vec<Tensor>, OpError>,
    ) -> Result<Vec<Tensor>, OpError> {
        let (x, w, r) = (args.tensor(X)?, args.tensor(W)?, args.tensor(R)?);
        let x = if self.batch_first { x.f_transpose(0, 1)? } else { x.shallow_clone() };
        let (&[steps, batch, _], &[count, rows, hidden]) = (&x.size()[..], &r.size()[..]) else {
            return Err(OpError::invalid("X and R need 3 axes"));
        };
        if count != self.count() {
            return Err(OpError::Invalid(format!("R has {count} directions; it needs {}", self.count())));
        }
        let (bias, own_bias) = biases(args.get(BIAS), rows, if apart { hidden } else { 0 })?;
        let shares = x.f_linear(&w.f_flatten(0, 1)?, bias)?.f_reshape([steps, batch, count, rows])?;
        let shares = shares.f_permute([2, 0, 1, 3])?;
        let lengths = args.get(LENGTHS).map(|lengths| lengths.f_unsqueeze(-1)).transpose()?;
        let state_axis = if self.batch_first { 1 } else { 0 };

        let zeros = Tensor::f_zeros([batch, hidden], (x.f_kind()?, x.device()))?;
        let (mut ys, mut last) = (Vec::new(), Vec::new());
        for direction in 0..count {
            let part = |t: Option<&Tensor>, axis| t.map(|t| t.f_select(axis, direction)).transpose();
            let each = self.form.activations.len();
            let cell = Cell {
                recurrent: r.f_select(0, direction)?.f_transpose(0, 1)?,
                peepholes: part(args.get(PEEPHOLES), 0)?,
                bias: part(own_bias.as_ref(), 0)?,
                functions: &self.functions[direction as usize * each..][..each],
                clip: self.clip,
            };
            let mut states = Vec::with_capacity(self.form.states);
            for input in INITIAL.into_iter().take(self.form.states) {
                states.push(part(args.get(input), state_axis)?.unwrap_or_else(|| zeros.shallow_clone()));
            }
            let reversed = direction == 1 || self.direction == Direction::Reverse;
            let mut y = Vec::with_capacity(steps as usize);
            for n in 0..steps {
                let t = if reversed { steps - 1 - n } else { n };
                let mut new = step(&cell, &shares.f_select(0, direction)?.f_select(0, t)?, &states)?;
                let mut out = new[0].shallow_clone();
                if let Some(lengths) = &lengths {
                    // Beyond its end a sequence gives zeros and keeps its states.
                    let inside = lengths.f_gt(t)?;
                    out = out.f_where_self(&inside, &zeros)?;
                    let kept = new.iter().zip(&states).map(|(new, old)| new.f_where_self(&inside, old));
                    new = kept.collect::<Result<_, _>>()?;
                }
                y.push(out);
                states = new;
            }
            if reversed {
                y.reverse();
            }
            ys.push(match y.is_empty() {
                true => zeros.f_unsqueeze(0)?.f_narrow(0, 0, 0)?,
                false => Tensor::f_stack(&y, 0)?,
            });
            last.push(states);
        }
        let y = match self.batch_first {
            true => Tensor::f_stack(&ys, 2)?.f_transpose(0, 1)?,
            false => Tensor::f_stack(&ys, 1)?,
        };
        let mut outputs = vec![promote(args, 0, y)?];
        for i in 0..self.form.states {
            let states: Vec<&Tensor> = last.iter().map(|states| &states[i]).collect();
            outputs.push(promote(args, 1 + i, Tensor::f_stack(&states, state_axis)?)?);
        }
        Ok(outputs)
    }
}

/// What is added to the inputs' shares, [(d g h)], and the last `apart` recurrent ones of each direction, which are not.
fn biases(
    given: Option<&Tensor>,
    rows: i64,
    apart: i64,
) -> Result<(Option<Tensor>, Option<Tensor>), TchError> {
    let Some(given) = given else { return Ok((None, None)) };
    let (input, recurrent) = (given.f_narrow(1, 0, rows)?, given.f_narrow(1, rows, rows)?);
    if apart == 0 {
        return Ok((Some(input.f_add(&recurrent)?.f_flatten(0, 1)?), None));
    }
    let (joint, rest) = (rows - apart, recurrent.f_narrow(1, rows - apart, apart)?);
    let sum = input.f_narrow(1, 0, joint)?.f_add(&recurrent.f_narrow(1, 0, joint)?)?;
    let sum = Tensor::f_cat(&[sum, input.f_narrow(1, joint, apart)?], 1)?;
    Ok((Some(sum.f_flatten(0, 1)?), Some(rest)))
}
