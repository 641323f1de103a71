//! The Hessian of the loss in the model's outputs as a sum of squares.
//!
//! The loss is closeness to the model's own outputs: for class scores KL(p₀ ‖ p), the mean over the rows of a sample (tokens,
//! pixels), whose Hessian in the logits of a row is `diag p − ppᵀ`, and of a label that holds or not p(1 − p), as of a row of two
//! classes; for other numbers the mean squared error, whose Hessian is 2/D. Losses of several outputs are added up by their weights. At the start the gradient of this loss is zero, so that its Hessian in anything inside the model is `E JᵀHJ` exactly,
//! whatever the model computes. With `H = Σ v vᵀ` every `v` is sent back in one pass, and the squares of what arrives add up.

use secateurs_torch::tch::{Device, Kind, TchError, Tensor};

use super::options::Estimator;
use crate::rng::Rng;
use crate::tune::{Head, Meaning};

/// The largest number of classes for which each sample's Hessian is taken apart into directions.
const MAX_DIRECTIONS: i64 = 64;
/// And the largest number of rows: tokens, not pixels.
const MAX_ROWS: i64 = 128;

/// What is sent back: a sum whose gradient in the outputs is the root.
pub(super) struct Roots<'a> {
    heads: Vec<HeadRoot<'a>>,
    estimator: Estimator,
    draws: usize,
    seed: u64,
    /// Which samples of the data these are.
    samples: &'a [usize],
}

/// One output of a batch.
struct HeadRoot<'a> {
    head: &'a Head,
    /// `[samples, rows, K]`: log-probabilities, or the output itself.
    target: Tensor,
    rows: i64,
    width: i64,
    /// Directions `[samples, rows, K, K − 1]`, the leading ones first, whose squares add up to the Hessian; where K is small.
    directions: Option<Tensor>,
}

impl<'a> Roots<'a> {
    pub fn new(
        heads: &'a [Head],
        outputs: &[Tensor],
        estimator: Estimator,
        draws: usize,
        seed: u64,
        samples: &'a [usize],
    ) -> Result<Roots<'a>, TchError> {
        let heads = heads.iter().map(|head| HeadRoot::new(head, &outputs[head.index], samples.len() as i64));
        let heads = heads.collect::<Result<_, _>>()?;
        Ok(Roots { heads, estimator, draws, seed, samples })
    }

    /// How many passes there are. All directions of several outputs or rows are passes of their own.
    pub fn passes(&self) -> usize {
        match self.estimator {
            Estimator::Exact => self.heads.iter().map(HeadRoot::exact_passes).sum(),
            Estimator::Labels => self.draws,
            // Of one row and few classes there may be fewer directions than draws.
            Estimator::OnePass => match &self.heads[..] {
                [one] if one.rows == 1 && one.directions.is_some() => self.draws.min(one.exact_passes()),
                _ => self.draws,
            },
        }
    }

    /// The sum of one pass.
    pub fn sum(&self, pass: usize) -> Result<Tensor, TchError> {
        if self.estimator == Estimator::Exact {
            let mut pass = pass;
            for head in &self.heads {
                match pass.checked_sub(head.exact_passes()) {
                    Some(rest) => pass = rest,
                    None => return head.exact(pass as i64),
                }
            }
        }
        let passes = self.passes();
        let mut parts = self.heads.iter().enumerate().map(|(number, head)| match self.estimator {
            Estimator::Labels => head.labels(self.rng("labels", number, pass), self.samples, passes),
            _ => head.drawn(self.rng("signs", number, pass), self.samples, pass, passes),
        });
        let first = parts.next().expect("there is an output")?;
        parts.try_fold(first, |sum, part| sum.f_add(&part?))
    }

    fn rng(&self, purpose: &'static str, head: usize, pass: usize) -> impl Fn(usize) -> Rng {
        let (seed, step) = (self.seed, (head * 4096 + pass) as u64);
        move |sample| Rng::new(seed, purpose, step, sample as u64)
    }
}

