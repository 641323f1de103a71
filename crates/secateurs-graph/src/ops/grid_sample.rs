//! `GridSample`: the input interpolated at given positions. ONNX opset 16, 20, 22.
//!
//! x: [N, C, D1, …], grid: [N, D1', …, r] with positions in −1..1 → y: [N, C, D1', …]; r is 2 or 3.

use crate::op::prelude::*;

/// `GridSample`.
#[derive(Clone, Debug)]
pub struct GridSample {
    mode: Mode,
    padding: Padding,
    align_corners: bool,
}

/// In the order of libtorch's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Linear,
    Nearest,
    Cubic,
}

/// In the order of libtorch's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

impl Register for GridSample {
    const NAME: &'static str = "GridSample";
    const SINCE: &'static [i64] = &[16, 20, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let unknown = |name: &str, text: &str| OpError::Invalid(format!("{name} is '{text}', which ONNX does not define"));
        let mode = match attributes.string("mode")?.as_deref() {
            None | Some("linear" | "bilinear") => Mode::Linear,
            Some("nearest") => Mode::Nearest,
            Some("cubic" | "bicubic") => Mode::Cubic,
            Some(other) => return Err(unknown("mode", other)),
        };
        let padding = match attributes.string("padding_mode")?.as_deref() {
            None | Some("zeros") => Padding::Zeros,
            Some("border") => Padding::Border,
            Some("reflection") => Padding::Reflection,
            Some(other) => return Err(unknown("padding_mode", other)),
        };
        Ok(GridSample { mode, padding, align_corners: attributes.flag("align_corners", false)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |opset: i64| Case::new(opset).float([2, 3, 4, 5]).float_in([2, 3, 2, 2], -1.2, 1.2);
        vec![
            case(16),
            case(16).attr("mode", "nearest").attr("padding_mode", "border"),
            case(20).attr("mode", "cubic").attr("align_corners", 1i64),
            case(22).attr("mode", "linear").attr("padding_mode", "reflection"),
            Case::new(20).float([1, 2, 3, 4, 5]).float_in([1, 2, 3, 2, 3], -1.2, 1.2),
        ]
    }
}

impl Op for GridSample {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        // Opset 16 has other names for the modes, but the default is the same.
        match self.mode {
            Mode::Linear => {}
            Mode::Nearest => list.push(("mode", "nearest".into())),
            Mode::Cubic => list.push(("mode", "cubic".into())),
        }
        match self.padding {
            Padding::Zeros => {}
            Padding::Border => list.push(("padding_mode", "border".into())),
            Padding::Reflection => list.push(("padding_mode", "reflection".into())),
        }
        if self.align_corners {
            list.push(("align_corners", true.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (x, grid) = (inputs.shape(0)?, inputs.shape(1)?);
        if x.len() < 3 || grid.len() != x.len() {
            let text = format!("the input has {} axes and the grid {}; both need the same", x.len(), grid.len());
            return Err(OpError::Invalid(text));
        }
        expect_same(&grid[grid.len() - 1], &(x.len() - 2).into(), "the coordinates in the grid and spatial axes")?;
        let shape = [&x[..2], &grid[1..grid.len() - 1]].concat();
        Ok(vec![Fact::of(inputs.element_type(0)?, shape)])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let (Ok([n, c, space @ ..]), Ok([_, places @ .., r])) = (inputs.shape(0), inputs.shape(1)) else {
            return map;
        };
        let interpolated = Role::Blocked("interpolated");
        let (n, c) = (map.axis(n, Role::Free), map.axis(c, Role::Free));
        let mut axes = |dims: &[Dim], role: Role| dims.iter().map(|d| map.axis(d, role.clone())).collect::<Vec<Axis>>();
        let space = axes(space, interpolated.clone());
        let places = axes(places, Role::Free);
        let r = axes(std::slice::from_ref(r), interpolated);
        map.inputs[0] = Some([vec![n.clone(), c.clone()], space].concat());
        map.inputs[1] = Some([vec![n.clone()], places.clone(), r].concat());
        map.outputs[0] = Some([vec![n, c], places].concat());
        map
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (x, grid) = (args.tensor(0)?, args.tensor(1)?);
        if !(4..=5).contains(&x.dim()) || (x.dim() == 5 && self.mode == Mode::Cubic) {
            let text = format!("{:?} interpolation over {} spatial axes", self.mode, x.dim().saturating_sub(2));
            return Err(OpError::Unsupported(text));
        }
        let kind = x.f_kind()?;
        let half = matches!(kind, Kind::Half | Kind::BFloat16);
        let compute = if half { Kind::Float } else { kind };
        let (mode, padding) = (self.mode as i64, self.padding as i64);
        let y = x.f_to_kind(compute)?.f_grid_sampler(&grid.f_to_kind(compute)?, mode, padding, self.align_corners)?;
        Ok(vec![y.f_to_kind(kind)?])
    }
}
