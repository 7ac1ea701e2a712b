//! Rows of kinds without behaviour, or with so little that it fits in a line.

use model::{Object, Quantity};
use serde_json::{Value, json};

use crate::cell::{self, NONE, UNSET, or};
use crate::{Column, Kind, NameRule, Storage, Verb, Verbs, fill};

/// `Binding`: posted to bind a pod, never kept.
pub fn binding() -> Kind {
    Kind {
        storage: Storage::Virtual,
        verbs: Verbs::of(&[Verb::Create]),
        columns: vec![Column::name(), Column::created_at()],
        ..Kind::namespaced("", "v1", "Binding", "bindings")
    }
}

/// `PodTemplate`
pub fn pod_template() -> Kind {
    let labels = |object: &Object| {
        cell::labels_text(object.at(&["template", "metadata", "labels"]).and_then(Value::as_object))
    };
    let mut columns: Vec<Column> = cell::template_columns(&[], false);
    columns.iter_mut().for_each(|column| column.priority = 0);
    columns.push(Column::text("Pod Labels", "The labels of the template.", labels));
    Kind::namespaced("", "v1", "PodTemplate", "podtemplates")
        .with_generation()
        .with_columns(columns)
        .with_hooks(|hooks| {
            hooks.default = |object| {
                crate::pod::template::default_in(&mut object.0);
            };
        })
}

/// `ServiceAccount`
pub fn service_account() -> Kind {
    let token =
        crate::Subresource::new("token", "authentication.k8s.io", "v1", "TokenRequest", &[Verb::Create]);
    Kind::namespaced("", "v1", "ServiceAccount", "serviceaccounts")
        .short(&["sa"])
        .with_subresource(token)
        .with_columns(vec![
            Column::count("Secrets", "How many secrets its pods may use.", |object| {
                cell::count(object, &["secrets"])
            }),
            Column::age(),
        ])
}

/// `LimitRange`
pub fn limit_range() -> Kind {
    Kind::namespaced("", "v1", "LimitRange", "limitranges")
        .short(&["limits"])
        .with_columns(vec![Column::created_at()])
        .with_hooks(|hooks| hooks.default = default_limit_range)
}

/// A container's default limit is the maximum, its default request the default limit, else the minimum.
fn default_limit_range(object: &mut Object) {
    let Some(spec) = fill::object(object, "spec") else { return };
    for item in fill::objects(spec, "limits") {
        ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]
            .iter()
            .for_each(|list| fill::resources(item, list));
        if item.get("type").and_then(Value::as_str) != Some("Container") {
            continue;
        }
        for (list, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
            let Some(from) = item.get(from).and_then(Value::as_object).cloned() else { continue };
            if let Some(list) = fill::object_or_new(item, list) {
                fill::missing(list, &from);
            }
        }
    }
}

/// `ResourceQuota`
pub fn resource_quota() -> Kind {
    Kind::namespaced("", "v1", "ResourceQuota", "resourcequotas")
        .short(&["quota"])
        .with_status()
        .with_columns(vec![
            Column::text("Request", "What is used of what may be requested.", |object| {
                quota_use(object, false)
            }),
            Column::text("Limit", "What is used of what limits may sum up to.", |object| {
                quota_use(object, true)
            }),
            Column::age(),
        ])
        .with_hooks(|hooks| {
            hooks.default = |object| {
                if let Some(spec) = fill::object(object, "spec") {
                    fill::resources(spec, "hard");
                }
            };
            hooks.prepare_create = |object| object.set(&["status"], json!({}));
        })
}

/// `cpu: 1/2, memory: 0/1Gi` of the limits or of everything else.
fn quota_use(object: &Object, limits: bool) -> String {
    let used = |name: &str| {
        object.at(&["status", "used", name]).and_then(crate::field::quantity).unwrap_or(Quantity::ZERO)
    };
    let hard = object.at(&["status", "hard"]).and_then(Value::as_object).into_iter().flatten();
    let parts: Vec<String> = hard
        .filter(|(name, _)| name.starts_with("limits.") == limits)
        .map(|(name, hard)| format!("{name}: {}/{}", used(name), hard.as_str().unwrap_or_default()))
        .collect();
    parts.join(", ")
}