impl HeadRoot<'_> {
    fn new<'h>(head: &'h Head, output: &Tensor, samples: i64) -> Result<HeadRoot<'h>, TchError> {
        let logs = head.log_probabilities(output, 1.0)?;
        let target = match &logs {
            Some(logs) => logs.f_view([samples, -1, logs.size()[1]])?,
            None => output.f_reshape([samples, 1, -1])?,
        };
        let (rows, width) = (target.size()[1], target.size()[2]);
        let directions = match logs.is_some() {
            true if width == 2 => Some(direction_of_two(&target.f_detach()?.f_exp()?)?),
            true if width <= MAX_DIRECTIONS && rows <= MAX_ROWS => {
                Some(directions(&target.f_detach()?.f_exp()?)?)
            }
            _ => None,
        };
        Ok(HeadRoot { head, target, rows, width, directions })
    }

    fn exact_passes(&self) -> usize {
        let columns = self.directions.as_ref().map_or(self.width, |directions| directions.size()[3]);
        (self.rows * columns) as usize
    }

    fn is_classes(&self) -> bool {
        self.head.meaning != Meaning::Values
    }

    /// The root of the weight of a row's squares: losses are means over rows, and 2 / D for numbers.
    fn scale(&self) -> f64 {
        let of_mean = match self.is_classes() {
            true => 1.0 / self.rows as f64,
            false => 2.0 / self.width as f64,
        };
        (self.head.weight * of_mean).sqrt()
    }

    /// One direction of one row of every sample.
    fn exact(&self, pass: i64) -> Result<Tensor, TchError> {
        let columns = (self.exact_passes() as i64) / self.rows;
        let (row, column) = (pass / columns, pass % columns);
        let target = self.target.f_select(1, row)?;
        let root = match (&self.directions, self.is_classes()) {
            (Some(directions), _) => directions.f_select(1, row)?.f_select(-1, column)?,
            // √p_k (e_k − p), of which the constant p falls out in the logarithm of a softmax.
            (None, true) => {
                let root = target.f_detach()?.f_exp()?.f_sqrt()?;
                let chosen = root.f_zeros_like()?;
                let mut one = chosen.f_select(1, column)?;
                one.f_copy_(&root.f_select(1, column)?)?;
                chosen
            }
            (None, false) => {
                let chosen = target.f_detach()?.f_zeros_like()?;
                let _ = chosen.f_select(1, column)?.f_fill_(1.0)?;
                chosen
            }
        };
        target.f_mul(&root)?.f_sum(None)?.f_mul_scalar(self.scale())
    }

    /// Random signs on the directions that have no pass of their own.
    fn drawn(
        &self,
        rng: impl Fn(usize) -> Rng,
        samples: &[usize],
        pass: usize,
        passes: usize,
    ) -> Result<Tensor, TchError> {
        let root = match &self.directions {
            Some(directions) => {
                let columns = directions.size()[3];
                let leading = (passes as i64 - 1).min(columns - 1);
                match (pass as i64) < leading {
                    // What belongs to other rows and outputs must cancel in the mean.
                    true => directions.f_select(-1, pass as i64)?.f_mul(&self.signs(&rng, samples, 1)?)?,
                    false => {
                        let rest = directions.f_narrow(-1, leading, columns - leading)?;
                        let signs = self.signs(&rng, samples, columns - leading)?;
                        // Passes beyond the directions that there are share what is left.
                        let share = (passes as i64 - leading) as f64;
                        let signs = signs.f_mul_scalar(share.sqrt().recip())?;
                        rest.f_mul(&signs.f_unsqueeze(2)?)?.f_sum_dim_intlist(-1i64, false, None::<Kind>)?
                    }
                }
            }
            None => {
                let signs = self.signs(&rng, samples, self.width)?;
                let signs = signs.f_mul_scalar((passes as f64).sqrt().recip())?;
                match self.is_classes() {
                    true => self.target.f_detach()?.f_exp()?.f_sqrt()?.f_mul(&signs)?,
                    false => signs,
                }
            }
        };
        self.target.f_mul(&root)?.f_sum(None)?.f_mul_scalar(self.scale())
    }

    /// A class drawn from the model's probabilities; for numbers a normal error.
    fn labels(
        &self,
        rng: impl Fn(usize) -> Rng,
        samples: &[usize],
        passes: usize,
    ) -> Result<Tensor, TchError> {
        let (rows, width) = (self.rows as usize, self.width as usize);
        let root = match self.is_classes() {
            true => {
                let p = self.target.f_detach()?.f_exp()?.f_to_kind(Kind::Double)?.f_to_device(Device::Cpu)?;
                let p: Vec<f64> = Vec::try_from(p.f_contiguous()?.f_view([-1])?)?;
                let mut root = vec![0f32; p.len()];
                for (number, &sample) in samples.iter().enumerate() {
                    let mut rng = rng(sample);
                    for row in 0..rows {
                        let first = (number * rows + row) * width;
                        let mut left = rng.uniform();
                        let drawn = p[first..first + width].iter().position(|p| {
                            left -= p;
                            left < 0.0
                        });
                        root[first + drawn.unwrap_or(width - 1)] = -1.0;
                    }
                }
                self.of_host(&root)?
            }
            false => {
                let draw = |&sample: &usize| {
                    let mut rng = rng(sample);
                    (0..rows * width).map(move |_| rng.normal() as f32).collect::<Vec<f32>>()
                };
                self.of_host(&samples.iter().flat_map(draw).collect::<Vec<f32>>())?
            }
        };
        let scale = self.scale() / (passes as f64).sqrt();
        self.target.f_mul(&root)?.f_sum(None)?.f_mul_scalar(scale)
    }

    /// Random signs `[samples, rows, n]`, those of a sample the same in every batch.
    fn signs(&self, rng: &impl Fn(usize) -> Rng, samples: &[usize], n: i64) -> Result<Tensor, TchError> {
        let count = (self.rows * n) as usize;
        let mut signs = Vec::with_capacity(samples.len() * count);
        for &sample in samples {
            signs.extend(rng(sample).signs(count));
        }
        Tensor::f_from_slice(&signs)?
            .f_view([samples.len() as i64, self.rows, n])?
            .f_to_kind(self.target.f_kind()?)?
            .f_to_device(self.target.device())
    }

    fn of_host(&self, values: &[f32]) -> Result<Tensor, TchError> {
        let tensor = Tensor::f_from_slice(values)?.f_view_as(&self.target)?;
        tensor.f_to_kind(self.target.f_kind()?)?.f_to_device(self.target.device())
    }
}

