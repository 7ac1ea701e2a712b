//! What the API server knows of a kind: a row of plain data, and hooks with empty defaults.
//!
//! Routes, discovery, OpenAPI, tables and watches follow from the row; a kind without behaviour of its own
//! is a row alone. Rows of custom kinds are made at run time, so nothing here assumes `'static` data.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use model::{Class, FieldError, Object};
use serde_json::Value;

use crate::{custom::Custom, metadata, scale::Scale};

/// Text of a row: a literal for a built-in kind, owned for a custom one.
pub type Text = Cow<'static, str>;

/// One kind as it is served in one version.
#[derive(Clone, Debug)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: Text,
    /// API version, as `v1`.
    pub version: Text,
    /// Kind, as `Pod`.
    pub kind: Text,
    /// Resource name in paths, as `pods`.
    pub plural: Text,
    /// Resource name for one, as `pod`.
    pub singular: Text,
    /// Short names for command lines, as `po`.
    pub short_names: Vec<Text>,
    /// Categories, as `all`.
    pub categories: Vec<Text>,
    /// False for a cluster-scoped kind.
    pub namespaced: bool,
    /// The part of the log that its objects are written to.
    pub class: Class,
    /// Where its objects lie; differs from the row's own names when two groups serve one storage.
    pub storage: Storage,
    /// Verbs of the main resource.
    pub verbs: Verbs,
    /// Subresources.
    pub subresources: Vec<Subresource>,
    /// Printer columns, the name first.
    pub columns: Vec<Column>,
    /// Fields that a field selector may use besides `metadata.name` and `metadata.namespace`.
    pub selectable_fields: Vec<SelectableField>,
    /// What names look like.
    pub name_rule: NameRule,
    /// `metadata.generation` is 1 at creation and grows when anything but metadata and status changes.
    pub tracks_generation: bool,
    /// An update without a `resourceVersion` overwrites whatever is there.
    pub unconditional_update: bool,
    /// Behaviour.
    pub hooks: Hooks,
    /// For a kind that is not built in: what its definition says.
    pub custom: Option<Arc<Custom>>,
}

/// The collection that objects of a kind are kept in: the parts of a [`model::Key`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Kept under this group and resource, in the form of the row that has those names.
    Collection {
        /// Group of the key.
        group: Text,
        /// Resource of the key.
        resource: Text,
    },
    /// Answered at once and never kept, as `Binding`.
    Virtual,
}

/// What an object of a kind may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// A DNS-1123 subdomain: most kinds.
    Subdomain,
    /// A DNS-1123 label: namespaces.
    Label,
    /// A DNS-1035 label: services.
    Label1035,
    /// Anything that can be a path segment: RBAC.
    PathSegment,
}

/// A set of verbs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Verbs(u16);

/// One thing that can be done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// POST to the collection.
    Create,
    /// DELETE of an object.
    Delete,
    /// DELETE of the collection.
    DeleteCollection,
    /// GET of an object.
    Get,
    /// GET of the collection.
    List,
    /// PATCH.
    Patch,
    /// PUT.
    Update,
    /// GET with `watch=true`.
    Watch,
}

/// A part of an object with its own path, as `status`.
#[derive(Clone, Debug)]
pub struct Subresource {
    /// The path segment.
    pub name: Text,
    /// Group of the body's kind.
    pub group: Text,
    /// Version of the body's kind.
    pub version: Text,
    /// Kind of the body.
    pub kind: Text,
    /// Verbs.
    pub verbs: Verbs,
    /// For `scale`: where the numbers are.
    pub scale: Option<Scale>,
    /// For a part of the object itself other than its status: what an update of it does.
    pub update: Option<SubresourceUpdate>,
}

/// An update of a part of an object, as `pods/resize`.
#[derive(Clone, Copy, Debug)]
pub struct SubresourceUpdate {
    /// Carries over from `old` all but that part; its defaults are the kind's.
    pub prepare: fn(new: &mut Object, old: &Object),
    /// Judges the change; `validate` of the kind runs on `new` as well, `validate_update` does not.
    pub validate: fn(new: &Object, old: &Object) -> Vec<FieldError>,
}

/// What a cell may know besides the object.
#[derive(Clone, Copy, Debug)]
pub struct CellContext {
    /// The time at which ages are read.
    pub now: Timestamp,
}

/// Computes a cell.
pub type CellFn = Arc<dyn Fn(&Object, &CellContext) -> Value + Send + Sync>;

/// A printer column.
#[derive(Clone)]
pub struct Column {
    /// Heading, as `Ready`.
    pub name: Text,
    /// `string`, `integer`, `date`, `number` or `boolean`.
    pub kind: &'static str,
    /// OpenAPI format; `name` marks the column that holds the name.
    pub format: &'static str,
    /// 0 is always shown, 1 only in wide output.
    pub priority: i32,
    /// For a person.
    pub description: Text,
    /// The value.
    pub cell: CellFn,
}

