//! Layers of settings, and what is wrong in recipes.

use toml::Table;

use super::*;
use crate::methods::method;
use crate::search::{Limit, Resource};

fn error(text: &str) -> String {
    Recipe::parse("my.toml", text).unwrap_err().to_string()
}

#[test]
fn flags_win_over_the_recipe_and_the_recipe_over_defaults() {
    let recipe = Recipe::parse(
        "my.toml",
        "[plan]\nmethod = 'random'\nkeep = ['params=0.5', 'macs=0.4']\n[tune]\nepochs = 7\nmomentum = 1e-1\n\
         [data]\npreset = 'cifar10'\n[data.preprocess]\nscale = 0.5\nmean = 1\n",
    )
    .unwrap();
    let flags: Table =
        toml::from_str("[plan]\nkeep = ['units=0.3']\n[tune]\nepochs = 2\n[data.preprocess]\nscale = 2.0\n")
            .unwrap();
    let settings = recipe.settings(flags).unwrap();
    assert_eq!(settings.plan.method.as_deref(), Some("random"));
    assert_eq!(settings.plan.keep, ["units=0.3".parse().unwrap()]);
    assert_eq!((settings.tune.epochs, settings.tune.momentum, settings.tune.batch_size), (2, Some(0.1), 128));
    assert_eq!(settings.data.preprocess.scale, Some(2.0));
    assert_eq!(settings.data.preprocess.mean, Some(vec![1.0]));
    assert_eq!(Recipe::default().settings(Table::new()).unwrap(), Settings::default());
}

#[test]
fn the_budget_of_a_recipe_does_not_count_where_a_layer_above_says_otherwise_how_far_to_go() {
    let hap = Recipe::find("hap").unwrap();
    let keep = |flags: &str| hap.settings(toml::from_str(flags).unwrap()).unwrap().plan.keep;
    let params: Vec<Limit> = vec!["params=0.3".parse().unwrap()];
    assert!(keep("[plan]\nmax_drop = 1.0\n").is_empty());
    assert!(keep("[plan]\nlossless = true\n").is_empty());
    assert_eq!(keep("[plan]\nmultiple = 8\nlossless = false\n"), params);
    let macs: Vec<Limit> = vec!["macs=0.4".parse().unwrap()];
    assert_eq!(keep("[plan]\nmax_drop = 1.0\nkeep = ['macs=0.4']\n"), macs);
    // A layer's own budget is the least that is tried, whatever lies below.
    let mine = |text: &str| Recipe::parse("mine.toml", text).unwrap().over(hap.clone());
    let settings = |recipe: Recipe| recipe.settings(Table::new()).unwrap().plan;
    assert!(settings(mine("[plan]\nmax_drop = 1.0\n")).keep.is_empty());
    let both = settings(mine("[plan]\nmax_drop = 1.0\nkeep = ['macs=0.4']\n"));
    assert_eq!((both.keep, both.method.as_deref()), (macs, Some("joint")));
    // Where nothing may be lost, no drop of the metric is allowed either.
    let drop = Recipe::parse("drop.toml", "[plan]\nmax_drop = 1.0\nkeep = ['params=0.5']\n").unwrap();
    let over = |text: &str| settings(Recipe::parse("mine.toml", text).unwrap().over(drop.clone()));
    let lossless = over("[plan]\nlossless = true\n");
    assert!(lossless.keep.is_empty() && lossless.max_drop.is_none());
    assert_eq!(over("[plan]\nlossless = true\nmax_drop = 2.0\n").max_drop, Some(2.0));
}

#[test]
fn without_a_method_it_follows_from_whether_units_are_measured() {
    let settings = PlanSettings { keep: vec!["params=0.5".parse().unwrap()], ..PlanSettings::default() };
    let resolved = |settings: &PlanSettings, measured| settings.resolved(measured).method.unwrap();
    assert_eq!([true, false].map(|m| resolved(&settings, m)), ["joint", "magnitude"]);
    assert!(!settings.options([].into()).unwrap().method.needs_evidence());
    let random = PlanSettings { method: Some("random".into()), ..settings };
    assert_eq!([true, false].map(|m| resolved(&random, m)), ["random", "random"]);
}

