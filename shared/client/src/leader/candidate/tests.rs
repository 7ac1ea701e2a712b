use model::Class;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    candidate: Candidate,
    now: Instant,
}

fn told(holder: &str, term: u64) -> Option<Told> {
    Some(Told { holder: holder.to_owned(), term, fences: Vec::new() })
}

fn taken(term: u64) -> Option<Told> {
    Some(Told { holder: "me".to_owned(), term, fences: vec![(Class::Rest, term), (Class::Pods, term + 1)] })
}

fn beat(holder: &str, term: Option<u64>) -> Beat {
    Beat { holder: holder.to_owned(), group: String::new(), term, leaving: false, asks: false }
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let mut candidate = Candidate::new("me".to_owned(), String::new(), now);
        assert_eq!(candidate.tick(now), [Do::Tell(true), Do::Look]);
        Bench { candidate, now }
    }

    /// Follows the replica "leader" of that term.
    fn following(term: u64) -> Self {
        let mut bench = Bench::new();
        assert_eq!(bench.told(told("leader", term)), []);
        assert_eq!(bench.leader().as_deref(), Some("leader"));
        assert_eq!(bench.tick(), [Do::Probe("leader".to_owned())]);
        bench.heard(beat("leader", Some(term)));
        bench
    }

    fn told(&mut self, told: Option<Told>) -> Vec<Do> {
        self.candidate.told("role", told, self.now)
    }

    fn heard(&mut self, beat: Beat) -> Vec<Do> {
        self.candidate.heard(&beat, self.now)
    }

    fn probed(&mut self, probed: Probed) -> Vec<Do> {
        self.candidate.probed("leader", &probed, self.now)
    }

    /// What is due, but for telling that we live.
    fn tick(&mut self) -> Vec<Do> {
        let mut todo = self.candidate.tick(self.now);
        todo.retain(|one| !matches!(one, Do::Tell(_)));
        todo
    }

    fn pass(&mut self, time: Duration) -> Vec<Do> {
        self.now += time;
        self.tick()
    }

    fn leader(&self) -> Option<String> {
        self.candidate.standing().leader.map(|leader| leader.holder)
    }
}

#[test]
fn where_nobody_leads_the_first_takes_the_role_and_its_guard_has_every_fence() {
    let mut bench = Bench::new();
    assert_eq!(bench.told(told("", 0)), [Do::Take(0)]);
    assert_eq!(bench.leader(), None);
    assert_eq!(bench.told(taken(7)), [Do::Tell(false)]);
    let standing = bench.candidate.standing();
    assert!(standing.leads());
    assert_eq!(standing.leader.map(|leader| leader.since), Some(Revision(8)));
    assert_eq!(standing.guard.expect("a guard").fences, [(Class::Rest, 7), (Class::Pods, 8)]);
}

#[test]
fn a_leader_that_tells_that_it_lives_is_left_alone() {
    let mut bench = Bench::following(5);
    for _ in 0..20 {
        assert_eq!(bench.pass(2 * SECOND), []);
        bench.heard(beat("leader", Some(5)));
    }
    assert_eq!(bench.leader().as_deref(), Some("leader"));
}

#[test]
fn a_dead_leader_is_found_by_probes_that_nobody_hears_and_a_silent_one_after_six_seconds() {
    let mut bench = Bench::following(5);
    assert_eq!(bench.pass(3 * SECOND), [Do::Probe("leader".to_owned())]);
    assert_eq!(bench.probed(Probed::Unheard), [], "the bus may have been started anew");
    assert_eq!(bench.pass(PROBE_AGAIN), [Do::Probe("leader".to_owned())]);
    assert_eq!(bench.probed(Probed::Unheard), [Do::Take(5)]);

    let mut bench = Bench::following(5);
    assert_eq!(bench.pass(3 * SECOND), [Do::Probe("leader".to_owned())]);
    bench.now += SECOND;
    assert_eq!(bench.probed(Probed::Silent), []);
    assert_eq!(bench.pass(PROBE_AGAIN), [Do::Probe("leader".to_owned())]);
    bench.now += SECOND;
    assert_eq!(bench.probed(Probed::Silent), []);
    assert_eq!(bench.pass(PROBE_AGAIN), [Do::Take(5)]);
}

#[test]
fn who_is_cut_off_itself_takes_nothing_over() {
    let mut bench = Bench::following(5);
    bench.pass(3 * SECOND);
    for _ in 0..100 {
        assert_eq!(bench.probed(Probed::CutOff), []);
        assert_eq!(bench.pass(PROBE_AGAIN), [Do::Probe("leader".to_owned())]);
    }
    bench.probed(Probed::Lives(beat("leader", Some(5))));
    assert_eq!((bench.tick(), bench.leader().as_deref()), (vec![], Some("leader")));
}

#[test]
fn a_role_that_was_given_up_is_taken_at_once() {
    let mut bench = Bench::following(5);
    let leaving = Beat { leaving: true, ..beat("leader", None) };
    assert_eq!(bench.heard(leaving), [Do::Take(5)]);
    // It was given up in the log, which is another revision of the fence.
    assert_eq!(bench.told(told("", 6)), [Do::Take(6)]);
    assert_eq!(bench.told(taken(7)), [Do::Tell(false)]);
}

#[test]
fn who_is_second_follows_the_first() {
    let mut bench = Bench::following(5);
    bench.heard(Beat { leaving: true, ..beat("leader", None) });
    assert_eq!(bench.told(told("other", 6)), []);
    assert_eq!(bench.leader().as_deref(), Some("other"));
}

#[test]
fn a_leader_steps_down_when_it_hears_of_a_later_one_and_not_of_an_earlier() {
    let mut bench = Bench::new();
    bench.told(told("", 0));
    bench.told(taken(7));
    bench.heard(beat("earlier", Some(3)));
    assert!(bench.candidate.standing().leads());
    bench.heard(beat("later", Some(9)));
    assert_eq!((bench.leader().as_deref(), bench.candidate.led_term()), (Some("later"), None));
}

#[test]
fn a_refused_write_makes_a_leader_ask() {
    let mut bench = Bench::new();
    bench.told(told("", 0));
    bench.told(taken(7));
    bench.candidate.doubted(bench.now);
    assert_eq!(bench.tick(), [Do::Look]);
    assert_eq!(bench.told(told("later", 9)), []);
    assert_eq!(bench.leader().as_deref(), Some("later"));
}

#[test]
fn an_answer_that_was_lost_is_asked_for_again_and_may_say_that_we_lead() {
    let mut bench = Bench::new();
    bench.told(told("", 0));
    assert_eq!(bench.told(None), []);
    assert_eq!(bench.pass(ASK_AGAIN), [Do::Look]);
    // All fences are taken anew: whether the others were is not known.
    assert_eq!(bench.told(told("me", 7)), [Do::Take(7)]);
}

#[test]
fn members_are_the_living_of_our_group() {
    let mut bench = Bench::following(5);
    let known = bench.heard(beat("other", None));
    assert_eq!(known, [Do::Tell(false)], "a new one hears of us at once");
    bench.heard(Beat { group: "another".to_owned(), ..beat("stranger", None) });
    let members = bench.candidate.standing().members;
    assert_eq!(members.iter().map(String::as_str).collect::<Vec<_>>(), ["leader", "me", "other"]);
    bench.heard(Beat { leaving: true, ..beat("other", None) });
    assert_eq!(bench.candidate.standing().members.len(), 2);
}