/// `ControllerRevision`
pub fn controller_revision() -> Kind {
    Kind::namespaced("apps", "v1", "ControllerRevision", "controllerrevisions")
        .with_columns(vec![
            Column::text("Controller", "The owner that controls it.", controller_name),
            Column::count("Revision", "Its place in the history.", |object| {
                cell::number(object, &["revision"])
            }),
            Column::age(),
        ])
        .with_hooks(|hooks| {
            hooks.validate = |object| {
                let mut errors = Vec::new();
                let data = crate::field::Field::of(object, "data");
                if !data.is_set() {
                    errors.push(data.required("data is mandatory"));
                }
                crate::field::Field::of(object, "revision").not_negative(&mut errors);
                errors
            };
            hooks.validate_update = |new, old| {
                let mut errors = Vec::new();
                let data = |object| crate::field::Field::of(object, "data");
                data(new).unchanged(&data(old), &mut errors);
                errors
            };
        })
}

fn controller_name(object: &Object) -> String {
    let Some(owner) = crate::metadata::controller(object) else { return NONE.to_owned() };
    let text = |field: &str| owner[field].as_str().unwrap_or_default();
    let group = text("apiVersion").split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
    format!("{}{group}/{}", text("kind").to_lowercase(), text("name"))
}

/// `Role` and `ClusterRole`, `RoleBinding` and `ClusterRoleBinding`
pub fn rbac() -> Vec<Kind> {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let role = |kind: Kind| kind.with_names(NameRule::PathSegment).with_columns(vec![Column::created_at()]);
    let binding = |kind: Kind| {
        kind.with_names(NameRule::PathSegment).with_columns(binding_columns()).with_hooks(|hooks| {
            hooks.default = default_role_binding;
            hooks.validate_update = |new, old| {
                let mut errors = Vec::new();
                let role = |object| crate::field::Field::of(object, "roleRef");
                if role(new).value != role(old).value {
                    errors.push(role(new).invalid("cannot change roleRef"));
                }
                errors
            };
        })
    };
    vec![
        binding(Kind::cluster(GROUP, "v1", "ClusterRoleBinding", "clusterrolebindings")),
        role(Kind::cluster(GROUP, "v1", "ClusterRole", "clusterroles")),
        binding(Kind::namespaced(GROUP, "v1", "RoleBinding", "rolebindings")),
        role(Kind::namespaced(GROUP, "v1", "Role", "roles")),
    ]
}

fn default_role_binding(object: &mut Object) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if let Some(role) = fill::object(object, "roleRef") {
        fill::text(role, "apiGroup", GROUP);
    }
    for subject in fill::objects(object, "subjects") {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            fill::text(subject, "apiGroup", GROUP);
        }
    }
}

fn binding_columns() -> Vec<Column> {
    fn subjects(object: &Object, kind: &str) -> String {
        let text = |subject: &Value, field: &str| subject[field].as_str().unwrap_or_default().to_owned();
        let of_kind = cell::list(object, &["subjects"]).iter().filter(|subject| subject["kind"] == kind);
        let names: Vec<String> = of_kind
            .map(|subject| match text(subject, "namespace") {
                namespace if kind == "ServiceAccount" => format!("{namespace}/{}", text(subject, "name")),
                _ => text(subject, "name"),
            })
            .collect();
        names.join(", ")
    }
    vec![
        Column::text("Role", "The role that it grants.", |object| {
            format!("{}/{}", object.str_at(&["roleRef", "kind"]), object.str_at(&["roleRef", "name"]))
        }),
        Column::age(),
        Column::text("Users", "The users that it grants it to.", |object| subjects(object, "User")).wide(),
        Column::text("Groups", "The groups that it grants it to.", |object| subjects(object, "Group")).wide(),
        Column::text("ServiceAccounts", "The service accounts that it grants it to.", |object| {
            subjects(object, "ServiceAccount")
        })
        .wide(),
    ]
}

