//! Symbolic dimensions: integer polynomials over named sizes.
//!
//! Exporters compute shapes inside the graph (`Shape → Gather → Mul → Concat → Reshape`), so a dimension such as
//! `batch * 49` or `(h + 1) / 2` has to survive arithmetic. A [`Dim`] is kept in a normal form, so that two dimensions
//! that are equal as polynomials compare equal.

mod parse;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, Mul, Neg, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The size of one axis: a number or a polynomial over symbols. Symbols stand for sizes of at least 1.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Known(i64),
    Poly(Arc<Poly>),
}

/// Terms in ascending order of their monomials, no coefficient zero. The empty monomial is the constant term.
type Poly = Vec<(Monomial, i64)>;
type Monomial = Vec<Atom>;

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Atom {
    Symbol(Arc<str>),
    /// A size nobody knows before the model runs; equal only to itself.
    Unknown(u64),
    FloorDiv(Dim, Dim),
    /// Of two or more sizes, in ascending order, none of which is known to be above another or itself such a maximum: what is broadcast again
    /// and again stays one set.
    Max(Arc<[Dim]>),
    /// The same for the smallest.
    Min(Arc<[Dim]>),
}

/// Values of symbols, by name.
pub type Bindings = BTreeMap<String, i64>;

impl Dim {
    /// The named size `name`.
    pub fn symbol(name: impl Into<Arc<str>>) -> Dim {
        Dim::from_atom(Atom::Symbol(name.into()))
    }

