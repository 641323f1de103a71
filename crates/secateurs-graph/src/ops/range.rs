//! `Range`: numbers from `start` to before `limit` in steps of `delta`. ONNX opset 11, 27.

use crate::fact::MAX_CONTENT;
use crate::op::prelude::*;

/// `Range`.
#[derive(Clone, Debug)]
pub struct Range {
    /// The type that half-precision numbers are computed in (since opset 27).
    stash_type: Option<i64>,
}

impl Register for Range {
    const NAME: &'static str = "Range";
    const SINCE: &'static [i64] = &[11, 27];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Range { stash_type: attributes.int("stash_type")? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor as Host;
        let ints = |v: [i64; 3]| v.into_iter().fold(Case::new(11), |c, n| c.constant(Host::scalar(n)));
        let fed = |v: [i64; 3]| v.into_iter().fold(Case::new(11), |c, n| c.fed(Host::scalar(n)));
        let floats = [1.0f32, 2.0, 0.3].into_iter().fold(Case::new(11), |c, n| c.constant(Host::scalar(n)));
        vec![ints([1, 8, 3]), ints([5, -1, -2]), ints([5, 1, 2]), fed([2, 9, 2]).without_axes(), floats]
    }
}

/// The number of elements, possibly symbolic.
fn int_count(start: &Dim, limit: &Dim, delta: &Dim) -> Result<Dim, OpError> {
    let step = delta.known().ok_or(OpError::Undetermined)?;
    let span = match step {
        0 => return Err(OpError::invalid("delta is 0")),
        1.. => limit.clone() - start.clone(),
        _ => start.clone() - limit.clone(),
    };
    Ok(span.ceil_div(&step.checked_abs().ok_or(OpError::Undetermined)?.into()).max_with(&0.into()))
}

fn float_count(start: f64, limit: f64, delta: f64) -> Result<i64, OpError> {
    if delta == 0.0 {
        return Err(OpError::invalid("delta is 0"));
    }
    Ok(((limit - start) / delta).ceil().max(0.0) as i64)
}

impl Op for Range {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.stash_type.iter().map(|&t| ("stash_type", t.into())).collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let facts = [inputs.fact(0)?, inputs.fact(1)?, inputs.fact(2)?];
        let of = |count: Dim| Fact::of(facts[0].element_type, vec![count]);
        let few = |n: &i64| *n <= MAX_CONTENT as i64;
        if let [Some([start]), Some([limit]), Some([delta])] = facts.map(Fact::ints) {
            let count = match int_count(start, limit, delta) {
                Err(OpError::Undetermined) => return Ok(vec![of(Dim::unknown())]),
                count => count?,
            };
            let content = count.known().filter(few).map(|n| {
                Content::from((0..n).map(|i| start.clone() + delta.clone() * i.into()).collect::<Vec<_>>())
            });
            return Ok(vec![of(count).with_content(content)]);
        }
        if let [Some([start]), Some([limit]), Some([delta])] = facts.map(Fact::floats) {
            let count = float_count(*start, *limit, *delta)?;
            let content = Some(count).filter(few).map(|n| {
                Content::from((0..n).map(|i| start + i as f64 * delta).collect::<Vec<_>>())
            });
            return Ok(vec![of(count.into()).with_content(content)]);
        }
        Ok(vec![of(Dim::unknown())])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        map.outputs[0] = outputs[0].shape.as_ref().map(|s| s.iter().map(|d| map.axis(d, Role::Blocked("counts up"))).collect());
        map
    }

    fn role(&self, _: usize) -> InputRole {
        InputRole::Control
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let kind = args.tensor(0)?.f_kind()?;
        if matches!(kind, Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) {
            let all = [args.floats(0)?, args.floats(1)?, args.floats(2)?];
            let [[start], [limit], [delta]] = all.each_ref().map(Vec::as_slice) else {
                return Err(OpError::invalid("start, limit and delta must be scalars"));
            };
            let index = Tensor::f_arange(float_count(*start, *limit, *delta)?, (Kind::Double, args.device))?;
            return Ok(vec![index.f_mul_scalar(*delta)?.f_add_scalar(*start)?.f_to_kind(kind)?]);
        }
        let all = [args.ints(0)?, args.ints(1)?, args.ints(2)?];
        let [[start], [limit], [delta]] = all.each_ref().map(Vec::as_slice) else {
            return Err(OpError::invalid("start, limit and delta must be scalars"));
        };
        let count = int_count(&(*start).into(), &(*limit).into(), &(*delta).into())?;
        let index = Tensor::f_arange(count.known().ok_or(OpError::Undetermined)?, (Kind::Int64, args.device))?;
        Ok(vec![index.f_mul_scalar(*delta)?.f_add_scalar(*start)?.f_to_kind(kind)?])
    }
}
