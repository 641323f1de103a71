//! libtorch loads and works.

use std::process::Command;

use secateurs_torch::tch::{Kind, Tensor};

#[test]
fn loads_and_multiplies_matrices() {
    let torch = secateurs_torch::load().unwrap();
    assert_eq!(torch.version, "2.11.0");
    assert!(torch.folder.join("libtorch_cpu.so").is_file());
    let a = Tensor::f_from_slice(&[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap().f_view([2, 3]).unwrap();
    let product = a.f_matmul(&a.f_transpose(0, 1).unwrap()).unwrap();
    assert_eq!(product.size(), [2, 2]);
    assert_eq!(Vec::<f64>::try_from(product.f_view(-1).unwrap()).unwrap(), [14.0, 32.0, 32.0, 77.0]);
}

#[test]
fn errors_of_libtorch_come_back_as_errors() {
    secateurs_torch::load().unwrap();
    let a = Tensor::f_from_slice(&[1.0f32, 2.0]).unwrap();
    let b = Tensor::f_from_slice(&[1.0f32, 2.0, 3.0]).unwrap();
    assert!(a.f_add(&b).unwrap_err().to_string().contains("must match the size"));
}

#[test]
fn gradients_flow() {
    secateurs_torch::load().unwrap();
    let x = Tensor::f_from_slice(&[3.0f32]).unwrap().f_set_requires_grad(true).unwrap();
    x.f_square().unwrap().f_sum(Kind::Float).unwrap().f_backward().unwrap();
    assert_eq!(f32::try_from(x.f_grad().unwrap()).unwrap(), 6.0);
}

#[test]
fn streams_call_back_into_rust() {
    secateurs_torch::load().unwrap();
    let tensor = Tensor::f_from_slice(&[1i64, 2, 3]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    tensor.save_to_stream(file.reopen().unwrap()).unwrap();
    let read = Tensor::load_from_stream(file.reopen().unwrap()).unwrap();
    assert_eq!(Vec::<i64>::try_from(read).unwrap(), [1, 2, 3]);
}

/// Runs one of the ignored tests below in a process of its own.
fn child(test: &str, variables: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.success(), text)
}

#[test]
#[ignore = "run by the next test in a child process"]
fn call_without_load() {
    let _ = Tensor::f_from_slice(&[1.0f32]);
}

#[test]
fn a_call_before_load_says_so() {
    let (success, text) = child("call_without_load", &[]);
    assert!(!success);
    assert!(text.contains("libtorch is used before secateurs_torch::load()"), "{text}");
}

#[test]
#[ignore = "run by the next test in a child process"]
fn load_and_print_the_error() {
    println!("{}", secateurs_torch::load().unwrap_err());
}

#[test]
fn an_empty_folder_is_an_error_with_a_remedy() {
    let empty = tempfile::tempdir().unwrap();
    let (success, text) =
        child("load_and_print_the_error", &[("SECATEURS_TORCH", empty.path().to_str().unwrap())]);
    assert!(success, "{text}");
    assert!(text.contains("no libtorch 2.11.0 was found"), "{text}");
    assert!(text.contains("SECATEURS_TORCH="), "{text}");
    assert!(text.contains("cargo xtask setup"), "{text}");
}
