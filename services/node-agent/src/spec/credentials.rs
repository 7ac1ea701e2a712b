//! Who pulls an image: the pod's `imagePullSecrets`.

use base64::Engine;
use cri::v1::AuthConfig;
use k8s_openapi::api::core::v1::{Pod, Secret};
use serde_json::Value;

use super::image::Reference;
use super::{References, namespace, of};

/// Every credential for the image's registry, the most specific first. Secrets that are not there or that hold
/// nothing readable are passed over: the pull then fails with the registry's own words.
pub fn credentials(image: &Reference, pod: &Pod, references: &dyn References) -> Vec<AuthConfig> {
    let secrets = of(pod).image_pull_secrets.iter().flatten();
    let secrets = secrets.filter_map(|named| references.secret(namespace(pod), &named.name));
    let mut found: Vec<(usize, AuthConfig)> =
        secrets.flat_map(entries).filter_map(|(server, entry)| fitting(image, &server, &entry)).collect();
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().map(|(_, auth)| auth).collect()
}

/// Servers and their entries in a secret of either of the two docker forms.
fn entries(secret: &Secret) -> Vec<(String, Value)> {
    let field = |name: &str| secret.data.as_ref().and_then(|data| data.get(name));
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let auths = match (field(".dockerconfigjson"), field(".dockercfg")) {
        (Some(bytes), _) => parse(&bytes.0)["auths"].take(),
        (None, Some(bytes)) => parse(&bytes.0),
        (None, None) => Value::Null,
    };
    match auths {
        Value::Object(map) => map.into_iter().collect(),
        _ => Vec::new(),
    }
}

/// The entry's credential if its server is the image's registry, with the length of the path that it is for.
fn fitting(image: &Reference, server: &str, entry: &Value) -> Option<(usize, AuthConfig)> {
    let server = server.strip_prefix("https://").or(server.strip_prefix("http://")).unwrap_or(server);
    let (host, path) = server.split_once('/').unwrap_or((server, ""));
    // Docker's own tools write Docker Hub as https://index.docker.io/v1/.
    let path = path.strip_prefix("v1").or(path.strip_prefix("v2")).unwrap_or(path).trim_matches('/');
    let host = if host == "index.docker.io" { "docker.io" } else { host };
    let below =
        path.is_empty() || image.repository == path || image.repository.starts_with(&format!("{path}/"));
    if !host_fits(host, &image.registry) || !below {
        return None;
    }
    let text = |name: &str| entry[name].as_str().unwrap_or("").to_owned();
    let (mut username, mut password) = (text("username"), text("password"));
    if username.is_empty()
        && let Some((user, secret)) = decode(&text("auth"))
    {
        (username, password) = (user, secret);
    }
    let auth = AuthConfig {
        username,
        password,
        server_address: image.registry.clone(),
        identity_token: text("identitytoken"),
        registry_token: text("registrytoken"),
        ..Default::default()
    };
    Some((path.len(), auth))
}

/// `*.example.com` stands for one label.
fn host_fits(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.split('.'), host.split('.'));
    pattern.clone().count() == host.clone().count()
        && pattern.zip(host).all(|(pattern, label)| pattern == "*" || pattern == label)
}

fn decode(auth: &str) -> Option<(String, String)> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(auth).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Objects, pod};
    use super::*;

    #[test]
    fn the_most_specific_entry_of_the_registry_comes_first() {
        let config = serde_json::json!({"auths": {
            "registry.example:5000": {"username": "wide", "password": "w"},
            "https://registry.example:5000/team": {"auth": "bmFycm93Om4="},
            "other.example": {"username": "other", "password": "o"},
        }});
        let objects = Objects::default().secret("pull", ".dockerconfigjson", &config.to_string());
        let pod = pod(serde_json::json!({"imagePullSecrets": [{"name": "pull"}, {"name": "absent"}]}));
        let users = |image: &str| -> Vec<String> {
            let image = Reference::parse(image).unwrap();
            credentials(&image, &pod, &objects).into_iter().map(|auth| auth.username).collect()
        };
        assert_eq!(users("registry.example:5000/team/app:1"), ["narrow", "wide"]);
        assert_eq!(users("registry.example:5000/teams/app:1"), ["wide"]);
        assert!(users("redis").is_empty());
    }

    #[test]
    fn docker_hub_is_known_under_its_old_address() {
        let config = serde_json::json!({"https://index.docker.io/v1/": {"username": "me", "password": "p"}});
        let objects = Objects::default().secret("pull", ".dockercfg", &config.to_string());
        let pod = pod(serde_json::json!({"imagePullSecrets": [{"name": "pull"}]}));
        let found = credentials(&Reference::parse("me/app").unwrap(), &pod, &objects);
        assert_eq!(found[0].username, "me");
    }

    #[test]
    fn a_star_stands_for_one_label() {
        assert!(host_fits("*.example.com", "eu.example.com"));
        assert!(!host_fits("*.example.com", "a.eu.example.com"));
    }
}