/// The one direction of `diag p − ppᵀ` of two classes, √(p₁p₂) (1, −1); of `p [samples, rows, 2]`.
fn direction_of_two(p: &Tensor) -> Result<Tensor, TchError> {
    let root = p.f_prod_dim_int(-1, true, None::<Kind>)?.f_sqrt()?;
    Tensor::f_cat(&[&root, &root.f_neg()?], -1)?.f_unsqueeze(-1)
}

/// Directions of `diag p − ppᵀ`, each of the length of its eigenvalue's root, the longest first; of `p [samples, rows, K]`. The last
/// eigenvalue is 0.
fn directions(p: &Tensor) -> Result<Tensor, TchError> {
    let (kind, device) = (p.f_kind()?, p.device());
    let p = p.f_to_kind(Kind::Double)?.f_to_device(Device::Cpu)?;
    let outer = p.f_unsqueeze(-1)?.f_mul(&p.f_unsqueeze(-2)?)?;
    let (values, vectors) = Tensor::f_diag_embed(&p, 0, -2, -1)?.f_sub(&outer)?.f_linalg_eigh("L")?;
    let roots = vectors.f_mul(&values.f_clamp_min(0.0)?.f_sqrt()?.f_unsqueeze(-2)?)?.f_flip([-1])?;
    let columns = roots.size()[3];
    roots.f_narrow(-1, 0, (columns - 1).max(1))?.f_to_kind(kind)?.f_to_device(device)
}
