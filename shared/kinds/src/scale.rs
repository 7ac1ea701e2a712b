//! The `scale` subresource: an `autoscaling/v1` Scale made from, and written back to, any kind with replicas.

use model::{FieldError, Object};
use serde_json::{Map, Value, json};

use crate::cell::selector_text;

/// Where a kind keeps what a Scale shows.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Path of the wanted number.
    pub spec_replicas: Vec<String>,
    /// Path of the number that there is.
    pub status_replicas: Vec<String>,
    /// Path of the selector: a LabelSelector, a plain map of labels or its text form.
    pub selector: Vec<String>,
}

impl Scale {
    /// As every built-in workload has it: `spec.replicas`, `status.replicas`, `spec.selector`.
    pub fn workload() -> Scale {
        let path = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        Scale {
            spec_replicas: path(["spec", "replicas"]),
            status_replicas: path(["status", "replicas"]),
            selector: path(["spec", "selector"]),
        }
    }

    /// The Scale that shows `object`.
    pub fn read(&self, object: &Object) -> Object {
        let mut metadata = Map::new();
        for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            if let Some(value) = object.at(&["metadata", field]) {
                metadata.insert(field.to_owned(), value.clone());
            }
        }
        let number = |path: &[String]| at(object, path).and_then(Value::as_i64).unwrap_or(0);
        let mut status = json!({ "replicas": number(&self.status_replicas) });
        let selector = at(object, &self.selector).map(selector_text).unwrap_or_default();
        if !selector.is_empty() {
            status["selector"] = selector.into();
        }
        let mut scale = Object::default();
        scale.set(&["apiVersion"], "autoscaling/v1");
        scale.set(&["kind"], "Scale");
        scale.set(&["metadata"], metadata);
        scale.set(&["spec"], json!({ "replicas": number(&self.spec_replicas) }));
        scale.set(&["status"], status);
        scale
    }

    /// Puts the number that `scale` wants into `object`; nothing else of a Scale can be written.
    pub fn write(&self, object: &mut Object, scale: &Object) -> Result<(), Vec<FieldError>> {
        let replicas = scale.at(&["spec", "replicas"]).and_then(Value::as_i64).unwrap_or(0);
        if replicas < 0 {
            let detail = "must be greater than or equal to 0";
            return Err(vec![FieldError::invalid("spec.replicas", replicas, detail)]);
        }
        let path: Vec<&str> = self.spec_replicas.iter().map(String::as_str).collect();
        object.set(&path, replicas);
        Ok(())
    }
}

fn at<'a>(object: &'a Object, path: &[String]) -> Option<&'a Value> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    object.at(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_shows_the_workload_and_writes_back_replicas_only() {
        let mut deployment = Object::from_value(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}},
            "status": {"replicas": 2}
        }))
        .expect("an object");
        let mut scale = Scale::workload().read(&deployment);
        assert_eq!(
            scale.clone().into_value(),
            json!({
                "apiVersion": "autoscaling/v1", "kind": "Scale",
                "metadata": {"name": "web", "namespace": "default", "uid": "u", "resourceVersion": "7"},
                "spec": {"replicas": 3}, "status": {"replicas": 2, "selector": "app=web"}
            })
        );
        scale.set(&["spec", "replicas"], 5);
        Scale::workload().write(&mut deployment, &scale).expect("a valid scale");
        assert_eq!(deployment.at(&["spec", "replicas"]), Some(&json!(5)));
        scale.set(&["spec", "replicas"], -1);
        assert!(Scale::workload().write(&mut deployment, &scale).is_err());
    }
}
