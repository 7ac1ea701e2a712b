//! The environment of a container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, EnvVarSource, Pod};

use super::expand::expand;
use super::{Addresses, References, fields, namespace, services};
use crate::settings::Settings;

/// Why a container cannot be configured: `CreateContainerConfigError` with this text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// What the environment is made from.
pub struct Sources<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// What it refers to.
    pub references: &'a dyn References,
    /// Its addresses.
    pub addresses: &'a Addresses,
    /// The node.
    pub settings: &'a Settings,
}

/// Names and values in the order in which they were first named; a later value wins, and Services come first.
pub fn environment(
    container: &Container,
    sources: &Sources<'_>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut environment = Environment::default();
    for (name, value) in services::variables(sources.pod, sources.references) {
        environment.set(name, value);
    }
    for source in container.env_from.iter().flatten() {
        for (key, value) in whole_map(source, sources)? {
            let name = format!("{}{key}", source.prefix.as_deref().unwrap_or(""));
            // Nothing else can be told from the rest of the text by the one who reads it.
            if !name.is_empty() && !name.contains('=') {
                environment.set(name, value);
            }
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(variable, container, &environment, sources)? {
            environment.set(variable.name.clone(), value);
        }
    }
    Ok(environment.variables)
}

#[derive(Default)]
struct Environment {
    variables: Vec<(String, String)>,
    index: BTreeMap<String, usize>,
}

// === impl Environment ===

impl Environment {
    fn set(&mut self, name: String, value: String) {
        match self.index.get(&name) {
            Some(at) => self.variables[*at].1 = value,
            None => {
                self.index.insert(name.clone(), self.variables.len());
                self.variables.push((name, value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<String> {
        self.index.get(name).map(|at| self.variables[*at].1.clone())
    }
}

/// The value of one variable, `None` for an optional one that is not there.
fn value_of(
    variable: &EnvVar,
    container: &Container,
    before: &Environment,
    sources: &Sources<'_>,
) -> Result<Option<String>, ConfigError> {
    match &variable.value_from {
        Some(source) => referred(source, container, sources),
        None => {
            let text = variable.value.as_deref().unwrap_or("");
            Ok(Some(expand(text, |name| before.get(name))))
        }
    }
}

fn referred(
    source: &EnvVarSource,
    container: &Container,
    sources: &Sources<'_>,
) -> Result<Option<String>, ConfigError> {
    let namespace = namespace(sources.pod);
    if let Some(selector) = &source.field_ref {
        let value = fields::field(selector, sources.pod, sources.addresses);
        return value.map(Some).map_err(|error| ConfigError(error.to_string()));
    }
    if let Some(selector) = &source.resource_field_ref {
        let value = fields::resource(selector, sources.pod, Some(container), sources.settings);
        return value.map(Some).map_err(|error| ConfigError(error.to_string()));
    }
    if let Some(selector) = &source.config_map_key_ref {
        let optional = selector.optional == Some(true);
        let Some(map) = sources.references.config_map(namespace, &selector.name) else {
            return missing(optional, || no_config_map(&selector.name));
        };
        let value = map.data.as_ref().and_then(|data| data.get(&selector.key)).cloned();
        return present(value, optional, || {
            format!("couldn't find key {} in ConfigMap {namespace}/{}", selector.key, selector.name)
        });
    }
    if let Some(selector) = &source.secret_key_ref {
        let optional = selector.optional == Some(true);
        let Some(secret) = sources.references.secret(namespace, &selector.name) else {
            return missing(optional, || no_secret(&selector.name));
        };
        let value = secret.data.as_ref().and_then(|data| data.get(&selector.key));
        let value = value.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        return present(value, optional, || {
            format!("couldn't find key {} in Secret {namespace}/{}", selector.key, selector.name)
        });
    }
    Err(ConfigError("the variable has a source of a kind that this node does not know".to_owned()))
}

/// Every key and value of a config map or secret, as text.
fn whole_map(source: &EnvFromSource, sources: &Sources<'_>) -> Result<BTreeMap<String, String>, ConfigError> {
    let namespace = namespace(sources.pod);
    if let Some(named) = &source.config_map_ref {
        return match sources.references.config_map(namespace, &named.name) {
            Some(map) => Ok(map.data.clone().unwrap_or_default()),
            None => missing(named.optional == Some(true), || no_config_map(&named.name)),
        };
    }
    if let Some(named) = &source.secret_ref {
        return match sources.references.secret(namespace, &named.name) {
            Some(secret) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let data = secret.data.iter().flatten();
                Ok(data.map(|(key, bytes)| (key.clone(), text(&bytes.0))).collect())
            }
            None => missing(named.optional == Some(true), || no_secret(&named.name)),
        };
    }
    Ok(BTreeMap::new())
}

/// The text that users know for a config map that is not there.
pub fn no_config_map(name: &str) -> String {
    format!("configmap {name:?} not found")
}

/// The text that users know for a secret that is not there.
pub fn no_secret(name: &str) -> String {
    format!("secret {name:?} not found")
}

fn missing<T: Default>(optional: bool, text: impl Fn() -> String) -> Result<T, ConfigError> {
    if optional { Ok(T::default()) } else { Err(ConfigError(text())) }
}

fn present(
    value: Option<String>,
    optional: bool,
    text: impl Fn() -> String,
) -> Result<Option<String>, ConfigError> {
    match value {
        Some(value) => Ok(Some(value)),
        None => missing(optional, text),
    }
}