/// Reads a field as text; empty when it is absent.
pub type FieldFn = fn(&Object) -> String;

/// A field that a field selector may use.
#[derive(Clone)]
pub struct SelectableField {
    /// As a client writes it, as `spec.nodeName`.
    pub path: Text,
    /// Its value, see [`FieldFn`].
    pub value: Arc<dyn Fn(&Object) -> String + Send + Sync>,
}

/// A kind's behaviour. Every hook is pure and has an empty default.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// Fills in what the client left out. Runs after decoding, on create, update and patch; idempotent. The object
    /// has the form of its type: no nulls, no empty optional lists and maps.
    pub default: fn(&mut Object),
    /// Clears what a client may not set on create (status) and sets what only the server knows.
    pub prepare_create: fn(&mut Object),
    /// Carries over from `old` what an update of the main resource may not change (status).
    pub prepare_update: fn(new: &mut Object, old: &Object),
    /// Carries over from `old` what an update of the status may not change (everything else).
    pub prepare_status: fn(new: &mut Object, old: &Object),
    /// Judges a whole object; runs on create and on update, on the very object that is stored.
    /// Metadata is judged by [`Kind::validate`] for every kind alike.
    pub validate: fn(&Object) -> Vec<FieldError>,
    /// Judges what only a new object may not have; [`Kind::validate`] runs `validate` as well.
    pub validate_create: fn(&Object) -> Vec<FieldError>,
    /// Judges the change; [`Kind::validate_update`] runs `validate` on `new` as well.
    pub validate_update: fn(new: &Object, old: &Object) -> Vec<FieldError>,
    /// Judges a change of the status.
    pub validate_status: fn(new: &Object, old: &Object) -> Vec<FieldError>,
    /// What to tell the client although the object is accepted.
    pub warnings: fn(&Object) -> Vec<String>,
    /// From the served form of this version to the stored form.
    pub to_storage: fn(&mut Object),
    /// From the stored form to the served form of this version; `None` when they are the same bytes.
    pub from_storage: Option<fn(&mut Object)>,
}

// === impl Kind ===

