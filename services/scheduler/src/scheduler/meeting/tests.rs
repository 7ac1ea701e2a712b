//! Several schedulers, one of which binds, in one thread: messages come in any order, late, twice or not at all,
//! replicas die and come, and who binds changes before everybody knows.

use std::collections::{BTreeMap, BTreeSet};

use client::leader::Leader;
use model::{Class, Status};
use serde_json::{Value, json};

use super::*;
use crate::decide::Dice;

/// Something on its way.
#[derive(Debug)]
enum Message {
    /// To the API servers.
    Bind { from: String, number: u64, keys: Vec<Key>, guard: u64, writes: Vec<Write> },
    /// To the replica `to`.
    Propose { from: String, number: u64, keys: Vec<Key>, to: String, proposals: Proposals },
    /// Back to whoever asked.
    Answer { to: String, number: u64, keys: Vec<Key>, outcomes: Vec<Outcome> },
}

struct Replica {
    scheduler: Scheduler,
    /// How much of the log it has seen.
    cursor: usize,
    /// Proposals that wait for its answer: who asked, and under which number and for which pods.
    asked: BTreeMap<u64, (String, u64, Vec<Key>)>,
    asked_so_far: u64,
}

struct World {
    dice: Dice,
    replicas: BTreeMap<String, Replica>,
    born: u32,
    /// Every change in order; nothing for one that only moves the revision, as that of a fence.
    log: Vec<(Revision, Option<Observed>)>,
    objects: BTreeMap<Key, Value>,
    fence: (String, Revision),
    network: Vec<Message>,
    now: Instant,
    bound: BTreeMap<Key, String>,
    /// Answers by the word for them, so that it is known what was met.
    answers: BTreeMap<String, usize>,
}

fn node(name: u32, cpu: u32) -> Value {
    json!({
        "metadata": {"name": format!("node-{name}")},
        "status": {"allocatable": {"cpu": cpu.to_string(), "memory": "8Gi", "pods": "110"}},
    })
}

fn pod(name: &str, uid: u64, cpu: u32) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("{name}-{uid}")},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu.to_string()}}}]},
    })
}

fn key_of(resource: &str, object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    Key::object("", resource, &text("namespace"), &text("name"))
}

fn cpu(object: &Value, path: &str) -> i64 {
    object.pointer(path).and_then(Value::as_str).and_then(|text| text.parse().ok()).expect("a number")
}

fn wanted(pod: &Value) -> i64 {
    cpu(pod, "/spec/containers/0/resources/requests/cpu")
}

impl World {
    fn new(seed: u64, replicas: u32, nodes: u32) -> Self {
        let mut world = World {
            dice: Dice::new(seed),
            replicas: BTreeMap::new(),
            born: 0,
            log: Vec::new(),
            objects: BTreeMap::new(),
            fence: (String::new(), Revision::ZERO),
            network: Vec::new(),
            now: Instant::now(),
            bound: BTreeMap::new(),
            answers: BTreeMap::new(),
        };
        for name in 0..nodes {
            let size = 2 + world.dice.below(4);
            world.put("nodes", node(name, size));
        }
        (0..replicas).for_each(|_| world.give_birth());
        world.elect();
        world.replicas.keys().cloned().collect::<Vec<_>>().iter().for_each(|name| world.learn(name));
        world
    }

    fn revision(&self) -> Revision {
        Revision(self.log.len() as u64 + 1)
    }

    fn put(&mut self, resource: &str, object: Value) {
        let (key, revision) = (key_of(resource, &object), self.revision());
        let item = Item { key: key.clone(), revision, created: revision, value: object.to_string().into() };
        self.objects.insert(key, object);
        self.log.push((revision, Some(Observed::Put(item))));
    }

    fn delete(&mut self, key: &Key) {
        let Some(object) = self.objects.remove(key) else { return };
        let revision = self.revision();
        let previous =
            Item { key: key.clone(), revision, created: revision, value: object.to_string().into() };
        self.log.push((revision, Some(Observed::Delete { key: key.clone(), previous })));
        self.bound.remove(key);
    }

    fn give_birth(&mut self) {
        self.born += 1;
        let seed = u64::from(self.dice.below(u32::MAX));
        let options = Options { name: "default-scheduler".to_owned(), seed, ..Options::default() };
        let mut scheduler = Scheduler::new(options);
        scheduler.observe(&Observed::Synced, self.now);
        let replica = Replica { scheduler, cursor: 0, asked: BTreeMap::new(), asked_so_far: 0 };
        self.replicas.insert(format!("replica-{}", self.born), replica);
    }