    /// A fresh size that only a run can tell; equal only to its own clones.
    pub fn unknown() -> Dim {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Dim::from_atom(Atom::Unknown(NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The number, if it is one.
    pub fn known(&self) -> Option<i64> {
        match self.0 {
            Repr::Known(n) => Some(n),
            Repr::Poly(_) => None,
        }
    }

    /// Whether this is the number `n`.
    pub fn is(&self, n: i64) -> bool {
        self.known() == Some(n)
    }

    /// Whether no run-time-only size takes part, so that binding the model's symbols gives a number.
    pub fn is_determined(&self) -> bool {
        match &self.0 {
            Repr::Known(_) => true,
            Repr::Poly(poly) => poly.iter().flat_map(|(m, _)| m).all(|atom| match atom {
                Atom::Symbol(_) => true,
                Atom::Unknown(_) => false,
                Atom::FloorDiv(a, b) => a.is_determined() && b.is_determined(),
                Atom::Max(dims) | Atom::Min(dims) => dims.iter().all(Dim::is_determined),
            }),
        }
    }

    /// Whether it holds a quotient that may not be whole.
    pub fn rounds(&self) -> bool {
        let Repr::Poly(poly) = &self.0 else { return false };
        poly.iter().flat_map(|(m, _)| m).any(|atom| match atom {
            Atom::Symbol(_) | Atom::Unknown(_) => false,
            Atom::FloorDiv(..) => true,
            Atom::Max(dims) | Atom::Min(dims) => dims.iter().any(Dim::rounds),
        })
    }

    /// The names of the symbols in it, with repeats.
    pub fn symbols(&self) -> Vec<Arc<str>> {
        let Repr::Poly(poly) = &self.0 else { return Vec::new() };
        let mut names = Vec::new();
        for atom in poly.iter().flat_map(|(m, _)| m) {
            match atom {
                Atom::Symbol(name) => names.push(name.clone()),
                Atom::Unknown(_) => {}
                Atom::FloorDiv(a, b) => {
                    names.extend(a.symbols());
                    names.extend(b.symbols());
                }
                Atom::Max(dims) | Atom::Min(dims) => names.extend(dims.iter().flat_map(Dim::symbols)),
            }
        }
        names
    }

    /// Replaces the symbols that `bindings` names by their numbers.
    pub fn bind(&self, bindings: &Bindings) -> Dim {
        let Repr::Poly(poly) = &self.0 else { return self.clone() };
        let mut sum = Dim::from(0);
        for (monomial, coefficient) in poly.iter() {
            let mut term = Dim::from(*coefficient);
            for atom in monomial {
                let factor = match atom {
                    Atom::Symbol(name) => match bindings.get(&**name) {
                        Some(&n) => Dim::from(n),
                        None => Dim::from_atom(atom.clone()),
                    },
                    Atom::Unknown(_) => Dim::from_atom(atom.clone()),
                    Atom::FloorDiv(a, b) => a.bind(bindings).floor_div(&b.bind(bindings)),
                    Atom::Max(dims) => bound(dims, bindings, Dim::max_with),
                    Atom::Min(dims) => bound(dims, bindings, Dim::min_with),
                };
                term = term * factor;
            }
            sum = sum + term;
        }
        sum
    }

    /// `⌊self / divisor⌋`. Exact when every term divides; a division by zero gives an unknown size.
    pub fn floor_div(&self, divisor: &Dim) -> Dim {
        match (self.known(), divisor.known()) {
            (_, Some(0)) => return Dim::unknown(),
            (_, Some(1)) => return self.clone(),
            (Some(a), Some(b)) => {
                let quotient = a.checked_div_euclid(b).map(|q| q - i64::from(b < 0 && a.rem_euclid(b) != 0));
                return quotient.map_or_else(Dim::unknown, Dim::from);
            }
            _ => {}
        }
        if self == divisor {
            return Dim::from(1);
        }
        // ⌊⌊a / b⌋ / c⌋ = ⌊a / (b·c)⌋ for positive b and c.
        if let Some(c) = divisor.known().filter(|c| *c > 0)
            && let Some(Atom::FloorDiv(a, b)) = self.atom()
            && let Some(product) = b.known().filter(|b| *b > 0).and_then(|b| b.checked_mul(c))
        {
            return a.floor_div(&Dim::from(product));
        }
        self.divide_exactly(divisor)
            .unwrap_or_else(|| Dim::from_atom(Atom::FloorDiv(self.clone(), divisor.clone())))
    }

    /// `⌈self / divisor⌉` for a positive divisor.
    pub fn ceil_div(&self, divisor: &Dim) -> Dim {
        (self.clone() + divisor.clone() - Dim::from(1)).floor_div(divisor)
    }

    /// The larger of both.
    pub fn max_with(&self, other: &Dim) -> Dim {
        let all = self.maximum_of().iter().chain(other.maximum_of());
        Dim::extreme(all, |a, b| b.is_at_least(a), Atom::Max)
    }

    /// The smaller of both.
    pub fn min_with(&self, other: &Dim) -> Dim {
        match (self.known(), other.known()) {
            // Exporters write "to the end" as the largest integer.
            (Some(a), None) if a > i64::from(i32::MAX) - 1 => other.clone(),
            (None, Some(b)) if b > i64::from(i32::MAX) - 1 => self.clone(),
            _ => {
                let all = self.minimum_of().iter().chain(other.minimum_of());
                Dim::extreme(all, |a, b| a.is_at_least(b), Atom::Min)
            }
        }
    }

    /// The sizes that this is the largest of; itself, if it is no such size.
    pub fn maximum_of(&self) -> &[Dim] {
        match self.atom() {
            Some(Atom::Max(dims)) => dims,
            _ => std::slice::from_ref(self),
        }
    }

    /// The sizes that this is the smallest of; itself, if it is no such size.
    fn minimum_of(&self) -> &[Dim] {
        match self.atom() {
            Some(Atom::Min(dims)) => dims,
            _ => std::slice::from_ref(self),
        }
    }

    /// The set of those that no other one takes the place of, in the sense of `gives_way(a, b)`.
    fn extreme<'d>(
        all: impl Iterator<Item = &'d Dim>,
        gives_way: impl Fn(&Dim, &Dim) -> bool,
        set: fn(Arc<[Dim]>) -> Atom,
    ) -> Dim {
        let mut kept: Vec<Dim> = Vec::new();
        for dim in all {
            if !kept.iter().any(|other| gives_way(dim, other)) {
                kept.retain(|other| !gives_way(other, dim));
                kept.push(dim.clone());
            }
        }
        kept.sort();
        match kept.len() {
            1 => kept.swap_remove(0),
            _ => Dim::from_atom(set(kept.into())),
        }
    }

    /// The atom that this is, if it is one and nothing else.
    fn atom(&self) -> Option<&Atom> {
        let Repr::Poly(poly) = &self.0 else { return None };
        match &poly[..] {
            [(monomial, 1)] if monomial.len() == 1 => monomial.first(),
            _ => None,
        }
    }

    /// Whether this is `other` or more, whatever the sizes.
    pub fn is_at_least(&self, other: &Dim) -> bool {
        let above = |a: &Dim, b: &Dim| match (a.known(), b.known()) {
            (Some(a), Some(b)) => a >= b,
            _ => (a.clone() - b.clone()).lower_bound().is_some_and(|n| n >= 0),
        };
        let parts = |a: &Dim| other.minimum_of().iter().any(|b| above(a, b));
        above(self, other) || self.maximum_of().iter().any(parts)
    }

    /// A number that this is never below, if one follows from named sizes being at least 1.
    pub fn lower_bound(&self) -> Option<i64> {
        let Repr::Poly(poly) = &self.0 else { return self.known() };
        poly.iter().try_fold(0i64, |sum, (monomial, coefficient)| {
            if *coefficient < 0 && !monomial.is_empty() {
                return None;
            }
            let term = monomial.iter().try_fold(*coefficient, |product, atom| {
                let bound = atom.lower_bound().filter(|n| *n >= 0)?;
                product.checked_mul(bound)
            });
            sum.checked_add(term?)
        })
    }

    /// The greatest common divisor of the coefficients; of a number its size.
    pub fn content(&self) -> i64 {
        let gcd = |mut a: i64, mut b: i64| {
            while b != 0 {
                (a, b) = (b, a % b);
            }
            a.abs()
        };
        self.poly().iter().fold(0, |divisor, (_, coefficient)| gcd(divisor, *coefficient))
    }

    /// The quotient, if `divisor` is one term that divides every term of `self`.
    pub fn divide_exactly(&self, divisor: &Dim) -> Option<Dim> {
        let divisor_poly = divisor.poly();
        let [(monomial, coefficient)] = &divisor_poly[..] else { return None };
        let mut quotient = Poly::new();
        for (m, c) in self.poly() {
            if c.checked_rem(*coefficient)? != 0 {
                return None;
            }
            let mut rest = m;
            for atom in monomial {
                let at = rest.iter().position(|a| a == atom)?;
                rest.remove(at);
            }
            quotient.push((rest, c / coefficient));
        }
        Some(Dim::from_terms(quotient))
    }

    fn poly(&self) -> Poly {
        match &self.0 {
            Repr::Known(0) => Poly::new(),
            Repr::Known(n) => vec![(Monomial::new(), *n)],
            Repr::Poly(poly) => poly.to_vec(),
        }
    }

    fn from_atom(atom: Atom) -> Dim {
        Dim(Repr::Poly(Arc::new(vec![(vec![atom], 1)])))
    }

    fn from_terms(terms: impl IntoIterator<Item = (Monomial, i64)>) -> Dim {
        let mut sum = BTreeMap::<Monomial, i64>::new();
        for (mut monomial, coefficient) in terms {
            monomial.sort();
            let entry = sum.entry(monomial).or_insert(0);
            match entry.checked_add(coefficient) {
                Some(total) => *entry = total,
                None => return Dim::unknown(),
            }
        }
        sum.retain(|_, c| *c != 0);
        match sum.len() {
            0 => Dim::from(0),
            1 if sum.contains_key(&Monomial::new()) => Dim::from(sum[&Monomial::new()]),
            _ => Dim(Repr::Poly(Arc::new(sum.into_iter().collect()))),
        }
    }
}

impl Atom {
    fn lower_bound(&self) -> Option<i64> {
        match self {
            Atom::Symbol(_) => Some(1),
            // It may also stand for an overflow.
            Atom::Unknown(_) => None,
            Atom::FloorDiv(a, b) => match (a.lower_bound(), b.known()) {
                (Some(a), Some(b)) if b > 0 => Some(a.div_euclid(b)),
                (Some(a), None) if a >= 0 && b.lower_bound() >= Some(1) => Some(0),
                _ => None,
            },
            Atom::Max(dims) => dims.iter().filter_map(Dim::lower_bound).max(),
            Atom::Min(dims) => {
                let bounds: Option<Vec<i64>> = dims.iter().map(Dim::lower_bound).collect();
                bounds?.into_iter().min()
            }
        }
    }
}

/// The largest or smallest of these sizes once symbols are numbers.
fn bound(dims: &[Dim], bindings: &Bindings, with: fn(&Dim, &Dim) -> Dim) -> Dim {
    let bound = dims.iter().map(|dim| dim.bind(bindings));
    bound.reduce(|a, b| with(&a, &b)).unwrap_or_else(Dim::unknown)
}

/// The number of elements of a tensor of this shape: the product of its dimensions.
pub fn element_count(shape: &[Dim]) -> Dim {
    shape.iter().fold(Dim::from(1), |product, dim| product * dim.clone())
}

impl From<i64> for Dim {
    fn from(n: i64) -> Dim {
        Dim(Repr::Known(n))
    }
}

impl From<i32> for Dim {
    fn from(n: i32) -> Dim {
        Dim::from(i64::from(n))
    }
}

impl From<usize> for Dim {
    fn from(n: usize) -> Dim {
        i64::try_from(n).map_or_else(|_| Dim::unknown(), Dim::from)
    }
}

impl Add for Dim {
    type Output = Dim;
    fn add(self, other: Dim) -> Dim {
        match (&self.0, &other.0) {
            (Repr::Known(a), Repr::Known(b)) => a.checked_add(*b).map_or_else(Dim::unknown, Dim::from),
            _ => Dim::from_terms(self.poly().into_iter().chain(other.poly())),
        }
    }
}

impl Neg for Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        self * Dim::from(-1)
    }
}

