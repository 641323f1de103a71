//! `CausalConvWithState`: a depthwise convolution that sees only the past, with what it has seen as a state. ONNX opset 27.
//!
//! x: [b, c, l], w: [c, 1, k], bias: [c], past state: [b, c, k − 1] → y: [b, c, l], state: [b, c, k − 1].

use crate::op::prelude::*;

/// `CausalConvWithState`.
#[derive(Clone, Debug)]
pub struct CausalConvWithState {
    /// y · sigmoid(y) follows.
    silu: bool,
}

const PAST_STATE: usize = 3;

impl Register for CausalConvWithState {
    const NAME: &'static str = "CausalConvWithState";
    const SINCE: &'static [i64] = &[27];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        match attributes.string("activation")?.as_deref() {
            None | Some("none") => Ok(CausalConvWithState { silu: false }),
            Some("silu" | "swish") => Ok(CausalConvWithState { silu: true }),
            Some(other) => Err(OpError::Invalid(format!("activation is '{other}', which ONNX does not define"))),
        }
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |k: i64| Case::new(27).float([2, 3, 5]).param([3, 1, k]).outputs(2);
        vec![
            case(4),
            case(3).param([3]).attr("activation", "silu"),
            case(4).absent().float([2, 3, 3]).attr("activation", "swish"),
            case(8).param([3]),
            case(1),
        ]
    }
}

impl Op for CausalConvWithState {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.silu { vec![("activation", "silu".into())] } else { Vec::new() }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let ([batch, channels, _], [filters, one, kernel]) = (inputs.shape(0)?, inputs.shape(1)?) else {
            return Err(OpError::invalid("the input and the weight need 3 axes each"));
        };
        expect_same(channels, filters, "channels of the input and of the weight")?;
        expect_same(one, &1.into(), "the middle axis of the weight and 1")?;
        let width = kernel.clone() - 1.into();
        let state = vec![batch.clone(), channels.clone(), width];
        if let Some(past) = inputs.get(PAST_STATE).and_then(|f| f.shape.as_deref()) {
            if past.len() != state.len() {
                return Err(OpError::invalid("the past state needs 3 axes"));
            }
            past.iter().zip(&state).try_for_each(|(a, b)| expect_same(a, b, "the past state and its place"))?;
        }
        let element_type = inputs.element_type(0)?;
        Ok(vec![Fact::of(element_type, inputs.shape(0)?.to_vec()), Fact::of(element_type, state)])
    }

    /// `x: [b, c, …], w: [c, 1, …], bias: [c], past: [b, c, …] → y and state: [b, c, …]`.
    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), outputs.len());
        let (Ok([batch, channels, length]), Ok([_, _, kernel])) = (inputs.shape(0), inputs.shape(1)) else {
            return map;
        };
        let window = || Role::Blocked("a sliding window");
        let (b, c) = (map.axis(batch, Role::Free), map.axis(channels, Role::Free));
        let (length, width) = (map.axis(length, window()), map.axis(&(kernel.clone() - 1.into()), window()));
        let kernel = map.axis(kernel, window());
        let (x, state) = (vec![b.clone(), c.clone(), length], vec![b, c.clone(), width]);
        let by_input = [x.clone(), vec![c.clone(), unit_axis(), kernel], vec![c], state.clone()];
        for (i, axes) in by_input.into_iter().enumerate().filter(|(i, _)| inputs.get(*i).is_some()) {
            map.inputs[i] = Some(axes);
        }
        for (output, axes) in map.outputs.iter_mut().zip([x, state]) {
            *output = Some(axes);
        }
        map
    }

    fn channel_axis(&self, _rank: usize) -> usize {
        1
    }

    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> Dim {
        match (inputs.shape(0), inputs.shape(1)) {
            (Ok(x), Ok([_, _, kernel])) => element_count(x) * kernel.clone(),
            _ => Dim::unknown(),
        }
    }

    fn role(&self, input: usize) -> InputRole {
        if matches!(input, 1 | 2) { InputRole::Parameter } else { InputRole::Data }
    }

    fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        let Ok(w @ [_, _, _]) = inputs.shape(1) else { return Initial::Keep };
        super::shared::convolution::initial(input, 2, w, &1.into())
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (x, w) = (args.tensor(0)?, args.tensor(1)?);
        let (&[batch, channels, length], &[_, _, kernel]) = (&x.size()[..], &w.size()[..]) else {
            return Err(OpError::invalid("the input and the weight need 3 axes each"));
        };
        let past = match args.get(PAST_STATE) {
            Some(past) => past.shallow_clone(),
            None => Tensor::f_zeros([batch, channels, kernel - 1], (x.f_kind()?, args.device))?,
        };
        let seen = Tensor::f_cat(&[&past, x], 2)?;
        let y = seen.f_convolution(w, args.get(2), [1], [0], [1], false, [0], channels)?;
        let y = if self.silu { y.f_silu()? } else { y };
        Ok(vec![y, seen.f_narrow(2, length, kernel - 1)?])
    }
}
