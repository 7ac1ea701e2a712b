//! Compiles the pause program, which goes into the binary as the image of every pod's sandbox.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=pause/pause.c");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("pause");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let status = Command::new(&compiler)
        .args(["-Os", "-static", "-s", "-o"])
        .arg(&out)
        .arg("pause/pause.c")
        .status()
        .unwrap_or_else(|error| {
            panic!("{compiler}: {error}: a C compiler links Rust programs and makes pause")
        });
    assert!(status.success(), "{compiler} could not build pause/pause.c");
}
