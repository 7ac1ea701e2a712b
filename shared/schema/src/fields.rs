//! Which fields of an object its type does not know, which have the wrong type, and the form that the rest has
//! once it went through that type: what decoding into a struct and encoding it again does upstream.
//!
//! ```text
//!   {"replicas": null, "image": 7, "foo": 1, "cpu": "0.5", "args": []}
//!        gone          wrong     unknown     "500m"     gone
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::quantity::Quantity;
use serde_json::{Map, Value, json};

use crate::names::Name;
use crate::path::{self, Step};
use crate::time::{self, Precision};
use crate::types::{Choice, Field, Raw, Scalar, Struct, Type};
use crate::{Schemas, TypeId};

/// What does not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Paths of unknown fields, as `spec.containers[0].bar`; they are gone from the value.
    pub unknown: Vec<String>,
    /// Type mismatches in the words in which upstream's decoder reports the first of them, as
    /// `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`.
    pub wrong: Vec<String>,
}

/// Checks `value` against a type, prunes what the type does not know, and brings the rest into the type's form:
/// nulls and empty optional lists and maps are dropped, times are in UTC, quantities and base64 are canonical.
///
/// A value of the wrong type stays as it is.
pub fn check(schemas: &Schemas, ty: TypeId, value: &mut Value) -> Report {
    let mut check = Check { schemas, report: Report::default(), path: Vec::new(), within: None };
    check.value(ty, value);
    check.report
}

/// Checks the `metadata` of an object whose type is not built in; paths begin with `metadata`.
pub fn check_metadata(schemas: &Schemas, metadata: &mut Value) -> Report {
    // Every kind has the same metadata, and this one has nothing that could be missing.
    let ty = schemas.resource("", "v1", "ConfigMap").expect("config maps are built in");
    let mut object = json!({ "metadata": metadata.take() });
    let report = check(schemas, ty, &mut object);
    *metadata = object.get_mut("metadata").map(Value::take).unwrap_or_else(|| json!({}));
    report
}

struct Check<'a> {
    schemas: &'a Schemas,
    report: Report,
    path: Vec<Step>,
    /// The struct around the value, for messages.
    within: Option<Name>,
}

/// Whether a value stays in the object or list that it is in.
#[derive(Clone, Copy, PartialEq)]
enum Keep {
    Yes,
    /// It says nothing: null, or an empty list or map.
    IfRequired,
    No,
}