/// `StorageClass`
pub fn storage_class() -> Kind {
    let text = |object: &Object, field: &str| object.str_at(&[field]).to_owned();
    let columns = vec![
        Column { format: "name", ..Column::text("Name", "Name of the class.", storage_class_name) },
        Column::text("Provisioner", "Who makes its volumes.", move |object| text(object, "provisioner")),
        Column::text("ReclaimPolicy", "What becomes of a volume without a claim.", move |object| {
            or(&text(object, "reclaimPolicy"), "Delete").to_owned()
        }),
        Column::text("VolumeBindingMode", "When a claim gets its volume.", move |object| {
            or(&text(object, "volumeBindingMode"), "Immediate").to_owned()
        }),
        Column::new("AllowVolumeExpansion", "string", "Whether its volumes can grow.", |object, _| {
            object.get("allowVolumeExpansion").and_then(Value::as_bool).unwrap_or(false).into()
        }),
        Column::age(),
    ];
    let kind = Kind::cluster("storage.k8s.io", "v1", "StorageClass", "storageclasses")
        .short(&["sc"])
        .with_hooks(|hooks| {
            hooks.default = |object| {
                fill::text(object, "reclaimPolicy", "Delete");
                fill::text(object, "volumeBindingMode", "Immediate");
            };
        });
    Kind { columns, ..kind }
}

fn storage_class_name(object: &Object) -> String {
    const MARKS: [&str; 2] =
        ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    match MARKS.iter().any(|mark| object.str_at(&["metadata", "annotations", mark]) == "true") {
        true => format!("{} (default)", object.name()),
        false => object.name().to_owned(),
    }
}

/// `PriorityClass`
pub fn priority_class() -> Kind {
    Kind::cluster("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses")
        .short(&["pc"])
        .with_generation()
        .with_columns(vec![
            Column::integer("Value", "The priority of its pods.", |object| cell::number(object, &["value"])),
            Column::new("Global-Default", "boolean", "Whether pods without a class have it.", |object, _| {
                object.get("globalDefault").and_then(Value::as_bool).unwrap_or(false).into()
            }),
            Column::age(),
            Column::text("PreemptionPolicy", "Whether its pods displace others.", |object| {
                object.str_at(&["preemptionPolicy"]).to_owned()
            }),
        ])
        .with_hooks(|hooks| {
            hooks.default = |object| {
                fill::text(object, "preemptionPolicy", "PreemptLowerPriority");
            };
            hooks.validate_update = |new, old| {
                let mut errors = Vec::new();
                let field = |object, name| crate::field::Field::of(object, name);
                if field(new, "value").value != field(old, "value").value {
                    errors.push(model::FieldError::forbidden("value", "may not be changed in an update."));
                }
                field(new, "preemptionPolicy").unchanged(&field(old, "preemptionPolicy"), &mut errors);
                errors
            };
        })
}

/// `IngressClass`, `Ingress` and `NetworkPolicy`
pub fn networking() -> Vec<Kind> {
    const GROUP: &str = "networking.k8s.io";
    let class =
        Kind::cluster(GROUP, "v1", "IngressClass", "ingressclasses").with_generation().with_columns(vec![
            Column::text("Controller", "Who serves ingresses of this class.", |object| {
                object.str_at(&["spec", "controller"]).to_owned()
            }),
            Column::text("Parameters", "An object with further parameters.", class_parameters),
            Column::age(),
        ]);
    let policy = Kind::namespaced(GROUP, "v1", "NetworkPolicy", "networkpolicies")
        .short(&["netpol"])
        .with_generation()
        .with_columns(vec![
            Column::text("Pod-Selector", "The pods that it is about.", |object| {
                let text = object.at(&["spec", "podSelector"]).map(cell::selector_text).unwrap_or_default();
                or(&text, NONE).to_owned()
            }),
            Column::age(),
        ])
        .with_hooks(|hooks| hooks.default = default_network_policy);
    vec![class, ingress(), policy]
}