#[test]
fn a_limit_on_the_drop_needs_no_budget_and_steps_do() {
    let options = |plan: PlanSettings| plan.options([].into());
    let drop = PlanSettings { max_drop: Some(1.0), ..PlanSettings::default() };
    let budget = options(drop.clone()).unwrap().budget;
    assert_eq!(budget.limits()[0].resource, Resource::Params);
    let keep = vec!["macs=0.4".parse().unwrap()];
    let budget = options(PlanSettings { keep: keep.clone(), ..drop }).unwrap().budget;
    assert_eq!(budget.limits(), keep);
    assert!(options(PlanSettings { steps: 3, ..PlanSettings::default() }).unwrap_err().contains("--keep"));
    // What was there before steps were is not written otherwise.
    assert!(!toml::to_string(&PlanSettings::default()).unwrap().contains("steps"));
}

#[test]
fn unknown_keys_are_named_with_their_line_and_the_nearest_key() {
    assert_eq!(
        error("[tune]\nepochs = 2\n\nlearning_rat = 0.1\n"),
        "my.toml, line 4: unknown key 'learning_rat'; did you mean 'learning_rate'?"
    );
    assert_eq!(
        error("# comment\n[tun]\nepochs = 2\n"),
        "my.toml, line 2: unknown key 'tun'; did you mean 'tune'?"
    );
    let message = error("[data.preprocess]\nbrightness = 2\n");
    assert!(message.starts_with("my.toml, line 2: unknown key 'brightness'; the keys here are resize,"));
}

#[test]
fn values_of_a_wrong_kind_or_without_sense_are_named() {
    let message = error("[plan]\nmethod = 'magnitude'\n[tune]\nepochs = 'three'\n");
    assert!(message.starts_with("my.toml, line 4: ") && message.contains("three"), "{message}");
    let message = error("[plan]\nkeep = ['params=1.5']\n");
    assert!(message.starts_with("my.toml, line 2: ") && message.contains("'params=1.5'"), "{message}");
    let message = error("[tune]\n\nschedule = 'cosin'\n");
    assert!(message.starts_with("my.toml, line 3: ") && message.contains("cosine"), "{message}");
    assert!(error("[tune\nepochs = 1").starts_with("my.toml, line 1: "));
    assert!(error("[tune]\nmomentum = 2.0").starts_with("my.toml: tune.momentum = 2"));
    assert!(error("[plan]\nmethod = 'magic'").contains("my.toml: plan.method = 'magic'"));
    assert!(error("[latency]\nruns = 0").contains("latency.runs"));
    assert!(error("[plan]\nmax_drop = -0.5").contains("plan.max_drop = -0.5"));
    assert!(error("[plan]\nsteps = 0").contains("plan.steps = 0"));
}

#[test]
fn shipped_recipes_are_right_and_say_what_they_are_for() {
    for (name, text) in SHIPPED {
        let recipe = Recipe::find(name).unwrap();
        let settings = recipe.settings(Table::new()).unwrap();
        assert!(settings.plan.method.is_none_or(|name| method(&name).is_some()));
        assert!(text.starts_with("# ") && summary(text).len() > 10, "{name}");
    }
}

#[test]
fn files_are_looked_for_beside_the_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    std::fs::write(&path, "[data]\ntokenizer = 'tokenizer.json'\n").unwrap();
    let settings = Recipe::find(path.to_str().unwrap()).unwrap().settings(Table::new()).unwrap();
    assert_eq!(settings.data.tokenizer, Some(folder.path().join("tokenizer.json")));
    let error = Recipe::find("cifar11").unwrap_err().to_string();
    assert!(error.contains("cifar11") && error.contains("cifar10, "), "{error}");
}
