//! Where a pod waits, and what makes it move.

use std::time::Duration;

use model::Key;
use tokio::time::Instant;

use super::{BLOCKED_LONGEST, CONFLICT_PAUSE, EARLY_MAX, Hold, Lengths, Queue, WAKE_TOGETHER, Waiting};
use crate::observe::Shape;
use crate::observe::shape::{Needs, Shapes};

struct Bench {
    queue: Queue,
    shapes: Shapes,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Bench { queue: Queue::default(), shapes: Shapes::default(), now: Instant::now() }
    }

    fn shape(&mut self, cpu: i64) -> Shape {
        self.shapes.intern(Needs { likely_cpu: cpu, ..Needs::default() })
    }

    fn pod(&mut self, name: &str, cpu: i64, priority: i32) -> Waiting {
        let key = Key::object("", "pods", "default", name);
        let shape = self.shape(cpu);
        Waiting::new(key, name.to_owned(), shape, priority, self.now)
    }

    fn put(&mut self, name: &str, cpu: i64, priority: i32) {
        let pod = self.pod(name, cpu, priority);
        self.queue.put(pod, None, self.now);
    }

    /// Takes a pod and counts the attempt.
    fn take(&mut self) -> Option<Waiting> {
        let mut pod = self.queue.take(self.now)?;
        pod.attempts += 1;
        Some(pod)
    }

    fn take_name(&mut self) -> Option<String> {
        self.take().map(|pod| pod.key.name().to_owned())
    }

    fn block_next(&mut self) {
        let pod = self.take().expect("a pod is active");
        self.queue.block(pod, self.now);
    }

    fn wake(&mut self, cpu: i64) {
        let shape = self.shape(cpu);
        self.queue.wake(|one| *one == shape, self.now);
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

fn lengths(active: usize, backoff: usize, blocked: usize, gated: usize) -> Lengths {
    Lengths { active, backoff, blocked, gated, elsewhere: 0 }
}

#[test]
fn pods_leave_by_priority_and_then_by_arrival() {
    let mut bench = Bench::new();
    bench.put("first", 1, 0);
    bench.put("urgent", 1, 9);
    bench.put("second", 1, 0);
    let order: Vec<_> = std::iter::from_fn(|| bench.take_name()).collect();
    assert_eq!(order, ["urgent", "first", "second"]);
}

#[test]
fn a_blocked_pod_comes_back_when_a_node_suits_its_shape_and_not_before() {
    let mut bench = Bench::new();
    bench.put("small", 1, 0);
    bench.put("large", 9, 0);
    bench.block_next();
    bench.block_next();
    bench.pass(60);
    assert_eq!(bench.take_name(), None);
    bench.wake(1);
    assert_eq!((bench.take_name(), bench.take_name()), (Some("small".to_owned()), None));
}

#[test]
fn a_pod_that_is_woken_too_soon_pauses_and_longer_each_time() {
    let mut bench = Bench::new();
    // A crowd, which must wait.
    for index in 0..=EARLY_MAX {
        bench.put(&format!("{index:03}"), 1, 0);
    }
    for _ in 0..=EARLY_MAX {
        bench.block_next();
    }
    for pause in [1, 2, 4, 8, 10, 10] {
        for _ in 0..EARLY_MAX.div_ceil(WAKE_TOGETHER) + 1 {
            bench.wake(1);
        }
        assert_eq!(bench.queue.lengths(), lengths(0, EARLY_MAX + 1, 0, 0));
        assert_eq!(bench.queue.next_due(), Some(bench.now + Duration::from_secs(pause)));
        assert!(bench.take().is_none() && !bench.queue.has_next(bench.now));
        bench.pass(pause);
        assert!(bench.queue.has_next(bench.now));
        for _ in 0..=EARLY_MAX {
            bench.block_next();
        }
    }
}

#[test]
fn a_few_pods_need_not_wait_for_the_end_of_their_pause_while_nothing_else_is_to_be_done() {
    let mut bench = Bench::new();
    bench.put("a", 1, 0);
    bench.block_next();
    bench.wake(1);
    assert_eq!(bench.queue.lengths(), lengths(0, 1, 0, 0));
    bench.put("new", 2, 0);
    assert_eq!((bench.take_name(), bench.take_name()), (Some("new".to_owned()), Some("a".to_owned())));
}

#[test]
fn a_refused_pod_pauses_even_if_nothing_else_is_to_be_done() {
    let mut bench = Bench::new();
    bench.put("a", 1, 0);
    let pod = bench.take().expect("it is active");
    bench.queue.retry(pod, bench.now);
    assert!(bench.take().is_none() && !bench.queue.has_next(bench.now));
    bench.pass(1);
    assert!(bench.queue.has_next(bench.now));
    assert_eq!(bench.take_name(), Some("a".to_owned()));
}

#[test]
fn of_a_crowd_only_some_are_woken_and_each_that_finds_its_place_wakes_more() {
    let mut bench = Bench::new();
    for index in 0..3 * WAKE_TOGETHER {
        bench.put(&format!("{index:03}"), 1, 0);
    }
    for _ in 0..3 * WAKE_TOGETHER {
        bench.block_next();
    }
    bench.pass(60);
    bench.wake(1);
    assert_eq!(bench.queue.lengths(), lengths(WAKE_TOGETHER, 0, 2 * WAKE_TOGETHER, 0));
    let placed = bench.take().expect("a pod is active");
    bench.queue.settled(&placed, bench.now);
    assert_eq!(bench.queue.lengths(), lengths(2 * WAKE_TOGETHER - 1, 0, WAKE_TOGETHER, 0));
    // One that was woken and is deleted passes the call on, too.
    let key = Key::object("", "pods", "default", "001");
    bench.queue.remove(&key, bench.now);
    assert_eq!(bench.queue.lengths(), lengths(3 * WAKE_TOGETHER - 2, 0, 0, 0));
}

#[test]
fn a_gated_pod_waits_for_its_gates_and_counts_its_time_from_then_on() {
    let mut bench = Bench::new();
    let gated = bench.pod("a", 1, 0);
    bench.queue.put(gated, Some(Hold::Gates), bench.now);
    assert_eq!((bench.queue.lengths(), bench.take_name()), (lengths(0, 0, 0, 1), None));
    bench.pass(100);
    bench.put("a", 1, 0);
    assert_eq!(bench.take().map(|pod| pod.since), Some(bench.now));
}

#[test]
fn only_a_change_that_concerns_scheduling_moves_a_pod() {
    let mut bench = Bench::new();
    bench.put("a", 1, 0);
    bench.block_next();
    bench.put("a", 1, 0);
    assert_eq!(bench.queue.lengths(), lengths(0, 0, 1, 0));
    bench.put("a", 2, 0);
    assert_eq!(bench.queue.lengths(), lengths(1, 0, 0, 0));
    let pod = bench.take().expect("it is active");
    assert_eq!(pod.attempts, 2, "it is the same pod still");
    bench.queue.retry(pod, bench.now);
    let reborn = Waiting { uid: "other".to_owned(), ..bench.pod("a", 2, 0) };
    bench.queue.put(reborn, None, bench.now);
    assert_eq!(bench.take().map(|pod| pod.attempts), Some(1), "a pod of the same name is another");
}

#[test]
fn a_pod_that_is_gone_leaves_whatever_line_it_is_in() {
    let mut bench = Bench::new();
    for name in ["active", "blocked", "paused"] {
        bench.put(name, 1, 0);
    }
    let active = bench.take().expect("active");
    bench.block_next();
    let paused = bench.take().expect("paused");
    bench.queue.retry(paused, bench.now);
    bench.queue.put(active, None, bench.now);
    assert_eq!(bench.queue.lengths(), lengths(1, 1, 1, 0));
    for name in ["active", "blocked", "paused"] {
        let key = Key::object("", "pods", "default", name);
        assert!(bench.queue.has(&key));
        bench.queue.remove(&key, bench.now);
    }
    assert_eq!((bench.queue.lengths(), bench.queue.next_due()), (Lengths::default(), None));
}

#[test]
fn nobody_is_blocked_for_ever() {
    let mut bench = Bench::new();
    bench.put("a", 1, 0);
    bench.block_next();
    assert_eq!(bench.queue.next_due(), Some(bench.now + BLOCKED_LONGEST));
    bench.now += BLOCKED_LONGEST;
    assert_eq!(bench.take_name(), Some("a".to_owned()));
}

#[test]
fn pods_are_divided_anew_when_replicas_come_and_go() {
    let mut bench = Bench::new();
    for name in ["a", "b", "c"] {
        bench.put(name, 1, 0);
    }
    bench.block_next();
    bench.queue.divide(|pod| pod.key.name() == "c", bench.now);
    assert_eq!(bench.queue.lengths(), Lengths { active: 1, elsewhere: 2, ..Lengths::default() });
    let gated = bench.pod("gated", 1, 0);
    bench.queue.put(gated, Some(Hold::Gates), bench.now);
    bench.queue.divide(|_| true, bench.now);
    assert_eq!(bench.queue.lengths(), lengths(3, 0, 0, 1));
    assert_eq!(bench.take().map(|pod| pod.attempts), Some(1), "its attempts here count still");
}

#[test]
fn a_pod_whose_node_the_binder_refused_is_tried_again_in_a_moment() {
    let mut bench = Bench::new();
    bench.put("a", 1, 0);
    for doublings in 0..3 {
        let pod = bench.take().expect("it is active");
        bench.queue.contend(pod, bench.now);
        assert!(bench.take().is_none());
        bench.now += CONFLICT_PAUSE * (1 << doublings);
    }
    assert_eq!(bench.take().map(|pod| pod.conflicts), Some(3));
}
