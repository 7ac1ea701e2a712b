//! What a replica makes of what it hears. Pure: the caller says what time it is.
//!
//! ```text
//!  Unknown ──look──> somebody leads ──> Follows ──silent, or nobody hears its probe──> Taking ──> Leads
//!     └────────────> nobody leads ───────────────────────────────────────────────────────^  │
//!                        Follows <── another was first, or has taken over ──────────────────┘
//! ```
//! A replica that dies takes its connection with it, so a probe tells within a second. One that hangs, or is cut off,
//! is found by its silence alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bus::command::Guard;
use bus::leader::{BEAT_SECONDS, Beat, SILENCE_SECONDS, Standing as Told};
use model::Revision;
use tokio::time::Instant;

use super::{Leader, Standing};

const BEAT_EVERY: Duration = Duration::from_secs(BEAT_SECONDS);
/// A replica whose beat is so late is probed.
const LATE: Duration = Duration::from_secs(BEAT_SECONDS + 1);
/// A replica that is silent for so long is taken to be gone, if probes go unanswered too.
const SILENCE: Duration = Duration::from_secs(SILENCE_SECONDS);
/// Between probes that nobody hears: longer than a client takes to be connected again after a restart of the bus.
const PROBE_AGAIN: Duration = Duration::from_millis(500);
/// Probes in vain until a replica is taken to be gone.
const DOUBTS: u32 = 2;
/// After a question that no API server answered.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Do {
    /// Ask who leads.
    Look,
    /// Ask to lead, in the place of who has led in this term.
    Take(u64),
    /// Ask a replica whether it lives.
    Probe(String),
    /// Tell the others that we live; whether we would like to hear of them.
    Tell(bool),
}

/// What became of a probe.
#[derive(Clone, Debug)]
pub enum Probed {
    /// It lives.
    Lives(Beat),
    /// Nobody listens there.
    Unheard,
    /// No answer in time.
    Silent,
    /// We have no connection ourselves.
    CutOff,
}

/// A replica that stands for a role.
#[derive(Debug)]
pub struct Candidate {
    me: String,
    group: String,
    state: State,
    peers: BTreeMap<String, Peer>,
    next_beat: Instant,
    /// Whether a question to the API servers is under way.
    asking: bool,
    /// When to ask who leads, if that is to be asked.
    look_at: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// Who leads is not known.
    Unknown,
    /// Another replica leads.
    Follows { holder: String, term: u64 },
    /// We have asked to lead.
    Taking,
    /// We lead.
    Leads { guard: Arc<Guard>, term: u64 },
}

/// Another replica.
#[derive(Debug)]
struct Peer {
    group: String,
    heard: Instant,
    /// Probes in vain since then, and how many of them nobody heard.
    doubts: u32,
    unheard: u32,
    probe_at: Instant,
    probing: bool,
}

// === impl Candidate: what comes in ===

impl Candidate {
    /// A replica that knows nothing yet.
    pub fn new(me: String, group: String, now: Instant) -> Self {
        Candidate {
            me,
            group,
            state: State::Unknown,
            peers: BTreeMap::new(),
            next_beat: now,
            asking: false,
            look_at: Some(now),
        }
    }

    /// A replica lives.
    pub fn heard(&mut self, beat: &Beat, now: Instant) -> Vec<Do> {
        if beat.holder == self.me {
            return Vec::new();
        }
        if beat.leaving {
            return self.lost(&beat.holder);
        }
        let mut todo = Vec::new();
        let known = self.peers.contains_key(&beat.holder);
        self.peers.insert(beat.holder.clone(), Peer::heard(&beat.group, now));
        if let Some(term) = beat.term.filter(|term| *term > self.term()) {
            self.state = State::Follows { holder: beat.holder.clone(), term };
            self.look_at = None;
        }
        if beat.asks || !known {
            todo.push(Do::Tell(false));
        }
        todo
    }

    /// The API servers' answer to [`Do::Look`] or [`Do::Take`]; none if there was none.
    pub fn told(&mut self, role: &str, told: Option<Told>, now: Instant) -> Vec<Do> {
        self.asking = false;
        let Some(told) = told else {
            if matches!(self.state, State::Taking) {
                // It may have been taken for us.
                self.state = State::Unknown;
            }
            self.look_at = Some(now + ASK_AGAIN);
            return Vec::new();
        };
        self.look_at = None;
        if told.term < self.term() {
            // It was so; we know of a later leader.
            return Vec::new();
        }
        if !told.fences.is_empty() {
            let guard = Guard { role: role.to_owned(), fences: told.fences };
            self.state = State::Leads { guard: Arc::new(guard), term: told.term };
            return vec![Do::Tell(false)];
        }
        match &self.state {
            State::Leads { term, .. } if *term == told.term => Vec::new(),
            _ if told.holder.is_empty() || told.holder == self.me => self.take(told.term),
            _ => {
                let holder = told.holder.clone();
                self.peers.entry(holder.clone()).or_insert_with(|| Peer::unheard(now));
                self.state = State::Follows { holder, term: told.term };
                Vec::new()
            }
        }
    }

