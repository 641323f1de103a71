//! Sizes as exporters write them: `batch`, `9*batch`, `(s0 - 1)//2 + 1`.

use super::Dim;

impl Dim {
    /// The size that a `dim_param` names. Text that is no formula is a symbol of its own, as `batch-size` is.
    pub fn parse(text: &str) -> Dim {
        let formula = ["*", "//", " + ", " - "].iter().any(|operator| text.contains(operator));
        let parsed = formula.then(|| {
            let mut parser = Parser { rest: text.trim(), depth: 0 };
            parser.sum().filter(|_| parser.rest.is_empty())
        });
        parsed.flatten().unwrap_or_else(|| Dim::symbol(text))
    }
}

struct Parser<'t> {
    rest: &'t str,
    depth: usize,
}

/// Deeper parentheses than any exporter writes.
const MAX_DEPTH: usize = 32;

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn sum(&mut self) -> Option<Dim> {
        let mut total = self.product()?;
        loop {
            total = if self.take("+") {
                total + self.product()?
            } else if self.take("-") {
                total - self.product()?
            } else {
                return Some(total);
            };
        }
    }

    fn product(&mut self) -> Option<Dim> {
        let mut total = self.factor()?;
        loop {
            total = if self.take("//") {
                total.floor_div(&self.factor()?)
            } else if self.take("*") {
                total * self.factor()?
            } else {
                return Some(total);
            };
        }
    }

    fn factor(&mut self) -> Option<Dim> {
        if self.take("(") {
            self.depth += 1;
            let inner = if self.depth > MAX_DEPTH { None } else { self.sum() };
            self.depth -= 1;
            return inner.filter(|_| self.take(")"));
        }
        if self.take("-") {
            return Some(-self.factor()?);
        }
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let end = self.rest.find(|c| !word(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        match name.chars().next()? {
            first if first.is_ascii_digit() => name.parse::<i64>().ok().map(Dim::from),
            _ => Some(Dim::symbol(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_read_and_names_stay_names() {
        let n = || Dim::symbol("n");
        assert_eq!(Dim::parse("9*n"), n() * 9.into());
        assert_eq!(Dim::parse("(n - 1)//2 + 1"), (n() - 1.into()).floor_div(&2.into()) + 1.into());
        assert_eq!(Dim::parse("batch-size"), Dim::symbol("batch-size"));
        assert_eq!(Dim::parse("past + "), Dim::symbol("past + "));
        assert_eq!(Dim::parse("99999999999999999999*n"), Dim::symbol("99999999999999999999*n"));
        let deep = format!("{}n{}*2", "(".repeat(500), ")".repeat(500));
        assert_eq!(Dim::parse(&deep), Dim::symbol(deep.as_str()));
    }
}
