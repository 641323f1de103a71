//! `BatchNormalization`: (x − mean) / √(var + ε) · scale + bias, channel by channel. ONNX opset 7, 9, 14, 15.
//!
//! x: [N, C, …], scale, bias, mean, var: [C] → y: [N, C, …]. With `training_mode` mean and variance are the batch's, and
//! running_mean and running_var: [C] come out too; opsets before 14 mean that by listing more outputs than one, and have the batch's mean
//! and variance as outputs 3 and 4. `spatial = 0` (opset 7): scale, bias, mean, var: [C, …].

#[cfg(feature = "torch")]
use super::shared::batch_norm::{Channels, normalize};
use crate::op::prelude::*;

/// `BatchNormalization`.
#[derive(Clone, Debug)]
pub struct BatchNormalization {
    epsilon: f32,
    momentum: f32,
    training: bool,
    spatial: bool,
    /// Opset 7 and 9 train where more outputs than one are listed.
    old_training: bool,
}

impl Register for BatchNormalization {
    const NAME: &'static str = "BatchNormalization";
    const SINCE: &'static [i64] = &[1, 6, 7, 9, 14, 15];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        Ok(BatchNormalization {
            epsilon: attributes.float_or("epsilon", 1e-5)?,
            momentum: attributes.float_or("momentum", 0.9)?,
            training: attributes.flag("training_mode", false)?,
            spatial: attributes.flag("spatial", true)?,
            old_training: cx.opset < 14 && cx.outputs > 1,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let with = |case: Case, shape: &[i64]| {
            let case = case.param(shape.to_vec()).param(shape.to_vec()).param(shape.to_vec());
            case.param_in(shape.to_vec(), 0.1, 2.0)
        };
        vec![
            with(Case::new(15).float([2, 3, 4, 5]), &[3]).attr("epsilon", 0.01f32),
            with(Case::new(14).float([2, 3]), &[3]),
            with(Case::new(9).float([1, 4, 3]), &[4]).attr("momentum", 0.5f32),
            with(Case::new(7).float([2, 2, 3, 2, 2]), &[2]),
            with(Case::new(7).float([2, 3, 4]), &[3, 4]).attr("spatial", 0i64),
            with(Case::new(15).float([5]), &[1]).without_runtime(),
            with(Case::new(15).float([4, 3, 5]), &[3])
                .attr("training_mode", 1i64)
                .attr("momentum", 0.75f32)
                .outputs(3),
            with(Case::new(9).float([4, 3, 5]), &[3]).outputs(5).without_runtime(),
            with(Case::new(7).float([2, 3, 4]), &[3]).outputs(3).without_runtime(),
        ]
    }
}

#[cfg(feature = "torch")]
impl BatchNormalization {
    /// y by the statistics of the batch; the running ones, which must be tensors of their own, move towards them in place.
    fn train(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        if !self.spatial {
            return Err(OpError::Unsupported("training of BatchNormalization with spatial = 0".into()));
        }
        let input = args.tensor(0)?;
        let x = if input.dim() == 1 { input.f_unsqueeze(1)? } else { input.shallow_clone() };
        if x.numel() as i64 == x.size()[1] {
            return Err(OpError::invalid("one value a channel has no variance; train with larger batches"));
        }
        let rate = args.training.statistics_rate.unwrap_or(1.0 - f64::from(self.momentum));
        let channels = Channels {
            scale: args.tensor(1)?,
            bias: args.tensor(2)?,
            mean: args.tensor(3)?,
            variance: args.tensor(4)?,
        };
        let y = normalize(&x, &channels, Some(rate), f64::from(self.epsilon), args.rectified)?;
        Ok(vec![y.f_reshape(input.size())?])
    }
}

impl BatchNormalization {
    /// Normalization by given statistics.
    pub fn new(epsilon: f32) -> BatchNormalization {
        BatchNormalization { epsilon, momentum: 0.9, training: false, spatial: true, old_training: false }
    }

    /// What is added to the variance.
    pub fn epsilon(&self) -> f32 {
        self.epsilon
    }

    /// Whether the statistics are given and not the batch's.
    pub fn is_inference(&self) -> bool {
        !self.by_batch()
    }

    fn by_batch(&self) -> bool {
        self.training || self.old_training
    }
}

impl Op for BatchNormalization {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> =
            vec![("epsilon", self.epsilon.into()), ("momentum", self.momentum.into())];
        if self.training {
            list.push(("training_mode", true.into()));
        }
        if !self.spatial {
            list.push(("spatial", false.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let x = inputs.shape(0)?;
        let wanted = match x {
            [] => return Err(OpError::invalid("the input is a scalar; it needs a batch axis")),
            [_] => &[Dim::from(1)],
            _ if self.spatial => &x[1..2],
            _ => &x[1..],
        };
        for (i, name) in [(1, "scale"), (2, "bias"), (3, "mean"), (4, "variance")] {
            let Some(shape) = &inputs.fact(i)?.shape else { continue };
            if shape.len() != wanted.len() {
                let text = format!("the {name} has {} axes; it must have {}", shape.len(), wanted.len());
                return Err(OpError::Invalid(text));
            }
            for (size, wanted) in shape.iter().zip(wanted) {
                expect_same(size, wanted, &format!("the {name} and the channels"))?;
            }
        }
        let mut facts = vec![Fact::of(inputs.element_type(0)?, x.to_vec())];
        let statistics = Fact::of(inputs.element_type(3)?, wanted.to_vec());
        facts.resize(inputs.outputs.max(1), statistics);
        Ok(facts)
    }

    /// `x: [n, c, …], scale, bias, mean, var: [c] → y: [n, c, …]`.
    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        if self.by_batch() && !self.spatial {
            return AxisMap::blocked(inputs.facts, outputs, "batch statistics in training mode");
        }
        let mut map = AxisMap::new(inputs.len(), outputs.len());
        let Ok(x) = inputs.shape(0) else { return map };
        let mixed = Role::Mixed("the statistics of the batch");
        let role = |i: usize| if self.by_batch() && i != 1 { mixed.clone() } else { Role::Free };
        let axes: Vec<Axis> = x.iter().enumerate().map(|(i, dim)| map.axis(dim, role(i))).collect();
        let channels = match x.len() {
            0 | 1 => vec![unit_axis()],
            _ if self.spatial => axes[1..2].to_vec(),
            _ => axes[1..].to_vec(),
        };
        map.inputs[1..].fill(Some(channels.clone()));
        map.outputs.fill(Some(channels));
        map.outputs[0] = Some(axes.clone());
        map.inputs[0] = Some(axes);
        map
    }

    fn annihilates(&self) -> &'static [(usize, usize)] {
        SCALED
    }

