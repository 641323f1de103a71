//! Recipes: the settings of a run as a TOML file, shipped ones among them.
//!
//! Settings are found in three layers: flags over the recipe over defaults. All layers are TOML tables with the keys of
//! [`Settings`], so that what is not said in one is taken from the next, and one parser finds what is wrong in any. A limit on the drop of
//! the metric, or `lossless`, ends the budgets of the layers below.

mod error;
mod settings;
#[cfg(test)]
mod tests;

pub use error::RecipeError;
pub use settings::{LatencySettings, MeasureSettings, PlanSettings, Settings};

use std::path::Path;

use toml::{Table, Value};

/// The recipes that the program brings along, by name; the first line of each says what it is for.
pub const SHIPPED: &[(&str, &str)] = &[
    ("cifar10", include_str!("../../../../recipes/cifar10.toml")),
    ("cifar10-scratch", include_str!("../../../../recipes/cifar10-scratch.toml")),
    ("cifar10-scratch-gpu", include_str!("../../../../recipes/cifar10-scratch-gpu.toml")),
    ("hap", include_str!("../../../../recipes/hap.toml")),
    ("hap-paper", include_str!("../../../../recipes/hap-paper.toml")),
    ("magnitude", include_str!("../../../../recipes/magnitude.toml")),
    ("quadratic", include_str!("../../../../recipes/quadratic.toml")),
];

/// What the first line of a shipped recipe says.
pub fn summary(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
}

/// Settings that say what they are about and leave the rest to defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recipe {
    /// The file, or the name of a shipped one; empty without one.
    name: String,
    table: Table,
}

impl Recipe {
    /// The shipped recipe of this name, or the one in this file.
    pub fn find(name: &str) -> Result<Recipe, RecipeError> {
        if let Some((name, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            return Recipe::parse(name, text);
        }
        let path = Path::new(name);
        let text = std::fs::read_to_string(path)
            .map_err(|source| RecipeError::Io { path: path.to_owned(), source })?;
        let mut recipe = Recipe::parse(name, &text)?;
        recipe.resolve_paths(path.parent().unwrap_or(Path::new("")));
        Ok(recipe)
    }

    /// Reads a recipe and checks all that it says; `name` is what messages call it.
    pub fn parse(name: &str, text: &str) -> Result<Recipe, RecipeError> {
        let error = |e: toml::de::Error| RecipeError::format(name, text, &e);
        let table: Table = toml::from_str(text).map_err(error)?;
        let settings: Settings = toml::from_str(text).map_err(error)?;
        settings.check().map_err(|reason| RecipeError::Value { name: name.into(), reason })?;
        Ok(Recipe { name: name.into(), table })
    }

    /// What this recipe says, and what `base` says where this one says nothing.
    pub fn over(self, base: Recipe) -> Recipe {
        let mut table = base.table;
        lay(&mut table, self.table);
        let name = if base.name.is_empty() { self.name } else { format!("{}, {}", base.name, self.name) };
        Recipe { name, table }
    }

    /// The settings of this recipe with flags over it: a table like that of [`Settings`] in which some keys are missing.
    pub fn settings(&self, flags: Table) -> Result<Settings, RecipeError> {
        let mut table = self.table.clone();
        lay(&mut table, flags);
        let error = |reason: String| RecipeError::Value { name: self.name.clone(), reason };
        let settings = Settings::deserialize_table(table).map_err(error)?;
        settings.check().map_err(error)?;
        Ok(settings)
    }

    /// Files are named from the recipe's folder on.
    fn resolve_paths(&mut self, folder: &Path) {
        let Some(Value::Table(data)) = self.table.get_mut("data") else { return };
        for key in ["preprocess_file", "tokenizer"] {
            if let Some(Value::String(path)) = data.get_mut(key) {
                *path = folder.join(&*path).to_string_lossy().into_owned();
            }
        }
    }
}

/// Lays a layer over another. Where it says how far to go by the drop of the metric, or that nothing may be lost, and has no budget of its
/// own, that of the layer below does not count; nor its drop of the metric, where nothing may be lost.
fn lay(below: &mut Table, over: Table) {
    if let Some(Value::Table(plan)) = over.get("plan")
        && let Some(Value::Table(below)) = below.get_mut("plan")
    {
        let [keep, max_drop] = ["keep", "max_drop"].map(|key| plan.contains_key(key));
        let lossless = plan.get("lossless") == Some(&Value::Boolean(true));
        if !keep && (max_drop || lossless) {
            below.remove("keep");
        }
        if !keep && !max_drop && lossless {
            below.remove("max_drop");
        }
    }
    merge(below, over);
}

/// Puts what `over` says into `table`, tables within tables likewise.
fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(value)) => merge(below, value),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
