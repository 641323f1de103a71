//! Least squares from second moments.

use secateurs_torch::tch::{Kind, TchError, Tensor};

use crate::tune::all_finite;

/// Ridges that are tried, over the mean variance of what a layer reads.
const RIDGES: [f64; 4] = [1e-4, 1e-3, 1e-2, 1e-1];
/// A fit must take off so large a share of the squared error of the weights that were there.
const GAIN: f64 = 1e-6;
/// So many positions must be left to choose a ridge on: a single one is its own mean, and any weights fit it.
pub(super) const FEWEST: i64 = 2;
/// Positions of which products are summed in 32 bits.
const PIECE: i64 = 4096;

/// Layers whose rows multiply more numbers have no second moments: a gigabyte and minutes each.
pub(crate) const MOST_FEATURES: usize = 8192;

/// Sums over positions, for every group: of x `[F]`, y `[O]` and y², and of products.
pub(crate) struct Moments {
    pub positions: i64,
    x: Tensor,
    y: Tensor,
    yy: Tensor,
    /// Where weights are to be fitted.
    products: Option<Products>,
}

/// Sums of x xᵀ and x yᵀ.
struct Products {
    xx: Tensor,
    xy: Tensor,
}

impl Moments {
    /// Of x `[groups, positions, F]` and y `[groups, positions, O]`.
    pub fn of(x: &Tensor, y: &Tensor) -> Result<Moments, TchError> {
        let (x, y) = (&wide(x)?, &wide(y)?);
        let products = Products { xx: products(x, x)?, xy: products(x, y)? };
        Ok(Moments { products: Some(products), ..Moments::first(x, y)? })
    }

    /// Without products: means can be absorbed, and no weights fitted.
    pub fn first(x: &Tensor, y: &Tensor) -> Result<Moments, TchError> {
        let (x, y) = (&wide(x)?, &wide(y)?);
        let sum = |tensor: &Tensor| tensor.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Double);
        Ok(Moments {
            positions: x.size()[1],
            x: sum(x)?,
            y: sum(y)?,
            yy: sum(&y.f_square()?)?,
            products: None,
        })
    }

    /// Whether all are numbers.
    pub fn is_finite(&self) -> Result<bool, TchError> {
        let products = match &self.products {
            Some(Products { xx, xy }) => all_finite(xx)? && all_finite(xy)?,
            None => all_finite(&self.x)?,
        };
        Ok(products && all_finite(&self.yy)?)
    }

    /// Of the positions of both.
    pub fn sum(&self, other: &Moments) -> Result<Moments, TchError> {
        let products = match (&self.products, &other.products) {
            (Some(own), Some(other)) => {
                Some(Products { xx: own.xx.f_add(&other.xx)?, xy: own.xy.f_add(&other.xy)? })
            }
            _ => None,
        };
        Ok(Moments {
            positions: self.positions + other.positions,
            x: self.x.f_add(&other.x)?,
            y: self.y.f_add(&other.y)?,
            yy: self.yy.f_add(&other.yy)?,
            products,
        })
    }

    /// Means over positions; about the means of x and y where there is an intercept. They must have products.
    pub fn central(&self, intercept: bool) -> Result<Central, TchError> {
        let Products { xx, xy } = self.products.as_ref().expect("products are summed where they are needed");
        let n = self.positions as f64;
        let mean = |tensor: &Tensor| tensor.f_div_scalar(n);
        let (x, y, mut xx, mut xy, mut yy) =
            (mean(&self.x)?, mean(&self.y)?, mean(xx)?, mean(xy)?, mean(&self.yy)?);
        if intercept {
            let column = x.f_transpose(1, 2)?;
            xx = xx.f_sub(&column.f_bmm(&x)?)?;
            xy = xy.f_sub(&column.f_bmm(&y)?)?;
            yy = yy.f_sub(&y.f_square()?)?;
        }
        Ok(Central { x, y, xx, xy, yy })
    }

    /// `[groups, 1, O]`: by how much the mean of y differs from what weights make of that of x; `None` where that is no more than
    /// rounding.
    fn shift(&self, weight: &Tensor) -> Result<Option<Tensor>, TchError> {
        let n = self.positions as f64;
        let shift = self.y.f_sub(&self.x.f_bmm(weight)?)?.f_div_scalar(n)?;
        let scale = self.yy.f_mean(Kind::Double)?.f_div_scalar(n)?.f_double_value(&[])?;
        let moved = shift.f_square()?.f_max()?.f_double_value(&[])? > 1e-12 * scale;
        Ok(moved.then_some(shift))
    }
}

