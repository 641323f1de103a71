//! Normalization by the statistics of the batch, fast for every number of channels.
//!
//! libtorch's kernel for channels-last activations is several times slower for few channels that fill no whole vector registers, as pruned
//! layers have them; rows of as many channels with zeros behind them are faster, copies included.

use secateurs_torch::tch::{self, Device, Kind, TchError, Tensor};

/// Parameters and running statistics of the channels, each `[C]`; the latter move in place.
pub struct Channels<'t> {
    pub scale: &'t Tensor,
    pub bias: &'t Tensor,
    pub mean: &'t Tensor,
    pub variance: &'t Tensor,
}

/// Channels that fill whole registers.
const WHOLE: i64 = 16;
/// From so many channels on rows fill enough registers as they are.
const MANY: i64 = 64;

/// `x: [N, C, …] → y` like it. `rate` is the weight of the batch in the running statistics.
pub fn normalize(x: &Tensor, channels: &Channels, rate: f64, epsilon: f64) -> Result<Tensor, TchError> {
    match rows(x)? {
        Some(rows) => padded(x, &rows, channels, rate, epsilon),
        None => plain(x, channels, rate, epsilon),
    }
}

fn plain(x: &Tensor, channels: &Channels, rate: f64, epsilon: f64) -> Result<Tensor, TchError> {
    let Channels { scale, bias, mean, variance } = *channels;
    x.f_batch_norm(Some(scale), Some(bias), Some(mean), Some(variance), true, rate, epsilon, true)
}

/// The activations as `[positions, C]`, without a copy, where padding them pays.
fn rows(x: &Tensor) -> Result<Option<Tensor>, TchError> {
    let [_, channels, _, _] = x.size()[..] else { return Ok(None) };
    // Single precision fills registers by halves.
    let whole = if x.f_kind()? == Kind::BFloat16 && channels < 2 * WHOLE { WHOLE } else { WHOLE / 2 };
    if x.device() != Device::Cpu || channels % whole == 0 || channels >= MANY {
        return Ok(None);
    }
    let last = x.f_permute([0, 2, 3, 1])?;
    if !last.is_contiguous() {
        return Ok(None);
    }
    last.f_view([-1, channels]).map(Some)
}

fn padded(
    x: &Tensor,
    rows: &Tensor,
    channels: &Channels,
    rate: f64,
    epsilon: f64,
) -> Result<Tensor, TchError> {
    let [n, c, height, width] = x.size()[..] else { return plain(x, channels, rate, epsilon) };
    let wide = |tensor: &Tensor| tensor.f_constant_pad_nd([0, (WHOLE - c % WHOLE) % WHOLE]);
    let [scale, bias, mean, variance] =
        [channels.scale, channels.bias, channels.mean, channels.variance].map(wide);
    let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
    let of = Channels { scale: &scale, bias: &bias, mean: &mean, variance: &variance };
    let y = plain(&wide(rows)?, &of, rate, epsilon)?;
    tch::no_grad(|| {
        for (running, wide) in [(channels.mean, &mean), (channels.variance, &variance)] {
            running.shallow_clone().f_copy_(&wide.f_narrow(0, 0, c)?)?;
        }
        Ok::<_, TchError>(())
    })?;
    y.f_narrow(1, 0, c)?.f_contiguous()?.f_view([n, height, width, c])?.f_permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs, gradients and running statistics of an input in an order of its own, channels last or not.
    fn trained(x: &Tensor, wanted: &Tensor, last: bool) -> Result<[Tensor; 6], TchError> {
        let c = x.size()[1];
        let x = x.f_detach_copy()?;
        let x = match last {
            true => x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?,
            false => x,
        };
        let x = x.f_set_requires_grad(true)?;
        let kind = if x.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
        let draw = |from: f64| Tensor::f_linspace(from, 2.0, c, (kind, Device::Cpu));
        let (scale, bias) = (draw(0.5)?.f_set_requires_grad(true)?, draw(-1.0)?.f_set_requires_grad(true)?);
        let (mean, variance) = (draw(0.1)?, draw(1.0)?);
        assert_eq!(rows(&x)?.is_some(), last, "{c} channels");
        let channels = Channels { scale: &scale, bias: &bias, mean: &mean, variance: &variance };
        let y = normalize(&x, &channels, 0.3, 1e-3)?;
        y.f_mul(wanted)?.f_sum(Kind::Double)?.f_backward()?;
        Ok([y.f_detach()?, x.f_grad()?, scale.f_grad()?, bias.f_grad()?, mean, variance])
    }

    #[test]
    fn padded_rows_give_what_the_kernel_gives() -> Result<(), TchError> {
        secateurs_torch::load().unwrap();
        for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 1e-5), (Kind::BFloat16, 2e-2)] {
            for c in [2, 3, 9, 20, 35] {
                let draw = || Tensor::f_randn([4, c, 5, 3], (Kind::Double, Device::Cpu))?.f_to_kind(kind);
                let (x, wanted) = (draw()?, draw()?);
                let padded = trained(&x, &wanted, true)?;
                for (padded, plain) in padded.iter().zip(trained(&x, &wanted, false)?) {
                    let (padded, plain) = (padded.f_to_kind(Kind::Double)?, plain.f_to_kind(Kind::Double)?);
                    let largest = |t: &Tensor| t.f_abs()?.f_max()?.f_double_value(&[]);
                    let difference = largest(&padded.f_sub(&plain)?)?;
                    assert!(difference <= tolerance * largest(&plain)?.max(1.0), "{kind:?}, {c} channels");
                }
            }
        }
        Ok(())
    }
}
