//! `Col2Im`: sums of overlapping blocks, what ConvTranspose does with its columns. ONNX opset 18.
//!
//! x: [N, C · ∏ block, L], image_shape and block_shape: numbers → y: [N, C, image…].

use crate::op::prelude::*;

/// `Col2Im`. Empty lists stand for the defaults (1, 0, 1).
#[derive(Clone, Debug)]
pub struct Col2Im {
    dilations: Vec<i64>,
    pads: Vec<i64>,
    strides: Vec<i64>,
}

impl Register for Col2Im {
    const NAME: &'static str = "Col2Im";
    const SINCE: &'static [i64] = &[18];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let mut list = |name: &str, least: i64| {
            let values = attributes.ints(name)?.unwrap_or_default();
            match values.iter().find(|n| !(least..=1 << 30).contains(n)) {
                Some(bad) => Err(OpError::Invalid(format!("{name} contains {bad}; each must be at least {least}"))),
                None => Ok(values),
            }
        };
        Ok(Col2Im { dilations: list("dilations", 1)?, pads: list("pads", 0)?, strides: list("strides", 1)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |x: &[i64], image: &[i64], block: &[i64]| {
            Case::new(18).float(x.to_vec()).int_values(image).int_values(block)
        };
        vec![
            case(&[2, 8, 12], &[4, 5], &[2, 2]),
            case(&[1, 12, 9], &[4, 5], &[2, 3]).attr("pads", vec![1i64, 0, 1, 0]).attr("strides", vec![2i64, 1]),
            case(&[1, 2, 3], &[5], &[2]).attr("dilations", vec![2i64]),
        ]
    }
}

/// Beyond this many elements of a column index it is refused.
#[cfg(feature = "torch")]
const MAX_PLACES: usize = 1 << 24;

impl Col2Im {
    fn shape(&self, inputs: &Inputs) -> Result<Shape, OpError> {
        let [n, columns, _] = inputs.shape(0)? else { return Err(OpError::invalid("the input must have three axes")) };
        let (image, block) = (inputs.dims(1)?, inputs.dims(2)?);
        let rank = image.len();
        let fits = |list: &[i64], want: usize| list.is_empty() || list.len() == want;
        if block.len() != rank
            || !fits(&self.strides, rank)
            || !fits(&self.dilations, rank)
            || !fits(&self.pads, 2 * rank)
        {
            return Err(OpError::Invalid(format!("block_shape, strides, dilations or pads do not fit {rank} axes")));
        }
        let mut shape = vec![n.clone(), columns.floor_div(&element_count(block))];
        shape.extend_from_slice(image);
        Ok(shape)
    }

    /// For every row of blocks along an axis and every place in the block, the index in the image; outside it, `None`.
    #[cfg(feature = "torch")]
    fn places(&self, axis: usize, rank: usize, image: i64, block: i64) -> Option<Vec<Vec<Option<i64>>>> {
        let at = |list: &[i64], i: usize, default: i64| list.get(i).copied().unwrap_or(default);
        let (stride, dilation) = (at(&self.strides, axis, 1), at(&self.dilations, axis, 1));
        let (start, end) = (at(&self.pads, axis, 0), at(&self.pads, rank + axis, 0));
        let extent = block.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
        let count = image.checked_add(start + end)?.checked_sub(extent)?.div_euclid(stride) + 1;
        if block < 1 || count < 0 || count.checked_mul(block)? > MAX_PLACES as i64 {
            return None;
        }
        let place = |b: i64, l: i64| {
            let i = l * stride + b * dilation - start;
            (0..image).contains(&i).then_some(i)
        };
        Some((0..block).map(|b| (0..count).map(|l| place(b, l)).collect()).collect())
    }
}

impl Op for Col2Im {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let lists = [("dilations", &self.dilations), ("pads", &self.pads), ("strides", &self.strides)];
        let given = lists.into_iter().filter(|(_, values)| !values.is_empty());
        given.map(|(name, values)| (name, values.clone().into())).collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![Fact::of(inputs.element_type(0)?, self.shape(inputs)?)])
    }

    /// `x: [n, (c b), l] → y: [n, c, …]`.
    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let (Ok([n, _, l]), Ok(block), Some([_, c, image @ ..])) =
            (inputs.shape(0), inputs.dims(2), outputs[0].shape.as_deref())
        else {
            return AxisMap::blocked(inputs.facts, outputs, "blocks told at run time");
        };
        let mut map = AxisMap::new(inputs.len(), 1);
        let overlapping = Role::Blocked("sums of overlapping blocks");
        let n = map.axis(n, Role::Free);
        let c = map.atom(c.clone(), Role::Free);
        let b = map.atom(element_count(block), overlapping.clone());
        let l = map.axis(l, overlapping.clone());
        let image: Vec<Axis> = image.iter().map(|dim| map.axis(dim, overlapping.clone())).collect();
        map.inputs[0] = Some(vec![n.clone(), product([c, b]), l]);
        map.outputs[0] = Some([vec![n, product([c])], image].concat());
        map
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        use super::shared::at_run::{at_run, index_tensor, known};
        let shape = at_run(args, &[1, 2], |inputs| known(&self.shape(inputs)?))?;
        let (image, block) = (args.ints(1)?, args.ints(2)?);
        let too_large = || OpError::Unsupported("blocks as many as these".into());
        // Indices into the flat image, blocks' places outermost; one past its end for what falls outside.
        let trash = element_count(&shape[2..].iter().copied().map(Dim::from).collect::<Vec<_>>());
        let trash = trash.known().ok_or_else(too_large)?;
        let mut places: Vec<Vec<Option<i64>>> = vec![vec![Some(0)]];
        for (axis, (&size, &side)) in image.iter().zip(&block).enumerate() {
            let along = self.places(axis, image.len(), size, side).ok_or_else(too_large)?;
            let total = places.len() * places[0].len() * along.len() * along[0].len();
            if total > MAX_PLACES {
                return Err(too_large());
            }
            let join = |a: &[Option<i64>], b: &[Option<i64>]| {
                a.iter().flat_map(|x| b.iter().map(move |y| Some((*x)? * size + (*y)?))).collect()
            };
            places = places.iter().flat_map(|a| along.iter().map(|b| join(a, b)).collect::<Vec<_>>()).collect();
        }
        let flat: Vec<i64> = places.iter().flatten().map(|place| place.unwrap_or(trash)).collect();
        let x = args.tensor(0)?;
        let columns = x.f_reshape([shape[0] * shape[1], flat.len() as i64])?;
        let empty = Tensor::f_zeros([shape[0] * shape[1], trash + 1], (x.f_kind()?, args.device))?;
        let sums = empty.f_index_add(1, &index_tensor(&flat, args.device)?, &columns)?;
        Ok(vec![sums.f_narrow(1, 0, trash)?.f_reshape(shape)?])
    }
}
