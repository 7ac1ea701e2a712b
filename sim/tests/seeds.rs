//! The simulation itself: some seeds on every run of the tests, and that a seed is a run.

use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().expect("the simulation can be run")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn no_rule_is_broken_from_any_of_some_seeds() {
    let ran = sim(&["--seeds", "0..12"]);
    assert!(ran.status.success(), "{}", said(&ran));
}

#[test]
fn a_seed_gives_the_same_run_again_step_for_step() {
    let [first, again] = [(); 2].map(|()| said(&sim(&["--seed", "3", "--trace"])));
    assert!(first.lines().count() > 1_000, "{first}");
    for (one, other) in first.lines().zip(again.lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(first.lines().count(), again.lines().count());
}

#[test]
fn another_seed_gives_another_run() {
    let sum = |seed: &str| said(&sim(&["--seed", seed])).lines().last().map(str::to_owned);
    let (first, other) = (sum("3"), sum("4"));
    assert!(first.is_some() && other.is_some());
    assert_ne!(first, other);
}
