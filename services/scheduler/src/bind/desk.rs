//! Where proposals of other replicas are taken in, and answered when each of a request has its answer.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bus::proposal::{Answer, Answers, Proposal};
use tokio::time::Instant;

/// The place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    request: u64,
    index: usize,
}

/// A proposal about something that our view does not show yet.
#[derive(Debug)]
pub struct Early {
    /// Where its answer goes.
    pub ticket: Ticket,
    /// The proposal.
    pub proposal: Proposal,
    /// Until when it waits.
    pub until: Instant,
}

/// Requests that are not answered yet.
#[derive(Debug, Default)]
pub struct Desk {
    open: HashMap<u64, Open>,
    early: VecDeque<Early>,
    answered: Vec<(u64, Answers)>,
}

#[derive(Debug)]
struct Open {
    answers: Vec<Option<Answer>>,
    missing: usize,
}

/// Requests that may be open: eight from each of a dozen replicas. More are turned away, and come again.
const OPEN_MAX: usize = 96;
/// A view that is behind the proposer's by more than this has other troubles.
pub const EARLY_LONGEST: Duration = Duration::from_secs(1);

// === impl Desk ===

impl Desk {
    /// Takes in a request; where the answer to each of its proposals goes, or none if too many are open.
    pub fn open(&mut self, request: u64, count: usize) -> Option<impl Iterator<Item = Ticket> + use<>> {
        if self.open.len() >= OPEN_MAX || count == 0 {
            return None;
        }
        self.open.insert(request, Open { answers: vec![None; count], missing: count });
        Some((0..count).map(move |index| Ticket { request, index }))
    }

    /// Answers a proposal. What nobody waits for any more is passed over.
    pub fn answer(&mut self, ticket: Ticket, answer: Answer) {
        let Some(open) = self.open.get_mut(&ticket.request) else { return };
        if open.answers[ticket.index].replace(answer).is_none() {
            open.missing -= 1;
        }
        if open.missing == 0
            && let Some(open) = self.open.remove(&ticket.request)
        {
            self.answered
                .push((ticket.request, Answers { answers: open.answers.into_iter().flatten().collect() }));
        }
    }

    /// Refuses a proposal.
    pub fn refuse(&mut self, ticket: Ticket, by: &str) {
        self.answer(ticket, Answer::Refused { by: by.to_owned() });
    }

    /// Refuses a whole request.
    pub fn turn_away(&mut self, request: u64, count: usize, by: &str) {
        let answers = vec![Answer::Refused { by: by.to_owned() }; count];
        self.answered.push((request, Answers { answers }));
    }

    /// Keeps a proposal until the view has come further, or until then.
    pub fn keep(&mut self, ticket: Ticket, proposal: Proposal, until: Instant) {
        self.early.push_back(Early { ticket, proposal, until });
    }

    /// The proposals that waited for the view.
    pub fn take_early(&mut self) -> VecDeque<Early> {
        std::mem::take(&mut self.early)
    }

    /// When the first of them has waited for too long.
    pub fn next_due(&self) -> Option<Instant> {
        self.early.front().map(|early| early.until)
    }

    /// Answers whatever has no answer yet: we do not bind any more.
    pub fn close(&mut self, answer: &Answer) {
        self.early.clear();
        for (request, open) in self.open.drain() {
            let answers = open.answers.into_iter().map(|one| one.unwrap_or_else(|| answer.clone())).collect();
            self.answered.push((request, Answers { answers }));
        }
    }

    /// Requests whose answers are complete.
    pub fn take_answered(&mut self) -> Vec<(u64, Answers)> {
        std::mem::take(&mut self.answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered_when_its_last_proposal_is_and_in_order() {
        let mut desk = Desk::default();
        let tickets: Vec<Ticket> = desk.open(7, 2).expect("there is room").collect();
        desk.refuse(tickets[1], "node-gone");
        assert!(desk.take_answered().is_empty());
        desk.answer(tickets[0], Answer::Bound);
        let answered = desk.take_answered();
        assert_eq!(answered.len(), 1);
        let refused = Answer::Refused { by: "node-gone".to_owned() };
        assert_eq!((answered[0].0, &answered[0].1.answers), (7, &vec![Answer::Bound, refused]));
        desk.answer(tickets[0], Answer::Bound);
        assert!(desk.take_answered().is_empty(), "nobody waits for it any more");
    }

    #[test]
    fn a_desk_that_closes_leaves_nobody_waiting() {
        let mut desk = Desk::default();
        let tickets: Vec<Ticket> = desk.open(7, 2).expect("there is room").collect();
        desk.answer(tickets[0], Answer::Bound);
        let gone = Answer::Refused { by: "not-binder".to_owned() };
        desk.close(&gone);
        assert_eq!(desk.take_answered()[0].1.answers, [Answer::Bound, gone]);
        for request in 0..OPEN_MAX as u64 {
            assert!(desk.open(request, 1).is_some());
        }
        assert!(desk.open(1_000, 1).is_none());
    }
}
