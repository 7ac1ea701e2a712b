//! What is still to be told. The newest status of a pod takes the place of an older one that was not taken yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bus::node::{PodReport, Report, ReportReply, VolumeReport};
use bytes::Bytes;
use model::Reason;
use tokio::sync::Notify;
use tracing::{debug, warn};

/// Bytes of one report; larger frames delay what shares the connection. A larger status travels alone.
const REPORT_BYTES: usize = 256 * 1024;
/// Events that wait while nobody takes them; older ones give way, as they are of the least use.
const EVENTS_MAX: usize = 1000;

/// A clonable handle to what is to be told.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    waiting: Arc<Mutex<Waiting>>,
    filled: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Waiting {
    node: Option<Bytes>,
    pods: BTreeMap<String, PodReport>,
    events: VecDeque<Bytes>,
    /// By uid.
    volumes: BTreeMap<String, VolumeReport>,
    dropped: u64,
}

// === impl Outbox ===

impl Outbox {
    /// The node, in place of an older form.
    pub fn node(&self, node: Bytes) {
        self.lock().node = Some(node);
        self.filled.notify_one();
    }

    /// A pod's status, in place of an older one.
    pub fn pod(&self, report: PodReport) {
        self.lock().pods.insert(report.uid.clone(), report);
        self.filled.notify_one();
    }

    /// A volume of which nothing is left.
    pub fn volume(&self, report: VolumeReport) {
        self.lock().volumes.insert(report.uid.clone(), report);
        self.filled.notify_one();
    }

    /// An event.
    pub fn event(&self, event: Bytes) {
        let mut waiting = self.lock();
        if waiting.events.len() == EVENTS_MAX {
            waiting.events.pop_front();
            waiting.dropped += 1;
            if waiting.dropped.is_power_of_two() {
                warn!(dropped = waiting.dropped, "events are dropped: nobody takes them");
            }
        }
        waiting.events.push_back(event);
        drop(waiting);
        self.filled.notify_one();
    }

    /// Waits until there is something to tell.
    pub async fn filled(&self) {
        loop {
            // Asked for before looking, so that nothing is missed in between.
            let filled = self.filled.notified();
            if !self.lock().is_empty() {
                return;
            }
            filled.await;
        }
    }

    /// Takes out as much as one report carries.
    pub fn take(&self) -> Report {
        let mut waiting = self.lock();
        let mut report = Report { node: waiting.node.take(), ..Default::default() };
        let mut bytes = report.node.as_ref().map_or(0, Bytes::len);
        while let Some((_, pod)) = waiting.pods.first_key_value() {
            bytes += size(pod);
            if bytes > REPORT_BYTES && (!report.pods.is_empty() || report.node.is_some()) {
                return report;
            }
            report.pods.extend(waiting.pods.pop_first().map(|(_, pod)| pod));
        }
        while let Some((_, volume)) = waiting.volumes.first_key_value() {
            bytes += NAMES + volume.name.len();
            if bytes > REPORT_BYTES {
                return report;
            }
            report.volumes.extend(waiting.volumes.pop_first().map(|(_, volume)| volume));
        }
        while let Some(event) = waiting.events.front() {
            bytes += event.len();
            if bytes > REPORT_BYTES && !report.events.is_empty() {
                return report;
            }
            report.events.extend(waiting.events.pop_front());
        }
        report
    }

    /// Nobody took the report: what there is nothing newer of is told again.
    pub fn put_back(&self, report: Report) {
        let mut waiting = self.lock();
        waiting.node = waiting.node.take().or(report.node);
        for pod in report.pods {
            waiting.pods.entry(pod.uid.clone()).or_insert(pod);
        }
        for volume in report.volumes {
            waiting.volumes.entry(volume.uid.clone()).or_insert(volume);
        }
        for event in report.events.into_iter().rev() {
            if waiting.events.len() < EVENTS_MAX {
                waiting.events.push_front(event);
            }
        }
    }

