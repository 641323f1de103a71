//! Surgery on random graphs of all ops: whatever units go, the smaller model is whole and computes what the masked original
//! computes.
//!
//! A graph is grown from a list of numbers, one a step, so that a failure shrinks to the steps that it needs. The same
//! graphs are tried each time; `PROPTEST_RNG_SEED` gives others, `PROPTEST_CASES` more of them.
#![cfg(feature = "torch")]

mod attention;
mod check;
#[path = "../implant/choice.rs"]
mod choice;
mod dead;
mod freed;
mod net;
mod registry;
mod rng;
#[path = "../implant/start.rs"]
mod start;
mod steps;
mod twice;

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestError, TestRunner};
use secateurs_graph::coupling::Split;

use net::Net;
use rng::Rng;

/// Opset versions between which the ops differ most.
const OPSETS: [i64; 6] = [13, 17, 18, 20, 23, 28];

#[test]
fn any_surgery_on_any_graph_is_exact() {
    let [tried, pruned, exact, mattered, implanted, resized] = [(); 6].map(|()| Cell::new(0u32));
    of_many(150, |model, feeds, split, seed| {
        let lost = check::check(model, feeds, split, seed)?;
        tried.set(tried.get() + 1);
        pruned.set(pruned.get() + u32::from(lost.any));
        exact.set(exact.get() + u32::from(lost.exact));
        mattered.set(mattered.get() + u32::from(lost.mattered));
        implanted.set(implanted.get() + u32::from(lost.implanted));
        resized.set(resized.get() + u32::from(lost.resized));
        Ok(())
    });
    let [tried, pruned, exact, mattered, implanted, resized] =
        [tried, pruned, exact, mattered, implanted, resized].map(Cell::into_inner);
    println!(
        "of {tried} graphs {pruned} lost units, {exact} such that go exactly; {mattered} compute something else now; \
         {implanted} had rows computed in another form, of {resized} inputs or outputs shrank"
    );
    assert!(4 * implanted >= tried, "only {implanted} of {tried} graphs had a place for implants");
    assert!(20 * resized >= tried, "inputs or outputs of only {resized} of {tried} graphs shrank");
    assert!(5 * exact >= 3 * tried, "only {exact} of {tried} graphs had units that go exactly");
    assert!(2 * mattered >= tried, "only {mattered} of {tried} graphs compute something else now");
}

#[test]
fn dead_units_of_any_graph_change_nothing() {
    let [tried, dead] = [(); 2].map(|()| Cell::new(0u32));
    of_many(120, |model, feeds, split, seed| {
        let some = dead::check(model, feeds, split, seed)?;
        tried.set(tried.get() + 1);
        dead.set(dead.get() + u32::from(some));
        Ok(())
    });
    let (tried, dead) = (tried.get(), dead.get());
    println!("of {tried} graphs {dead} had dead units");
    assert!(4 * dead >= tried, "only {dead} of {tried} graphs had dead units");
}

#[test]
fn batches_of_any_graph_are_freed_where_samples_stay_apart_and_stay_free() {
    let [tried, freed] = [(); 2].map(|()| Cell::new(0u32));
    of_many(250, |model, feeds, split, seed| {
        tried.set(tried.get() + 1);
        freed.set(freed.get() + u32::from(freed::check(model, feeds, split, seed)?));
        Ok(())
    });
    let (tried, freed) = (tried.get(), freed.get());
    println!("of {tried} graphs {freed} could be freed");
    assert!(40 * freed >= tried, "only {freed} of {tried} graphs could be freed");
}

/// Checks so many graphs with both splits and a seed; the first failure is shrunk to the steps that it needs. They are the same each time, unless
/// the environment says otherwise.
fn of_many(
    cases: u32,
    check: impl Fn(&secateurs_onnx::Model, &[net::Feed], Split, u64) -> Result<(), String>,
) {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0);
    }
    config.max_shrink_iters = config.max_shrink_iters.min(600);
    let strategy = (0..OPSETS.len(), 1..6usize, vec(any::<u64>(), 1..12));
    let result = TestRunner::new(config).run(&strategy, |(opset, ends, steps)| {
        let (model, feeds) = grown(OPSETS[opset], ends, &steps);
        let seed = steps.iter().fold(1, |a, b| a ^ b);
        let splits = [Split::Outer, Split::Inner];
        splits
            .into_iter()
            .try_for_each(|split| check(&model, &feeds, split, seed))
            .map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, (opset, ends, steps))) => {
            panic!("opset {}, {ends} ends, steps {steps:x?}: {why}", OPSETS[opset])
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// A graph of these steps; so many of the values that nothing reads become outputs.
fn grown(opset: i64, ends: usize, steps: &[u64]) -> (secateurs_onnx::Model, Vec<net::Feed>) {
    let mut net = Net::new(opset, &mut Rng::new(steps.len() as u64 + opset as u64));
    for &seed in steps {
        let mut rng = Rng::new(seed);
        match rng.below(100) {
            0..50 => registry::step(&mut net, &mut rng),
            50..95 => steps::step(&mut net, &mut rng),
            _ => attention::step(&mut net, &mut rng),
        }
    }
    net.done(ends, &mut Rng::new(steps.iter().fold(7, |a, b| a.wrapping_mul(31) ^ b)))
}
