//! Writes `trampolines.s`: every function of torch-sys as one jump through a table that `load` fills in.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=symbols.txt");
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    let symbols =
        fs::read_to_string(Path::new(&manifest).join("symbols.txt")).expect("symbols.txt is committed");
    let assembly = assembly(&arch, &symbols.lines().collect::<Vec<_>>());
    fs::write(Path::new(&out).join("trampolines.s"), assembly).expect("OUT_DIR is writable");
}

/// Everything is hidden: it must not be exported from a Python module, where torch's own symbols may exist too.
fn assembly(arch: &str, symbols: &[&str]) -> String {
    let mut s = String::new();
    let mut line = |args: std::fmt::Arguments| writeln!(s, "{args}").expect("a String takes every write");
    line(format_args!(".section .text.secateurs_torch,\"ax\",%progbits"));
    for (i, symbol) in symbols.iter().enumerate() {
        line(format_args!(".globl {symbol}\n.hidden {symbol}\n.type {symbol},%function\n{symbol}:"));
        let slot = format!("secateurs_torch_table+{}", i * 8);
        match arch {
            "x86_64" => line(format_args!("jmp qword ptr [rip+{slot}]")),
            "aarch64" => line(format_args!("adrp x16, {slot}\nldr x16, [x16, :lo12:{slot}]\nbr x16")),
            // src/lib.rs reports the architecture with a compile_error.
            _ => {}
        }
    }
    line(format_args!(".section .data.secateurs_torch,\"aw\",%progbits\n.balign 8"));
    line(format_args!(".globl secateurs_torch_table\n.hidden secateurs_torch_table"));
    line(format_args!(".type secateurs_torch_table,%object\nsecateurs_torch_table:"));
    line(format_args!(".rept {}\n.quad {{unloaded}}\n.endr", symbols.len()));
    line(format_args!(".size secateurs_torch_table, {}", symbols.len() * 8));
    line(format_args!(".text"));
    s
}
