//! What `keep_freed_memory` saves: forward and backward of a small convolutional net, with and without it.
//!
//! Each setting runs in a process of its own, as the setting holds for the whole process.

use std::process::Command;
use std::time::Instant;
use std::{env, error::Error};

use secateurs_torch::tch::{Device, Kind, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    match env::args().nth(1).as_deref() {
        Some("keep") => {
            secateurs_torch::keep_freed_memory();
            measure()
        }
        Some("plain") => measure(),
        _ => {
            for (setting, what) in [("plain", "as the C library has it"), ("keep", "keep_freed_memory()")] {
                let output = Command::new(env::current_exe()?).arg(setting).output()?;
                print!("{what:<26} {}", String::from_utf8_lossy(&output.stdout));
                eprint!("{}", String::from_utf8_lossy(&output.stderr));
            }
            Ok(())
        }
    }
}

/// Prints the median time of a training step: six 3×3 convolutions with batch norm and ReLU on [512, 16, 32, 32].
fn measure() -> Result<(), Box<dyn Error>> {
    secateurs_torch::load()?;
    let float = (Kind::Float, Device::Cpu);
    let input = Tensor::f_randn([512, 16, 32, 32], float)?;
    let weights: Vec<Tensor> = (0..6)
        .map(|_| Tensor::f_randn([16, 16, 3, 3], float)?.f_set_requires_grad(true))
        .collect::<Result<_, _>>()?;
    let mut times_ms = Vec::new();
    for _ in 0..7 {
        let start = Instant::now();
        let mut x = input.f_view_([512, 16, 32, 32])?;
        for weight in &weights {
            x = x.f_conv2d(weight, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1)?;
            let none = None::<&Tensor>;
            x = x.f_batch_norm(none, none, none, none, true, 0.1, 1e-5, false)?.f_relu()?;
        }
        x.f_mean(Kind::Float)?.f_backward()?;
        times_ms.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times_ms.sort_by(f64::total_cmp);
    println!("{:>9.1} ms per step (median of {})", times_ms[times_ms.len() / 2], times_ms.len());
    Ok(())
}
