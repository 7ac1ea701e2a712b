//! Asking extenders: filters one after the other, each about what the one before has left, then points from all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bus::{Bus, extender as message};
use model::Key;
use serde_json::Value;
use serde_json::value::RawValue;
use store::Store;

use super::reach::Reach;
use super::wire::{Args, BindingArgs, BindingResult, Filtered, HostPriority, NodeList, SCORE_MAX, node_name};
use super::{BindOrder, Extender, POINT, Question, Said};

/// Where pods and nodes are looked up, and how the bus is reached.
#[derive(Clone)]
pub struct Caller {
    /// Who can be asked.
    pub extenders: Arc<[Extender]>,
    /// The state.
    pub store: Store,
    /// The bus.
    pub bus: Bus,
}

type Names = Vec<Arc<str>>;
type Refused = BTreeMap<String, String>;

// === impl Caller ===

impl Caller {
    /// Asks everybody whom the question names.
    pub async fn ask(&self, question: &Question) -> Said {
        match self.opinion(question).await {
            Ok(said) => said,
            Err(error) => Said::Failed(format!("{error:#}")),
        }
    }

    async fn opinion(&self, question: &Question) -> Result<Said> {
        let pod = self.store.get(&question.pod).context("the pod is gone")?;
        let mut left: Names = question.nodes.iter().map(|(name, _)| name.clone()).collect();
        let mut refused: BTreeMap<String, usize> = BTreeMap::new();
        let extenders = || question.extenders.iter().filter_map(|index| self.extenders.get(*index));
        for extender in extenders() {
            let Some(verb) = extender.verbs.filter.as_deref().filter(|_| !left.is_empty()) else { continue };
            let filtered = self.filter(extender, verb, &pod.value, &left).await;
            let Some((names, reasons)) = ignored(extender, filtered)? else { continue };
            reasons.into_values().for_each(|reason| *refused.entry(reason).or_default() += 1);
            left = names;
        }
        let points = extenders().map(|extender| self.points(extender, &pod.value, &left));
        let mut scores: HashMap<Arc<str>, i64> = question.nodes.iter().cloned().collect();
        for points in futures::future::join_all(points).await {
            for (name, points) in points? {
                if let Some(score) = scores.get_mut(name.as_str()) {
                    *score = score.saturating_add(points);
                }
            }
        }
        let scored = |name: Arc<str>| {
            let score = scores.get(&name).copied().unwrap_or_default();
            (name, score)
        };
        Ok(Said::Nodes { left: left.into_iter().map(scored).collect(), refused })
    }

    /// The nodes that an extender leaves, of those that it was asked about, and why not the others.
    async fn filter(
        &self,
        extender: &Extender,
        verb: &str,
        pod: &[u8],
        nodes: &Names,
    ) -> Result<(Names, Refused)> {
        let (kept, reasons): (HashSet<String>, Refused) = match &extender.reach {
            Reach::Http { prefix, client } => {
                let args = self.args(extender, pod, nodes)?;
                let answer: Filtered = Reach::post(prefix, client, verb, &args).await?;
                ensure!(answer.error.is_empty(), "{}", answer.error);
                let named = answer.node_names.unwrap_or_default();
                let whole = answer.nodes.unwrap_or(NodeList { items: Vec::new() }).items;
                let kept = named.into_iter().chain(whole.iter().filter_map(|node| node_name(node))).collect();
                let mut reasons = answer.failed_nodes;
                reasons.extend(answer.failed_and_unresolvable_nodes);
                (kept, reasons)
            }
            Reach::Bus { name } => {
                let ask = self.message(pod, nodes);
                let mut answer: message::Filtered =
                    Reach::request(&self.bus, name, verb, &ask, extender.patience).await?;
                let one = answer
                    .items
                    .pop()
                    .filter(|_| answer.items.is_empty())
                    .context("an answer of another length")?;
                ensure!(one.error.is_empty(), "{}", one.error);
                let kept = nodes.iter().filter(|name| !one.refused.contains_key(&***name));
                (kept.map(|name| name.to_string()).collect(), one.refused)
            }
        };
        let left: Names = nodes.iter().filter(|name| kept.contains(&***name)).cloned().collect();
        let word = |name: &Arc<str>| {
            let said = reasons.get(&**name).cloned();
            (name.to_string(), said.unwrap_or_else(|| format!("refused by {}", extender.name)))
        };
        let refused = nodes.iter().filter(|name| !kept.contains(&***name)).map(word).collect();
        Ok((left, refused))
    }

