//! Pods whose claims wait for a node, and what changes of claims and volumes mean for pods that wait.
//!
//! ```text
//!  decided ──> the claims are told the node ──> (the volume controller) ──> the claims have volumes ──> decided, bound
//!                                      └ the node cannot have them: it is taken back, and another is chosen
//! ```

use super::*;

/// Attempts after which people are told what the pod waits for: some seconds, in which a volume is made as a rule.
const PATIENT: u32 = 3;

impl Scheduler {
    /// Takes in a claim, a volume or a class.
    pub(super) fn put_storage(&mut self, item: &Item, now: Instant) {
        let concerned = self.volumes.put(item);
        self.look_again(concerned, now);
    }

    /// Takes one out.
    pub(super) fn remove_storage(&mut self, key: &Key, now: Instant) {
        let concerned = self.volumes.remove(key);
        self.look_again(concerned, now);
    }

    fn look_again(&mut self, pods: Vec<Item>, now: Instant) {
        pods.iter().for_each(|pod| self.put_pod(pod, now));
    }

    /// Whether the pod must wait for its claims; those that have no node yet are told this one. A word that does not
    /// arrive is said again after the pod's pause.
    pub(super) fn waits_for_volumes(
        &mut self,
        pod: &mut Waiting,
        node: NodeId,
        now: Instant,
        time: Timestamp,
    ) -> bool {
        let Some(needs) = pod.shape.volumes.clone().filter(|needs| needs.waits()) else { return false };
        let name = self.view.nodes().name(node).clone();
        for write in self.volumes.select(&needs, &name) {
            debug!(key = %pod.key, node = %name, "its claims are told the node");
            self.outbox.select(write);
        }
        if pod.attempts > PATIENT {
            let claims: Vec<&str> = needs.delayed.iter().map(|one| one.claim.name()).collect();
            let message =
                format!("waiting for volumes on node {name:?} for its claims: {}", claims.join(", "));
            self.tell_why(pod, message, now, time);
        }
        true
    }
}
