//! The compact form: a tree of what can be said of a value, rare things behind one pointer.

use serde_json::Value;

use super::pattern::Pattern;

/// What may be at one place of an object.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) ty: Type,
    pub(super) nullable: bool,
    /// Fields that the schema does not name stay.
    pub(super) preserves: bool,
    /// The value is an object with `apiVersion`, `kind` and `metadata` of its own.
    pub(super) embedded: bool,
    /// In the order of their names.
    pub(super) properties: Box<[(Box<str>, Node)]>,
    pub(super) additional: Additional,
    pub(super) items: Option<Box<Node>>,
    pub(super) default: Option<Box<Value>>,
    pub(super) list: List,
    pub(super) checks: Option<Box<Checks>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Type {
    /// Nothing is said of it.
    #[default]
    Any,
    Object,
    Array,
    Text,
    Integer,
    Number,
    Bool,
    IntOrText,
}

/// What becomes of fields that are no properties.
#[derive(Debug, Default)]
pub(super) enum Additional {
    /// The schema does not say.
    #[default]
    Unsaid,
    /// `true`
    Allowed,
    /// `false`
    Forbidden,
    /// Each has this form.
    Of(Box<Node>),
}

/// What the elements of a list are to each other.
#[derive(Debug, Default)]
pub(super) enum List {
    #[default]
    Atomic,
    /// All different.
    Set,
    /// Objects that differ in these fields.
    Map(Box<[Box<str>]>),
}

/// What has to hold of a value besides its type.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) one_of_values: Box<[Value]>,
    pub(super) format: Option<Box<str>>,
    pub(super) pattern: Option<Pattern>,
    pub(super) minimum: Option<Bound>,
    pub(super) maximum: Option<Bound>,
    pub(super) multiple_of: Option<f64>,
    pub(super) length: Range,
    pub(super) items: Range,
    pub(super) properties: Range,
    pub(super) unique: bool,
    pub(super) required: Box<[Box<str>]>,
    pub(super) all_of: Box<[Node]>,
    pub(super) any_of: Box<[Node]>,
    pub(super) one_of: Box<[Node]>,
    pub(super) not: Option<Box<Node>>,
    /// `x-kubernetes-validations`, as they are written.
    pub(super) rules: Box<[Value]>,
}

/// The end of a range of numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) value: f64,
    pub(super) exclusive: bool,
}

/// How many there may be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Range {
    pub(super) least: Option<u64>,
    pub(super) most: Option<u64>,
}

// === impl Node ===

impl Node {
    pub(super) fn parse(schema: &Value) -> Node {
        let flag = |name: &str| schema[name].as_bool().unwrap_or(false);
        let ty = match flag("x-kubernetes-int-or-string") {
            true => Type::IntOrText,
            false => Type::parse(schema["type"].as_str().unwrap_or_default()),
        };
        let properties = schema["properties"].as_object().into_iter().flatten();
        Node {
            ty,
            nullable: flag("nullable"),
            preserves: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            properties: Node::sorted(properties.map(|(name, one)| (name.as_str().into(), Node::parse(one)))),
            additional: Additional::parse(schema.get("additionalProperties")),
            items: schema
                .get("items")
                .filter(|items| items.is_object())
                .map(|items| Box::new(Node::parse(items))),
            default: schema.get("default").map(|default| Box::new(default.clone())),
            list: List::parse(schema),
            checks: Checks::parse(schema).map(Box::new),
        }
    }

    pub(super) fn sorted(properties: impl Iterator<Item = (Box<str>, Node)>) -> Box<[(Box<str>, Node)]> {
        let mut properties: Vec<(Box<str>, Node)> = properties.collect();
        properties.sort_by(|(one, _), (other, _)| one.cmp(other));
        properties.into()
    }

