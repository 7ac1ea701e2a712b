//! The task that stands for a role: it awaits the bus, and does what the candidate says.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bus::leader::{Act, Answer, Ask, Beat, Standing as Told};
use bus::{Bus, BusError, Requests, subject};
use prometheus::{IntGaugeVec, register_int_gauge_vec};
use runtime::Condition;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::candidate::{Candidate, Do, Probed};
use super::{Leadership, Role, Standing};
use crate::writer::now_ms;

/// How long an API server may take to answer: a fence in each class, each an ordinary write.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// How long a replica may take to say that it lives.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
/// How long an orderly end waits for the fence to be given up.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);

static MASTER: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "leader_election_master_status",
        "Whether this replica leads: 1, or stands by: 0.",
        &["name"]
    )
    .expect("the name is registered once")
});

/// A replica that stands for a role until [`Campaign::resign`]. Dropped, it goes on.
#[derive(Debug)]
pub struct Campaign {
    leadership: Leadership,
    resign: CancellationToken,
    task: JoinHandle<()>,
    me: String,
}

struct Runner {
    bus: Bus,
    role: Role,
    candidate: Candidate,
    standing: watch::Sender<Standing>,
    ready: Condition,
    doing: JoinSet<Done>,
}

enum Done {
    Told(Option<Told>),
    Probed(String, Probed),
}

// === impl Campaign ===

impl Campaign {
    /// Stands for `role`. `ready` is met while somebody is known to lead.
    pub async fn start(bus: &Bus, role: Role, ready: Condition) -> Result<Campaign, BusError> {
        let me = replica_name();
        let beats = bus.subscribe(&subject::beat(role.name)).await?;
        let probes = bus.subscribe(&subject::probe(role.name, &me)).await?;
        let candidate = Candidate::new(me.clone(), role.group.clone(), Instant::now());
        ready.set_waiting(format!("nobody is known to lead as {}", role.name));
        MASTER.with_label_values(&[role.name]).set(0);
        let (standing, receiver) = watch::channel(candidate.standing());
        let doubt = Arc::new(Notify::new());
        let resign = CancellationToken::new();
        let runner = Runner { bus: bus.clone(), role, candidate, standing, ready, doing: JoinSet::new() };
        let task = tokio::spawn(runner.run(beats, probes, doubt.clone(), resign.clone()));
        Ok(Campaign { leadership: Leadership { standing: receiver, doubt }, resign, task, me })
    }

    /// The way to hear of who leads.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// The name of this replica.
    pub fn me(&self) -> &str {
        &self.me
    }

    /// Gives up the role, so that another replica takes over at once.
    pub async fn resign(self) {
        self.resign.cancel();
        if let Err(error) = self.task.await {
            warn!("standing for a role ended badly: {error}");
        }
    }
}

/// The machine's name, so that people know where it is, and something that tells several there apart.
fn replica_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}_{:08x}", host.trim(), rand::random::<u32>())
}

// === impl Runner ===

impl Runner {
    async fn run(
        mut self,
        mut beats: Requests,
        mut probes: Requests,
        doubt: Arc<Notify>,
        resign: CancellationToken,
    ) {
        loop {
            let todo = self.candidate.tick(Instant::now());
            self.carry_out(todo).await;
            self.publish();
            let due = self.candidate.next_due();
            let todo = tokio::select! {
                () = resign.cancelled() => break,
                Some(beat) = beats.next() => match beat.decode::<Beat>() {
                    Ok(beat) => self.candidate.heard(&beat, Instant::now()),
                    Err(error) => {
                        debug!("a beat cannot be read: {error}");
                        Vec::new()
                    }
                },
                Some(probe) = probes.next() => {
                    probe.answer(&self.candidate.beat(false, false)).await;
                    Vec::new()
                }
                Some(done) = self.doing.join_next() => match done {
                    Ok(Done::Told(told)) => self.candidate.told(self.role.name, told, Instant::now()),
                    Ok(Done::Probed(replica, probed)) => {
                        self.candidate.probed(&replica, &probed, Instant::now())
                    }
                    Err(error) => {
                        warn!("a question ended badly: {error}");
                        Vec::new()
                    }
                },
                () = doubt.notified() => {
                    self.candidate.doubted(Instant::now());
                    Vec::new()
                }
                () = tokio::time::sleep_until(due) => Vec::new(),
            };
            self.carry_out(todo).await;
        }
        self.leave().await;
    }