impl Check<'_> {
    fn value(&mut self, ty: TypeId, value: &mut Value) -> Keep {
        match (self.schemas.get(ty), &mut *value) {
            (Type::Raw(Raw::Json), _) => Keep::Yes,
            (_, Value::Null) => Keep::No,
            (Type::Raw(Raw::Embedded), _) => Keep::Yes,
            (Type::Struct(of), Value::Object(fields)) => self.object(of, fields),
            (Type::Map(inner), Value::Object(entries)) => self.map(inner, entries),
            (Type::List(inner), Value::Array(items)) => self.list(inner, items),
            (Type::Scalar(scalar), _) => self.scalar(ty, scalar, value),
            (Type::Choice(choice), _) => self.choice(choice, value),
            _ => self.mismatch(ty, value),
        }
    }

    fn object(&mut self, of: Struct, fields: &mut Map<String, Value>) -> Keep {
        let around = self.within.replace(of.name);
        fields.retain(|name, value| match self.schemas.field(of, name) {
            Some(field) => self.field(*field, value),
            None => {
                self.path.push(Step::Key(name.clone()));
                self.report.unknown.push(path::exact(self.schemas, &self.path));
                self.path.pop();
                false
            }
        });
        self.within = around;
        Keep::Yes
    }

    fn field(&mut self, field: Field, value: &mut Value) -> bool {
        self.path.push(Step::Field(field.name));
        let keep = self.value(field.ty, value);
        self.path.pop();
        keep == Keep::Yes || (keep == Keep::IfRequired && field.required)
    }

    fn map(&mut self, inner: TypeId, entries: &mut Map<String, Value>) -> Keep {
        let names_matter = !matches!(self.schemas.get(inner), Type::Scalar(_));
        for (name, value) in entries.iter_mut() {
            self.path.push(Step::Key(if names_matter { name.clone() } else { String::new() }));
            self.element(inner, value);
            self.path.pop();
        }
        if entries.is_empty() { Keep::IfRequired } else { Keep::Yes }
    }

    fn list(&mut self, inner: TypeId, items: &mut [Value]) -> Keep {
        for (at, item) in items.iter_mut().enumerate() {
            self.path.push(Step::Index(at));
            self.element(inner, item);
            self.path.pop();
        }
        if items.is_empty() { Keep::IfRequired } else { Keep::Yes }
    }

    /// An element has a place even if it says nothing: null is the zero value there.
    fn element(&mut self, ty: TypeId, value: &mut Value) {
        if self.value(ty, value) == Keep::No {
            *value = self.zero(ty);
        }
    }

    fn zero(&self, ty: TypeId) -> Value {
        match self.schemas.get(ty) {
            Type::Struct(_) => json!({}),
            Type::Scalar(Scalar::Text | Scalar::Bytes) => json!(""),
            Type::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString) => json!(0),
            Type::Scalar(Scalar::Double) => json!(0),
            Type::Scalar(Scalar::Quantity) => json!("0"),
            Type::Scalar(Scalar::Bool) => json!(false),
            _ => Value::Null,
        }
    }

    fn scalar(&mut self, ty: TypeId, scalar: Scalar, value: &mut Value) -> Keep {
        match (scalar, &*value) {
            (Scalar::Text, Value::String(_))
            | (Scalar::Bool, Value::Bool(_))
            | (Scalar::Double, Value::Number(_))
            | (Scalar::IntOrString, Value::String(_)) => Keep::Yes,
            (Scalar::Int64, Value::Number(number)) if number.is_i64() => Keep::Yes,
            (Scalar::Int32 | Scalar::IntOrString, Value::Number(number))
                if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) =>
            {
                Keep::Yes
            }
            (Scalar::IntOrString, other) => {
                let given = given(other, true);
                self.wrong(format!("json: cannot unmarshal {given} into Go value of type int32"))
            }
            (Scalar::Bytes, Value::String(text)) => {
                let canonical = base64_text(text);
                self.replace(value, canonical)
            }
            (Scalar::Quantity, Value::String(text)) => {
                let canonical = quantity(text.trim());
                self.replace(value, canonical)
            }
            (Scalar::Quantity, Value::Number(number)) => {
                let canonical = quantity(&number.to_string());
                self.replace(value, canonical)
            }
            (Scalar::Quantity, other) => {
                // Upstream reads whatever stands there as the text of a quantity.
                let why = quantity(&other.to_string()).err();
                self.wrong(why.unwrap_or_else(|| "quantities are strings or numbers".to_owned()))
            }
            (Scalar::Time | Scalar::MicroTime, Value::String(text)) => {
                let precision = if scalar == Scalar::Time { Precision::Seconds } else { Precision::Micros };
                match time::normalize(text, precision) {
                    Ok(None) => Keep::No,
                    Ok(Some(time)) => self.replace(value, Ok(time)),
                    Err(why) => self.wrong(why),
                }
            }
            (Scalar::Time | Scalar::MicroTime, other) => {
                let given = given(other, false);
                self.wrong(format!("json: cannot unmarshal {given} into Go value of type string"))
            }
            _ => self.mismatch(ty, value),
        }
    }

    fn replace(&mut self, value: &mut Value, canonical: Result<String, String>) -> Keep {
        match canonical {
            Ok(text) => *value = Value::String(text),
            Err(why) => return self.wrong(why),
        }
        Keep::Yes
    }

    fn choice(&mut self, choice: Choice, value: &mut Value) -> Keep {
        match (choice, &mut *value) {
            (_, Value::Object(_)) => self.value(choice.props(), value),
            (Choice::Bool(_), Value::Bool(_)) => Keep::Yes,
            (Choice::List(props), Value::Array(items)) => {
                self.list(props, items);
                Keep::Yes
            }
            (Choice::Strings(_), Value::Array(items)) if items.iter().all(Value::is_string) => Keep::Yes,
            (_, other) => {
                let given = given(other, false);
                self.wrong(format!("json: cannot unmarshal {given} into Go value of type v1.JSONSchemaProps"))
            }
        }
    }

    fn mismatch(&mut self, ty: TypeId, value: &Value) -> Keep {
        let wants_integer = matches!(self.schemas.get(ty), Type::Scalar(Scalar::Int32 | Scalar::Int64));
        let given = given(value, wants_integer);
        let wanted = self.go_type(ty);
        let field = path::of_fields(self.schemas, &self.path);
        let place = match self.within {
            Some(within) => format!("struct field {}.{field}", short(self.schemas.names.get(within))),
            None => "value".to_owned(),
        };
        self.wrong(format!("json: cannot unmarshal {given} into Go {place} of type {wanted}"))
    }

    fn wrong(&mut self, message: String) -> Keep {
        self.report.wrong.push(message);
        Keep::Yes
    }

    /// The type as Go prints it.
    fn go_type(&self, ty: TypeId) -> String {
        match self.schemas.get(ty) {
            Type::Struct(of) => qualified(self.schemas.names.get(of.name)).to_owned(),
            Type::Map(inner) => format!("map[string]{}", self.go_type(inner)),
            Type::List(inner) => format!("[]{}", self.go_type(inner)),
            Type::Scalar(Scalar::Text) => "string".to_owned(),
            Type::Scalar(Scalar::Bytes) => "[]uint8".to_owned(),
            Type::Scalar(Scalar::Int32) => "int32".to_owned(),
            Type::Scalar(Scalar::Int64) => "int64".to_owned(),
            Type::Scalar(Scalar::Double) => "float64".to_owned(),
            Type::Scalar(Scalar::Bool) => "bool".to_owned(),
            Type::Scalar(Scalar::Time) => "v1.Time".to_owned(),
            Type::Scalar(Scalar::MicroTime) => "v1.MicroTime".to_owned(),
            Type::Scalar(Scalar::Quantity) => "resource.Quantity".to_owned(),
            Type::Scalar(Scalar::IntOrString) => "intstr.IntOrString".to_owned(),
            Type::Raw(_) => "runtime.RawExtension".to_owned(),
            Type::Choice(_) => "v1.JSONSchemaProps".to_owned(),
        }
    }
}

