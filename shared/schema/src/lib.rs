//! Types as data: what every built-in kind looks like, and what follows from it.

pub mod fields;
pub mod json;
pub mod proto;
pub mod strategic;

/// Every built-in type.
#[derive(Debug)]
pub struct Schemas {}

/// A type of [`Schemas`]; a cheap handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeId(pub(crate) u32);

impl Schemas {
    /// The types of the API that this build serves.
    pub fn builtin() -> &'static Schemas {
        &Schemas {}
    }

    /// The type of a kind, as `("apps", "v1", "Deployment")`.
    pub fn resource(&self, _group: &str, _version: &str, _kind: &str) -> Option<TypeId> {
        None
    }
}
