//! What is known of a value before the model runs: element type, shape, and, for the small integers that shapes are
//! computed with, the contents.

use std::fmt;
use std::sync::Arc;

use half::{bf16, f16};
use secateurs_onnx::{ElementType, Tensor};

use crate::dim::{Bindings, Dim, element_count};

/// The dimensions of a tensor, outermost first.
pub type Shape = Vec<Dim>;

/// Contents are tracked up to this many elements: enough for shapes, index lists and relative-position tables.
pub const MAX_CONTENT: usize = 1 << 14;

/// Floats of constants are tracked up to this many: scale factors and thresholds, not weights.
const MAX_FLOATS: usize = 64;

/// What is known of a value.
#[derive(Clone, PartialEq)]
pub struct Fact {
    /// `None` where an op outside our registry produces the value and the file does not say.
    pub element_type: Option<ElementType>,
    /// `None` where not even the rank is known.
    pub shape: Option<Shape>,
    /// The elements in row-major order, where they follow from the model and its input shapes alone.
    pub content: Option<Content>,
}

/// Known elements of a value, in row-major order.
#[derive(Clone, PartialEq)]
pub enum Content {
    /// Integers and booleans (0 and 1), possibly symbolic.
    Ints(Arc<[Dim]>),
    /// Floating-point numbers.
    Floats(Arc<[f64]>),
}

impl Fact {
    /// Nothing is known.
    pub fn unknown() -> Fact {
        Fact { element_type: None, shape: None, content: None }
    }

    /// A value of this element type and shape.
    pub fn new(element_type: ElementType, shape: Shape) -> Fact {
        Fact { element_type: Some(element_type), shape: Some(shape), content: None }
    }

    /// A value of this shape, with an element type that may be unknown.
    pub fn of(element_type: Option<ElementType>, shape: Shape) -> Fact {
        Fact { element_type, shape: Some(shape), content: None }
    }

    /// Adds known contents, unless there are too many, their number does not fit the shape, or integers do not fit the
    /// element type. Floats are rounded as the element type stores them.
    pub fn with_content(mut self, content: Option<Content>) -> Fact {
        let count = self.shape.as_deref().and_then(|s| element_count(s).known());
        let content = content.filter(|c| count == i64::try_from(c.len()).ok() && c.len() <= MAX_CONTENT);
        self.content = match self.element_type {
            Some(element_type) => content.and_then(|c| c.stored_as(element_type)),
            None => content,
        };
        self
    }

    /// The fact of a host tensor, with its contents where they are few.
    pub fn from_tensor(tensor: &Tensor) -> Fact {
        let shape = tensor.shape().iter().map(|&n| Dim::from(n)).collect();
        let fact = Fact::new(tensor.element_type(), shape);
        let float = tensor.element_type().is_float();
        if tensor.len() > if float { MAX_FLOATS } else { MAX_CONTENT } {
            return fact;
        }
        let content = if float {
            tensor.to_f64_vec().ok().map(|v| Content::Floats(v.into()))
        } else {
            tensor.to_i64_vec().ok().map(|v| Content::Ints(v.into_iter().map(Dim::from).collect()))
        };
        fact.with_content(content)
    }

    /// The number of axes.
    pub fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }

    /// The dimensions as numbers, if all are.
    pub fn known_shape(&self) -> Option<Vec<i64>> {
        self.shape.as_ref()?.iter().map(Dim::known).collect()
    }

    /// Whether all dimensions are numbers.
    pub fn has_known_shape(&self) -> bool {
        self.shape.as_ref().is_some_and(|shape| shape.iter().all(|d| d.known().is_some()))
    }

    /// Whether a tensor of these sizes can be this value: symbols take any size, an unknown shape any shape.
    pub fn admits(&self, sizes: &[i64]) -> bool {
        self.shape.as_ref().is_none_or(|shape| {
            shape.len() == sizes.len()
                && shape.iter().zip(sizes).all(|(d, n)| d.known().is_none_or(|d| d == *n))
        })
    }

    /// The contents as integers, possibly symbolic.
    pub fn ints(&self) -> Option<&[Dim]> {
        match &self.content {
            Some(Content::Ints(v)) => Some(v),
            _ => None,
        }
    }

    /// The contents as numbers, if all are integers without symbols.
    pub fn known_ints(&self) -> Option<Vec<i64>> {
        self.ints()?.iter().map(Dim::known).collect()
    }

    /// The contents as floating-point numbers.
    pub fn floats(&self) -> Option<&[f64]> {
        match &self.content {
            Some(Content::Floats(v)) => Some(v),
            _ => None,
        }
    }

    /// Replaces symbols by numbers, in shape and contents.
    pub fn bind(&self, bindings: &Bindings) -> Fact {
        Fact {
            element_type: self.element_type,
            shape: self.shape.as_ref().map(|s| s.iter().map(|d| d.bind(bindings)).collect()),
            content: match &self.content {
                Some(Content::Ints(v)) => Some(Content::Ints(v.iter().map(|d| d.bind(bindings)).collect())),
                other => other.clone(),
            },
        }
    }
}