impl Sub for Dim {
    type Output = Dim;
    fn sub(self, other: Dim) -> Dim {
        self + -other
    }
}

impl Mul for Dim {
    type Output = Dim;
    fn mul(self, other: Dim) -> Dim {
        if let (Repr::Known(a), Repr::Known(b)) = (&self.0, &other.0) {
            return a.checked_mul(*b).map_or_else(Dim::unknown, Dim::from);
        }
        let (left, right) = (self.poly(), other.poly());
        let mut terms = Vec::with_capacity(left.len() * right.len());
        for (m, c) in &left {
            for (n, d) in &right {
                let Some(product) = c.checked_mul(*d) else { return Dim::unknown() };
                terms.push(([m.as_slice(), n.as_slice()].concat(), product));
            }
        }
        Dim::from_terms(terms)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repr::Poly(poly) = &self.0 else {
            let Repr::Known(n) = self.0 else { unreachable!("a Dim is Known or Poly") };
            return write!(f, "{n}");
        };
        // The constant term sorts first; people write it last.
        for (i, (monomial, coefficient)) in poly.iter().rev().enumerate() {
            let sign = if *coefficient < 0 { "-" } else { "+" };
            if i > 0 || *coefficient < 0 {
                f.write_str(sign)?;
            }
            let size = coefficient.unsigned_abs();
            if size != 1 || monomial.is_empty() {
                write!(f, "{size}")?;
            }
            for (j, atom) in monomial.iter().enumerate() {
                if j > 0 || size != 1 {
                    f.write_str("*")?;
                }
                write!(f, "{atom}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Atom::Symbol(name) => f.write_str(name),
            Atom::Unknown(_) => f.write_str("?"),
            Atom::FloorDiv(a, b) => write!(f, "({a})/({b})"),
            Atom::Max(dims) => write_set(f, "max", dims),
            Atom::Min(dims) => write_set(f, "min", dims),
        }
    }
}

fn write_set(f: &mut fmt::Formatter<'_>, name: &str, dims: &[Dim]) -> fmt::Result {
    let dims: Vec<String> = dims.iter().map(Dim::to_string).collect();
    write!(f, "{name}({})", dims.join(","))
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn n() -> Dim {
        Dim::symbol("n")
    }

    #[test]
    fn equal_polynomials_compare_equal() {
        let a = (n() + 1.into()) * (n() - 1.into());
        let b = n() * n() - 1.into();
        assert_eq!(a, b);
        assert_eq!(a.to_string(), "n*n-1");
    }

    #[test]
    fn division_is_exact_where_terms_divide_and_floors_elsewhere() {
        let dim = n() * 12.into();
        assert_eq!(dim.floor_div(&4.into()), n() * 3.into());
        assert_eq!(dim.floor_div(&n()), 12.into());
        let half = n().floor_div(&2.into());
        assert_eq!(half.bind(&Bindings::from([("n".into(), 7)])), 3.into());
        assert_eq!(half.floor_div(&3.into()), n().floor_div(&6.into()));
        assert_eq!(Dim::from(-7).floor_div(&2.into()), Dim::from(-4));
        assert_eq!(Dim::from(7).floor_div(&Dim::from(-2)), Dim::from(-4));
    }

    #[test]
    fn overflow_becomes_an_unknown_size() {
        assert_eq!((Dim::from(i64::MAX) * 2.into()).known(), None);
        assert!(!(Dim::from(i64::MAX) + 1.into()).is_determined());
    }

    #[test]
    fn clamps_that_cannot_bite_disappear() {
        let half = n().floor_div(&2.into());
        assert_eq!((n() - 1.into()).max_with(&0.into()), n() - 1.into());
        assert_eq!(half.max_with(&0.into()), half);
        assert_eq!(n().min_with(&(n() * 2.into())), n());
        assert_eq!(Dim::from(1).min_with(&n()), Dim::from(1));
        assert_ne!((n() - 2.into()).max_with(&0.into()), n() - 2.into());
        assert_eq!((-n()).lower_bound(), None);
    }

    #[test]
    fn maxima_and_minima_are_sets_of_sizes() {
        let (n, m, k) = (n(), Dim::symbol("m"), Dim::symbol("k"));
        let both = n.max_with(&m);
        assert_eq!(both.max_with(&n), both);
        assert_eq!(m.max_with(&n).max_with(&both), both);
        assert_eq!(both.max_with(&k), k.max_with(&m).max_with(&n));
        assert_eq!(both.max_with(&(n.clone() + 1.into())), m.max_with(&(n.clone() + 1.into())));
        assert_eq!(both.min_with(&n), n);
        assert_eq!(both.min_with(&both), both);
        assert_eq!(n.min_with(&m).min_with(&n), m.min_with(&n));
        assert!(both.is_at_least(&n.min_with(&k)) && !both.is_at_least(&k));
        assert_eq!(n.max_with(&m).max_with(&k).to_string(), "max(k,m,n)");
        assert_eq!(Dim::from(i64::MIN).max_with(&i64::MAX.into()), i64::MAX.into());
    }

    #[test]
    fn sizes_that_are_broadcast_layer_after_layer_stay_small() {
        let (batch, masks) = (n(), Dim::symbol("masks"));
        let layer = |size: Dim| size.max_with(&masks).max_with(&size).max_with(&batch);
        let last = (0..24).fold(batch.clone(), |size, _| layer(size));
        assert_eq!(last.to_string(), "max(masks,n)");
    }

    fn small() -> impl Strategy<Value = (Dim, fn(i64, i64) -> i64)> {
        prop_oneof![
            Just((n() + 3.into(), (|n, _| n + 3) as fn(i64, i64) -> i64)),
            Just((n() * Dim::symbol("m") - 2.into(), (|n, m| n * m - 2) as fn(i64, i64) -> i64)),
            Just((Dim::symbol("m") * 4.into(), (|_, m| m * 4) as fn(i64, i64) -> i64)),
            Just((Dim::from(5), (|_, _| 5) as fn(i64, i64) -> i64)),
        ]
    }

    proptest! {
        #[test]
        fn binding_commutes_with_arithmetic(a in small(), b in small(), c in small(), n in 1i64..20, m in 1i64..20) {
            let bindings = Bindings::from([("n".into(), n), ("m".into(), m)]);
            let (x, y) = (a.1(n, m), b.1(n, m));
            prop_assert_eq!((a.0.clone() + b.0.clone()).bind(&bindings), Dim::from(x + y));
            prop_assert_eq!((a.0.clone() - b.0.clone()).bind(&bindings), Dim::from(x - y));
            prop_assert_eq!((a.0.clone() * b.0.clone()).bind(&bindings), Dim::from(x * y));
            prop_assert_eq!(a.0.max_with(&b.0).bind(&bindings), Dim::from(x.max(y)));
            prop_assert_eq!(a.0.min_with(&b.0).bind(&bindings), Dim::from(x.min(y)));
            let (least, most) = (a.0.min_with(&b.0), a.0.max_with(&b.0));
            for (dim, number) in [(&c.0, c.1(n, m)), (&least, x.min(y)), (&most, x.max(y))] {
                prop_assert_eq!(most.max_with(dim).bind(&bindings), Dim::from(x.max(y).max(number)));
                prop_assert_eq!(most.min_with(dim).bind(&bindings), Dim::from(x.max(y).min(number)));
                prop_assert_eq!(least.max_with(dim).bind(&bindings), Dim::from(x.min(y).max(number)));
                prop_assert_eq!(least.min_with(dim).bind(&bindings), Dim::from(x.min(y).min(number)));
            }
            if y > 0 {
                prop_assert_eq!(a.0.floor_div(&b.0).bind(&bindings), Dim::from(x.div_euclid(y)));
            }
        }
    }
}