fn default_network_policy(object: &mut Object) {
    let Some(spec) = fill::spec(object) else { return };
    for direction in ["ingress", "egress"] {
        for rule in fill::objects(spec, direction) {
            fill::objects(rule, "ports").for_each(|port| fill::text(port, "protocol", "TCP"));
        }
    }
    if spec.get("policyTypes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let egress = spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
        spec.insert(
            "policyTypes".to_owned(),
            if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) },
        );
    }
}

fn class_parameters(object: &Object) -> String {
    let Some(parameters) = object.at(&["spec", "parameters"]) else { return NONE.to_owned() };
    let text = |field: &str| parameters[field].as_str().unwrap_or_default();
    let group = parameters["apiGroup"].as_str().map(|group| format!(".{group}")).unwrap_or_default();
    format!("{}{group}/{}", text("kind"), text("name"))
}

fn ingress() -> Kind {
    Kind::namespaced("networking.k8s.io", "v1", "Ingress", "ingresses")
        .short(&["ing"])
        .with_status()
        .with_generation()
        .with_columns(vec![
            Column::text("Class", "The class of the controller that serves it.", |object| {
                or(object.str_at(&["spec", "ingressClassName"]), NONE).to_owned()
            }),
            Column::text("Hosts", "The hosts that its rules are about.", ingress_hosts),
            Column::text("Address", "Where it is served.", crate::service::load_balancer_addresses),
            Column::text("Ports", "The ports that are open.", |object| {
                let tls = !cell::list(object, &["spec", "tls"]).is_empty();
                if tls { "80, 443" } else { "80" }.to_owned()
            }),
            Column::age(),
        ])
        .with_hooks(|hooks| {
            hooks.default = |object| {
                let Some(spec) = fill::object(object, "spec") else { return };
                for rule in fill::objects(spec, "rules") {
                    let Some(http) = fill::object(rule, "http") else { continue };
                    fill::objects(http, "paths")
                        .for_each(|path| fill::text(path, "pathType", "ImplementationSpecific"));
                }
            };
            hooks.prepare_create = |object| object.set(&["status"], json!({"loadBalancer": {}}));
        })
}

fn ingress_hosts(object: &Object) -> String {
    let rules = cell::list(object, &["spec", "rules"]);
    let hosts = rules.iter().filter_map(|rule| rule["host"].as_str()).filter(|host| !host.is_empty());
    let hosts: Vec<String> = hosts.map(str::to_owned).collect();
    cell::first_three(&hosts, "*")
}

/// `PodDisruptionBudget`
pub fn pod_disruption_budget() -> Kind {
    fn bound(object: &Object, field: &str) -> String {
        match object.at(&["spec", field]) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => "N/A".to_owned(),
        }
    }
    let kind = Kind::namespaced("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
        .short(&["pdb"])
        .with_status()
        .with_generation()
        .with_columns(vec![
            Column::text("Min Available", "How many pods must stay.", |object| bound(object, "minAvailable")),
            Column::text("Max Unavailable", "How many pods may be missing.", |object| {
                bound(object, "maxUnavailable")
            }),
            Column::integer("Allowed Disruptions", "How many pods may be evicted now.", |object| {
                cell::number(object, &["status", "disruptionsAllowed"])
            }),
            Column::age(),
        ])
        .with_hooks(|hooks| {
            hooks.prepare_create = |object| {
                let status = json!({
                    "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0
                });
                object.set(&["status"], status);
            };
            hooks.validate = |object| {
                let spec = crate::field::Field::of(object, "spec");
                let mut errors = Vec::new();
                if spec.at("minAvailable").is_set() && spec.at("maxUnavailable").is_set() {
                    errors.push(spec.invalid("minAvailable and maxUnavailable cannot be both set"));
                }
                crate::metadata::label_selector(&spec.at("selector"), &mut errors);
                errors
            };
        });
    Kind { unconditional_update: false, ..kind }
}

/// The text at a path of the spec, or what stands for unset.
pub fn spec_or_unset(object: &Object, field: &str) -> String {
    or(object.str_at(&["spec", field]), UNSET).to_owned()
}
