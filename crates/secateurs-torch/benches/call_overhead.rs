//! The cost of a call through the table, and of loading libtorch.

use std::hint::black_box;
use std::time::Instant;

use secateurs_torch::tch::Tensor;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let torch = secateurs_torch::load()?;
    println!(
        "load                       {:>9.1} ms  ({})",
        start.elapsed().as_secs_f64() * 1e3,
        torch.folder.display()
    );

    let tensor = Tensor::f_from_slice(&[1.0f32])?;
    time("load() when loaded", || {
        black_box(secateurs_torch::load().is_ok());
    });
    // One of libtorch's cheapest functions: a field of the tensor.
    time("Tensor::dim", || {
        black_box(black_box(&tensor).dim());
    });
    time("Tensor::f_add of 1 element", || {
        drop(black_box(black_box(&tensor).f_add(&tensor).expect("the shapes are equal")));
    });
    Ok(())
}

fn time(name: &str, mut call: impl FnMut()) {
    const CALLS: u32 = 200_000;
    let best = (0..5)
        .map(|_| {
            let start = Instant::now();
            (0..CALLS).for_each(|_| call());
            start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
        })
        .fold(f64::INFINITY, f64::min);
    println!("{name:<26} {best:>9.1} ns");
}
