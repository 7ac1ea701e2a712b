use anyhow::{Result, ensure};
use e2e::{Cluster, Step, eventually};

use crate::machine::{self, refused, token};

pub const STEPS: &[Step] = &[
    ("a forged token, one for another node, and a wrong CA join nobody", forged),
    ("a name that lives belongs to who has it", taken),
    ("an expired token joins nobody, and goes", expired),
    ("tokens are listed and deleted", listed),
];

/// The printed command with another token in it.
fn with_token(command: &str, token: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let changed = words.iter().enumerate().map(|(index, word)| match index {
        0 => *word,
        index if words[index - 1] == "--token" => token,
        _ => *word,
    });
    changed.collect::<Vec<_>>().join(" ")
}

fn expect(outcome: (i32, String), code: i32, words: &str) -> Result<()> {
    ensure!(outcome.0 == code && outcome.1.contains(words), "not {code}, {words:?}: {outcome:?}");
    Ok(())
}

fn forged(cluster: &Cluster) -> Result<()> {
    let command = token(cluster, "create --print-join-command")?;
    let unknown = "the token is not known to this cluster";
    expect(refused(cluster, &with_token(&command, "aaaaaa.0123456789abcdef"), "third")?, 3, unknown)?;
    let good =
        command.split_whitespace().find(|word| word.contains('.') && word.len() == 23).unwrap_or_default();
    let guessed = format!("{}.0123456789abcdef", &good[..6]);
    expect(refused(cluster, &with_token(&command, &guessed), "third")?, 3, unknown)?;
    let bound = token(cluster, "create --node fourth")?;
    expect(
        refused(cluster, &with_token(&command, &bound), "third")?,
        3,
        "the token is for the node \"fourth\"",
    )?;
    let (before, hash) = command.split_once("sha256:").unwrap_or_default();
    let other = format!("{before}sha256:{}", "0".repeat(hash.len()));
    expect(refused(cluster, &other, "third")?, 5, "certificate")
}

fn taken(cluster: &Cluster) -> Result<()> {
    let command = token(cluster, "create --print-join-command")?;
    for name in ["node-1", machine::NODE] {
        expect(refused(cluster, &command, name)?, 4, "lives already")?;
    }
    Ok(())
}

fn expired(cluster: &Cluster) -> Result<()> {
    let command = token(cluster, "create --print-join-command --ttl 1s")?;
    let id = command.split("--token ").nth(1).and_then(|rest| rest.get(..6)).unwrap_or_default();
    let kubectl = cluster.kubectl();
    eventually("the expired token is removed", || {
        let secrets = kubectl.ok("get secrets -n kube-system -o name")?;
        Ok((!secrets.contains(&format!("bootstrap-token-{id}"))).then_some(()))
    })?;
    expect(refused(cluster, &command, "third")?, 3, "not known")
}

fn listed(cluster: &Cluster) -> Result<()> {
    let made = token(cluster, "create --ttl 2h --description for-the-list")?;
    let (id, secret) = made.split_once('.').unwrap_or_default();
    let list = token(cluster, "list")?;
    let line = list.lines().find(|line| line.starts_with(id)).unwrap_or_default();
    ensure!(line.contains("1h59m") && line.contains("for-the-list"), "{list}");
    ensure!(!list.contains(secret), "the secret is shown: {list}");
    token(cluster, &format!("delete {id}"))?;
    ensure!(!token(cluster, "list")?.contains(id), "it is still there");
    ensure!(token(cluster, &format!("delete {id}")).is_err(), "deleted twice");
    Ok(())
}
