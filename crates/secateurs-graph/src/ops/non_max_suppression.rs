//! `NonMaxSuppression`: of boxes that overlap, those with the best scores. ONNX opset 10, 11.
//!
//! boxes: [b, n, 4], scores: [b, c, n], the most boxes of a class, thresholds of overlap and score: scalars →
//! [selected, 3]: batch, class and box.

use crate::op::prelude::*;

/// `NonMaxSuppression`.
#[derive(Clone, Debug)]
pub struct NonMaxSuppression {
    /// Boxes are centre, width and height; else two opposite corners.
    center_point_box: bool,
}

impl Register for NonMaxSuppression {
    const NAME: &'static str = "NonMaxSuppression";
    const SINCE: &'static [i64] = &[10, 11];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(NonMaxSuppression { center_point_box: attributes.flag("center_point_box", false)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let case = |most: i64| {
            Case::new(11).float_in([2, 7, 4], 0.0, 1.0).float_in([2, 3, 7], 0.0, 1.0).constant(Tensor::scalar(most))
        };
        let number = |x: f32| Tensor::scalar(x);
        vec![
            case(3).constant(number(0.1)).constant(number(0.3)).without_axes(),
            case(7).constant(number(0.4)).attr("center_point_box", 1i64).without_axes(),
            case(2).without_axes(),
        ]
    }
}

impl Op for NonMaxSuppression {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.center_point_box { vec![("center_point_box", true.into())] } else { Vec::new() }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        if let (Ok([_, boxes, _]), Ok([_, _, scores])) = (inputs.shape(0), inputs.shape(1)) {
            expect_same(boxes, scores, "the boxes and their scores")?;
        }
        Ok(vec![Fact::new(ElementType::Int64, vec![Dim::unknown(), 3.into()])])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::blocked(inputs.facts, outputs, "boxes that are chosen at run time")
    }

    fn role(&self, input: usize) -> InputRole {
        if input < 2 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (boxes, scores) = (args.tensor(0)?, args.tensor(1)?);
        let (&[_, count, 4], &[_, classes, _]) = (&boxes.size()[..], &scores.size()[..]) else {
            return Err(OpError::invalid("boxes must be [batch, n, 4] and scores [batch, classes, n]"));
        };
        let most = args.get(2).map_or(Ok(Vec::new()), |_| args.ints(2))?.first().copied().unwrap_or(0);
        let threshold = |i: usize| -> Result<Option<f64>, OpError> {
            Ok(args.get(i).map_or(Ok(Vec::new()), |_| args.floats(i))?.first().copied())
        };
        let (overlap, least) = (threshold(3)?.unwrap_or(0.0), threshold(4)?);
        let list = |t: &Tensor| Vec::<f64>::try_from(t.f_to_kind(Kind::Double)?.f_reshape([-1])?);
        let corners: Vec<[f64; 4]> = list(boxes)?.chunks_exact(4).map(|b| self.corners(b)).collect();
        let scores = list(scores)?;
        let mut selected = Vec::new();
        for (row, scores) in scores.chunks_exact(count.max(1) as usize).enumerate() {
            let (sample, class) = (row as i64 / classes, row as i64 % classes);
            let own = &corners[(sample * count) as usize..][..count as usize];
            let mut order: Vec<usize> = (0..own.len()).filter(|&i| least.is_none_or(|least| scores[i] > least)).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            let mut chosen: Vec<usize> = Vec::new();
            for i in order {
                if chosen.len() as i64 >= most {
                    break;
                }
                if chosen.iter().all(|&other| intersection_over_union(&own[i], &own[other]) <= overlap) {
                    chosen.push(i);
                }
            }
            selected.extend(chosen.into_iter().flat_map(|i| [sample, class, i as i64]));
        }
        Ok(vec![Tensor::f_from_slice(&selected)?.f_reshape([-1, 3])?.f_to_device(args.device)?])
    }
}

#[cfg(feature = "torch")]
impl NonMaxSuppression {
    /// Lower and upper corner.
    fn corners(&self, b: &[f64]) -> [f64; 4] {
        match self.center_point_box {
            true => [b[0] - b[2] / 2.0, b[1] - b[3] / 2.0, b[0] + b[2] / 2.0, b[1] + b[3] / 2.0],
            false => [b[0].min(b[2]), b[1].min(b[3]), b[0].max(b[2]), b[1].max(b[3])],
        }
    }
}

#[cfg(feature = "torch")]
fn intersection_over_union(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let area = |b: &[f64; 4]| (b[2] - b[0]) * (b[3] - b[1]);
    let side = |i: usize| (a[i + 2].min(b[i + 2]) - a[i].max(b[i])).max(0.0);
    let shared = side(0) * side(1);
    let union = area(a) + area(b) - shared;
    if shared > 0.0 && union > 0.0 { shared / union } else { 0.0 }
}
