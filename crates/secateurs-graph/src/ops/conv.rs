//! `Conv`: convolution of any rank with groups and dilation. ONNX opset 1, 11, 22.
//!
//! x: [N, C, D1, …], w: [M, C / group, k1, …], b: [M] → y: [N, M, D1', …].

use super::shared::window::{AutoPad, Window};
use crate::op::prelude::*;

/// `Conv`.
#[derive(Clone, Debug)]
pub struct Conv {
    window: Window,
    group: i64,
}

impl Register for Conv {
    const NAME: &'static str = "Conv";
    const SINCE: &'static [i64] = &[1, 11, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let group = attributes.int_or("group", 1)?;
        if group < 1 {
            return Err(OpError::Invalid(format!("group is {group}; it must be at least 1")));
        }
        Ok(Conv { window: Window::parse(attributes)?, group })
    }

    #[cfg(test)]
    fn cases() -> Vec<Case> {
        let conv = |x: &[i64], w: &[i64]| Case::new(11).float(x.to_vec()).param(w.to_vec());
        vec![
            conv(&[2, 3, 9, 8], &[4, 3, 3, 3]).param([4]).attr("pads", vec![1i64, 1, 1, 1]),
            conv(&[2, 4, 9, 8], &[6, 2, 3, 2]).attr("group", 2i64).attr("strides", vec![2i64, 1]),
            conv(&[1, 4, 9, 9], &[8, 1, 3, 3]).attr("group", 4i64).attr("dilations", vec![2i64, 2]),
            conv(&[1, 2, 7, 6], &[3, 2, 3, 3]).attr("pads", vec![0i64, 1, 2, 1]),
            conv(&[1, 2, 7, 6], &[3, 2, 2, 4]).attr("auto_pad", "SAME_UPPER").attr("strides", vec![2i64, 2]),
            conv(&[1, 2, 7, 6], &[3, 2, 2, 4]).attr("auto_pad", "SAME_LOWER"),
            conv(&[1, 2, 7, 6], &[3, 2, 2, 4]).attr("auto_pad", "VALID"),
            conv(&[2, 3, 11], &[4, 3, 5]).param([4]).attr("strides", vec![2i64]),
            conv(&[1, 2, 5, 6, 4], &[3, 2, 2, 3, 2]).attr("pads", vec![1i64, 0, 1, 0, 1, 1]),
        ]
    }
}

impl Conv {
    fn kernel(&self, weight: &[Dim]) -> Result<Vec<i64>, OpError> {
        let known = weight[2..].iter().map(Dim::known).collect::<Option<Vec<_>>>();
        let kernel = known.or_else(|| self.window.kernel_shape.clone()).ok_or(OpError::Undetermined)?;
        match &self.window.kernel_shape {
            Some(declared) if *declared != kernel => Err(OpError::Invalid(format!(
                "kernel_shape is {declared:?} and the weight's kernel {kernel:?}"
            ))),
            _ => Ok(kernel),
        }
    }
}

impl Op for Conv {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = self.window.attributes();
        if self.group != 1 {
            list.push(("group", self.group.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (x, w) = (inputs.shape(0)?, inputs.shape(1)?);
        if x.len() < 3 || w.len() != x.len() {
            let text = format!("the input has {} axes and the weight {}; both need the same, 3 or more", x.len(), w.len());
            return Err(OpError::Invalid(text));
        }
        let n = x.len() - 2;
        self.window.check(n)?;
        let kernel = self.kernel(w)?;
        if kernel.len() != n {
            return Err(OpError::Invalid(format!("kernel_shape has {} entries for {n} spatial axes", kernel.len())));
        }
        expect_same(&x[1], &(w[1].clone() * self.group.into()), "channels of the input and of the weight times group")?;
        if let Some(m) = w[0].known().filter(|m| m % self.group != 0) {
            return Err(OpError::Invalid(format!("{m} output channels are not a multiple of group {}", self.group)));
        }
        if let Some(bias) = inputs.get(2).and_then(|f| f.shape.as_deref()) {
            let [size] = bias else { return Err(OpError::invalid("the bias must have one axis")) };
            expect_same(size, &w[0], "the bias and the output channels")?;
        }
        let mut shape = vec![x[0].clone(), w[0].clone()];
        shape.extend(self.window.outputs(&x[2..], &kernel)?);
        Ok(vec![Fact::of(inputs.element_type(0)?, shape)])
    }

    /// `x: [n, (g c), …], w: [(g o), c, …], b: [(g o)] → y: [n, (g o), …]`.
    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let (Ok(x), Ok(w), Some(y)) = (inputs.shape(0), inputs.shape(1), outputs[0].shape.as_deref()) else {
            return map;
        };
        let group = Dim::from(self.group);
        let batch = map.axis(&x[0], Role::Free);
        let mut atom = |size: Dim, role: Role| match size.is(1) {
            true => Vec::new(),
            false => vec![map.atom(size, role)],
        };
        let g = atom(group.clone(), Role::Free);
        let c = atom(w[1].clone(), Role::Summed);
        let o = atom(w[0].floor_div(&group), Role::Free);
        let channels = product([g.clone(), c.clone()].concat());
        let filters = product([g, o].concat());
        let spatial = "a sliding window";
        let mut axes = |head: Vec<Axis>, dims: &[Dim]| {
            let tail: Vec<Axis> = dims[2..].iter().map(|d| map.axis(d, Role::Blocked(spatial))).collect();
            Some([head, tail].concat())
        };
        let input = axes(vec![batch.clone(), channels], x);
        let weight = axes(vec![filters.clone(), product(c)], w);
        let output = axes(vec![batch, filters.clone()], y);
        (map.inputs[0], map.inputs[1], map.outputs[0]) = (input, weight, output);
        if inputs.get(2).is_some() {
            map.inputs[2] = Some(vec![filters]);
        }
        map
    }

    fn macs(&self, inputs: &Inputs, outputs: &[Fact]) -> Dim {
        match (inputs.shape(1), &outputs[0].shape) {
            (Ok(w), Some(y)) => element_count(y) * element_count(&w[1..]),
            _ => Dim::unknown(),
        }
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Parameter }
    }

    fn prefers_channels_last(&self) -> bool {
        true
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (x, w) = (args.tensor(0)?, args.tensor(1)?);
        let (spatial, kernel) = (&x.size()[2..], &w.size()[2..]);
        let n = spatial.len();
        let padding = match self.window.auto_pad {
            AutoPad::NotSet if self.window.pads.is_empty() => vec![(0, 0); n],
            _ => self.window.known_padding(spatial, kernel)?,
        };
        let (x, padding) = super::shared::window::symmetric(x, &padding, 0.0)?;
        let each = |f: &dyn Fn(usize) -> i64| (0..n).map(f).collect::<Vec<_>>();
        let y = x.f_convolution(
            w,
            args.get(2),
            each(&|i| self.window.stride(i)),
            padding,
            each(&|i| self.window.dilation(i)),
            false,
            vec![0; n],
            self.group,
        )?;
        Ok(vec![y])
    }
}
