//! The compact form: some 3,000 fields of 735 types in a few flat vectors, under 300 KB in all.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use crate::names::{Name, Names};

/// Every built-in type.
#[derive(Debug)]
pub struct Schemas {
    pub(crate) names: Names,
    pub(crate) types: Vec<Type>,
    /// Fields of a struct follow each other in the order of their names.
    pub(crate) fields: Vec<Field>,
    pub(crate) wires: Vec<Wire>,
    /// In the order of their names.
    pub(crate) definitions: Vec<(Name, TypeId)>,
    /// By `group/version/Kind`.
    pub(crate) kinds: HashMap<Box<str>, TypeId>,
}

/// A type of [`Schemas`]; a cheap handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub(crate) u32);

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Type {
    /// An object with known fields.
    Struct(Struct),
    /// An object with any fields, all of one type.
    Map(TypeId),
    /// A list.
    List(TypeId),
    /// One value.
    Scalar(Scalar),
    /// Whatever JSON it is, untouched.
    Raw(Raw),
    /// One of the shapes of JSON Schema that have no type of their own.
    Choice(Choice),
}

/// An object with known fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Struct {
    /// Of the definition, as `io.k8s.api.core.v1.PodSpec`.
    pub(crate) name: Name,
    pub(crate) fields: Span,
    pub(crate) wire: Span,
}

/// A part of a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar {
    Text,
    /// base64
    Bytes,
    Int32,
    Int64,
    Double,
    Bool,
    /// RFC 3339, whole seconds.
    Time,
    /// RFC 3339, microseconds.
    MicroTime,
    Quantity,
    IntOrString,
}

/// Types that hold JSON as it is; they differ in protobuf only by name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Raw {
    /// `JSON`: null is a value too.
    Json,
    /// `RawExtension`, `FieldsV1`.
    Embedded,
}

/// What may stand where the type `JSONSchemaProps` is, instead of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Choice {
    List(TypeId),
    Bool(TypeId),
    Strings(TypeId),
}

/// A field of a struct.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: Name,
    pub(crate) ty: TypeId,
    /// Written even when it is empty.
    pub(crate) required: bool,
    /// A strategic merge patch adds to this list instead of replacing it…
    pub(crate) merges: bool,
    /// …and finds its objects by this field.
    pub(crate) merge_key: Option<Name>,
}

/// What a number in a protobuf message stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) tag: u32,
    pub(crate) target: Target,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// An index into [`Schemas::fields`].
    Field(u32),
    /// A message whose fields belong to the struct around it: a part of [`Schemas::wires`].
    Embedded(Span),
}

/// The package of types that every group shares.
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

// === impl Schemas ===

impl Schemas {
    /// The types of the API that this build serves, loaded when they are first asked for.
    pub fn builtin() -> &'static Schemas {
        static BUILTIN: LazyLock<Schemas> = LazyLock::new(crate::load::load);
        &BUILTIN
    }

    /// The type of a kind, as `("apps", "v1", "Deployment")`; lists and `DeleteOptions` are kinds too.
    pub fn resource(&self, group: &str, version: &str, kind: &str) -> Option<TypeId> {
        let own = self.kinds.get(format!("{group}/{version}/{kind}").as_str()).copied();
        // Options and statuses are known in every group version, also in those of custom kinds.
        own.or_else(|| self.kinds.get(format!("/v1/{kind}").as_str()).copied().filter(|ty| self.is_meta(*ty)))
    }

    /// The type that is published under a name, as `io.k8s.api.core.v1.PodSpec`.
    pub fn definition(&self, name: &str) -> Option<TypeId> {
        let at = self.definitions.binary_search_by(|(known, _)| self.names.get(*known).cmp(name)).ok()?;
        Some(self.definitions[at].1)
    }

    /// The name that a type is published under; `None` for a list, a map or a plain value within another type.
    pub fn definition_name(&self, ty: TypeId) -> Option<&str> {
        // Handles are given in the order in which types are mentioned, so this is a search; only documents ask.
        self.definitions.iter().find(|(_, known)| *known == ty).map(|(name, _)| self.names.get(*name))
    }

    /// The names of these types and of all that they are made of.
    pub fn closure(&self, roots: impl IntoIterator<Item = TypeId>) -> BTreeSet<&str> {
        let mut seen: BTreeSet<TypeId> = BTreeSet::new();
        let mut open: Vec<TypeId> = roots.into_iter().collect();
        while let Some(ty) = open.pop() {
            if seen.insert(ty) {
                match self.get(ty) {
                    Type::Struct(of) => open.extend(self.fields(of.fields).iter().map(|field| field.ty)),
                    Type::Map(inner) | Type::List(inner) => open.push(inner),
                    Type::Choice(choice) => open.push(choice.props()),
                    Type::Scalar(_) | Type::Raw(_) => {}
                }
            }
        }
        let names = self.definitions.iter().filter(|(_, ty)| seen.contains(ty));
        names.map(|(name, _)| self.names.get(*name)).collect()
    }

    pub(crate) fn get(&self, ty: TypeId) -> Type {
        self.types[ty.0 as usize]
    }

    pub(crate) fn fields(&self, span: Span) -> &[Field] {
        &self.fields[span.range()]
    }

    pub(crate) fn field(&self, of: Struct, name: &str) -> Option<&Field> {
        let fields = self.fields(of.fields);
        let at = fields.binary_search_by(|field| self.names.get(field.name).cmp(name)).ok()?;
        Some(&fields[at])
    }

    fn is_meta(&self, ty: TypeId) -> bool {
        matches!(self.get(ty), Type::Struct(of) if self.names.get(of.name).starts_with(META))
    }
}

// === impl Span ===

impl Span {
    pub(crate) fn range(self) -> std::ops::Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }
}

// === impl Choice ===

impl Choice {
    pub(crate) fn props(self) -> TypeId {
        match self {
            Choice::List(props) | Choice::Bool(props) | Choice::Strings(props) => props,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_in_their_group_version_and_shared_ones_in_every() {
        let schemas = Schemas::builtin();
        let pod = schemas.resource("", "v1", "Pod").expect("pods are built in");
        assert_eq!(schemas.definition_name(pod), Some("io.k8s.api.core.v1.Pod"));
        assert_eq!(schemas.definition("io.k8s.api.core.v1.Pod"), Some(pod));
        let options = schemas.resource("", "v1", "DeleteOptions").expect("a shared kind");
        assert_eq!(schemas.resource("example.com", "v7", "DeleteOptions"), Some(options));
        assert_eq!(schemas.resource("example.com", "v7", "Pod"), None);
    }

    #[test]
    fn the_closure_of_a_type_holds_what_it_is_made_of() {
        let schemas = Schemas::builtin();
        let lease = schemas.resource("coordination.k8s.io", "v1", "Lease").expect("leases are built in");
        let closure: Vec<&str> = schemas.closure([lease]).into_iter().collect();
        assert_eq!(
            closure,
            [
                "io.k8s.api.coordination.v1.Lease",
                "io.k8s.api.coordination.v1.LeaseSpec",
                "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
                "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry",
                "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
                "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
                "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
                "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
            ]
        );
    }
}