    async fn carry_out(&mut self, todo: Vec<Do>) {
        for one in todo {
            let bus = self.bus.clone();
            match one {
                Do::Tell(asks) => self.tell(&self.candidate.beat(asks, false)).await,
                Do::Look => {
                    let ask = self.ask(Act::Look);
                    self.doing.spawn(async move { Done::Told(answered(&bus, &ask, ANSWER_PATIENCE).await) });
                }
                Do::Take(over) => {
                    let holder = self.candidate.standing().me;
                    let ask = self.ask(Act::Take { holder, over });
                    self.doing.spawn(async move { Done::Told(answered(&bus, &ask, ANSWER_PATIENCE).await) });
                }
                Do::Probe(replica) => {
                    let subject = subject::probe(self.role.name, &replica);
                    self.doing.spawn(async move { Done::Probed(replica, probe(&bus, &subject).await) });
                }
            }
        }
    }

    async fn tell(&self, beat: &Beat) {
        if let Err(error) = self.bus.publish(&subject::beat(self.role.name), beat).await {
            debug!("cannot tell the others: {error}");
        }
    }

    fn ask(&self, act: Act) -> Ask {
        Ask {
            user: self.role.user.to_owned(),
            deadline_ms: now_ms() + ANSWER_PATIENCE.as_millis() as u64,
            role: self.role.name.to_owned(),
            classes: self.role.classes.to_vec(),
            act,
        }
    }

    fn publish(&self) {
        let new = self.candidate.standing();
        let role = self.role.name;
        let led = self.standing.borrow().leader.clone();
        if new.leader != led {
            MASTER.with_label_values(&[role]).set(new.leads().into());
            match &new.leader {
                Some(leader) if new.leads() => info!(role, since = %leader.since, "we lead"),
                Some(leader) => info!(role, leader = leader.holder, "we stand by"),
                None => warn!(role, "nobody is known to lead"),
            }
            match &new.leader {
                Some(_) => self.ready.set_ready(),
                None => self.ready.set_waiting(format!("nobody is known to lead as {role}")),
            }
        }
        self.standing.send_if_modified(|standing| {
            let other = *standing != new;
            *standing = new;
            other
        });
    }

    /// What was decided by us is done or will not be; from here on another may.
    async fn leave(mut self) {
        self.doing.abort_all();
        if let Some(term) = self.candidate.led_term() {
            let ask = self.ask(Act::Release { term });
            if answered(&self.bus, &ask, RELEASE_PATIENCE).await.is_none() {
                info!(role = self.role.name, "the role is not given up: it will be taken over");
            }
        }
        self.tell(&self.candidate.beat(false, true)).await;
        // What is only buffered goes down with the process.
        let _ = tokio::time::timeout(RELEASE_PATIENCE, self.bus.flush()).await;
        MASTER.with_label_values(&[self.role.name]).set(0);
    }
}

async fn answered(bus: &Bus, ask: &Ask, patience: Duration) -> Option<Told> {
    match bus.request::<_, Answer>(subject::LEAD, ask, patience).await {
        Ok(Answer { reply: Ok(told) }) => Some(told),
        Ok(Answer { reply: Err(status) }) => {
            warn!(role = ask.role, "leadership: {status}");
            None
        }
        Err(error) => {
            debug!(role = ask.role, "no API server says who leads: {error}");
            None
        }
    }
}

async fn probe(bus: &Bus, subject: &str) -> Probed {
    match bus.request::<_, Beat>(subject, &(), PROBE_PATIENCE).await {
        Ok(beat) => Probed::Lives(beat),
        Err(BusError::NoResponders(_)) => Probed::Unheard,
        Err(BusError::TimedOut(_)) if bus.is_connected() => Probed::Silent,
        Err(_) => Probed::CutOff,
    }
}
