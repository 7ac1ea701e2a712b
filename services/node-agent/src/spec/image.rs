//! Names of images, and when they are pulled.

use std::fmt;

use k8s_openapi::api::core::v1::Container;

/// When an image is fetched from its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Each time that a container is started.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never.
    Never,
}

/// A text that names no image: `InvalidImageName`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Failed to apply default image tag {0:?}: couldn't parse image name {0:?}: invalid reference format")]
pub struct InvalidImage(pub String);

/// An image's name in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The registry, as `docker.io` or `localhost:5000`.
    pub registry: String,
    /// The path in it, as `library/redis`.
    pub repository: String,
    /// The tag; `latest` when neither tag nor digest is given.
    pub tag: Option<String>,
    /// The digest, as `sha256:…`.
    pub digest: Option<String>,
}

/// The policy of a container's spec, or the one that follows from its image's tag.
pub fn policy(container: &Container) -> PullPolicy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        Some("IfNotPresent") => PullPolicy::IfNotPresent,
        _ => match Reference::parse(name(container)) {
            Ok(reference) if reference.tag.as_deref() == Some("latest") => PullPolicy::Always,
            _ => PullPolicy::IfNotPresent,
        },
    }
}

/// The image's name as the spec has it.
pub fn name(container: &Container) -> &str {
    container.image.as_deref().unwrap_or("")
}

// === impl Reference ===

impl Reference {
    /// Takes a name apart, as `redis`, `quay.io/a/b:1` or `localhost:5000/x@sha256:…`.
    pub fn parse(text: &str) -> Result<Self, InvalidImage> {
        let invalid = || InvalidImage(text.to_owned());
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(invalid()),
            None => (text, None),
        };
        let (registry, path) = split_registry(rest);
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) if is_tag(tag) => (repository, Some(tag.to_owned())),
            Some(_) => return Err(invalid()),
            None => (path, None),
        };
        if !repository.split('/').all(is_component) || repository.len() > 255 {
            return Err(invalid());
        }
        let single = registry == "docker.io" && !repository.contains('/');
        let repository = if single { format!("library/{repository}") } else { repository.to_owned() };
        let latest = tag.is_none() && digest.is_none();
        let tag = if latest { Some("latest".to_owned()) } else { tag };
        Ok(Reference { registry: registry.to_owned(), repository, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

/// A first part with a dot or a port, or `localhost`, is a registry; without one it is Docker Hub.
fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => match first {
            "index.docker.io" => ("docker.io", rest),
            first => (first, rest),
        },
        _ => ("docker.io", text),
    }
}

/// Lowercase letters and digits, joined by a dot, one or two underscores, or dashes.
fn is_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let joints = text.split(alphanumeric).filter(|joint| !joint.is_empty());
    let good_joints =
        joints.into_iter().all(|joint| matches!(joint, "." | "_" | "__") || joint.chars().all(|c| c == '-'));
    text.starts_with(alphanumeric) && text.ends_with(alphanumeric) && good_joints
}

fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(word) && text.chars().all(|c| word(c) || c == '.' || c == '-')
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let named = algorithm.starts_with(|c: char| c.is_ascii_alphabetic());
    named && hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<(String, String, Option<String>)> {
        Reference::parse(text).ok().map(|found| (found.registry, found.repository, found.tag))
    }

    #[test]
    fn names_are_completed_as_docker_does() {
        let cases = [
            ("redis", "docker.io", "library/redis", Some("latest")),
            ("redis:7", "docker.io", "library/redis", Some("7")),
            ("bitnami/redis", "docker.io", "bitnami/redis", Some("latest")),
            ("localhost/redis", "localhost", "redis", Some("latest")),
            ("registry:5000/a/b:x", "registry:5000", "a/b", Some("x")),
            ("quay.io/a__b/c-d.e", "quay.io", "a__b/c-d.e", Some("latest")),
        ];
        for (text, registry, repository, tag) in cases {
            let expected = (registry.to_owned(), repository.to_owned(), tag.map(str::to_owned));
            assert_eq!(parts(text), Some(expected), "{text}");
            let full = Reference::parse(text).unwrap();
            assert_eq!(Reference::parse(&full.to_string()), Ok(full), "the full name means the same");
        }
        let digest = format!("redis@sha256:{}", "0".repeat(64));
        assert_eq!(parts(&digest).unwrap().2, None);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "Redis", "redis:", "a//b", "redis:a b", "-a", "a_-b", "redis@sha256:short", "a...b"]
        {
            assert_eq!(parts(text), None, "{text}");
        }
        assert_eq!(
            Reference::parse("NO").unwrap_err().to_string(),
            "Failed to apply default image tag \"NO\": couldn't parse image name \"NO\": invalid reference format"
        );
    }

    #[test]
    fn latest_is_pulled_always_unless_the_spec_says_otherwise() {
        let container = |image: &str, policy: Option<&str>| Container {
            image: Some(image.to_owned()),
            image_pull_policy: policy.map(str::to_owned),
            ..Default::default()
        };
        assert_eq!(policy(&container("redis", None)), PullPolicy::Always);
        assert_eq!(policy(&container("redis:7", None)), PullPolicy::IfNotPresent);
        assert_eq!(policy(&container("redis", Some("IfNotPresent"))), PullPolicy::IfNotPresent);
        assert_eq!(policy(&container("redis:7", Some("Never"))), PullPolicy::Never);
    }
}
