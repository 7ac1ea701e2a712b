//! What can be asked of each resource, as plain data: the part of OpenAPI that both versions have in common.
//!
//! ```text
//!   row ──> /api/v1/pods                              list
//!           /api/v1/namespaces/{namespace}/pods       list create deletecollection
//!           …/pods/{name}                             get update patch delete
//!           …/pods/{name}/status, …/exec, …           what the subresource's row says
//! ```

use std::sync::Arc;

use kinds::{Kind, Subresource, Verb, Verbs};
use schema::{Schemas, TypeId};

use super::custom_types;

/// A path and what can be done there.
#[derive(Debug)]
pub struct Path {
    /// As `/api/v1/namespaces/{namespace}/pods`.
    pub path: String,
    /// Parameters of every operation.
    pub parameters: Vec<Parameter>,
    /// In the order of verbs.
    pub operations: Vec<Operation>,
}

/// One method of a path.
#[derive(Debug)]
pub struct Operation {
    /// As `get`.
    pub method: &'static str,
    /// `x-kubernetes-action`
    pub action: &'static str,
    /// `x-kubernetes-group-version-kind`
    pub about: GroupVersionKind,
    /// Unique in the API, as `listCoreV1NamespacedPod`.
    pub id: String,
    /// As `core_v1`.
    pub tag: String,
    /// One sentence.
    pub description: String,
    /// Query parameters besides those of the path.
    pub parameters: Vec<Parameter>,
    /// What is sent.
    pub body: Body,
    /// What comes back.
    pub answer: Answer,
}

/// A kind in a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupVersionKind {
    /// Empty for the core group.
    pub group: String,
    /// As `v1`.
    pub version: String,
    /// As `Pod`.
    pub kind: String,
}

/// The type of what is sent or comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ty {
    /// A built-in one.
    BuiltIn(TypeId),
    /// One of a custom kind, by its name.
    Custom(Arc<str>),
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// An object of the type, if that is known.
    Object(Option<Ty>),
    /// `DeleteOptions`, which may be left out.
    Options(Option<Ty>),
    /// A patch in one of these formats.
    Patch(Option<Ty>, &'static [&'static str]),
}

/// The body of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An object or list of the type, if that is known; `true` if it may have been made just now.
    Object(Option<Ty>, bool),
    /// Text or an upgraded connection.
    Text,
}

/// A parameter in a path or query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// `path` or `query`.
    pub place: &'static str,
    /// `string`, `integer` or `boolean`.
    pub kind: &'static str,
    /// For a person.
    pub description: &'static str,
}

const NAME: Parameter =
    Parameter { name: "name", place: "path", kind: "string", description: "Name of the object." };
const NAMESPACE: Parameter = Parameter {
    name: "namespace",
    place: "path",
    kind: "string",
    description: "Namespace that the object is in.",
};
const REST_OF_PATH: Parameter = Parameter {
    name: "path",
    place: "path",
    kind: "string",
    description: "Path that is asked for behind the proxy.",
};

const PRETTY: Parameter = query("pretty", "string", "If true, the answer is indented.");
const DRY_RUN: Parameter = query("dryRun", "string", "With the value All, nothing is written.");
const FIELD_MANAGER: Parameter =
    query("fieldManager", "string", "Who the fields that the request sets belong to from now on.");
const FIELD_VALIDATION: Parameter = query(
    "fieldValidation",
    "string",
    "What becomes of unknown and duplicate fields: Ignore, Warn (the default) or Strict, which refuses them.",
);
const FORCE: Parameter =
    query("force", "boolean", "Takes over fields that belong to others. Only for apply patches.");
const LABEL_SELECTOR: Parameter =
    query("labelSelector", "string", "Only objects whose labels match, as app=web,tier in (a,b).");
const FIELD_SELECTOR: Parameter =
    query("fieldSelector", "string", "Only objects whose fields match, as spec.nodeName=node-1.");
const LIMIT: Parameter =
    query("limit", "integer", "How many objects an answer has at most; the rest is asked for with continue.");
