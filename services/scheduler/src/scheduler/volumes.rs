//! Pods whose claims wait for a node, and what changes of claims and volumes mean for pods that wait.
//!
//! ```text
//!  decided ──> the claims are told the node ──> (the volume controller) ──> the claims have volumes ──> decided, bound
//!                                      └ the node cannot have them: it is taken back, and another is chosen
//! ```

use super::*;

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
    pub(super) fn waits_for_volumes(&mut self, pod: &Waiting, node: NodeId) -> bool {
        let Some(needs) = pod.shape.volumes.as_ref().filter(|needs| needs.waits()) else { return false };
        let name = self.view.nodes().name(node);
        for write in self.volumes.select(needs, name) {
            debug!(key = %pod.key, node = %name, "its claims are told the node");
            self.outbox.select(write);
        }
        true
    }
}
