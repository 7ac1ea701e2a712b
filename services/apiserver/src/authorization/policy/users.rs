//! Roles for people and for whatever acts on their behalf.

use super::{ALL, Binding, READ, Role, WRITE, may, may_get};
use crate::authorization::rule::Rule;
use crate::authorization::{GROUP as RBAC, MASTERS};
use crate::http::authenticate::{AUTHENTICATED, UNAUTHENTICATED};

/// In the order in which people meet them.
pub fn roles() -> Vec<Role> {
    let everywhere = Rule { verbs: vec!["*".to_owned()], paths: vec!["*".to_owned()], ..Rule::default() };
    vec![
        Role::new("cluster-admin", vec![may("*", "*", "*"), everywhere]),
        Role::gathering("admin"),
        Role::gathering("edit").feeding("admin"),
        Role::gathering("view").feeding("edit"),
        Role::new("system:aggregate-to-admin", admin()).feeding("admin"),
        Role::new("system:aggregate-to-edit", edit()).feeding("edit"),
        Role::new("system:aggregate-to-view", view()).feeding("view"),
        Role::new(
            "system:discovery",
            vec![may_get(
                "/livez /readyz /healthz /version /version/ /openapi /openapi/* /api /api/* /apis /apis/*",
            )],
        ),
        Role::new("system:public-info-viewer", vec![may_get("/livez /readyz /healthz /version /version/")]),
        Role::new(
            "system:basic-user",
            vec![
                may("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
                may("create", "authentication.k8s.io", "selfsubjectreviews"),
            ],
        ),
        Role::new(
            "system:monitoring",
            vec![may_get("/metrics /metrics/* /livez /livez/* /readyz /readyz/* /healthz /healthz/*")],
        ),
        Role::new(
            "system:service-account-issuer-discovery",
            vec![may_get(
                "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
            )],
        ),
        Role::new(
            "system:auth-delegator",
            vec![
                may("create", "authentication.k8s.io", "tokenreviews"),
                may("create", "authorization.k8s.io", "subjectaccessreviews"),
            ],
        ),
    ]
}

/// Who has them from the beginning.
pub fn bindings() -> Vec<Binding> {
    vec![
        Binding::of_group("cluster-admin", &[MASTERS]),
        Binding::of_group("system:discovery", &[AUTHENTICATED]),
        Binding::of_group("system:basic-user", &[AUTHENTICATED]),
        Binding::of_group("system:public-info-viewer", &[AUTHENTICATED, UNAUTHENTICATED]),
        Binding::of_group("system:monitoring", &["system:monitoring"]),
        Binding::of_group("system:service-account-issuer-discovery", &["system:serviceaccounts"]),
    ]
}

fn admin() -> Vec<Rule> {
    vec![
        may("create", "authorization.k8s.io", "localsubjectaccessreviews"),
        may(ALL, RBAC, "roles rolebindings"),
    ]
}

fn edit() -> Vec<Rule> {
    vec![
        may(READ, "core", "pods/attach pods/proxy pods/exec pods/portforward secrets services/proxy"),
        may("impersonate", "core", "serviceaccounts"),
        may(WRITE, "core", "pods pods/attach pods/proxy pods/exec pods/portforward"),
        may("create", "core", "pods/eviction serviceaccounts/token"),
        may(
            WRITE,
            "core",
            "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets \
             serviceaccounts services services/proxy",
        ),
        may(
            WRITE,
            "apps",
            "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale \
             statefulsets statefulsets/scale",
        ),
        may(WRITE, "autoscaling", "horizontalpodautoscalers"),
        may(WRITE, "batch", "cronjobs jobs"),
        may(WRITE, "policy", "poddisruptionbudgets"),
        may(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
        may(ALL, "coordination.k8s.io", "leases"),
        may(WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
    ]
}

fn view() -> Vec<Rule> {
    vec![
        may(
            READ,
            "core",
            "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers \
             replicationcontrollers/scale serviceaccounts services services/status",
        ),
        may(
            READ,
            "core",
            "bindings events limitranges namespaces namespaces/status pods/log pods/status \
             replicationcontrollers/status resourcequotas resourcequotas/status",
        ),
        may(READ, "discovery.k8s.io", "endpointslices"),
        may(
            READ,
            "apps",
            "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status \
             replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
        ),
        may(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
        may(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
        may(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
        may(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
        may(READ, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
    ]
}