/// Sums in 16 bits end at 65,504, or are noise.
fn wide(tensor: &Tensor) -> Result<Tensor, TchError> {
    match tensor.f_kind()? {
        Kind::Half | Kind::BFloat16 => tensor.f_to_kind(Kind::Float),
        _ => Ok(tensor.shallow_clone()),
    }
}

/// xᵀy over positions, in 64 bits from sums of [`PIECE`]: some CPUs' products lose a hundred-thousandth over many positions in 32 bits.
fn products(x: &Tensor, y: &Tensor) -> Result<Tensor, TchError> {
    let positions = x.size()[1];
    let piece = |start: i64| {
        let length = PIECE.min(positions - start);
        let own = x.f_narrow(1, start, length)?.f_transpose(1, 2)?;
        own.f_bmm(&y.f_narrow(1, start, length)?)?.f_to_kind(Kind::Double)
    };
    let mut starts = (PIECE..positions).step_by(PIECE as usize);
    starts.try_fold(piece(0)?, |sum, start| sum.f_add(&piece(start)?))
}

/// Means over positions, for every group: of x `[1, F]`, y `[1, O]`, and of their products.
pub(crate) struct Central {
    pub x: Tensor,
    pub y: Tensor,
    pub xx: Tensor,
    pub xy: Tensor,
    pub yy: Tensor,
}

impl Central {
    /// The weights `[groups, F, O]` that minimise the squared error plus λ‖W − old‖², λ over the mean of the diagonal of xx. Groups
    /// whose system cannot be solved, as that of a channel that is always 0, keep the old ones; `None` where all do.
    pub fn solved(&self, old: &Tensor, ridge: f64) -> Result<Option<Tensor>, TchError> {
        let features = self.xx.size()[1];
        let diagonal = self.xx.f_diagonal(0, 1, 2)?;
        let scale = diagonal.f_mean_dim([1i64].as_slice(), true, Kind::Double)?.f_unsqueeze(2)?;
        let identity = Tensor::f_eye(features, (Kind::Double, self.xx.device()))?;
        let system = self.xx.f_add(&scale.f_mul_scalar(ridge)?.f_mul(&identity)?)?;
        let (lower, info) = system.f_linalg_cholesky_ex(false, false)?;
        let solvable = info.f_eq(0)?;
        if solvable.f_any()?.f_int64_value(&[])? == 0 {
            return Ok(None);
        }
        let right = self.xy.f_sub(&self.xx.f_bmm(old)?)?;
        let weights = old.f_add(&right.f_cholesky_solve(&lower, false)?)?;
        Ok(Some(weights.f_where_self(&solvable.f_view([-1, 1, 1])?, old)?))
    }

    /// The mean squared error of weights, over all groups and rows.
    fn error(&self, weight: &Tensor) -> Result<f64, TchError> {
        let explained = self.xy.f_mul_scalar(2.0)?.f_sub(&self.xx.f_bmm(weight)?)?.f_mul(weight)?;
        self.yy.f_sum(Kind::Double)?.f_sub(&explained.f_sum(Kind::Double)?)?.f_double_value(&[])
    }
}

/// What a layer is to have.
pub(super) struct Fitted {
    /// `[groups, F, O]`; `None` where the weights stay.
    pub weight: Option<Tensor>,
    /// `[groups, 1, O]`: what is to be added; `None` where that stays.
    pub shift: Option<Tensor>,
    /// Whether there were fewer positions than features.
    pub scarce: bool,
    /// Whether there were too few for the choice of a ridge, so that the weights stay.
    pub few: bool,
}