/// What stands in the JSON, as Go names it; numbers are shown where they do not fit an integer.
fn given(value: &Value, wants_integer: bool) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) if wants_integer => format!("number {number}"),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

fn quantity(text: &str) -> Result<String, String> {
    Quantity::parse(text).map(|quantity| quantity.to_string()).map_err(|error| error.to_string())
}

fn base64_text(text: &str) -> Result<String, String> {
    // Go's decoder skips line breaks.
    let joined: String = text.chars().filter(|c| *c != '\n' && *c != '\r').collect();
    match STANDARD.decode(&joined) {
        Ok(bytes) => Ok(STANDARD.encode(bytes)),
        Err(base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _)) => {
            Err(format!("illegal base64 data at input byte {at}"))
        }
        Err(_) => Err(format!("illegal base64 data at input byte {}", joined.len() / 4 * 4)),
    }
}

/// `PodSpec` of `io.k8s.api.core.v1.PodSpec`.
fn short(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, short)| short)
}

/// `v1.PodSpec` of `io.k8s.api.core.v1.PodSpec`.
fn qualified(name: &str) -> &str {
    name.rmatch_indices('.').nth(1).map_or(name, |(at, _)| &name[at + 1..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checked(group: &str, version: &str, kind: &str, mut value: Value) -> (Value, Report) {
        let schemas = Schemas::builtin();
        let ty = schemas.resource(group, version, kind).expect("a built-in kind");
        let report = check(schemas, ty, &mut value);
        (value, report)
    }

    fn wrong(group: &str, version: &str, kind: &str, value: Value) -> String {
        let (_, report) = checked(group, version, kind, value);
        report.wrong.into_iter().next().expect("something is wrong")
    }

    #[test]
    fn unknown_fields_are_named_and_pruned() {
        let (value, report) = checked(
            "",
            "v1",
            "Pod",
            json!({
                "apiVersion": "v1", "kind": "Pod", "foo": 1,
                "metadata": {"name": "a", "labels": {"any": "key"}},
                "spec": {"containers": [{"name": "a", "Image": "x", "env": [{"name": "A", "bar": null}]}]},
            }),
        );
        assert_eq!(
            value,
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "a", "labels": {"any": "key"}},
                "spec": {"containers": [{"name": "a", "env": [{"name": "A"}]}]},
            })
        );
        assert_eq!(report.unknown, ["foo", "spec.containers[0].Image", "spec.containers[0].env[0].bar"]);
        assert_eq!(report.wrong, Vec::<String>::new());
    }

    #[test]
    fn unknown_fields_below_map_keys_are_named_with_the_key() {
        let (_, report) = checked(
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
            json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": {"type": "object", "x-typo": true, "default": {"any": null}}},
                "additionalProperties": false,
                "items": [{"type": "string"}],
            }}}]}}),
        );
        assert_eq!(report.unknown, ["spec.versions[0].schema.openAPIV3Schema.properties.spec.x-typo"]);
        assert_eq!(report.wrong, Vec::<String>::new());
    }

    #[test]
    fn wrong_types_are_reported_as_go_words_them() {
        let spec = |spec: Value| json!({"spec": spec});
        let container = |container: Value| json!({"spec": {"containers": [container]}});
        let cases = [
            (
                wrong("apps", "v1", "Deployment", spec(json!({"replicas": "3"}))),
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                wrong("apps", "v1", "Deployment", spec(json!({"replicas": 1.5}))),
                "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                wrong("", "v1", "Pod", json!({"metadata": {"labels": "x"}})),
                "json: cannot unmarshal string into Go struct field ObjectMeta.metadata.labels of type map[string]string",
            ),
            (
                wrong("", "v1", "Pod", json!({"metadata": {"labels": {"a": 1}}})),
                "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (
                wrong("", "v1", "Pod", container(json!({"ports": [{"containerPort": "http"}]}))),
                "json: cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
            ),
            (
                wrong("", "v1", "Pod", spec(json!({"containers": {}}))),
                "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
            ),
            (
                wrong("", "v1", "Pod", spec(json!([]))),
                "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec",
            ),
            (wrong("", "v1", "Pod", json!([])), "json: cannot unmarshal array into Go value of type v1.Pod"),
            (
                wrong("", "v1", "Pod", container(json!({"resources": {"limits": {"cpu": "much"}}}))),
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
            (
                wrong("", "v1", "Pod", container(json!({"livenessProbe": {"httpGet": {"port": true}}}))),
                "json: cannot unmarshal bool into Go value of type int32",
            ),
            (
                wrong(
                    "",
                    "v1",
                    "Pod",
                    container(json!({"livenessProbe": {"httpGet": {"port": 5_000_000_000_u64}}})),
                ),
                "json: cannot unmarshal number 5000000000 into Go value of type int32",
            ),
            (
                wrong("", "v1", "Secret", json!({"data": {"a": "no base64!"}})),
                "illegal base64 data at input byte 2",
            ),
            (
                wrong("", "v1", "Pod", json!({"metadata": {"creationTimestamp": 5}})),
                "json: cannot unmarshal number into Go value of type string",
            ),
        ];
        for (given, wanted) in cases {
            assert_eq!(given, wanted);
        }
    }

    #[test]
    fn values_take_the_form_that_their_type_gives_them() {
        let (value, report) = checked(
            "",
            "v1",
            "Pod",
            json!({
                "metadata": {
                    "creationTimestamp": null, "deletionTimestamp": "2024-05-06T07:08:09+02:00",
                    "annotations": {}, "labels": {"a": null}, "finalizers": [],
                },
                "spec": {
                    "terminationGracePeriodSeconds": 0, "hostname": "", "nodeSelector": null,
                    "containers": [
                        {"resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}, "args": ["a", null]},
                        null,
                    ],
                    "volumes": [{"name": "x", "emptyDir": {}}, {"name": "y", "secret": null}],
                },
            }),
        );
        assert_eq!(report, Report::default());
        assert_eq!(
            value,
            json!({
                "metadata": {"deletionTimestamp": "2024-05-06T05:08:09Z", "labels": {"a": ""}},
                "spec": {
                    "terminationGracePeriodSeconds": 0, "hostname": "",
                    "containers": [
                        {"resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}, "args": ["a", ""]},
                        {},
                    ],
                    "volumes": [{"name": "x", "emptyDir": {}}, {"name": "y"}],
                },
            })
        );
    }

    #[test]
    fn a_required_list_stays_when_it_is_empty_and_embedded_json_stays_as_it_is() {
        let (value, _) =
            checked("discovery.k8s.io", "v1", "EndpointSlice", json!({"endpoints": [], "ports": []}));
        assert_eq!(value, json!({"endpoints": []}));
        let (value, _) =
            checked("", "v1", "Pod", json!({"metadata": {"managedFields": [], "finalizers": []}}));
        assert_eq!(value, json!({"metadata": {"managedFields": []}}));
        let revision = json!({"data": {"spec": {"x": null, "y": []}}, "revision": 1});
        let (value, _) = checked("apps", "v1", "ControllerRevision", revision.clone());
        assert_eq!(value, revision);
    }

    proptest! {
        #[test]
        fn what_was_checked_once_has_its_form(value in podlike()) {
            let (once, first) = checked("", "v1", "Pod", value);
            let (twice, second) = checked("", "v1", "Pod", once.clone());
            prop_assert_eq!(once, twice);
            prop_assert_eq!(second, Report { unknown: Vec::new(), wrong: first.wrong });
        }
    }

    /// Some JSON out of names that a pod has, and values that fit some of them.
    fn podlike() -> impl Strategy<Value = Value> {
        let leaf = prop::sample::select(vec![
            json!(null),
            json!(7),
            json!(1.5),
            json!(true),
            json!("100Mi"),
            json!("2024-05-06T07:08:09+02:00"),
            json!("x"),
        ]);
        let names =
            ["metadata", "spec", "containers", "name", "resources", "limits", "creationTimestamp", "x"];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            let name = prop::sample::select(names.to_vec()).prop_map(str::to_owned);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name, inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }
}