const CONTINUE: Parameter = query("continue", "string", "Where the list before this one ended.");
const RESOURCE_VERSION: Parameter = query("resourceVersion", "string", "Of which state the answer may be.");
const RESOURCE_VERSION_MATCH: Parameter =
    query("resourceVersionMatch", "string", "How resourceVersion is meant: NotOlderThan or Exact.");
const SEND_INITIAL_EVENTS: Parameter = query(
    "sendInitialEvents",
    "boolean",
    "A watch begins with the objects that there are, and a bookmark says when they are complete.",
);
const TIMEOUT: Parameter = query("timeoutSeconds", "integer", "How long the request may take.");
const WATCH: Parameter = query("watch", "boolean", "The answer is a stream of changes instead of a list.");
const BOOKMARKS: Parameter =
    query("allowWatchBookmarks", "boolean", "A watch may have events that only say how far it is.");
const GRACE_PERIOD: Parameter =
    query("gracePeriodSeconds", "integer", "How long the object may take to end; 0 deletes it at once.");
const PROPAGATION: Parameter = query(
    "propagationPolicy",
    "string",
    "What becomes of what the object owns: Orphan, Background or Foreground.",
);
const ORPHAN: Parameter = query("orphanDependents", "boolean", "Deprecated: use propagationPolicy.");

const WRITE: [Parameter; 3] = [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const LIST: [Parameter; 10] = [
    BOOKMARKS,
    CONTINUE,
    FIELD_SELECTOR,
    LABEL_SELECTOR,
    LIMIT,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    SEND_INITIAL_EVENTS,
    TIMEOUT,
    WATCH,
];
const DELETE: [Parameter; 4] = [DRY_RUN, GRACE_PERIOD, ORPHAN, PROPAGATION];
const DELETE_COLLECTION: [Parameter; 12] = [
    CONTINUE,
    DRY_RUN,
    FIELD_SELECTOR,
    GRACE_PERIOD,
    LABEL_SELECTOR,
    LIMIT,
    ORPHAN,
    PROPAGATION,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    SEND_INITIAL_EVENTS,
    TIMEOUT,
];

const fn query(name: &'static str, kind: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: "query", kind, description }
}

/// What can be asked of the resource of a row.
pub fn paths(kind: &Kind) -> Vec<Path> {
    let resource = Resource::of(kind);
    let root = match kind.group.as_ref() {
        "" => format!("/api/{}", kind.version),
        group => format!("/apis/{group}/{}", kind.version),
    };
    let everywhere = format!("{root}/{}", kind.plural);
    let mut paths = Vec::new();
    let (collection, scope) = match kind.namespaced {
        true => {
            paths.extend(resource.path(&everywhere, &[], &[Verb::List], Place::AllNamespaces));
            (format!("{root}/namespaces/{{namespace}}/{}", kind.plural), &[NAMESPACE][..])
        }
        false => (everywhere, &[][..]),
    };
    let item = format!("{collection}/{{name}}");
    let named: Vec<Parameter> = [NAME].into_iter().chain(scope.iter().copied()).collect();
    let of_collection = [Verb::List, Verb::Create, Verb::DeleteCollection];
    paths.extend(resource.path(&collection, scope, &of_collection, Place::Collection));
    let of_item = [Verb::Get, Verb::Update, Verb::Patch, Verb::Delete];
    paths.extend(resource.path(&item, &named, &of_item, Place::Item));
    for sub in &kind.subresources {
        paths.extend(resource.subresource(sub, &item, &named));
    }
    paths
}

/// The built-in types that the operations mention, and those that custom types are made of.
pub fn types<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Vec<TypeId> {
    let operations = paths.into_iter().flat_map(|path| &path.operations);
    let mentioned = operations.flat_map(|operation| [operation.body.ty(), operation.answer.ty()]).flatten();
    let (mut types, mut has_custom) = (Vec::new(), false);
    for ty in mentioned {
        match ty {
            Ty::BuiltIn(ty) => types.push(*ty),
            Ty::Custom(_) => has_custom = true,
        }
    }
    types.extend(custom_types::roots().filter(|_| has_custom));
    types
}

/// Which of a row's paths.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    AllNamespaces,
    Collection,
    Item,
}