    /// What became of [`Do::Probe`].
    pub fn probed(&mut self, replica: &str, probed: &Probed, now: Instant) -> Vec<Do> {
        if let Probed::Lives(beat) = probed {
            return self.heard(beat, now);
        }
        let Some(peer) = self.peers.get_mut(replica) else { return Vec::new() };
        peer.probing = false;
        peer.probe_at = now + PROBE_AGAIN;
        match probed {
            Probed::Unheard => (peer.unheard, peer.doubts) = (peer.unheard + 1, peer.doubts + 1),
            Probed::Silent => peer.doubts += 1,
            // What we do not hear then says nothing of others.
            Probed::CutOff | Probed::Lives(_) => {}
        }
        match peer.is_gone(now) {
            true => self.lost(replica),
            false => Vec::new(),
        }
    }

    /// A write of ours was refused for its guard.
    pub fn doubted(&mut self, now: Instant) {
        if matches!(self.state, State::Leads { .. }) {
            self.look_at = Some(now);
        }
    }

    /// What is due.
    pub fn tick(&mut self, now: Instant) -> Vec<Do> {
        let mut todo = Vec::new();
        if self.next_beat <= now {
            let first = self.peers.is_empty() && matches!(self.state, State::Unknown);
            todo.push(Do::Tell(first));
            self.next_beat = now + BEAT_EVERY;
        }
        if self.look_at.is_some_and(|at| at <= now) && !self.asking {
            self.look_at = None;
            self.asking = true;
            todo.push(Do::Look);
        }
        let gone: Vec<String> =
            self.peers.iter().filter(|(_, peer)| peer.is_gone(now)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            todo.extend(self.lost(&name));
        }
        for (name, peer) in &mut self.peers {
            if peer.probe_at <= now && !peer.probing {
                peer.probing = true;
                todo.push(Do::Probe(name.clone()));
            }
        }
        todo
    }

    /// A replica is gone; if it led, somebody else must.
    fn lost(&mut self, replica: &str) -> Vec<Do> {
        self.peers.remove(replica);
        match &self.state {
            State::Follows { holder, term } if holder == replica => {
                let term = *term;
                self.take(term)
            }
            _ => Vec::new(),
        }
    }

    fn take(&mut self, over: u64) -> Vec<Do> {
        self.state = State::Taking;
        self.asking = true;
        vec![Do::Take(over)]
    }
}

// === impl Candidate: what it knows ===

impl Candidate {
    /// When [`Candidate::tick`] has something to do.
    pub fn next_due(&self) -> Instant {
        let looks = self.look_at.filter(|_| !self.asking);
        // A probe that is under way ends by itself.
        let probes = self.peers.values().filter(|peer| !peer.probing).map(|peer| peer.probe_at);
        probes.chain(looks).fold(self.next_beat, Instant::min)
    }

    /// Our sign of life.
    pub fn beat(&self, asks: bool, leaving: bool) -> Beat {
        Beat { holder: self.me.clone(), group: self.group.clone(), term: self.led_term(), leaving, asks }
    }

    /// The term in which we lead.
    pub fn led_term(&self) -> Option<u64> {
        match &self.state {
            State::Leads { term, .. } => Some(*term),
            _ => None,
        }
    }

    /// Who leads and who lives.
    pub fn standing(&self) -> Standing {
        let (leader, guard) = match &self.state {
            State::Leads { guard, .. } => {
                let since = Revision(guard.newest());
                (Some(Leader { holder: self.me.clone(), since }), Some(guard.clone()))
            }
            State::Follows { holder, term } => {
                (Some(Leader { holder: holder.clone(), since: Revision(*term) }), None)
            }
            State::Unknown | State::Taking => (None, None),
        };
        let ours = self.peers.iter().filter(|(_, peer)| peer.group == self.group);
        let members: BTreeSet<String> = ours.map(|(name, _)| name.clone()).chain([self.me.clone()]).collect();
        Standing { me: self.me.clone(), leader, guard, members: Arc::new(members) }
    }

    fn term(&self) -> u64 {
        match &self.state {
            State::Leads { term, .. } | State::Follows { term, .. } => *term,
            State::Unknown | State::Taking => 0,
        }
    }
}

// === impl Peer ===

impl Peer {
    fn heard(group: &str, now: Instant) -> Peer {
        Peer {
            group: group.to_owned(),
            heard: now,
            doubts: 0,
            unheard: 0,
            probe_at: now + LATE,
            probing: false,
        }
    }

    /// One that leads, as the API servers say, and that we have never heard of: it may be gone since long.
    fn unheard(now: Instant) -> Peer {
        Peer { group: NO_GROUP.to_owned(), probe_at: now, ..Peer::heard("", now) }
    }

    fn is_gone(&self, now: Instant) -> bool {
        self.unheard >= DOUBTS || self.doubts >= DOUBTS && self.heard + SILENCE <= now
    }
}

/// Whether it shares our work is not known yet.
const NO_GROUP: &str = "?";

#[cfg(test)]
mod tests;
