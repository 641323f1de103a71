//! Batch normalization, by the statistics of the batch or by given ones, with a ReLU behind it or not.
//!
//! On CPUs, where the channels lie innermost, by a kernel of our own: libtorch's take several times as long for channels that fill no whole
//! vector registers, as pruned layers have them, and a ReLU costs them passes of their own.

use secateurs_torch::batch_norm;
use secateurs_torch::tch::{Device, Kind, TchError, Tensor};

/// Parameters and statistics of the channels, each `[C]`.
pub struct Channels<'t> {
    pub scale: &'t Tensor,
    pub bias: &'t Tensor,
    pub mean: &'t Tensor,
    pub variance: &'t Tensor,
}

/// `x: [N, C, …] → y` like it, with `epsilon` added to the variance, and negative numbers made 0 if `relu`.
///
/// With a `rate` by the statistics of the batch, towards which those of the channels move in place, the batch having that weight; without one
/// by those of the channels.
pub fn normalize(
    x: &Tensor,
    channels: &Channels,
    rate: Option<f64>,
    epsilon: f64,
    relu: bool,
) -> Result<Tensor, TchError> {
    let Channels { scale, bias, mean, variance } = *channels;
    if let Some(rows) = rows(x, channels, rate.is_some())? {
        let y = batch_norm(&rows, [scale, bias, mean, variance], rate, epsilon, relu)?;
        return match x.size()[..] {
            [n, c, height, width] => y.f_view([n, height, width, c])?.f_permute([0, 3, 1, 2]),
            _ => Ok(y),
        };
    }
    let (by_batch, rate) = (rate.is_some(), rate.unwrap_or(0.0));
    let y =
        x.f_batch_norm(Some(scale), Some(bias), Some(mean), Some(variance), by_batch, rate, epsilon, true)?;
    if relu { y.f_relu() } else { Ok(y) }
}

/// The activations as `[positions, C]`, without a copy, where our kernel takes them, which has gradients by the batch's statistics alone.
fn rows(x: &Tensor, channels: &Channels, by_batch: bool) -> Result<Option<Tensor>, TchError> {
    let Channels { scale, bias, mean, variance } = *channels;
    let mut known = matches!(x.f_kind()?, Kind::Float | Kind::BFloat16);
    for parameter in [scale, bias, mean, variance] {
        known &= parameter.f_kind()? == Kind::Float && parameter.is_contiguous();
        known &= by_batch || !parameter.requires_grad();
    }
    known &= by_batch || !x.requires_grad();
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

    /// Activations, channels last or not, and scale, bias, mean and variance.
    fn drawn(x: &Tensor, last: bool) -> Result<(Tensor, [Tensor; 4]), TchError> {
        let (c, kind) = (x.size()[1], x.f_kind()?);
        let x = x.f_detach_copy()?;
        let x = match last && x.dim() == 4 {
            true => x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?,
            false => x,
        };
        let of_parameters = if kind == Kind::Double { Kind::Double } else { Kind::Float };
        let draw = |from: f64| Tensor::f_linspace(from, 2.0, c, (of_parameters, Device::Cpu));
        Ok((x, [draw(-0.5)?, draw(-1.0)?, draw(0.1)?, draw(1.0)?]))
    }

    /// Outputs, gradients and running statistics.
    fn trained(x: &Tensor, wanted: &Tensor, relu: bool, last: bool) -> Result<[Tensor; 6], TchError> {
        let kind = x.f_kind()?;
        let (x, [scale, bias, mean, variance]) = drawn(x, last)?;
        let [x, scale, bias] = [x, scale, bias].map(|tensor| tensor.f_set_requires_grad(true));
        let (x, scale, bias) = (x?, scale?, bias?);
        let channels = Channels { scale: &scale, bias: &bias, mean: &mean, variance: &variance };
        assert_eq!(rows(&x, &channels, true)?.is_some(), last);
        assert!(rows(&x, &channels, false)?.is_none(), "it has no gradients");
        let y = normalize(&x, &channels, Some(0.3), 1e-3, relu)?;
        assert_eq!(y.size(), x.size());
        y.f_mul(&wanted.f_to_kind(kind)?)?.f_sum(Kind::Double)?.f_backward()?;
        Ok([y.f_detach()?, x.f_grad()?, scale.f_grad()?, bias.f_grad()?, mean, variance])
    }

    /// Outputs by given statistics.
    fn given(x: &Tensor, relu: bool, last: bool) -> Result<Tensor, TchError> {
        let (x, [scale, bias, mean, variance]) = drawn(x, last)?;
        let channels = Channels { scale: &scale, bias: &bias, mean: &mean, variance: &variance };
        assert_eq!(rows(&x, &channels, false)?.is_some(), last);
        let y = normalize(&x, &channels, None, 1e-3, relu)?;
        assert_eq!(y.size(), x.size());
        Ok(y)
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
                    let exact = given(&x.f_to_kind(Kind::Double)?, relu, false)?;
                    let off = difference(&given(&x, relu, true)?, &exact)?;
                    assert!(off <= tolerance, "{kind:?}, {shape:?}, {relu}, given: {off}");

                    let wanted = away_from_the_kink(&x, &wanted)?;
                    let ours = trained(&x, &wanted, relu, true)?;
                    let exact = trained(&x.f_to_kind(Kind::Double)?, &wanted, relu, false)?;
                    for (i, (ours, exact)) in ours.iter().zip(&exact).enumerate() {
                        let off = difference(ours, exact)?;
                        assert!(off <= tolerance, "{kind:?}, {shape:?}, {relu}, {i}: {off}");
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
            Ok::<_, TchError>((trained(&x, &wanted, true, true)?, given(&x, true, true)?))
        };
        let ((one, given_one), (three, given_three)) = (by(1)?, by(3)?);
        set_num_threads(threads);
        assert_eq!(difference(&given_one, &given_three)?, 0.0);
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
        let columns = |y: &Tensor| Vec::<bool>::try_from(y.f_isnan()?.f_any_dim(0, false)?);
        assert_eq!(columns(&y)?, [false, true]);
        assert_eq!(columns(&given(&x, true, true)?)?, [false, true]);
        Ok(())
    }
}