    /// The report was taken but for what the reply names. What can be right another time is told again.
    pub fn settle(&self, mut report: Report, reply: ReportReply) {
        let mut again = Report::default();
        if let Some(status) = reply.node {
            warn!("the node was refused: {status}");
            again.node = report.node.take().filter(|_| is_passing(status.reason));
        }
        let mut pods: Vec<Option<PodReport>> = report.pods.into_iter().map(Some).collect();
        for (index, status) in reply.pods {
            let Some(pod) = pods.get_mut(index).and_then(Option::take) else { continue };
            match is_passing(status.reason) {
                true => again.pods.push(pod),
                false => debug!(pod = pod.name, "its status was refused: {status}"),
            }
        }
        for (index, status) in reply.volumes {
            let Some(volume) = report.volumes.get(index) else { continue };
            match is_passing(status.reason) {
                true => again.volumes.push(volume.clone()),
                false => warn!(volume = volume.name, "its end was refused: {status}"),
            }
        }
        self.put_back(again);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Waiting ===

impl Waiting {
    fn is_empty(&self) -> bool {
        self.node.is_none() && self.pods.is_empty() && self.volumes.is_empty() && self.events.is_empty()
    }
}

/// What names and punctuation take, roughly.
const NAMES: usize = 128;

fn size(pod: &PodReport) -> usize {
    NAMES + pod.status.as_ref().map_or(0, Bytes::len)
}

fn is_passing(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Conflict
            | Reason::ServiceUnavailable
            | Reason::Timeout
            | Reason::TooManyRequests
            | Reason::InternalError
    )
}

#[cfg(test)]
mod tests {
    use model::Status;

    use super::*;

    fn pod(uid: &str, status: &str) -> PodReport {
        PodReport {
            namespace: "default".to_owned(),
            name: uid.to_owned(),
            uid: uid.to_owned(),
            status: Some(Bytes::copy_from_slice(status.as_bytes())),
            gone: false,
        }
    }

    fn statuses(report: &Report) -> Vec<String> {
        let text = |pod: &PodReport| String::from_utf8(pod.status.clone().unwrap().to_vec()).unwrap();
        report.pods.iter().map(text).collect()
    }

    #[test]
    fn the_newest_status_wins_also_over_one_that_comes_back() {
        let outbox = Outbox::default();
        outbox.pod(pod("a", "1"));
        outbox.pod(pod("a", "2"));
        let report = outbox.take();
        assert_eq!(statuses(&report), ["2"]);
        outbox.pod(pod("a", "3"));
        outbox.put_back(report);
        assert_eq!(statuses(&outbox.take()), ["3"]);
    }

    #[test]
    fn what_was_refused_for_now_is_told_again_and_the_rest_dropped() {
        let outbox = Outbox::default();
        for uid in ["a", "b", "c"] {
            outbox.pod(pod(uid, uid));
        }
        let report = outbox.take();
        let refusals =
            vec![(0, Status::not_found("", "pods", "a")), (2, Status::unavailable("the store is away"))];
        outbox.settle(report, ReportReply { pods: refusals, ..Default::default() });
        assert_eq!(statuses(&outbox.take()), ["c"]);
    }

    #[test]
    fn a_report_is_bounded_and_a_large_status_travels_all_the_same() {
        let outbox = Outbox::default();
        let large = "x".repeat(REPORT_BYTES + 1);
        outbox.pod(pod("a", &large));
        outbox.pod(pod("b", &large));
        assert_eq!(outbox.take().pods.len(), 1);
        assert_eq!(outbox.take().pods.len(), 1);
        assert!(outbox.lock().is_empty());
    }

    #[test]
    fn events_that_nobody_takes_give_way_to_newer_ones() {
        let outbox = Outbox::default();
        for number in 0..EVENTS_MAX + 5 {
            outbox.event(Bytes::from(number.to_string()));
        }
        let report = outbox.take();
        assert_eq!(report.events.len(), EVENTS_MAX);
        assert_eq!(report.events[0], Bytes::from("5"));
    }
}
