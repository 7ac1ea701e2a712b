//! What holds whatever happens. The stage itself refuses to run a container twice or in a dead sandbox.

use proptest::prelude::*;
use serde_json::json;

use super::stage::{Refuses, Stage, container};
use crate::decide::core::Input;
use crate::probes::plan::ProbeKind;

#[derive(Clone, Debug)]
enum Happens {
    Exit(usize, i32),
    Pass(i64),
    LoseSandbox,
    RuntimeDown,
    Refuse(Refuses),
    Grant,
    Probe(usize, bool),
    NewImage,
    Attach,
}

const CONTAINERS: [&str; 4] = ["first", "beside", "a", "b"];

fn happens() -> impl Strategy<Value = Happens> {
    use Refuses::*;
    const REFUSALS: [Refuses; 8] = [Volumes, Sandboxes, Pulls, NeverPulls, Creates, Starts, Kills, Hooks];
    prop_oneof![
        4 => (0..4_usize, prop_oneof![Just(0), Just(1)]).prop_map(|(which, code)| Happens::Exit(which, code)),
        3 => (1..400_i64).prop_map(Happens::Pass),
        1 => Just(Happens::LoseSandbox),
        1 => Just(Happens::RuntimeDown),
        2 => prop::sample::select(&REFUSALS[..]).prop_map(Happens::Refuse),
        2 => Just(Happens::Grant),
        1 => (0..4_usize, any::<bool>()).prop_map(|(which, passed)| Happens::Probe(which, passed)),
        1 => Just(Happens::NewImage),
        1 => Just(Happens::Attach),
    ]
}

fn happen(stage: &mut Stage, what: Happens, count: usize) {
    match what {
        Happens::Exit(which, code) if stage.running(CONTAINERS[which]).is_some() => {
            stage.exit(CONTAINERS[which], code);
        }
        Happens::Probe(which, passed) if stage.running(CONTAINERS[which]).is_some() => {
            stage.probed(CONTAINERS[which], ProbeKind::Liveness, passed);
        }
        Happens::Exit(..) | Happens::Probe(..) => (),
        Happens::Pass(seconds) => stage.pass(seconds),
        Happens::LoseSandbox => stage.lose_sandbox(),
        Happens::RuntimeDown => stage.core.handle(Input::RuntimeDown, stage.now),
        Happens::Refuse(what) => drop(stage.refuses.insert(what)),
        Happens::Grant => stage.refuses.clear(),
        Happens::NewImage => {
            stage.edit(|spec| spec["containers"][0]["image"] = json!(format!("app:{count}")))
        }
        Happens::Attach => {
            let change = stage.change();
            stage.core.handle(Input::Snapshot(vec![change]), stage.now);
            stage.settle();
        }
    }
}

fn set(policy: &str) -> Stage {
    let mut sidecar = container("beside");
    sidecar["restartPolicy"] = json!("Always");
    let mut stage = Stage::new();
    stage.want(json!({
        "restartPolicy": policy,
        "initContainers": [container("first"), sidecar],
        "containers": [container("a"), container("b")],
    }));
    stage
}

proptest! {
    #[test]
    fn a_deleted_pod_leaves_nothing_whatever_happened_to_it(
        policy in prop::sample::select(&["Always", "OnFailure", "Never"][..]),
        story in prop::collection::vec(happens(), 0..30),
    ) {
        let mut stage = set(policy);
        for (count, what) in story.into_iter().enumerate() {
            happen(&mut stage, what, count);
        }
        stage.refuses.clear();
        stage.look();
        stage.delete(5);
        stage.pass(600);
        prop_assert!(stage.gone, "{:?}", stage.done);
        prop_assert!(stage.listing.sandboxes.is_empty() && stage.listing.containers.is_empty());
        prop_assert!(matches!(stage.phase(), "Succeeded" | "Failed"), "{}", stage.phase());
    }

    #[test]
    fn a_pod_that_restarts_always_runs_once_trouble_is_over(
        story in prop::collection::vec(happens(), 0..30),
    ) {
        let mut stage = set("Always");
        for (count, what) in story.into_iter().enumerate() {
            happen(&mut stage, what, count);
        }
        stage.refuses.clear();
        stage.look();
        // The longest wait, twice, and the init container that is waited for in between.
        for _ in 0..4 {
            stage.pass(310);
            if stage.running("first").is_some() {
                stage.exit("first", 0);
            }
        }
        prop_assert_eq!(stage.phase(), "Running", "{:?}", &stage.done);
        prop_assert_eq!(stage.condition("Ready").0, "True");
    }

    #[test]
    fn a_final_phase_is_final(story in prop::collection::vec(happens(), 0..30)) {
        let mut stage = set("Never");
        let mut over: Option<String> = None;
        for (count, what) in story.into_iter().enumerate() {
            happen(&mut stage, what, count);
            stage.send();
            if let Some(over) = &over {
                prop_assert_eq!(stage.phase(), over);
            }
            over = over.or(Some(stage.phase().to_owned()).filter(|phase| phase == "Succeeded" || phase == "Failed"));
        }
    }
}
