//! Normalization by the statistics of the batch, with a ReLU behind it or not.
//!
//! On CPUs, where the channels lie innermost, by a kernel of our own: libtorch's takes several times as long for channels that fill no whole
//! vector registers, as pruned layers have them, and a ReLU costs it passes of their own.

use secateurs_torch::batch_norm;
use secateurs_torch::tch::{Device, Kind, TchError, Tensor};

/// Parameters and running statistics of the channels, each `[C]`; the latter move in place.
pub struct Channels<'t> {
    pub scale: &'t Tensor,
    pub bias: &'t Tensor,
    pub mean: &'t Tensor,
    pub variance: &'t Tensor,
}

/// How the statistics of the batch are used.
#[derive(Clone, Copy)]
pub struct Normalization {
    /// The weight of the batch in the running statistics.
    pub rate: f64,
    /// What is added to the variance.
    pub epsilon: f64,
    /// Whether negative numbers become 0.
    pub relu: bool,
}

/// `x: [N, C, …] → y` like it.
pub fn normalize(x: &Tensor, channels: &Channels, how: Normalization) -> Result<Tensor, TchError> {
    let Channels { scale, bias, mean, variance } = *channels;
    let Normalization { rate, epsilon, relu } = how;
    if let Some(rows) = rows(x, channels)? {
        let y = batch_norm(&rows, [scale, bias, mean, variance], rate, epsilon, relu)?;
        return match x.size()[..] {
            [n, c, height, width] => y.f_view([n, height, width, c])?.f_permute([0, 3, 1, 2]),
            _ => Ok(y),
        };
    }
    let y = x.f_batch_norm(Some(scale), Some(bias), Some(mean), Some(variance), true, rate, epsilon, true)?;
    if relu { y.f_relu() } else { Ok(y) }
}