    /// One of the living takes over, whether that is called for or not.
    fn elect(&mut self) {
        let Some(holder) = self.any_replica() else { return };
        let revision = self.revision();
        self.log.push((revision, None));
        self.fence = (holder, revision);
    }

    /// A replica hears who leads and who lives.
    fn learn(&mut self, name: &str) {
        let (holder, since) = self.fence.clone();
        let fences = vec![(Class::Pods, since.0)];
        let guard = (holder == name).then(|| Arc::new(Guard { role: "binder".to_owned(), fences }));
        let members: BTreeSet<String> = self.replicas.keys().cloned().collect();
        let leader = Some(Leader { holder, since });
        let standing = Standing { me: name.to_owned(), leader, guard, members: Arc::new(members) };
        let now = self.now;
        if let Some(replica) = self.replicas.get_mut(name) {
            replica.scheduler.stand(standing, now);
        }
    }

    fn any_replica(&mut self) -> Option<String> {
        let count = self.replicas.len() as u32;
        (count > 0)
            .then(|| self.dice.below(count))
            .and_then(|at| self.replicas.keys().nth(at as usize).cloned())
    }

    fn any_pod(&mut self, with_node: bool) -> Option<Key> {
        let is_wanted = |key: &&Key| key.resource() == "pods" && self.bound.contains_key(*key) == with_node;
        let pods: Vec<Key> = self.objects.keys().filter(is_wanted).cloned().collect();
        (!pods.is_empty()).then(|| pods[self.dice.below(pods.len() as u32) as usize].clone())
    }

    // === what replicas do ===

    fn observe(&mut self, name: &str, most: usize) -> usize {
        let Some(replica) = self.replicas.get_mut(name) else { return 0 };
        let news = &self.log[replica.cursor..self.log.len().min(replica.cursor.saturating_add(most))];
        for (revision, observed) in news {
            if let Some(observed) = observed {
                replica.scheduler.observe(observed, self.now);
            }
            replica.scheduler.pass(*revision, self.now);
        }
        replica.cursor += news.len();
        news.len()
    }

    fn work(&mut self, name: &str, budget: usize) -> usize {
        let Some(replica) = self.replicas.get_mut(name) else { return 0 };
        let scheduler = &mut replica.scheduler;
        scheduler.pass(Revision::ZERO, self.now);
        if replica.cursor == self.log.len() {
            scheduler.give_up_lost(self.now, self.now);
        }
        let mut done = scheduler.turn(budget, self.now, Timestamp::UNIX_EPOCH);
        scheduler.take_news(Timestamp::UNIX_EPOCH);
        while let Some(Request { number, keys, destination }) = scheduler.take_request() {
            done += 1;
            let from = name.to_owned();
            self.network.push(match destination {
                Destination::ApiServers(guard, writes) => {
                    let guard = guard.expect("whoever binds has a guard").newest();
                    Message::Bind { from, number, keys, guard, writes }
                }
                Destination::Binder(to, proposals) => Message::Propose { from, number, keys, to, proposals },
            });
        }
        for (asked, answers) in scheduler.take_answers() {
            let (to, number, keys) = replica.asked.remove(&asked).expect("each request is answered once");
            assert_eq!(answers.answers.len(), keys.len());
            let outcomes = answers.answers.into_iter().map(Outcome::from).collect();
            self.network.push(Message::Answer { to, number, keys, outcomes });
        }
        done
    }

