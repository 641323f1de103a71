//! `EmbedLayerNormalization`: the sum of a word's, a position's and a segment's embedding, normalized. ONNX Runtime, version 1.
//!
//! ids and segments: [b, s], tables: [v, h], [p, h], [g, h], gamma, beta: [h], mask and positions: [b, s] → y: [b, s, h],
//! the number of tokens that the mask leaves: [b], and on request the sum: [b, s, h].

use super::shared::MICROSOFT;
use crate::op::prelude::*;

/// `EmbedLayerNormalization`.
#[derive(Clone, Debug)]
pub struct EmbedLayerNormalization {
    epsilon: f32,
    mask_index_type: i64,
}

const SEGMENTS: usize = 1;
const TABLES: std::ops::RangeInclusive<usize> = 2..=4;
const GAMMA: usize = 5;
const BETA: usize = 6;
const MASK: usize = 7;
const POSITIONS: usize = 8;

impl Register for EmbedLayerNormalization {
    const NAME: &'static str = "EmbedLayerNormalization";
    const DOMAIN: &'static str = MICROSOFT;
    const SINCE: &'static [i64] = &[1];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(EmbedLayerNormalization {
            epsilon: attributes.float_or("epsilon", 1e-12)?,
            mask_index_type: attributes.int_or("mask_index_type", 0)?,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let ids = |of: i32| {
            let ids: Vec<i32> = (0..6).map(|i| i * 5 % of).collect();
            Tensor::from_slice(vec![2, 3], &ids).unwrap()
        };
        let tables = |case: Case| case.param([7, 4]).param([5, 4]);
        let mask = Tensor::from_slice(vec![2, 3], &[1i32, 1, 0, 1, 0, 0]).unwrap();
        vec![
            tables(Case::new(17).fed(ids(7)).fed(ids(2))).param([2, 4]).param([4]).param([4]).fed(mask).outputs(2),
            tables(Case::new(17).fed(ids(7)).absent())
                .absent()
                .param([4])
                .param([4])
                .absent()
                .fed(ids(5))
                .attr("epsilon", 0.01f32)
                .outputs(3),
        ]
    }
}

impl Op for EmbedLayerNormalization {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn domain(&self) -> &str {
        Self::DOMAIN
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        if self.epsilon != 1e-12 {
            list.push(("epsilon", self.epsilon.into()));
        }
        if self.mask_index_type != 0 {
            list.push(("mask_index_type", self.mask_index_type.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let ([batch, length], [_, width]) = (inputs.shape(0)?, inputs.shape(2)?) else {
            return Err(OpError::invalid("input_ids and word_embedding need 2 axes each"));
        };
        let y = Fact::of(inputs.element_type(2)?, vec![batch.clone(), length.clone(), width.clone()]);
        let count = Fact::new(ElementType::Int32, vec![batch.clone()]);
        Ok([y.clone(), count, y].into_iter().take(inputs.outputs).collect())
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), outputs.len());
        let Some([batch, length, width]) = outputs[0].shape.as_deref() else { return map };
        // Without positions a token's place is its position; a mask is counted.
        let ordered = inputs.get(POSITIONS).is_none() || inputs.get(MASK).is_some();
        let place = if ordered { Role::Blocked("positions of tokens") } else { Role::Free };
        let (b, s) = (map.axis(batch, Role::Free), map.axis(length, place));
        let h = map.axis(width, Role::Mixed("layer normalization"));
        for (i, fact) in inputs.facts.iter().enumerate() {
            let Some(shape) = fact.and_then(|fact| fact.shape.as_deref()) else { continue };
            map.inputs[i] = match i {
                0 | SEGMENTS | MASK | POSITIONS if shape.len() == 2 => {
                    let first = if shape[0].is(1) { unit_axis() } else { b.clone() };
                    Some(vec![first, s.clone()])
                }
                _ if TABLES.contains(&i) && shape.len() == 2 => {
                    Some(vec![map.axis(&shape[0], Role::Blocked("indexed at run time or by a table")), h.clone()])
                }
                GAMMA | BETA => Some(vec![h.clone()]),
                _ => None,
            };
        }
        let y = vec![b.clone(), s, h];
        for (output, axes) in map.outputs.iter_mut().zip([y.clone(), vec![b], y]) {
            *output = Some(axes);
        }
        map
    }

    fn role(&self, input: usize) -> InputRole {
        match input {
            2..=6 => InputRole::Parameter,
            _ => InputRole::Control,
        }
    }

    fn initial(&self, input: usize, _: &Inputs) -> Initial {
        match input {
            GAMMA => Initial::Constant(1.0),
            BETA => Initial::Constant(0.0),
            _ if TABLES.contains(&input) => Initial::EMBEDDING,
            _ => Initial::Keep,
        }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let ids = args.tensor(0)?;
        let (batch, length) = ids.size2()?;
        let look_up = |table: usize, ids: &Tensor| -> Result<Tensor, OpError> {
            let rows = args.tensor(table)?.f_index_select(0, &ids.f_to_kind(Kind::Int64)?.f_reshape([-1])?)?;
            Ok(rows.f_unflatten(0, ids.size())?)
        };
        let places = Tensor::f_arange(length, (Kind::Int64, args.device))?.f_unsqueeze(0)?;
        let mut sum = look_up(2, ids)?.f_add(&look_up(3, args.get(POSITIONS).unwrap_or(&places))?)?;
        if let Some(segments) = args.get(SEGMENTS) {
            sum = sum.f_add(&look_up(4, segments)?)?;
        }
        let width = sum.size().split_off(2);
        let (y, ..) = sum.f_native_layer_norm(
            &width,
            Some(args.tensor(GAMMA)?),
            args.get(BETA),
            f64::from(self.epsilon),
        )?;
        let count = match args.get(MASK) {
            Some(mask) => mask.f_eq(1i64)?.f_sum_dim_intlist(-1, false, Kind::Int)?,
            None => Tensor::f_zeros([batch], (Kind::Int, args.device))?,
        };
        Ok([y, count, sum].into_iter().take(args.outputs.len()).collect())
    }
}
