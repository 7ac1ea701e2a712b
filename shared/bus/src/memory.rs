//! A bus in memory, with faults from a seed, for tests and simulations.
//!
//! ```text
//!  Connection::publish ─> Shared: who listens? ─> inbox of each, due after a delay ─> Subscription::next
//!                              ^
//!  Plug (cut, notice, restore, pull) and Faults
//! ```
//! It promises what NATS does and no more: what one connection sends to another arrives in order, at most once, and
//! not at all while either is away; a group's members divide its messages; who asks where nobody listens is told so.
//! Time is tokio's, so a paused clock makes every delay free and, with one seed, every run the same.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::Bus;
use crate::connection::{BusError, SUBSCRIPTION_CAPACITY};
use crate::link::{Link, Message};

/// What may go wrong, and how often.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Longest time that a message takes; the time is drawn evenly from zero to this.
    pub delay: Duration,
    /// Chance that a message does not arrive.
    pub lost: f64,
}

/// A message that was handed to the bus, as those who look on see it.
#[derive(Debug)]
pub struct Passage<'a> {
    /// The connection that it came from.
    pub from: &'a str,
    /// Its subject.
    pub subject: &'a str,
    /// What it says.
    pub payload: &'a Bytes,
    /// How many it was sent on to.
    pub listeners: usize,
}

/// Looks on at every message.
pub type Onlooker = Box<dyn FnMut(&Passage<'_>) + Send>;

/// The bus. Clones are the same bus.
#[derive(Clone)]
pub struct MemoryBus(Arc<Shared>);

/// The cable of one connection, in the hand of who tests.
#[derive(Clone)]
pub struct Plug {
    bus: MemoryBus,
    id: u64,
}

/// One connection.
#[derive(Clone)]
pub struct Connection {
    bus: MemoryBus,
    id: u64,
}

/// What comes in on one subject.
pub struct Subscription {
    bus: MemoryBus,
    id: u64,
    inbox: Arc<Inbox>,
}

struct Shared {
    kept: Mutex<Kept>,
    /// Counts the times that a cable was cut, restored or pulled.
    plugged: watch::Sender<u64>,
}

struct Kept {
    random: StdRng,
    faults: Faults,
    ends: BTreeMap<u64, End>,
    interests: BTreeMap<u64, Interest>,
    /// When the newest message between two connections arrives: none overtakes it.
    newest: HashMap<(u64, u64), Instant>,
    given: u64,
    onlooker: Option<Onlooker>,
}

/// One end of the cable between a connection and the bus.
struct End {
    name: String,
    cable: Cable,
    /// What it said while it knew that the bus was away.
    unsent: VecDeque<Message>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cable {
    Whole,
    /// Nobody has noticed yet: what is sent is lost.
    Cut,
    /// Both sides know: the bus has forgotten who listened, and the connection keeps what it has to say.
    Noticed,
    /// The process is gone. What is left of it waits for ever and is heard by nobody.
    Pulled,
}

struct Interest {
    end: u64,
    subject: String,
    group: Option<String>,
    inbox: Arc<Inbox>,
}

#[derive(Default)]
struct Inbox {
    /// By arrival, and by the order in which they were sent among those that arrive together.
    messages: Mutex<BTreeMap<(Instant, u64), (u64, Message)>>,
    news: Notify,
}

/// Messages that a connection keeps while it knows that the bus is away; beyond that, who publishes waits.
const UNSENT: usize = 2048;

// === impl MemoryBus ===

impl MemoryBus {
    /// A bus that nobody is connected to.
    pub fn new(seed: u64, faults: Faults) -> Self {
        MemoryBus(Arc::new(Shared {
            kept: Mutex::new(Kept {
                random: StdRng::seed_from_u64(seed),
                faults,
                ends: BTreeMap::new(),
                interests: BTreeMap::new(),
                newest: HashMap::new(),
                given: 0,
                onlooker: None,
            }),
            plugged: watch::Sender::new(0),
        }))
    }

    /// Connects a process, which those who look on see under this name.
    pub fn connect(&self, name: &str) -> (Bus, Plug) {
        let id = {
            let mut kept = self.0.kept.lock();
            let id = kept.give();
            kept.ends.insert(id, End { name: name.to_owned(), cable: Cable::Whole, unsent: VecDeque::new() });
            id
        };
        let connection = Connection { bus: self.clone(), id };
        (Bus::over(Link::Memory(connection)), Plug { bus: self.clone(), id })
    }

    /// From now on, these faults.
    pub fn set_faults(&self, faults: Faults) {
        self.0.kept.lock().faults = faults;
    }

    /// From now on `onlooker` sees every message as it is sent. It must not use the bus itself.
    pub fn look_on(&self, onlooker: Onlooker) {
        self.0.kept.lock().onlooker = Some(onlooker);
    }

    fn changed(&self) {
        self.0.plugged.send_modify(|times| *times += 1);
    }

    /// Waits until the cable of a connection takes messages, in one way or the other; for ever if it was pulled.
    async fn until_it_takes(&self, id: u64) {
        let mut plugged = self.0.plugged.subscribe();
        while !self.0.kept.lock().takes(id) {
            plugged.changed().await.expect("the sender lives as long as the bus");
        }
    }
}

impl fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBus").finish_non_exhaustive()
    }
}