/// A row and what its operations have in common.
struct Resource<'a> {
    kind: &'a Kind,
    about: GroupVersionKind,
    own: Option<Ty>,
    list: Option<Ty>,
    options: Option<Ty>,
    status: Option<Ty>,
    patch: Option<Ty>,
    /// As `CoreV1`.
    prefix: String,
    /// As `core_v1`.
    tag: String,
}

impl<'a> Resource<'a> {
    fn of(kind: &'a Kind) -> Self {
        let schemas = Schemas::builtin();
        let (group, version) = (kind.group.as_ref(), kind.version.as_ref());
        let short = match group.strip_suffix(".k8s.io").unwrap_or(group) {
            "" => "core",
            short => short,
        };
        let camel: String = short.split(['.', '-']).map(capitalized).collect();
        Resource {
            kind,
            about: GroupVersionKind {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: kind.kind.to_string(),
            },
            own: own(kind, &kind.kind, custom_types::name),
            list: own(kind, &kind.list_kind(), custom_types::list_name),
            options: schemas.resource("", "v1", "DeleteOptions").map(Ty::BuiltIn),
            status: schemas.resource("", "v1", "Status").map(Ty::BuiltIn),
            patch: schemas.definition("io.k8s.apimachinery.pkg.apis.meta.v1.Patch").map(Ty::BuiltIn),
            prefix: format!("{camel}{}", capitalized(version)),
            tag: format!("{}_{version}", uncapitalized(&camel)),
        }
    }

    /// The path with those of `verbs` that the row has; `None` if it has none of them.
    fn path(&self, path: &str, parameters: &[Parameter], verbs: &[Verb], place: Place) -> Option<Path> {
        let operations: Vec<Operation> = verbs
            .iter()
            .filter(|verb| self.kind.verbs.contains(**verb))
            .map(|verb| self.operation(*verb, place))
            .collect();
        (!operations.is_empty()).then(|| path_with(path, parameters, operations))
    }

    fn operation(&self, verb: Verb, place: Place) -> Operation {
        let scope = if self.kind.namespaced { "Namespaced" } else { "" };
        let kind = &self.kind.kind;
        let words = words(verb);
        let target = match (verb, place) {
            (_, Place::AllNamespaces) => format!("{kind}ForAllNamespaces"),
            (Verb::DeleteCollection, _) => format!("Collection{scope}{kind}"),
            _ => format!("{scope}{kind}"),
        };
        let (body, answer) = self.bodies(verb, self.own.clone());
        Operation {
            method: words.method,
            action: words.action,
            about: self.about.clone(),
            id: format!("{}{}{target}", words.id, self.prefix),
            tag: self.tag.clone(),
            description: format!("{} {}.", words.sentence, self.object(verb)),
            parameters: parameters(verb).to_vec(),
            body,
            answer,
        }
    }

    fn object(&self, verb: Verb) -> String {
        let kind = &self.kind.kind;
        match verb {
            Verb::List | Verb::Watch | Verb::DeleteCollection => format!("objects of kind {kind}"),
            _ => format!("the {kind} of a name"),
        }
    }

    fn bodies(&self, verb: Verb, ty: Option<Ty>) -> (Body, Answer) {
        match verb {
            Verb::Create | Verb::Update => (Body::Object(ty.clone()), Answer::Object(ty, true)),
            Verb::Patch => (Body::Patch(self.patch.clone(), patches(self.kind)), Answer::Object(ty, true)),
            Verb::Get => (Body::None, Answer::Object(ty, false)),
            Verb::List | Verb::Watch => (Body::None, Answer::Object(self.list.clone(), false)),
            Verb::Delete | Verb::DeleteCollection => {
                (Body::Options(self.options.clone()), Answer::Object(self.status.clone(), false))
            }
        }
    }