impl Fitted {
    /// The ridge is chosen by the error on `check` of what was fitted on `fit`; what is given is fitted on both. Weights are fitted where
    /// there are products.
    pub fn of(fit: &Moments, check: &Moments, old: &Tensor, intercept: bool) -> Result<Fitted, TchError> {
        let both = fit.sum(check)?;
        let few = both.products.is_some() && fit.positions.min(check.positions) < FEWEST;
        let weight = match both.products {
            Some(_) if !few => match ridge(&fit.central(intercept)?, &check.central(intercept)?, old)? {
                Some(ridge) => both.central(intercept)?.solved(old, ridge)?,
                None => None,
            },
            _ => None,
        };
        let shift = match intercept {
            true => both.shift(weight.as_ref().unwrap_or(old))?,
            false => None,
        };
        let scarce = weight.is_some() && both.positions < old.size()[1];
        Ok(Fitted { weight, shift, scarce, few })
    }
}

/// The best ridge for what is held out; `None` where the old weights are better.
fn ridge(own: &Central, held_out: &Central, old: &Tensor) -> Result<Option<f64>, TchError> {
    let before = held_out.error(old)?;
    let mut best = (before * (1.0 - GAIN), None);
    for ridge in RIDGES.into_iter().filter(|_| before > 0.0) {
        if let Some(weight) = own.solved(old, ridge)? {
            let error = held_out.error(&weight)?;
            if error < best.0 {
                best = (error, Some(ridge));
            }
        }
    }
    Ok(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn noise(shape: [i64; 3]) -> Tensor {
        secateurs_torch::load().unwrap();
        let mut rng = Rng::new(5, "moments", shape[1] as u64, 0);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal() as f32).collect();
        Tensor::f_from_slice(&values).unwrap().f_view(shape).unwrap()
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.f_reshape([-1]).unwrap().f_to_kind(Kind::Double).unwrap()).unwrap()
    }

    #[test]
    fn sums_over_many_positions_of_16_bits_are_exact() {
        let x = noise([1, 40_000, 3]).f_mul_scalar(2.0).unwrap();
        for kind in [Kind::Half, Kind::BFloat16] {
            let narrow = x.f_to_kind(kind).unwrap();
            let wide = narrow.f_to_kind(Kind::Double).unwrap();
            let (found, exact) = (Moments::of(&narrow, &narrow).unwrap(), Moments::of(&wide, &wide).unwrap());
            assert!(found.is_finite().unwrap(), "{kind:?}");
            let (found, exact) = (found.central(false).unwrap(), exact.central(false).unwrap());
            for (found, exact) in [(&found.xx, &exact.xx), (&found.xy, &exact.xy), (&found.yy, &exact.yy)] {
                for (found, exact) in numbers(found).iter().zip(numbers(exact)) {
                    assert!((found - exact).abs() < 1.0 / 40_000.0, "{kind:?}: {found} is not {exact}");
                }
            }
        }
    }

    #[test]
    fn groups_that_read_nothing_keep_their_weights_and_others_are_fitted() {
        let (x, wanted) = (noise([3, 64, 2]), noise([3, 2, 1]));
        let _ = x.f_narrow(0, 1, 1).unwrap().f_zero_().unwrap();
        let moments = Moments::of(&x, &x.f_bmm(&wanted).unwrap()).unwrap();
        let old = Tensor::f_ones([3, 2, 1], (Kind::Double, x.device())).unwrap();
        let found = moments.central(true).unwrap().solved(&old, 1e-4).unwrap().unwrap();
        let (found, wanted) = (numbers(&found), numbers(&wanted));
        assert_eq!(found[2..4], [1.0, 1.0]);
        for i in [0, 1, 4, 5] {
            assert!((found[i] - wanted[i]).abs() < 1e-3, "{found:?} {wanted:?}");
        }
        let nothing = Moments::of(&x.f_zeros_like().unwrap(), &x).unwrap();
        let old = Tensor::f_ones([3, 2, 2], (Kind::Double, x.device())).unwrap();
        assert!(nothing.central(true).unwrap().solved(&old, 1e-4).unwrap().is_none());
    }
}