    // === what happens to messages ===

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Bind { from, number, keys, guard, writes } => {
                let outcomes = writes.iter().map(|write| self.bind(write, guard)).collect();
                self.network.push(Message::Answer { to: from, number, keys, outcomes });
            }
            Message::Propose { from, number, keys, to, proposals } => match self.replicas.get_mut(&to) {
                Some(replica) => {
                    replica.asked_so_far += 1;
                    replica.asked.insert(replica.asked_so_far, (from, number, keys));
                    replica.scheduler.proposed(replica.asked_so_far, proposals, self.now);
                }
                None => {
                    let outcomes = vec![Outcome::Refused(Why::Binder("binder-gone".to_owned())); keys.len()];
                    self.network.push(Message::Answer { to: from, number, keys, outcomes });
                }
            },
            Message::Answer { to, number, keys, outcomes } => {
                for outcome in &outcomes {
                    let word = match outcome {
                        Outcome::Done => "done",
                        Outcome::Unknown(_) => "unknown",
                        Outcome::Refused(why) => why.word(),
                    };
                    *self.answers.entry(word.to_owned()).or_default() += 1;
                }
                if let Some(replica) = self.replicas.get_mut(&to) {
                    replica.scheduler.answered(number, &keys, outcomes, self.now);
                }
            }
        }
    }

    /// Whoever asked gives up; the request may be carried out all the same, or its answer be lost.
    fn lose(&mut self, message: Message) {
        let carried_out = self.dice.below(2) == 0;
        let (to, number, keys) = match message {
            Message::Bind { from, number, keys, guard, writes } => {
                if carried_out {
                    writes.iter().for_each(|write| drop(self.bind(write, guard)));
                }
                (from, number, keys)
            }
            Message::Propose { from, number, keys, to, proposals } => {
                if carried_out {
                    // It comes late, when nobody waits for the answer.
                    let (from, number, keys) = ("nobody".to_owned(), 0, keys.clone());
                    self.network.push(Message::Propose { from, number, keys, to, proposals });
                }
                (from, number, keys)
            }
            Message::Answer { to, number, keys, .. } => (to, number, keys),
        };
        let outcomes = vec![Outcome::Unknown(Status::unavailable("no answer in time")); keys.len()];
        self.deliver(Message::Answer { to, number, keys, outcomes });
    }

    /// What the API servers do, and what must hold of it.
    fn bind(&mut self, write: &Write, guard: u64) -> Outcome {
        let Write::Bind { namespace, pod, uid, node } = write else { panic!("not a bind: {write:?}") };
        if guard != self.fence.1.0 {
            return Outcome::Refused(Why::Deposed);
        }
        let key = Key::object("", "pods", namespace, pod);
        let Some(mut object) = self.objects.get(&key).cloned() else {
            return Outcome::Refused(Why::ApiServer(Status::not_found("", "pods", pod)));
        };
        if object["metadata"]["uid"] != json!(uid) || self.bound.contains_key(&key) {
            return Outcome::Refused(Why::ApiServer(Status::conflict("", "pods", pod, "it has a node")));
        }
        object["spec"]["nodeName"] = json!(node);
        self.bound.insert(key, node.clone());
        self.put("pods", object);
        assert!(self.free(node) >= 0, "{node} was given more than it has");
        Outcome::Done
    }

    fn free(&self, node: &str) -> i64 {
        let there = &self.objects[&Key::object("", "nodes", "", node)];
        let pods = self.bound.iter().filter(|(_, on)| *on == node).map(|(key, _)| wanted(&self.objects[key]));
        cpu(there, "/status/allocatable/cpu") - pods.sum::<i64>()
    }

    // === what happens ===

    fn step(&mut self) {
        let name = self.any_replica().unwrap_or_default();
        match self.dice.below(100) {
            0..20 => {
                self.observe(&name, 4);
            }
            20..45 => {
                self.work(&name, 3);
            }
            45..75 if !self.network.is_empty() => {
                let at = self.dice.below(self.network.len() as u32) as usize;
                let message = self.network.swap_remove(at);
                match self.dice.below(10) {
                    0 => self.lose(message),
                    _ => self.deliver(message),
                }
            }
            75..88 => {
                let (name, uid) = (format!("pod-{}", self.dice.below(30)), self.log.len() as u64);
                if !self.objects.contains_key(&Key::object("", "pods", "default", &name)) {
                    let size = 1 + self.dice.below(3);
                    self.put("pods", pod(&name, uid, size));
                }
            }
            88..91 => {
                let bound = self.dice.below(3) > 0;
                if let Some(key) = self.any_pod(bound) {
                    self.delete(&key);
                }
            }
            91..94 => self.learn(&name),
            94 if self.replicas.len() > 1 => drop(self.replicas.remove(&name)),
            95 if self.replicas.len() < 4 => self.give_birth(),
            96 => self.elect(),
            97..100 => self.now += Duration::from_secs(self.dice.below(8).into()),
            _ => {}
        }
    }

    /// From here on nothing is lost, and everybody hears of everything.
    fn settle(&mut self) {
        if !self.replicas.contains_key(&self.fence.0) {
            self.elect();
        }
        let names: Vec<String> = self.replicas.keys().cloned().collect();
        names.iter().for_each(|name| self.learn(name));
        let mut rested = 0;
        for _ in 0..5_000 {
            let mut done = 0;
            for name in &names {
                done += self.observe(name, usize::MAX) + self.work(name, 16);
            }
            for message in std::mem::take(&mut self.network) {
                done += 1;
                self.deliver(message);
            }
            if done == 0 {
                rested += 1;
                self.now += Duration::from_secs(5);
            }
            // Long enough for whatever was lost, and for every pause.
            if rested > 12 {
                return;
            }
        }
        panic!("they never rest");
    }

    fn check(&self) {
        let pods = self.objects.iter().filter(|(key, _)| key.resource() == "pods");
        let nodes = || self.objects.keys().filter(|key| key.resource() == "nodes").map(Key::name);
        for (key, pod) in pods.filter(|(key, _)| !self.bound.contains_key(*key)) {
            let room: Vec<i64> = nodes().map(|node| self.free(node)).collect();
            assert!(room.iter().all(|free| *free < wanted(pod)), "{key} fits and has no node: {room:?}");
        }
    }
}