    fn subresource(&self, sub: &Subresource, item: &str, named: &[Parameter]) -> Vec<Path> {
        let path = format!("{item}/{}", sub.name);
        let connects = sub.kind.ends_with("Options");
        let operations = |suffix: &str| {
            let methods = [Verb::Get, Verb::Update, Verb::Patch, Verb::Create, Verb::Delete];
            let has = |verb: &Verb| Verbs::contains(sub.verbs, *verb);
            methods
                .into_iter()
                .filter(has)
                .map(|verb| self.sub_operation(sub, verb, connects, suffix))
                .collect()
        };
        let mut paths = vec![path_with(&path, named, operations(""))];
        if sub.name == "proxy" {
            let with_rest: Vec<Parameter> = named.iter().copied().chain([REST_OF_PATH]).collect();
            paths.push(path_with(&format!("{path}/{{path}}"), &with_rest, operations("WithPath")));
        }
        paths
    }

    fn sub_operation(&self, sub: &Subresource, verb: Verb, connects: bool, suffix: &str) -> Operation {
        let words = words(verb);
        let scope = if self.kind.namespaced { "Namespaced" } else { "" };
        let kind = &self.kind.kind;
        let is_own = sub.kind == self.kind.kind && sub.group == self.kind.group;
        let ty = if is_own { self.own.clone() } else { built_in(&sub.group, &sub.version, &sub.kind) };
        let (mut body, mut answer) = self.bodies(verb, ty);
        let (mut action, mut start) = (words.action, words.id.to_owned());
        if connects {
            (body, answer) = (Body::None, Answer::Text);
            (action, start) = ("connect", format!("connect{}", capitalized(words.method)));
        } else if sub.name == "log" {
            answer = Answer::Text;
        }
        Operation {
            method: words.method,
            action,
            about: GroupVersionKind {
                group: sub.group.to_string(),
                version: sub.version.to_string(),
                kind: sub.kind.to_string(),
            },
            id: format!("{start}{}{scope}{kind}{}{suffix}", self.prefix, capitalized(&sub.name)),
            tag: self.tag.clone(),
            description: format!("{} {} of the {kind} of a name.", words.sentence, sub.name),
            parameters: if answer == Answer::Text { Vec::new() } else { parameters(verb).to_vec() },
            body,
            answer,
        }
    }
}

/// The formats of patches that a kind takes: clients that find the strategic one here use it.
fn patches(kind: &Kind) -> &'static [&'static str] {
    const FORMATS: [&str; 4] = [
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ];
    if kind.custom.is_some() { &FORMATS[..3] } else { &FORMATS }
}

/// A type of a kind: built in, or by its name.
fn own(kind: &Kind, name: &str, custom: fn(&Kind) -> String) -> Option<Ty> {
    match kind.custom.is_some() {
        true => Some(Ty::Custom(custom(kind).into())),
        false => built_in(&kind.group, &kind.version, name),
    }
}

fn built_in(group: &str, version: &str, name: &str) -> Option<Ty> {
    Schemas::builtin().resource(group, version, name).map(Ty::BuiltIn)
}

fn path_with(path: &str, parameters: &[Parameter], operations: Vec<Operation>) -> Path {
    let parameters = parameters.iter().copied().chain([PRETTY]).collect();
    Path { path: path.to_owned(), parameters, operations }
}

/// How a verb is spelled in the several places of an operation.
struct Words {
    method: &'static str,
    action: &'static str,
    id: &'static str,
    sentence: &'static str,
}

fn words(verb: Verb) -> Words {
    let (method, action, id, sentence) = match verb {
        Verb::Create => ("post", "post", "create", "Creates"),
        Verb::Delete => ("delete", "delete", "delete", "Deletes"),
        Verb::DeleteCollection => ("delete", "deletecollection", "delete", "Deletes"),
        Verb::Get => ("get", "get", "read", "Reads"),
        Verb::List | Verb::Watch => ("get", "list", "list", "Lists or watches"),
        Verb::Patch => ("patch", "patch", "patch", "Changes a part of"),
        Verb::Update => ("put", "put", "replace", "Replaces"),
    };
    Words { method, action, id, sentence }
}