impl Content {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Content::Ints(v) => v.len(),
            Content::Floats(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all elements are numbers.
    pub fn is_known(&self) -> bool {
        match self {
            Content::Ints(v) => v.iter().all(|d| d.known().is_some()),
            Content::Floats(_) => true,
        }
    }

    /// Whether no element depends on more than the sizes of the inputs.
    pub fn is_determined(&self) -> bool {
        match self {
            Content::Ints(v) => v.iter().all(Dim::is_determined),
            Content::Floats(_) => true,
        }
    }

    /// What a tensor of this type holds of these elements; `None` where an integer is out of its range.
    fn stored_as(self, element_type: ElementType) -> Option<Content> {
        use ElementType::*;
        let range = match element_type {
            Bool => 0..=1,
            Int8 => i8::MIN.into()..=i8::MAX.into(),
            Int16 => i16::MIN.into()..=i16::MAX.into(),
            Int32 => i32::MIN.into()..=i32::MAX.into(),
            Uint8 => 0..=u8::MAX.into(),
            Uint16 => 0..=u16::MAX.into(),
            Uint32 => 0..=u32::MAX.into(),
            Uint64 => 0..=i64::MAX,
            _ => i64::MIN..=i64::MAX,
        };
        let round = |x: f64| match element_type {
            Float32 => f64::from(x as f32),
            Float16 => f16::from_f64(x).to_f64(),
            Bfloat16 => bf16::from_f64(x).to_f64(),
            _ => x,
        };
        match self {
            Content::Ints(v) => {
                let fits = v.iter().all(|d| d.known().is_none_or(|n| range.contains(&n)));
                fits.then_some(Content::Ints(v))
            }
            // How numbers are rounded to these is the cast's to say.
            Content::Floats(_) if element_type.is_small_float() => None,
            Content::Floats(v) => Some(Content::Floats(v.iter().map(|&x| round(x)).collect())),
        }
    }

    /// The elements at `indices`, in that order.
    pub fn pick(&self, indices: impl Iterator<Item = usize>) -> Content {
        match self {
            Content::Ints(v) => Content::Ints(indices.map(|i| v[i].clone()).collect()),
            Content::Floats(v) => Content::Floats(indices.map(|i| v[i]).collect()),
        }
    }
}

impl From<Vec<Dim>> for Content {
    fn from(v: Vec<Dim>) -> Content {
        Content::Ints(v.into())
    }
}

impl From<Vec<f64>> for Content {
    fn from(v: Vec<f64>) -> Content {
        Content::Floats(v.into())
    }
}

/// A shape as people write it: `[batch, 3, 32, 32]`.
pub struct DisplayShape<'a>(pub &'a [Dim]);

impl fmt::Display for DisplayShape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.element_type {
            Some(t) => write!(f, "{t}")?,
            None => f.write_str("?")?,
        }
        match &self.shape {
            Some(shape) => write!(f, "{}", DisplayShape(shape)),
            None => f.write_str("[...]"),
        }
    }
}

impl fmt::Debug for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        match &self.content {
            Some(Content::Ints(v)) if v.len() <= 16 => write!(f, " = {v:?}"),
            Some(Content::Floats(v)) if v.len() <= 16 => write!(f, " = {v:?}"),
            Some(content) => write!(f, " = <{} known elements>", content.len()),
            None => Ok(()),
        }
    }
}
