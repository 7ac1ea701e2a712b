//! `KubeSchedulerConfiguration`: what of upstream's file is known here.
//!
//! Profiles with plugins of their own are refused, not passed over: a scheduler that does something else than its file
//! says is worse than none. What concerns upstream's process alone (leader election, its client's connection, health and
//! metrics addresses, parallelism) is read and has no effect.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::extend::reach::{Reach, Tls};
use crate::extend::{Extender, Verbs};

/// What a file says.
#[derive(Debug, Default)]
pub struct Configuration {
    /// Percentage of nodes that are scored.
    pub percentage_of_nodes_to_score: Option<u8>,
    /// The one profile's name.
    pub scheduler_name: Option<String>,
    /// In the order in which they filter.
    pub extenders: Vec<Extender>,
    /// Resources that only extenders judge.
    pub left_to_extenders: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    api_version: String,
    kind: String,
    percentage_of_nodes_to_score: Option<u8>,
    #[serde(default)]
    profiles: Vec<ProfileFile>,
    #[serde(default)]
    extenders: Vec<ExtenderFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileFile {
    scheduler_name: Option<String>,
    plugins: Option<IgnoredAny>,
    plugin_config: Option<IgnoredAny>,
    percentage_of_nodes_to_score: Option<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExtenderFile {
    url_prefix: String,
    filter_verb: Option<String>,
    preempt_verb: Option<String>,
    prioritize_verb: Option<String>,
    bind_verb: Option<String>,
    weight: Option<i64>,
    #[serde(rename = "enableHTTPS", default)]
    enable_https: bool,
    tls_config: Option<TlsFile>,
    #[serde(rename = "httpTimeout")]
    http_timeout: Option<String>,
    #[serde(default)]
    node_cache_capable: bool,
    #[serde(default)]
    managed_resources: Vec<ManagedFile>,
    #[serde(default)]
    ignorable: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TlsFile {
    #[serde(default)]
    insecure: bool,
    cert_file: Option<String>,
    key_file: Option<String>,
    ca_file: Option<String>,
    cert_data: Option<String>,
    key_data: Option<String>,
    ca_data: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ManagedFile {
    name: String,
    #[serde(default)]
    ignored_by_scheduler: bool,
}

/// The version that is read.
const VERSION: &str = "kubescheduler.config.k8s.io/v1";
/// How an extender on the bus is named in `urlPrefix`.
const BUS: &str = "bus://";
/// Upstream's patience with an extender.
const PATIENCE: Duration = Duration::from_secs(5);

// === impl Configuration ===

impl Configuration {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Reads YAML or JSON.
    pub fn parse(text: &str) -> Result<Self> {
        let file: File = serde_saphyr::from_str(text)?;
        ensure!(file.api_version == VERSION, "apiVersion: {:?}, known is {VERSION}", file.api_version);
        ensure!(file.kind == "KubeSchedulerConfiguration", "kind: {:?}", file.kind);
        ensure!(
            file.profiles.len() <= 1,
            "profiles: only one is known here, {} are given",
            file.profiles.len()
        );
        let mut configuration = Configuration {
            percentage_of_nodes_to_score: file.percentage_of_nodes_to_score,
            ..Configuration::default()
        };
        if let Some(profile) = file.profiles.into_iter().next() {
            ensure!(profile.plugins.is_none(), "profiles[0].plugins: not known here");
            ensure!(profile.plugin_config.is_none(), "profiles[0].pluginConfig: not known here");
            configuration.scheduler_name = profile.scheduler_name;
            let percentage = profile.percentage_of_nodes_to_score;
            configuration.percentage_of_nodes_to_score =
                percentage.or(configuration.percentage_of_nodes_to_score);
        }
        let percentage = configuration.percentage_of_nodes_to_score.unwrap_or_default();
        ensure!(percentage <= 100, "percentageOfNodesToScore: {percentage}, 0 to 100 is meant");
        for (index, extender) in file.extenders.into_iter().enumerate() {
            for managed in extender.managed_resources.iter().filter(|managed| managed.ignored_by_scheduler) {
                configuration.left_to_extenders.insert(managed.name.clone());
            }
            let extender = extender.read().with_context(|| format!("extenders[{index}]"))?;
            configuration.extenders.push(extender);
        }
        let binders = configuration.extenders.iter().filter(|extender| extender.verbs.bind.is_some()).count();
        ensure!(binders <= 1, "extenders: only one can bind, {binders} have a bindVerb");
        Ok(configuration)
    }

    /// The extenders, to be shared.
    pub fn take_extenders(&mut self) -> Arc<[Extender]> {
        std::mem::take(&mut self.extenders).into()
    }
}

// === impl ExtenderFile ===

impl ExtenderFile {
    fn read(self) -> Result<Extender> {
        let verb = |verb: Option<String>| verb.filter(|verb| !verb.is_empty());
        let verbs = Verbs {
            filter: verb(self.filter_verb),
            prioritize: verb(self.prioritize_verb),
            bind: verb(self.bind_verb),
        };
        ensure!(verb(self.preempt_verb).is_none(), "preemptVerb: not known here");
        let weight = self.weight.unwrap_or_default();
        ensure!(
            verbs.prioritize.is_none() || (1..=i64::from(i32::MAX)).contains(&weight),
            "weight: {weight}, a positive number is meant for an extender that prioritizes"
        );
        let mut managed = BTreeSet::new();
        for (index, resource) in self.managed_resources.into_iter().enumerate() {
            ensure!(
                resource.name.contains('/') && !resource.name.contains("kubernetes.io/"),
                "managedResources[{index}].name: {:?} is no extended resource",
                resource.name
            );
            ensure!(managed.insert(resource.name.clone()), "managedResources[{index}].name: given twice");
        }
        let patience = self.http_timeout.as_deref().map_or(Ok(PATIENCE), duration).context("httpTimeout")?;
        let reach = match self.url_prefix.strip_prefix(BUS) {
            Some(name) => {
                ensure!(!name.is_empty() && !name.contains([' ', '*', '>']), "urlPrefix: {BUS} takes a name");
                Reach::Bus { name: name.to_owned() }
            }
            None => {
                let url = match self.url_prefix.contains("://") {
                    true => self.url_prefix.clone(),
                    false => {
                        format!("http{}://{}", if self.enable_https { "s" } else { "" }, self.url_prefix)
                    }
                };
                let tls = self.tls_config.unwrap_or_default().read().context("tlsConfig")?;
                Reach::http(&url, &tls, patience).context("tlsConfig")?
            }
        };
        Ok(Extender {
            name: self.url_prefix,
            reach,
            verbs,
            weight,
            knows_nodes: self.node_cache_capable,
            managed,
            ignorable: self.ignorable,
            patience,
        })
    }
}

// === impl TlsFile ===

impl TlsFile {
    fn read(self) -> Result<Tls> {
        let pem = |data: Option<String>, file: Option<String>| match (data, file) {
            (Some(data), _) => Ok(Some(data.into_bytes())),
            (None, Some(file)) => {
                std::fs::read(&file).map(Some).with_context(|| format!("cannot read {file}"))
            }
            (None, None) => Ok(None),
        };
        let identity = match (pem(self.cert_data, self.cert_file)?, pem(self.key_data, self.key_file)?) {
            (Some(certificate), Some(key)) => Some([certificate, b"\n".to_vec(), key].concat()),
            (None, None) => None,
            _ => bail!("a certificate and its key come together"),
        };
        Ok(Tls { insecure: self.insecure, ca: pem(self.ca_data, self.ca_file)?, identity })
    }
}

/// Go's spelling of a duration: `5s`, `1m30s`, `500ms`.
fn duration(text: &str) -> Result<Duration> {
    let units = BTreeMap::from([("h", 3_600_000.0), ("m", 60_000.0), ("s", 1_000.0), ("ms", 1.0)]);
    let mut millis = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').context("a unit is missing")?;
        let (number, after) = rest.split_at(end);
        let unit = after.find(|c: char| c.is_ascii_digit()).map_or(after, |end| &after[..end]);
        let each = units.get(unit).with_context(|| format!("{text:?}: no unit {unit:?}"))?;
        millis += number.parse::<f64>().with_context(|| format!("{text:?}"))? * each;
        rest = &after[unit.len()..];
    }
    ensure!(millis > 0.0, "{text:?} is no time");
    Ok(Duration::from_millis(millis as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(extender: &str) -> Result<Configuration> {
        Configuration::parse(&format!(
            "apiVersion: {VERSION}\nkind: KubeSchedulerConfiguration\nextenders:\n- {}\n",
            extender.replace('\n', "\n  ")
        ))
    }

    fn complaint(extender: &str) -> String {
        format!("{:#}", parse(extender).expect_err("it is refused"))
    }

    #[test]
    fn an_extender_as_upstream_documents_it() {
        let configuration = parse(
            "urlPrefix: http://127.0.0.1:12345/api/scheduler\nfilterVerb: filter\nprioritizeVerb: prioritize\n\
             bindVerb: bind\nweight: 5\nhttpTimeout: 1m30s\nnodeCacheCapable: true\nignorable: true\n\
             managedResources:\n- name: example.com/gpu\n  ignoredByScheduler: true",
        )
        .expect("it is read");
        let extender = &configuration.extenders[0];
        assert_eq!(extender.verbs.filter.as_deref(), Some("filter"));
        assert_eq!((extender.weight, extender.patience), (5, Duration::from_secs(90)));
        assert!(extender.knows_nodes && extender.ignorable && extender.advises());
        assert!(extender.concerns(["cpu", "example.com/gpu"].into_iter()));
        assert!(!extender.concerns(["cpu"].into_iter()));
        assert_eq!(configuration.left_to_extenders, BTreeSet::from(["example.com/gpu".to_owned()]));
    }

    #[test]
    fn an_extender_on_the_bus_has_a_name_and_upstreams_patience() {
        let configuration = parse("urlPrefix: bus://gpu-locality\nfilterVerb: filter").expect("it is read");
        let extender = &configuration.extenders[0];
        assert!(matches!(&extender.reach, Reach::Bus { name } if name == "gpu-locality"));
        assert_eq!(extender.patience, PATIENCE);
    }

    #[test]
    fn what_cannot_be_carried_out_is_refused_with_its_place() {
        let cases = [
            ("urlPrefix: http://a\nprioritizeVerb: p", "extenders[0]: weight: 0"),
            ("urlPrefix: http://a\nprioritizeVerb: p\nweight: -1", "extenders[0]: weight: -1"),
            ("urlPrefix: http://a\npreemptVerb: p", "extenders[0]: preemptVerb"),
            ("urlPrefix: bus://", "extenders[0]: urlPrefix"),
            ("urlPrefix: http://a\nhttpTimeout: 5", "extenders[0]: httpTimeout"),
            ("urlPrefix: http://a\nhttpTimeout: 5x", "no unit \"x\""),
            ("urlPrefix: http://a\nmanagedResources: [{name: cpu}]", "managedResources[0].name"),
            ("urlPrefix: http://a\nwieght: 1", "wieght"),
        ];
        for (extender, words) in cases {
            let complaint = complaint(extender);
            assert!(complaint.contains(words), "{extender}: {complaint}");
        }
    }

    #[test]
    fn a_file_of_another_kind_or_with_plugins_of_its_own_is_refused() {
        let head = format!("apiVersion: {VERSION}\nkind: KubeSchedulerConfiguration\n");
        let cases = [
            ("apiVersion: v1\nkind: Pod".to_owned(), "apiVersion"),
            (format!("{head}profiles: [{{plugins: {{}}}}]"), "profiles[0].plugins"),
            (format!("{head}profiles: [{{}}, {{}}]"), "only one"),
            (format!("{head}percentageOfNodesToScore: 101"), "percentageOfNodesToScore"),
        ];
        for (text, words) in cases {
            let complaint = format!("{:#}", Configuration::parse(&text).expect_err("it is refused"));
            assert!(complaint.contains(words), "{text}: {complaint}");
        }
        let named =
            format!("{head}leaderElection: {{leaderElect: true}}\nprofiles: [{{schedulerName: mine}}]");
        let configuration = Configuration::parse(&named).expect("it is read");
        assert_eq!(configuration.scheduler_name.as_deref(), Some("mine"));
    }
}