// === impl Plug ===

impl Plug {
    /// The cable is cut and nobody notices: what is under way, and what either side sends, is lost.
    pub fn cut(&self) {
        self.turn(Cable::Cut);
    }

    /// The cut is noticed on both sides, as it is when a server ends: what the connection says is kept from now on.
    pub fn notice(&self) {
        self.turn(Cable::Noticed);
    }

    /// The cable is whole again: subscriptions are there again, and what was kept is sent.
    pub fn restore(&self) {
        let unsent = self.turn(Cable::Whole);
        let mut kept = self.bus.0.kept.lock();
        for message in unsent {
            kept.route(self.id, message);
        }
    }

    /// The process at the other end is gone, at whichever await each of its tasks was.
    pub fn pull(&self) {
        self.turn(Cable::Pulled);
    }

    fn turn(&self, cable: Cable) -> VecDeque<Message> {
        let unsent = self.bus.0.kept.lock().turn(self.id, cable);
        self.bus.changed();
        unsent
    }
}

// === impl Connection ===

impl Connection {
    pub(crate) async fn publish(&self, message: Message) {
        self.bus.until_it_takes(self.id).await;
        self.bus.0.kept.lock().send(self.id, message);
    }

    pub(crate) async fn request(&self, message: Message, patience: Duration) -> Result<Bytes, BusError> {
        let inbox = self.new_inbox();
        let mut answers = self.subscribe(&inbox, None).await;
        let subject = message.subject.clone();
        let asking = async {
            self.publish(Message { reply: Some(inbox), ..message }).await;
            answers.next().await
        };
        match timeout(patience, asking).await {
            Ok(answer) if answer.is_unheard => Err(BusError::NoResponders(subject)),
            Ok(answer) => Ok(answer.payload),
            Err(_) => {
                // Who was killed while it waited does not learn that it waited in vain.
                self.until_alive().await;
                Err(BusError::TimedOut(subject))
            }
        }
    }

    pub(crate) async fn subscribe(&self, subject: &str, group: Option<&str>) -> Subscription {
        self.until_alive().await;
        let inbox = Arc::<Inbox>::default();
        let mut kept = self.bus.0.kept.lock();
        let id = kept.give();
        let interest = Interest {
            end: self.id,
            subject: subject.to_owned(),
            group: group.map(str::to_owned),
            inbox: inbox.clone(),
        };
        kept.interests.insert(id, interest);
        drop(kept);
        Subscription { bus: self.bus.clone(), id, inbox }
    }

    pub(crate) fn new_inbox(&self) -> String {
        format!("_INBOX.{}.{}", self.id, self.bus.0.kept.lock().give())
    }

    pub(crate) async fn flush(&self) {
        self.until_alive().await;
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.cable(), Cable::Whole | Cable::Cut)
    }

    fn cable(&self) -> Cable {
        self.bus.0.kept.lock().cable(self.id)
    }

    async fn until_alive(&self) {
        if self.cable() == Cable::Pulled {
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("id", &self.id).finish_non_exhaustive()
    }
}

// === impl Subscription ===