/// A world of that seed, from its beginning until everybody rests; the answers that were given in it.
fn lived(seed: u64) -> BTreeMap<String, usize> {
    let mut world = World::new(seed, 2 + (seed % 3) as u32, 3 + (seed % 4) as u32);
    (0..300).for_each(|_| world.step());
    world.settle();
    world.check();
    world.answers
}

#[test]
fn whatever_is_late_or_lost_and_whoever_dies_each_pod_that_fits_is_bound_once_and_no_node_has_too_much() {
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..300 {
        let run = std::panic::catch_unwind(|| lived(seed));
        let lived = run.unwrap_or_else(|_| panic!("seed {seed}"));
        lived.into_iter().for_each(|(word, count)| *answers.entry(word).or_default() += count);
    }
    let met = [
        "done",
        "unknown",
        "not-binder",
        "binder-gone",
        "NodeResourcesFit",
        IN_FLIGHT,
        POD_GONE,
        "api-server",
    ];
    assert!(met.iter().all(|word| answers.contains_key(*word)), "not everything was met: {answers:?}");
}

#[test]
fn replicas_share_the_pods_and_a_dead_ones_go_to_the_others() {
    let mut world = World::new(1, 3, 40);
    for name in 0..60 {
        world.put("pods", pod(&format!("pod-{name}"), name, 1));
    }
    let names: Vec<String> = world.replicas.keys().cloned().collect();
    for name in &names {
        world.observe(name, usize::MAX);
    }
    let lengths: Vec<_> = world.replicas.values().map(|one| one.scheduler.queue.lengths()).collect();
    assert_eq!(lengths.iter().map(|lengths| lengths.active).sum::<usize>(), 60);
    assert!(lengths.iter().all(|lengths| lengths.active > 5 && lengths.active + lengths.elsewhere == 60));
    let gone = names.iter().find(|name| **name != world.fence.0).expect("one that does not bind");
    world.replicas.remove(gone);
    world.settle();
    assert_eq!(world.bound.len(), 60);
}

#[test]
fn a_proposal_about_what_the_binder_has_not_seen_waits_until_it_has() {
    let mut world = World::new(1, 2, 3);
    world.put("pods", pod("pod-0", 0, 1));
    let (binder, _) = world.fence.clone();
    let other = world.replicas.keys().find(|name| **name != binder).cloned().expect("another");
    // The binder's view ends before the pod.
    world.observe(&binder, world.log.len() - 1);
    world.replicas.get_mut(&binder).expect("it lives").cursor = world.log.len() - 1;
    world.observe(&other, usize::MAX);
    let key = Key::object("", "pods", "default", "pod-0");
    let seen = world.log.last().expect("a change").0.0;
    let item = proposal::Proposal {
        namespace: "default".to_owned(),
        pod: "pod-0".to_owned(),
        uid: "pod-0-0".to_owned(),
        seen,
        node: "node-0".to_owned(),
    };
    let proposals = Proposals { from: other.clone(), term: world.fence.1.0, items: vec![item] };
    world.deliver(Message::Propose {
        from: other,
        number: 99,
        keys: vec![key],
        to: binder.clone(),
        proposals,
    });
    world.work(&binder, 1);
    assert!(world.network.is_empty(), "it neither binds nor answers");
    world.observe(&binder, usize::MAX);
    world.work(&binder, 1);
    assert!(matches!(world.network[..], [Message::Bind { .. }]), "{:?}", world.network);
}