fn parameters(verb: Verb) -> &'static [Parameter] {
    const PATCH: [Parameter; 4] = [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
    match verb {
        Verb::Create | Verb::Update => &WRITE,
        Verb::Patch => &PATCH,
        Verb::Get => &[],
        Verb::List | Verb::Watch => &LIST,
        Verb::Delete => &DELETE,
        Verb::DeleteCollection => &DELETE_COLLECTION,
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

fn uncapitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + letters.as_str())
}

// === impl Ty ===

impl Ty {
    /// The name that documents have it under.
    pub fn name(&self) -> Option<&str> {
        match self {
            Ty::BuiltIn(ty) => Schemas::builtin().definition_name(*ty),
            Ty::Custom(name) => Some(name),
        }
    }
}

// === impl Body, Answer ===

impl Body {
    /// The type that it has.
    pub fn ty(&self) -> Option<&Ty> {
        match self {
            Body::None => None,
            Body::Object(ty) | Body::Options(ty) | Body::Patch(ty, _) => ty.as_ref(),
        }
    }
}

impl Answer {
    /// The type that it has.
    pub fn ty(&self) -> Option<&Ty> {
        match self {
            Answer::Object(ty, _) => ty.as_ref(),
            Answer::Text => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(kind: &Kind) -> Vec<String> {
        paths(kind)
            .iter()
            .flat_map(|path| path.operations.iter().map(move |one| (path, one)))
            .map(|(path, one)| format!("{} {} {}", one.method, path.path, one.id))
            .collect()
    }

    #[test]
    fn paths_follow_from_the_row() {
        let kind = Kind::namespaced("rbac.authorization.k8s.io", "v1", "Role", "roles");
        assert_eq!(
            ids(&kind),
            [
                "get /apis/rbac.authorization.k8s.io/v1/roles listRbacAuthorizationV1RoleForAllNamespaces",
                "get /apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles listRbacAuthorizationV1NamespacedRole",
                "post /apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles createRbacAuthorizationV1NamespacedRole",
                "delete /apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles deleteRbacAuthorizationV1CollectionNamespacedRole",
                "get /apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/{name} readRbacAuthorizationV1NamespacedRole",
                "put /apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/{name} replaceRbacAuthorizationV1NamespacedRole",
                "patch /apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/{name} patchRbacAuthorizationV1NamespacedRole",
                "delete /apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/{name} deleteRbacAuthorizationV1NamespacedRole",
            ]
        );
    }

    #[test]
    fn a_subresource_has_its_own_kind_and_a_stream_is_a_connection() {
        let mut kind = Kind::namespaced("", "v1", "Pod", "pods")
            .with_subresource(Subresource::new(
                "exec",
                "",
                "v1",
                "PodExecOptions",
                &[Verb::Create, Verb::Get],
            ))
            .with_subresource(Subresource::new("eviction", "policy", "v1", "Eviction", &[Verb::Create]));
        kind.verbs = Verbs::of(&[Verb::Get]);
        let paths = paths(&kind);
        let at = |suffix: &str| {
            let path = paths.iter().find(|path| path.path.ends_with(suffix)).expect("the path is there");
            &path.operations
        };
        let actions: Vec<_> = at("/exec").iter().map(|one| (one.id.as_str(), one.action)).collect();
        assert_eq!(
            actions,
            [
                ("connectGetCoreV1NamespacedPodExec", "connect"),
                ("connectPostCoreV1NamespacedPodExec", "connect")
            ]
        );
        let eviction = &at("/eviction")[0];
        assert_eq!((eviction.about.group.as_str(), eviction.about.kind.as_str()), ("policy", "Eviction"));
        assert_eq!(eviction.id, "createCoreV1NamespacedPodEviction");
        assert!(eviction.body.ty().is_some());
    }
}