    /// What an extender's points add to the scores. One that fails gives none: as upstream has it, that is no reason to
    /// leave a pod without a node.
    async fn points(&self, extender: &Extender, pod: &[u8], nodes: &Names) -> Result<Vec<(String, i64)>> {
        let Some(verb) = extender.verbs.prioritize.as_deref().filter(|_| nodes.len() > 1) else {
            return Ok(Vec::new());
        };
        let scores = match &extender.reach {
            Reach::Http { prefix, client } => {
                let args = self.args(extender, pod, nodes)?;
                let answer: Result<Vec<HostPriority>> = Reach::post(prefix, client, verb, &args).await;
                answer.map(|scores| scores.into_iter().map(|one| (one.host, one.score)).collect())
            }
            Reach::Bus { name } => {
                let ask = self.message(pod, nodes);
                let answer: Result<message::Scored> =
                    Reach::request(&self.bus, name, verb, &ask, extender.patience).await;
                answer.map(|mut scored| scored.items.pop().unwrap_or_default())
            }
        };
        let scores: Vec<(String, i64)> = match scores {
            Ok(scores) => scores,
            Err(error) => {
                tracing::warn!(extender = extender.name, "no points: {error:#}");
                Vec::new()
            }
        };
        let worth =
            |score: i64| score.clamp(0, SCORE_MAX).saturating_mul(extender.weight).saturating_mul(POINT);
        Ok(scores.into_iter().map(|(name, score)| (name, worth(score))).collect())
    }

    fn args(&self, extender: &Extender, pod: &[u8], nodes: &Names) -> Result<Args> {
        let pod = raw(pod)?;
        if extender.knows_nodes {
            let names = nodes.iter().map(ToString::to_string).collect();
            return Ok(Args { pod, nodes: None, node_names: Some(names) });
        }
        let node = |name: &Arc<str>| self.store.get(&Key::object("", "nodes", "", name));
        let items = nodes.iter().filter_map(node).map(|item| raw(&item.value)).collect::<Result<_>>()?;
        Ok(Args { pod, nodes: Some(NodeList { items }), node_names: None })
    }

    fn message(&self, pod: &[u8], nodes: &Names) -> message::Ask {
        let nodes = nodes.iter().map(ToString::to_string).collect();
        let item = message::AskItem { pod: pod.to_vec().into(), nodes };
        message::Ask { revision: self.store.revision().0, items: vec![item] }
    }

    /// Lets an extender bind.
    pub async fn bind(&self, order: &BindOrder) -> Result<()> {
        let extender = self.extenders.get(order.extender).context("no such extender")?;
        let verb = extender.verbs.bind.as_deref().context("it does not bind")?;
        let args = BindingArgs {
            pod_name: order.pod.name().to_owned(),
            pod_namespace: order.pod.namespace().to_owned(),
            pod_uid: order.uid.clone(),
            node: order.node.to_string(),
        };
        let error = match &extender.reach {
            Reach::Http { prefix, client } => {
                let answer: BindingResult = Reach::post(prefix, client, verb, &args).await?;
                answer.error
            }
            Reach::Bus { name } => {
                let subject = bus::subject::extender(name, verb);
                let ask = message::Bind {
                    namespace: args.pod_namespace,
                    pod: args.pod_name,
                    uid: args.pod_uid,
                    node: args.node,
                };
                let answer: message::Bound = self.bus.request(&subject, &ask, extender.patience).await?;
                answer.error
            }
        };
        ensure!(error.is_empty(), "extender {}: {error}", extender.name);
        // What it says is one thing: a pod that it only believes to be bound would wait for ever.
        self.store.barrier().await?;
        let pod = self.store.get(&order.pod).filter(|item| has_node(&item.value));
        ensure!(
            pod.is_some(),
            "extender {} says that it has bound the pod, which has no node",
            extender.name
        );
        Ok(())
    }
}

/// An extender's answer, or nothing when it failed and may be ignored.
fn ignored<T>(extender: &Extender, answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if extender.ignorable => {
            tracing::warn!(extender = extender.name, "left out: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("extender {}", extender.name)),
    }
}

fn has_node(pod: &[u8]) -> bool {
    let pod: Value = serde_json::from_slice(pod).unwrap_or_default();
    pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty())
}

fn raw(json: &[u8]) -> Result<Box<RawValue>> {
    Ok(RawValue::from_string(std::str::from_utf8(json)?.to_owned())?)
}