    fn role(&self, input: usize) -> InputRole {
        match input {
            0 => InputRole::Data,
            1 | 2 => InputRole::Parameter,
            _ => InputRole::Statistic,
        }
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    fn rectifies(&self) -> bool {
        self.spatial && !self.by_batch()
    }

    fn initial(&self, input: usize, _: &Inputs) -> Initial {
        match input {
            1 | 4 => Initial::Constant(1.0),
            2 | 3 => Initial::Constant(0.0),
            _ => Initial::Keep,
        }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let by_batch = self.by_batch();
        if by_batch && !self.spatial {
            let text = "BatchNormalization in training mode with spatial = 0";
            return Err(OpError::Unsupported(text.into()));
        }
        let input = args.tensor(0)?;
        // Statistics that the graph computes, as where weights are standardized, are no running ones.
        let computed = args.tensor(3)?.requires_grad() || args.tensor(4)?.requires_grad();
        if args.training.batch_statistics && !computed && !by_batch {
            return self.train(args);
        }
        // Half-precision activations may come with 32-bit parameters.
        let kinds = (0..5).map(|i| Ok(args.tensor(i)?.f_kind()?)).collect::<Result<Vec<_>, OpError>>()?;
        // The kernel takes bfloat16 with parameters in 32 bits.
        let mixed = kinds[0] == Kind::BFloat16 && kinds[1..] == [Kind::Float; 4] && self.spatial && !by_batch;
        let kind = match kinds[1..].iter().all(|kind| *kind == kinds[0]) {
            true => kinds[0],
            false if kinds.contains(&Kind::Double) => Kind::Double,
            false => Kind::Float,
        };
        let cast = |i: usize| {
            let tensor = args.tensor(i)?;
            Ok::<_, OpError>(if mixed { tensor.shallow_clone() } else { tensor.f_to_kind(kind)? })
        };
        let (mut x, scale, bias, mean, var) = (cast(0)?, cast(1)?, cast(2)?, cast(3)?, cast(4)?);
        let epsilon = f64::from(self.epsilon);
        if !self.spatial {
            let factor = scale.f_div(&var.f_add_scalar(epsilon)?.f_sqrt()?)?;
            let y = x.f_sub(&mean)?.f_mul(&factor)?.f_add(&bias)?;
            return Ok(vec![y.f_to_kind(kinds[0])?]);
        }
        if x.dim() == 1 {
            x = x.f_unsqueeze(1)?;
        }
        let finished = |y: &Tensor| y.f_reshape(input.size())?.f_to_kind(kinds[0]);
        if !by_batch && !computed {
            let channels = Channels { scale: &scale, bias: &bias, mean: &mean, variance: &var };
            let y = normalize(&x, &channels, None, epsilon, args.rectified)?;
            return Ok(vec![finished(&y)?]);
        }
        if !by_batch {
            // libtorch's batch norm has no gradient for statistics.
            let mut shape = vec![1; x.dim()];
            shape[1] = -1;
            let [scale, bias, mean, var] = [&scale, &bias, &mean, &var].map(|t| t.f_reshape(&shape));
            let factor = scale?.f_div(&var?.f_add_scalar(epsilon)?.f_sqrt()?)?;
            let y = finished(&x.f_sub(&mean?)?.f_mul(&factor)?.f_add(&bias?)?)?;
            return Ok(vec![if args.rectified { y.f_relu()? } else { y }]);
        }
        let none: Option<&Tensor> = None;
        let y = x.f_batch_norm(Some(&scale), Some(&bias), none, none, true, 0.0, epsilon, true)?;
        let mut outputs = vec![finished(&y)?];
        let others: Vec<i64> = (0..x.dim() as i64).filter(|axis| *axis != 1).collect();
        let (batch_var, batch_mean) = x.f_var_mean_correction(others, 0, false)?;
        let momentum = f64::from(self.momentum);
        outputs.push(batch_mean.f_lerp(&mean, momentum)?.f_to_kind(kinds[3])?);
        outputs.push(batch_var.f_lerp(&var, momentum)?.f_to_kind(kinds[4])?);
        outputs.push(batch_mean.f_to_kind(kinds[3])?);
        outputs.push(batch_var.f_to_kind(kinds[4])?);
        outputs.truncate(args.outputs.len().max(1));
        Ok(outputs)
    }
}