impl Kind {
    /// A namespaced kind with every verb, a status subresource to be added, and only the name and age shown.
    pub fn namespaced(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Kind {
        Kind {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            plural: plural.into(),
            singular: kind.to_ascii_lowercase().into(),
            short_names: Vec::new(),
            categories: Vec::new(),
            namespaced: true,
            class: Class::of(group, plural),
            storage: Storage::Collection { group: group.into(), resource: plural.into() },
            verbs: Verbs::ALL,
            subresources: Vec::new(),
            columns: vec![Column::name(), Column::age()],
            selectable_fields: Vec::new(),
            name_rule: NameRule::Subdomain,
            tracks_generation: false,
            unconditional_update: true,
            hooks: Hooks::default(),
            custom: None,
        }
    }

    /// A cluster-scoped kind, else as [`Kind::namespaced`].
    pub fn cluster(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Kind {
        Kind { namespaced: false, ..Kind::namespaced(group, version, kind, plural) }
    }

    /// With short names.
    pub fn short(mut self, names: &[&'static str]) -> Kind {
        self.short_names = names.iter().map(|name| Text::Borrowed(*name)).collect();
        self
    }

    /// In the category `all`.
    pub fn in_all(mut self) -> Kind {
        self.categories.push("all".into());
        self
    }

    /// With these columns after the name.
    pub fn with_columns(mut self, columns: Vec<Column>) -> Kind {
        self.columns = std::iter::once(Column::name()).chain(columns).collect();
        self
    }

    /// With the subresource `status`, whose content the main resource may not change.
    pub fn with_status(mut self) -> Kind {
        self.hooks.prepare_create = metadata::clear_status;
        self.hooks.prepare_update = metadata::keep_status;
        self.hooks.prepare_status = metadata::keep_all_but_status;
        let (group, version, kind) = (self.group.clone(), self.version.clone(), self.kind.clone());
        self.subresources.push(Subresource {
            name: "status".into(),
            group,
            version,
            kind,
            verbs: Verbs::of(&[Verb::Get, Verb::Patch, Verb::Update]),
            scale: None,
            update: None,
        });
        self
    }

    /// With the subresource `scale`.
    pub fn with_scale(mut self, scale: Scale) -> Kind {
        self.subresources.push(Subresource {
            scale: Some(scale),
            ..Subresource::new("scale", "autoscaling", "v1", "Scale", &[Verb::Get, Verb::Patch, Verb::Update])
        });
        self
    }

    /// With a further subresource.
    pub fn with_subresource(mut self, subresource: Subresource) -> Kind {
        self.subresources.push(subresource);
        self
    }

    /// With a generation.
    pub fn with_generation(mut self) -> Kind {
        self.tracks_generation = true;
        self
    }

    /// With another rule for names.
    pub fn with_names(mut self, rule: NameRule) -> Kind {
        self.name_rule = rule;
        self
    }

    /// With selectable fields.
    pub fn with_fields(mut self, fields: &[(&'static str, FieldFn)]) -> Kind {
        self.selectable_fields = fields
            .iter()
            .map(|(path, value)| SelectableField { path: (*path).into(), value: Arc::new(*value) })
            .collect();
        self
    }

    /// With changed hooks; those that it does not touch stay.
    pub fn with_hooks(mut self, change: impl FnOnce(&mut Hooks)) -> Kind {
        change(&mut self.hooks);
        self
    }

    /// As `PodList`.
    pub fn list_kind(&self) -> String {
        match &self.custom {
            Some(custom) => custom.list_kind().to_string(),
            None => format!("{}List", self.kind),
        }
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        match self.group.as_ref() {
            "" => self.version.to_string(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `pods` or `deployments.apps`: how messages name the resource.
    pub fn qualified_plural(&self) -> String {
        match self.group.as_ref() {
            "" => self.plural.to_string(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Group and resource of the keys that its objects have; `None` for a kind that is never kept.
    pub fn storage_key(&self) -> Option<(&str, &str)> {
        match &self.storage {
            Storage::Collection { group, resource } => Some((group, resource)),
            Storage::Virtual => None,
        }
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|one| one.name == name)
    }

    /// Fills in what the client left out; see [`Hooks::default`].
    pub fn default(&self, object: &mut Object) {
        if let Some(custom) = &self.custom {
            custom.default(object);
        }
        (self.hooks.default)(object);
    }

    /// Brings an object into the form that is stored, after parts of it were taken away, carried over or added.
    pub fn complete(&self, object: &mut Object) {
        if let Some(custom) = &self.custom {
            custom.default(object);
        }
    }

    /// Whether stored bytes, with their revision, are what a client of this version sees.
    pub fn serves_as_stored(&self, json: &[u8]) -> bool {
        match &self.custom {
            Some(custom) => custom.serves_as_stored(json),
            None => self.hooks.from_storage.is_none(),
        }
    }

    /// From the form that this version serves to the stored one.
    pub fn to_storage(&self, object: &mut Object) {
        if let Some(custom) = &self.custom {
            custom.to_storage(object);
        }
        (self.hooks.to_storage)(object);
    }

    /// From the stored form to the one that this version serves.
    pub fn from_storage(&self, object: &mut Object) {
        if let Some(custom) = &self.custom {
            custom.from_storage(object);
        }
        if let Some(from_storage) = self.hooks.from_storage {
            from_storage(object);
            self.stamp(object);
        }
    }

    fn judge(&self, object: &Object) -> Vec<FieldError> {
        let mut errors = (self.hooks.validate)(object);
        if let Some(custom) = &self.custom {
            errors.extend(custom.validate(object));
        }
        errors
    }

    /// Everything that is wrong with an object that is about to be created: metadata, then the kind's rules.
    pub fn validate(&self, object: &Object) -> Vec<FieldError> {
        let mut errors = metadata::validate(self, object);
        errors.extend(self.judge(object));
        errors.extend((self.hooks.validate_create)(object));
        errors
    }

    /// Everything that is wrong with `new` as the successor of `old`.
    pub fn validate_update(&self, new: &Object, old: &Object) -> Vec<FieldError> {
        let mut errors = metadata::validate_update(self, new, old);
        errors.extend(self.judge(new));
        errors.extend((self.hooks.validate_update)(new, old));
        errors
    }

    /// Everything that is wrong with `new` as a change of that part of `old`.
    pub fn validate_part(&self, part: &SubresourceUpdate, new: &Object, old: &Object) -> Vec<FieldError> {
        let mut errors = metadata::validate_update(self, new, old);
        errors.extend(self.judge(new));
        errors.extend((part.validate)(new, old));
        errors
    }

    /// Everything that is wrong with `new` as a change of the status of `old`.
    pub fn validate_status(&self, new: &Object, old: &Object) -> Vec<FieldError> {
        let mut errors = metadata::validate_update(self, new, old);
        errors.extend((self.hooks.validate_status)(new, old));
        if let Some(custom) = &self.custom {
            errors.extend(custom.validate_status(new));
        }
        errors
    }

    /// The value of a selectable field as text, `None` when the field cannot be selected on this kind.
    pub fn field(&self, object: &Object, path: &str) -> Option<String> {
        match path {
            "metadata.name" => Some(object.name().to_owned()),
            "metadata.namespace" if self.namespaced => Some(object.namespace().to_owned()),
            _ => self
                .selectable_fields
                .iter()
                .find(|field| field.path == path)
                .map(|field| (field.value)(object)),
        }
    }

    /// Whether a field selector may use `path` on this kind.
    pub fn is_selectable(&self, path: &str) -> bool {
        path == "metadata.name"
            || (path == "metadata.namespace" && self.namespaced)
            || self.selectable_fields.iter().any(|field| field.path == path)
    }

    /// Puts `apiVersion` and `kind` of this row into `object`.
    pub fn stamp(&self, object: &mut Object) {
        object.set(&["apiVersion"], self.api_version());
        object.set(&["kind"], self.kind.to_string());
    }
}

// === impl Verbs ===

impl Verbs {
    /// No verb.
    pub const NONE: Verbs = Verbs(0);
    /// Every verb.
    pub const ALL: Verbs = Verbs((1 << Verb::EACH.len()) - 1);

    /// These verbs.
    pub fn of(verbs: &[Verb]) -> Verbs {
        Verbs(verbs.iter().fold(0, |set, verb| set | 1 << *verb as u16))
    }

    /// Whether the verb is in the set.
    pub const fn contains(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u16) != 0
    }

    /// The verbs in alphabetical order, as discovery lists them.
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::EACH.into_iter().filter(move |verb| self.contains(*verb))
    }
}

impl fmt::Debug for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

// === impl Verb ===

impl Verb {
    /// Each verb in alphabetical order.
    pub const EACH: [Verb; 8] = [
        Verb::Create,
        Verb::Delete,
        Verb::DeleteCollection,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ];

    /// As in discovery and in authorization.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Patch => "patch",
            Verb::Update => "update",
            Verb::Watch => "watch",
        }
    }
}

// === impl Subresource ===

impl Subresource {
    /// A subresource that takes a kind of its own.
    pub fn new(
        name: &'static str,
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        verbs: &[Verb],
    ) -> Subresource {
        Subresource {
            name: name.into(),
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            verbs: Verbs::of(verbs),
            scale: None,
            update: None,
        }
    }
}

// === impl Column ===

impl Column {
    /// A column of any kind, shown always.
    pub fn new(
        name: &'static str,
        kind: &'static str,
        description: &'static str,
        cell: impl Fn(&Object, &CellContext) -> Value + Send + Sync + 'static,
    ) -> Column {
        Column {
            name: name.into(),
            kind,
            format: "",
            priority: 0,
            description: description.into(),
            cell: Arc::new(cell),
        }
    }

    /// A column of text.
    pub fn text(
        name: &'static str,
        description: &'static str,
        cell: impl Fn(&Object) -> String + Send + Sync + 'static,
    ) -> Column {
        Column::new(name, "string", description, move |object, _| Value::String(cell(object)))
    }

    /// A column of whole numbers.
    pub fn integer(name: &'static str, description: &'static str, cell: fn(&Object) -> i64) -> Column {
        Column::new(name, "integer", description, move |object, _| Value::from(cell(object)))
    }

    /// A column of whole numbers that upstream declares to be text.
    pub fn count(name: &'static str, description: &'static str, cell: fn(&Object) -> i64) -> Column {
        Column { kind: "string", ..Column::integer(name, description, cell) }
    }

    /// Only in wide output.
    pub fn wide(mut self) -> Column {
        self.priority = 1;
        self
    }

    /// The object's name.
    pub fn name() -> Column {
        Column {
            format: "name",
            ..Column::text("Name", "Name of the object, unique among its kind in the namespace.", |object| {
                object.name().to_owned()
            })
        }
    }

    /// The time of creation: what is shown of a kind of which nothing more telling is known.
    pub fn created_at() -> Column {
        Column::new("Created At", "date", "When the object was created.", |object, _| {
            Value::String(object.str_at(&["metadata", "creationTimestamp"]).to_owned())
        })
    }

    /// The time since creation.
    pub fn age() -> Column {
        Column::new("Age", "string", "Time since the object was created.", |object, context| {
            Value::String(crate::age::since(object.str_at(&["metadata", "creationTimestamp"]), context.now))
        })
    }
}

impl fmt::Debug for SelectableField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SelectableField").field(&self.path).finish()
    }
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Column").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

// === impl Hooks ===

impl Default for Hooks {
    fn default() -> Self {
        Hooks {
            default: |_| (),
            prepare_create: |_| (),
            prepare_update: |_, _| (),
            prepare_status: |_, _| (),
            validate: |_| Vec::new(),
            validate_create: |_| Vec::new(),
            validate_update: |_, _| Vec::new(),
            validate_status: |_, _| Vec::new(),
            warnings: |_| Vec::new(),
            to_storage: |_| (),
            from_storage: None,
        }
    }
}