/// The activations as `[positions, C]`, without a copy, where the kernel of our own takes them.
fn rows(x: &Tensor, channels: &Channels) -> Result<Option<Tensor>, TchError> {
    let Channels { scale, bias, mean, variance } = *channels;
    let single =
        |tensor: &Tensor| Ok::<_, TchError>(tensor.f_kind()? == Kind::Float && tensor.is_contiguous());
    let known = matches!(x.f_kind()?, Kind::Float | Kind::BFloat16)
        && single(scale)?
        && single(bias)?
        && single(mean)?
        && single(variance)?;
    if x.device() != Device::Cpu || !known || x.numel() == 0 {
        return Ok(None);
    }
    match x.size()[..] {
        [_, _] if x.is_contiguous() => Ok(Some(x.shallow_clone())),
        [_, channels, _, _] => {
            let last = x.f_permute([0, 2, 3, 1])?;
            if last.is_contiguous() { last.f_view([-1, channels]).map(Some) } else { Ok(None) }
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateurs_torch::tch::manual_seed;

    /// Outputs, gradients and running statistics, channels last or not.
    fn trained(x: &Tensor, wanted: &Tensor, relu: bool, last: bool) -> Result<[Tensor; 6], TchError> {
        let (c, kind) = (x.size()[1], x.f_kind()?);
        let x = x.f_detach_copy()?;
        let x = match last && x.dim() == 4 {
            true => x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?,
            false => x,
        };
        let x = x.f_set_requires_grad(true)?;
        let of_parameters = if kind == Kind::Double { Kind::Double } else { Kind::Float };
        let draw = |from: f64| Tensor::f_linspace(from, 2.0, c, (of_parameters, Device::Cpu));
        let (scale, bias) = (draw(-0.5)?.f_set_requires_grad(true)?, draw(-1.0)?.f_set_requires_grad(true)?);
        let (mean, variance) = (draw(0.1)?, draw(1.0)?);
        let channels = Channels { scale: &scale, bias: &bias, mean: &mean, variance: &variance };
        assert_eq!(rows(&x, &channels)?.is_some(), last, "{c} channels");
        let y = normalize(&x, &channels, Normalization { rate: 0.3, epsilon: 1e-3, relu })?;
        assert_eq!(y.size(), x.size());
        y.f_mul(&wanted.f_to_kind(kind)?)?.f_sum(Kind::Double)?.f_backward()?;
        Ok([y.f_detach()?, x.f_grad()?, scale.f_grad()?, bias.f_grad()?, mean, variance])
    }

    /// What gradients start from, without the outputs next to 0, where rounding decides whether a ReLU lets them through.
    fn away_from_the_kink(x: &Tensor, wanted: &Tensor) -> Result<Tensor, TchError> {
        let [y, ..] = trained(&x.f_to_kind(Kind::Double)?, wanted, false, false)?;
        wanted.f_mul(&y.f_abs()?.f_gt(1e-3)?.f_to_kind(wanted.f_kind()?)?)
    }

    /// The largest difference, in parts of the largest number or of 1.
    fn difference(ours: &Tensor, exact: &Tensor) -> Result<f64, TchError> {
        let largest = |t: &Tensor| t.f_abs()?.f_max()?.f_double_value(&[]);
        let exact = exact.f_to_kind(Kind::Double)?;
        Ok(largest(&ours.f_to_kind(Kind::Double)?.f_sub(&exact)?)? / largest(&exact)?.max(1.0))
    }

    /// Far from 0, and few or many positions.
    #[test]
    fn our_kernel_gives_what_libtorch_gives_in_64_bits() -> Result<(), TchError> {
        secateurs_torch::load().unwrap();
        manual_seed(0);
        let one = [2, 3, 9, 16, 20, 35, 64, 105].map(|c| vec![4, c, 5, 3]);
        let shapes = one.into_iter().chain([vec![6, 3, 1, 1], vec![7, 5], vec![3, 24, 70, 40]]);
        for shape in shapes {
            for (kind, tolerance) in [(Kind::Float, 2e-5), (Kind::BFloat16, 2e-2)] {
                for relu in [false, true] {
                    let draw = || Tensor::f_randn(&shape[..], (Kind::Double, Device::Cpu))?.f_to_kind(kind);
                    let (x, wanted) = (draw()?.f_mul_scalar(3.0)?.f_add_scalar(5.0)?, draw()?);
                    let wanted = away_from_the_kink(&x, &wanted)?;
                    let ours = trained(&x, &wanted, relu, true)?;
                    let exact = trained(&x.f_to_kind(Kind::Double)?, &wanted, relu, false)?;
                    for (i, (ours, exact)) in ours.iter().zip(&exact).enumerate() {
                        let difference = difference(ours, exact)?;
                        assert!(difference <= tolerance, "{kind:?}, {shape:?}, {relu}, {i}: {difference}");
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn threads_share_the_work_and_agree() -> Result<(), TchError> {
        use secateurs_torch::tch::{get_num_threads, set_num_threads};
        secateurs_torch::load().unwrap();
        manual_seed(0);
        let draw = || Tensor::f_randn([8, 21, 64, 64], (Kind::Float, Device::Cpu));
        let (x, wanted, threads) = (draw()?, draw()?, get_num_threads());
        let wanted = away_from_the_kink(&x, &wanted)?;
        let by = |n: i32| {
            set_num_threads(n);
            trained(&x, &wanted, true, true)
        };
        let (one, three) = (by(1)?, by(3)?);
        set_num_threads(threads);
        for (i, (one, three)) in one.iter().zip(&three).enumerate() {
            let difference = difference(one, three)?;
            assert!(difference <= 1e-5, "{i}: {difference}");
        }
        Ok(())
    }

    #[test]
    fn what_is_no_number_stays_none() -> Result<(), TchError> {
        secateurs_torch::load().unwrap();
        let x = Tensor::f_from_slice(&[1f32, f32::NAN, 2.0, 3.0, 5.0, 4.0])?.f_view([3, 2])?;
        let wanted = x.f_ones_like()?;
        let [y, ..] = trained(&x, &wanted, true, true)?;
        let nan = Vec::<bool>::try_from(y.f_isnan()?.f_any_dim(0, false)?)?;
        assert_eq!(nan, [false, true]);
        Ok(())
    }
}