    /// What is said of the property of that name.
    pub(super) fn property(&self, name: &str) -> Option<&Node> {
        let at = self.properties.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.properties[at].1)
    }

    /// As a schema spells it.
    pub(super) fn type_name(&self) -> Option<&'static str> {
        match self.ty {
            Type::Any | Type::IntOrText => None,
            ty => Some(ty.as_str()),
        }
    }

    /// Whether something holds of this node or of one in it.
    pub(super) fn any(&self, holds: &impl Fn(&Node) -> bool) -> bool {
        let of_additional = match &self.additional {
            Additional::Of(node) => Some(node.as_ref()),
            _ => None,
        };
        holds(self)
            || self.properties.iter().any(|(_, node)| node.any(holds))
            || self.items.iter().any(|node| node.any(holds))
            || of_additional.is_some_and(|node| node.any(holds))
    }
}

// === impl Type ===

impl Type {
    fn parse(text: &str) -> Type {
        match text {
            "object" => Type::Object,
            "array" => Type::Array,
            "string" => Type::Text,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "boolean" => Type::Bool,
            _ => Type::Any,
        }
    }

    /// As messages name it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Type::Any => "",
            Type::Object => "object",
            Type::Array => "array",
            Type::Text => "string",
            Type::Integer => "integer",
            Type::Number => "number",
            Type::Bool => "boolean",
            Type::IntOrText => "integer,string",
        }
    }
}

// === impl Additional ===

impl Additional {
    fn parse(schema: Option<&Value>) -> Additional {
        match schema {
            None => Additional::Unsaid,
            Some(Value::Bool(true)) => Additional::Allowed,
            Some(Value::Bool(false)) => Additional::Forbidden,
            Some(schema) => Additional::Of(Box::new(Node::parse(schema))),
        }
    }
}

// === impl List ===

impl List {
    fn parse(schema: &Value) -> List {
        match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => List::Set,
            Some("map") => List::Map(texts(&schema["x-kubernetes-list-map-keys"])),
            _ => List::Atomic,
        }
    }
}

// === impl Checks ===

impl Checks {
    /// `None` where the schema says nothing but types.
    fn parse(schema: &Value) -> Option<Checks> {
        const WORDS: [&str; 19] = [
            "enum",
            "format",
            "pattern",
            "minimum",
            "maximum",
            "multipleOf",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "minProperties",
            "maxProperties",
            "uniqueItems",
            "required",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
            "x-kubernetes-validations",
        ];
        if !WORDS.iter().any(|word| schema.get(word).is_some()) {
            return None;
        }
        let text = |name: &str| schema[name].as_str().filter(|text| !text.is_empty());
        Some(Checks {
            one_of_values: values(&schema["enum"]),
            format: text("format").map(Into::into),
            pattern: text("pattern").map(Pattern::new),
            minimum: Bound::parse(schema, "minimum", "exclusiveMinimum"),
            maximum: Bound::parse(schema, "maximum", "exclusiveMaximum"),
            multiple_of: schema["multipleOf"].as_f64(),
            length: Range::parse(schema, "minLength", "maxLength"),
            items: Range::parse(schema, "minItems", "maxItems"),
            properties: Range::parse(schema, "minProperties", "maxProperties"),
            unique: schema["uniqueItems"].as_bool().unwrap_or(false),
            required: texts(&schema["required"]),
            all_of: nodes(&schema["allOf"]),
            any_of: nodes(&schema["anyOf"]),
            one_of: nodes(&schema["oneOf"]),
            not: schema.get("not").map(|not| Box::new(Node::parse(not))),
            rules: values(&schema["x-kubernetes-validations"]),
        })
    }
}

// === impl Bound, Range ===

impl Bound {
    fn parse(schema: &Value, value: &str, exclusive: &str) -> Option<Bound> {
        let exclusive = schema[exclusive].as_bool().unwrap_or(false);
        schema[value].as_f64().map(|value| Bound { value, exclusive })
    }
}

impl Range {
    fn parse(schema: &Value, least: &str, most: &str) -> Range {
        Range { least: schema[least].as_u64(), most: schema[most].as_u64() }
    }
}

fn values(list: &Value) -> Box<[Value]> {
    list.as_array().cloned().unwrap_or_default().into()
}

fn texts(list: &Value) -> Box<[Box<str>]> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect()
}

fn nodes(list: &Value) -> Box<[Node]> {
    list.as_array().into_iter().flatten().map(Node::parse).collect()
}
