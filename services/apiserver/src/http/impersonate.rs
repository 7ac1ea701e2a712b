//! Acting as somebody else: `kubectl --as`. Whoever asks needs the permission for each thing that they say to be.

use std::collections::BTreeMap;

use http::HeaderMap;
use model::Status;

use super::authenticate::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED};
use super::query;
use crate::authorization::{Attributes, Resource};
use crate::identity::{service_account_groups, service_account_of};
use crate::verbs::Identity;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

const AUTHENTICATION: &str = "authentication.k8s.io";

/// Who the headers say to be; `None` when they do not say so.
pub fn wished(headers: &HeaderMap) -> Result<Option<Identity>, Status> {
    let all = |name: &str| -> Vec<String> {
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    };
    let mut wished = Identity {
        user: all(USER).into_iter().next().unwrap_or_default(),
        uid: all(UID).into_iter().next().unwrap_or_default(),
        groups: all(GROUP),
        extra: extra(headers),
    };
    let is_more = !wished.groups.is_empty() || !wished.uid.is_empty() || !wished.extra.is_empty();
    match wished.user.as_str() {
        "" if is_more => {
            return Err(Status::bad_request("groups, uid and extra are of an impersonated user: say which"));
        }
        "" => return Ok(None),
        _ => {}
    }
    if let (Some((namespace, _)), []) = (service_account_of(&wished.user), wished.groups.as_slice()) {
        wished.groups = service_account_groups(namespace);
    }
    Ok(Some(wished))
}

fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) {
            extra.entry(query::decode(key, false)).or_default().push(value.to_owned());
        }
    }
    extra
}

/// What has to be allowed to whoever asks before they are `wished`.
pub fn needed(wished: &Identity) -> Vec<Attributes<'_>> {
    let user = match service_account_of(&wished.user) {
        Some((namespace, name)) => {
            Resource { resource: "serviceaccounts", namespace, name, ..Resource::default() }
        }
        None => Resource { resource: "users", name: &wished.user, ..Resource::default() },
    };
    // The groups of an account come with it.
    let own = service_account_of(&wished.user).map(|(namespace, _)| service_account_groups(namespace));
    let is_own = own.is_some_and(|own| own == wished.groups);
    let groups = wished.groups.iter().filter(|_| !is_own);
    let groups = groups.map(|name| Resource { resource: "groups", name, ..Resource::default() });
    let extra = wished.extra.iter().flat_map(|(key, values)| {
        values.iter().map(move |name| Resource {
            group: AUTHENTICATION,
            resource: "userextras",
            subresource: key,
            name,
            ..Resource::default()
        })
    });
    let uid = Some(wished.uid.as_str()).filter(|uid| !uid.is_empty());
    let uid =
        uid.map(|name| Resource { group: AUTHENTICATION, resource: "uids", name, ..Resource::default() });
    let resources = std::iter::once(user).chain(groups).chain(extra).chain(uid);
    resources.map(|resource| Attributes::resource("impersonate", resource)).collect()
}

/// The identity, once all of it was allowed: whoever is somebody is authenticated.
pub fn become_of(mut wished: Identity) -> Identity {
    let group = if wished.user == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    let has = |name: &str, groups: &[String]| groups.iter().any(|group| group == name);
    if !has(AUTHENTICATED, &wished.groups) && !has(UNAUTHENTICATED, &wished.groups) {
        wished.groups.push(group.to_owned());
    }
    wished
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in list.iter().map(header) {
            headers.append(name, value);
        }
        headers
    }

    fn asked(list: &[(&'static str, &'static str)]) -> Vec<String> {
        let wished = wished(&headers(list)).unwrap().unwrap();
        needed(&wished).iter().map(|one| one.refused("jane", "").message).collect()
    }

    #[test]
    fn each_thing_that_somebody_says_to_be_is_asked_for() {
        assert_eq!(wished(&headers(&[("accept", "x")])).unwrap(), None);
        assert_eq!(wished(&headers(&[(GROUP, "dev")])).unwrap_err().code(), 400);
        assert_eq!(
            asked(&[(USER, "bob"), (GROUP, "dev"), (UID, "7"), ("impersonate-extra-scopes%2fa", "view")]),
            [
                "users \"bob\" is forbidden: User \"jane\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
                "groups \"dev\" is forbidden: User \"jane\" cannot impersonate resource \"groups\" in API group \"\" at the cluster scope",
                "userextras.authentication.k8s.io \"view\" is forbidden: User \"jane\" cannot impersonate resource \"userextras/scopes/a\" in API group \"authentication.k8s.io\" at the cluster scope",
                "uids.authentication.k8s.io \"7\" is forbidden: User \"jane\" cannot impersonate resource \"uids\" in API group \"authentication.k8s.io\" at the cluster scope",
            ]
        );
        assert_eq!(
            asked(&[(USER, "system:serviceaccount:a:bot")]),
            [
                "serviceaccounts \"bot\" is forbidden: User \"jane\" cannot impersonate resource \"serviceaccounts\" in API group \"\" in the namespace \"a\""
            ]
        );
    }

    #[test]
    fn whoever_is_somebody_is_authenticated() {
        let become_of = |user: &str, groups: &[&str]| {
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            become_of(Identity { user: user.to_owned(), groups, ..Identity::default() }).groups
        };
        assert_eq!(become_of("bob", &["dev"]), ["dev", AUTHENTICATED]);
        assert_eq!(become_of("bob", &[AUTHENTICATED]), [AUTHENTICATED]);
        assert_eq!(become_of(ANONYMOUS, &[]), [UNAUTHENTICATED]);
    }
}
