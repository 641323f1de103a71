//! Blocks of pixels as channels: DepthToSpace and SpaceToDepth, which undo each other.

use crate::attribute::{Attribute, Attributes};
use crate::axes::{Axis, AxisMap, Role, product};
use crate::dim::Dim;
use crate::fact::Shape;
use crate::op::{Inputs, OpError, expect_same};

/// The side of a block and the order of its pixels among the channels: (b b c) or, for CRD, (c b b).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::ops) struct Blocks {
    size: i64,
    crd: bool,
}

/// Which of both shapes has the deeper channels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::ops) enum Direction {
    ToSpace,
    ToDepth,
}

impl Blocks {
    pub fn parse(attributes: &mut Attributes) -> Result<Blocks, OpError> {
        let size = attributes.int("blocksize")?.unwrap_or(0);
        if !(1..=1 << 15).contains(&size) {
            return Err(OpError::Invalid(format!("blocksize is {size}; it must be at least 1")));
        }
        let crd = match attributes.string("mode")?.as_deref() {
            None | Some("DCR") => false,
            Some("CRD") => true,
            Some(other) => {
                return Err(OpError::Invalid(format!("mode is '{other}', which ONNX does not define")));
            }
        };
        Ok(Blocks { size, crd })
    }

    pub fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mode = self.crd.then(|| ("mode", "CRD".into()));
        [("blocksize", self.size.into())].into_iter().chain(mode).collect()
    }

    /// Batch, channels of the shallow shape, height and width of the deep one.
    fn parts(&self, shape: &[Dim], direction: Direction) -> Result<[Dim; 4], OpError> {
        let [n, c, h, w] = shape else { return Err(OpError::invalid("the input must have four axes")) };
        let divide = |size: &Dim, by: i64, what: &str| {
            let quotient = size.floor_div(&by.into());
            expect_same(&(quotient.clone() * by.into()), size, what).map(|()| quotient)
        };
        let b = self.size;
        Ok(match direction {
            Direction::ToSpace => {
                let c = divide(c, b * b, "channels are no multiple of the squared blocksize")?;
                [n.clone(), c, h.clone(), w.clone()]
            }
            Direction::ToDepth => {
                let what = "height and width are no multiple of the blocksize";
                [n.clone(), c.clone(), divide(h, b, what)?, divide(w, b, what)?]
            }
        })
    }

    pub fn shape(&self, inputs: &Inputs, direction: Direction) -> Result<Shape, OpError> {
        let [n, c, h, w] = self.parts(inputs.shape(0)?, direction)?;
        let b = Dim::from(self.size);
        Ok(match direction {
            Direction::ToSpace => vec![n, c, h * b.clone(), w * b],
            Direction::ToDepth => vec![n, c * b.clone() * b, h, w],
        })
    }

    /// Deep: `[n, (b1 b2 c), h, w]`, shallow: `[n, c, (h b1), (w b2)]`.
    pub fn axes(&self, inputs: &Inputs, direction: Direction) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok([n, c, h, w]) = inputs.shape(0).and_then(|shape| self.parts(shape, direction)) else {
            return map;
        };
        let mut atom = |size: &Dim, role: Role| match size.is(1) {
            true => Vec::new(),
            false => vec![map.atom(size.clone(), role)],
        };
        let block = Role::Blocked("a block of pixels");
        let [n, c, h, w] = [n, c, h, w].map(|size| atom(&size, Role::Free));
        let [b1, b2] = [(); 2].map(|()| atom(&self.size.into(), block.clone()));
        let order = if self.crd { [&c, &b1, &b2] } else { [&b1, &b2, &c] };
        let channels: Vec<_> = order.into_iter().flatten().copied().collect();
        let axes = |list: [Vec<_>; 4]| Some(list.map(product).into_iter().collect::<Vec<Axis>>());
        let deep = axes([n.clone(), channels, h.clone(), w.clone()]);
        let shallow = axes([n, c, [h, b1].concat(), [w, b2].concat()]);
        (map.inputs[0], map.outputs[0]) = match direction {
            Direction::ToSpace => (deep, shallow),
            Direction::ToDepth => (shallow, deep),
        };
        map
    }

    #[cfg(feature = "torch")]
    pub fn eval(
        &self,
        x: &secateurs_torch::tch::Tensor,
        direction: Direction,
    ) -> Result<secateurs_torch::tch::Tensor, OpError> {
        let b = self.size;
        let shape: Vec<Dim> = x.size().into_iter().map(Dim::from).collect();
        let parts = self.parts(&shape, direction)?.map(|d| d.known());
        let [Some(n), Some(c), Some(h), Some(w)] = parts else { return Err(OpError::Undetermined) };
        Ok(match (direction, self.crd) {
            (Direction::ToSpace, false) => x.f_reshape([n, b, b, c, h, w])?.f_permute([0, 3, 4, 1, 5, 2])?,
            (Direction::ToSpace, true) => x.f_reshape([n, c, b, b, h, w])?.f_permute([0, 1, 4, 2, 5, 3])?,
            (Direction::ToDepth, false) => x.f_reshape([n, c, h, b, w, b])?.f_permute([0, 3, 5, 1, 2, 4])?,
            (Direction::ToDepth, true) => x.f_reshape([n, c, h, b, w, b])?.f_permute([0, 1, 3, 5, 2, 4])?,
        }
        .f_reshape(match direction {
            Direction::ToSpace => [n, c, h * b, w * b],
            Direction::ToDepth => [n, c * b * b, h, w],
        })?)
    }
}

/// Defines one of the two ops.
macro_rules! blocks_op {
    ($(#[$doc:meta])* $op:ident, since: $since:expr, direction: $direction:ident, cases: $cases:expr $(,)?) => {
        use super::shared::blocks::{Blocks, Direction};
        use crate::op::prelude::*;

        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $op {
            blocks: Blocks,
        }

        impl Register for $op {
            const NAME: &'static str = stringify!($op);
            const SINCE: &'static [i64] = &$since;

            fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
                Ok($op { blocks: Blocks::parse(attributes)? })
            }

            #[cfg(any(test, feature = "harness"))]
            fn cases() -> Vec<Case> {
                $cases
            }
        }

        impl Op for $op {
            fn name(&self) -> &str {
                Self::NAME
            }

            fn attributes(&self) -> Vec<(&str, Attribute)> {
                self.blocks.attributes()
            }

            fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
                let shape = self.blocks.shape(inputs, Direction::$direction)?;
                Ok(vec![Fact::of(inputs.element_type(0)?, shape)])
            }

            fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
                self.blocks.axes(inputs, Direction::$direction)
            }

            #[cfg(feature = "torch")]
            fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
                Ok(vec![self.blocks.eval(args.tensor(0)?, Direction::$direction)?])
            }
        }
    };
}