impl Subscription {
    pub(crate) async fn next(&mut self) -> Message {
        loop {
            let due = self.inbox.messages.lock().first_key_value().map(|((due, _), _)| *due);
            match due {
                None => self.inbox.news.notified().await,
                Some(due) if due <= Instant::now() => {
                    let first = self.inbox.messages.lock().pop_first();
                    let (_, (_, message)) = first.expect("only its owner takes messages out of an inbox");
                    return message;
                }
                // Another may come that is due earlier.
                Some(due) => tokio::select! {
                    biased;
                    () = self.inbox.news.notified() => {}
                    () = sleep_until(due) => {}
                },
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.bus.0.kept.lock().interests.remove(&self.id);
    }
}

// === impl Kept ===

impl Kept {
    fn give(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    fn cable(&self, id: u64) -> Cable {
        self.ends.get(&id).map_or(Cable::Pulled, |end| end.cable)
    }

    fn takes(&self, id: u64) -> bool {
        self.ends.get(&id).is_some_and(|end| match end.cable {
            Cable::Whole | Cable::Cut => true,
            Cable::Noticed => end.unsent.len() < UNSENT,
            Cable::Pulled => false,
        })
    }

    /// Changes a cable; returns what is to be sent now.
    fn turn(&mut self, id: u64, cable: Cable) -> VecDeque<Message> {
        let Some(end) = self.ends.get_mut(&id).filter(|end| end.cable != Cable::Pulled) else {
            return VecDeque::new();
        };
        end.cable = cable;
        let unsent = if cable == Cable::Noticed { VecDeque::new() } else { std::mem::take(&mut end.unsent) };
        match cable {
            Cable::Whole => return unsent,
            Cable::Cut | Cable::Noticed => self.lose_what_is_under_way(id),
            Cable::Pulled => {
                self.lose_what_is_under_way(id);
                for interest in self.interests.values().filter(|interest| interest.end == id) {
                    interest.inbox.messages.lock().clear();
                }
                self.interests.retain(|_, interest| interest.end != id);
            }
        }
        VecDeque::new()
    }

    fn lose_what_is_under_way(&mut self, id: u64) {
        let now = Instant::now();
        for interest in self.interests.values() {
            let mut messages = interest.inbox.messages.lock();
            messages.retain(|(due, _), (from, _)| *due <= now || (*from != id && interest.end != id));
        }
    }

    fn send(&mut self, from: u64, message: Message) {
        match self.cable(from) {
            Cable::Whole => self.route(from, message),
            Cable::Noticed => {
                if let Some(end) = self.ends.get_mut(&from) {
                    end.unsent.push_back(message);
                }
            }
            Cable::Cut | Cable::Pulled => {}
        }
    }

    fn route(&mut self, from: u64, message: Message) {
        let chosen = self.choose(&message.subject);
        self.tell_onlooker(from, &message, chosen.len());
        if chosen.is_empty()
            && let Some(reply) = &message.reply
        {
            let answer = Message {
                subject: reply.clone(),
                reply: None,
                headers: None,
                payload: Bytes::new(),
                is_unheard: true,
            };
            // The bus itself answers, over the cable of who asks.
            for to in self.choose(&answer.subject) {
                self.deliver(from, to, answer.clone());
            }
        }
        for to in chosen {
            self.deliver(from, to, message.clone());
        }
    }

    /// Who hears a message on `subject`: everybody without a group, and one of each group.
    fn choose(&mut self, subject: &str) -> Vec<u64> {
        let (mut chosen, mut groups) = (Vec::new(), BTreeMap::<&str, Vec<u64>>::new());
        for (id, interest) in &self.interests {
            let is_known = matches!(self.cable(interest.end), Cable::Whole | Cable::Cut);
            if is_known && matches(&interest.subject, subject) {
                match &interest.group {
                    None => chosen.push(*id),
                    Some(group) => groups.entry(group).or_default().push(*id),
                }
            }
        }
        let random = &mut self.random;
        chosen.extend(groups.values().map(|members| members[random.random_range(0..members.len())]));
        chosen
    }

    fn deliver(&mut self, from: u64, to: u64, message: Message) {
        let Some(end) = self.interests.get(&to).map(|interest| interest.end) else { return };
        let is_lost = self.faults.lost > 0.0 && self.random.random_bool(self.faults.lost);
        let delay = match self.faults.delay {
            Duration::ZERO => Duration::ZERO,
            longest => self.random.random_range(Duration::ZERO..=longest),
        };
        if is_lost || self.cable(end) != Cable::Whole {
            return;
        }
        let now = Instant::now();
        let newest = self.newest.entry((from, end)).or_insert(now);
        *newest = (*newest).max(now + delay);
        let due = *newest;
        let place = self.give();
        let inbox = &self.interests[&to].inbox;
        let mut messages = inbox.messages.lock();
        // Who does not read loses what comes, and holds nobody up.
        if messages.len() < SUBSCRIPTION_CAPACITY {
            messages.insert((due, place), (from, message));
            inbox.news.notify_one();
        }
    }

    fn tell_onlooker(&mut self, from: u64, message: &Message, listeners: usize) {
        if let Some(onlooker) = &mut self.onlooker {
            let from = self.ends.get(&from).map_or("", |end| &end.name);
            onlooker(&Passage { from, subject: &message.subject, payload: &message.payload, listeners });
        }
    }
}

/// Whether a subject is one of those that a pattern means: `*` is any token, `>` at the end one or more of them.
fn matches(pattern: &str, subject: &str) -> bool {
    let (mut patterns, mut tokens) = (pattern.split('.'), subject.split('.'));
    loop {
        match (patterns.next(), tokens.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(wanted), Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_token_and_a_tail_is_one_or_more() {
        for (pattern, subject, hears) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.b", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
        ] {
            assert_eq!(matches(pattern, subject), hears, "{pattern} {subject}");
        }
    }
}
