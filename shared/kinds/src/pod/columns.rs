//! What `kubectl get pods` shows.

use std::collections::HashMap;

use jiff::Timestamp;
use model::Object;
use serde_json::Value;

use super::{is_ready, is_terminal, node_name, phase, pod_ip};
use crate::cell::{NONE, list, or};
use crate::metadata::is_true;
use crate::{Column, age};

/// The columns after the name.
pub fn columns() -> Vec<Column> {
    vec![
        Column::text("Ready", "How many containers are ready, of how many.", |pod| {
            let printed = Printed::of(pod);
            format!("{}/{}", printed.ready, printed.total)
        }),
        Column::text("Status", "How it stands, in a word.", |pod| Printed::of(pod).reason),
        Column::new(
            "Restarts",
            "string",
            "How often containers were restarted, and when last.",
            |pod, context| Printed::of(pod).restarts(context.now).into(),
        ),
        Column::age(),
        Column::text("IP", "Its address.", |pod| or(pod_ip(pod), NONE).to_owned()).wide(),
        Column::text("Node", "The node that it is on.", |pod| or(node_name(pod), NONE).to_owned()).wide(),
        Column::text("Nominated Node", "The node that others are displaced from for it.", |pod| {
            or(pod.str_at(&["status", "nominatedNodeName"]), NONE).to_owned()
        })
        .wide(),
        Column::text("Readiness Gates", "How many further conditions hold, of how many.", readiness_gates)
            .wide(),
    ]
}

fn readiness_gates(pod: &Object) -> String {
    let gates = list(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let open =
        gates.iter().filter_map(|gate| gate["conditionType"].as_str()).filter(|gate| is_true(pod, gate));
    format!("{}/{}", open.count(), gates.len())
}

/// A pod in a line.
struct Printed {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

/// What a container is doing, with the words for it.
enum State<'a> {
    Waiting(&'a str),
    Running,
    Terminated {
        reason: String,
        success: bool,
    },
    /// Nothing has been said of it.
    Unknown,
}

// === impl Printed ===

impl Printed {
    fn of(pod: &Object) -> Printed {
        let sidecars = sidecars(pod);
        let mut printed = Printed {
            ready: 0,
            total: list(pod, &["spec", "containers"]).len()
                + sidecars.values().filter(|keeps| **keeps).count(),
            reason: or(pod.str_at(&["status", "reason"]), phase(pod)).to_owned(),
            restarts: 0,
            last_restart: None,
        };
        if is_gated(pod) {
            "SchedulingGated".clone_into(&mut printed.reason);
        }
        let initializing = printed.read_init_containers(pod, &sidecars);
        if !initializing || is_true(pod, "Initialized") {
            printed.restarts = 0;
            printed.last_restart = None;
            for status in statuses(pod, "initContainerStatuses").filter(|one| is_sidecar(&sidecars, one)) {
                printed.count_restarts(status);
            }
            printed.read_containers(pod);
        }
        if pod.deletion_timestamp().is_some() {
            if pod.str_at(&["status", "reason"]) == "NodeLost" {
                "Unknown".clone_into(&mut printed.reason);
            } else if !is_terminal(pod) {
                "Terminating".clone_into(&mut printed.reason);
            }
        }
        printed
    }

    /// Looks at init containers up to the first that has not done its part; whether there is one.
    fn read_init_containers(&mut self, pod: &Object, sidecars: &HashMap<&str, bool>) -> bool {
        let total = list(pod, &["spec", "initContainers"]).len();
        for (index, status) in statuses(pod, "initContainerStatuses").enumerate() {
            self.count_restarts(status);
            match State::of(status) {
                State::Terminated { success: true, .. } => continue,
                _ if is_sidecar(sidecars, status) && status["started"] == true => {
                    self.ready += usize::from(status["ready"] == true);
                    continue;
                }
                State::Terminated { reason, .. } => self.reason = format!("Init:{reason}"),
                State::Waiting(reason) if !matches!(reason, "" | "PodInitializing") => {
                    self.reason = format!("Init:{reason}");
                }
                _ => self.reason = format!("Init:{index}/{total}"),
            }
            return true;
        }
        false
    }

    fn read_containers(&mut self, pod: &Object) {
        let mut running = false;
        for status in statuses(pod, "containerStatuses").rev() {
            self.count_restarts(status);
            match State::of(status) {
                State::Waiting(reason) if !reason.is_empty() => reason.clone_into(&mut self.reason),
                State::Terminated { reason, .. } => self.reason = reason,
                State::Running if status["ready"] == true => {
                    running = true;
                    self.ready += 1;
                }
                _ => (),
            }
        }
        if self.reason == "Completed" && running {
            if is_ready(pod) { "Running" } else { "NotReady" }.clone_into(&mut self.reason);
        }
    }

    fn count_restarts(&mut self, status: &Value) {
        self.restarts += status["restartCount"].as_i64().unwrap_or(0);
        let ended =
            status["lastState"]["terminated"]["finishedAt"].as_str().and_then(|time| time.parse().ok());
        self.last_restart = self.last_restart.max(ended);
    }

    fn restarts(&self, now: Timestamp) -> String {
        match self.last_restart {
            Some(last) if self.restarts > 0 => {
                let ago = age::human_duration(now.duration_since(last).as_secs());
                format!("{} ({ago} ago)", self.restarts)
            }
            _ => self.restarts.to_string(),
        }
    }
}

// === impl State ===

impl<'a> State<'a> {
    fn of(status: &'a Value) -> State<'a> {
        let state = &status["state"];
        if state["waiting"].is_object() {
            return State::Waiting(state["waiting"]["reason"].as_str().unwrap_or_default());
        }
        let ended = &state["terminated"];
        if ended.is_object() {
            let number = |field: &str| ended[field].as_i64().unwrap_or(0);
            let reason = match (ended["reason"].as_str().unwrap_or_default(), number("signal")) {
                ("", 0) => format!("ExitCode:{}", number("exitCode")),
                ("", signal) => format!("Signal:{signal}"),
                (reason, _) => reason.to_owned(),
            };
            return State::Terminated { reason, success: number("exitCode") == 0 };
        }
        if state["running"].is_object() { State::Running } else { State::Unknown }
    }
}

fn is_gated(pod: &Object) -> bool {
    let conditions = list(pod, &["status", "conditions"]);
    conditions.iter().any(|one| one["type"] == "PodScheduled" && one["reason"] == "SchedulingGated")
}

/// The init containers, and whether each keeps running beside the containers.
fn sidecars(pod: &Object) -> HashMap<&str, bool> {
    let containers = list(pod, &["spec", "initContainers"]).iter();
    containers
        .map(|one| (one["name"].as_str().unwrap_or_default(), one["restartPolicy"] == "Always"))
        .collect()
}

fn is_sidecar(sidecars: &HashMap<&str, bool>, status: &Value) -> bool {
    status["name"].as_str().and_then(|name| sidecars.get(name)).copied().unwrap_or(false)
}

fn statuses<'a>(pod: &'a Object, field: &str) -> std::slice::Iter<'a, Value> {
    list(pod, &["status", field]).iter()
}
