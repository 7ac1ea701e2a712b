//! Roles of the controllers, each of which asks as the service account of its name in `kube-system`.
//!
//! They are upstream's, and beyond them what our controllers write otherwise: statuses are patched here, and one
//! controller may do the work of two.

use super::{Binding, READ, Role, may};
use crate::authorization::rule::Rule;

/// A role for each.
pub fn roles() -> Vec<Role> {
    controllers().into_iter().map(|(name, rules)| Role::new(role_name(name), rules)).collect()
}

/// Bound to the account of the same name.
pub fn bindings() -> Vec<Binding> {
    controllers().into_iter().map(|(name, _)| Binding::of_account(&role_name(name), name)).collect()
}

fn role_name(controller: &str) -> String {
    format!("system:controller:{controller}")
}

/// What every controller tells.
fn events() -> Rule {
    may("create patch update", "core events.k8s.io", "events")
}

fn controllers() -> Vec<(&'static str, Vec<Rule>)> {
    let mut controllers = workloads();
    controllers.extend(nodes_and_networks());
    controllers.extend(keepers());
    for (_, rules) in &mut controllers {
        rules.push(events());
    }
    controllers
}

/// Those who make pods.
fn workloads() -> Vec<(&'static str, Vec<Rule>)> {
    let makes_pods = || may("create delete get list patch update watch", "core", "pods");
    let keeps = |group: &'static str, plural: &str| {
        let parts = format!("{plural}/finalizers {plural}/status");
        vec![may("get list patch update watch", group, plural), may("patch update", group, &parts)]
    };
    let with = |mut rules: Vec<Rule>, more: Vec<Rule>| {
        rules.extend(more);
        rules
    };
    let revisions = || may("create delete get list patch update watch", "apps", "controllerrevisions");
    vec![
        (
            "deployment-controller",
            with(
                keeps("apps", "deployments"),
                vec![
                    may("create delete get list patch update watch", "apps", "replicasets"),
                    may("get list update watch", "core", "pods"),
                ],
            ),
        ),
        (
            "replicaset-controller",
            // One does the work of both.
            with(
                with(keeps("apps", "replicasets"), keeps("core", "replicationcontrollers")),
                vec![makes_pods()],
            ),
        ),
        ("replication-controller", with(keeps("core", "replicationcontrollers"), vec![makes_pods()])),
        (
            "statefulset-controller",
            with(
                keeps("apps", "statefulsets"),
                vec![
                    makes_pods(),
                    revisions(),
                    may("create delete get list patch update watch", "core", "persistentvolumeclaims"),
                ],
            ),
        ),
        (
            "daemon-set-controller",
            with(
                keeps("apps", "daemonsets"),
                vec![
                    makes_pods(),
                    revisions(),
                    may(READ, "core", "nodes"),
                    may("create", "core", "pods/binding"),
                ],
            ),
        ),
        ("job-controller", with(keeps("batch", "jobs"), vec![makes_pods(), may("delete", "batch", "jobs")])),
        (
            "cronjob-controller",
            with(
                keeps("batch", "cronjobs"),
                vec![
                    may("create delete get list patch update watch", "batch", "jobs"),
                    may("delete list", "core", "pods"),
                ],
            ),
        ),
        (
            "horizontal-pod-autoscaler",
            with(
                keeps("autoscaling", "horizontalpodautoscalers"),
                vec![
                    may("get update", "*", "*/scale"),
                    may("list", "core", "pods"),
                    may("get list", "metrics.k8s.io custom.metrics.k8s.io external.metrics.k8s.io", "*"),
                ],
            ),
        ),
        (
            "disruption-controller",
            with(
                keeps("policy", "poddisruptionbudgets"),
                vec![
                    may(READ, "apps", "deployments replicasets statefulsets"),
                    may(READ, "core", "pods replicationcontrollers"),
                    may("patch update", "core", "pods/status"),
                    may("get", "*", "*/scale"),
                ],
            ),
        ),
        ("ttl-after-finished-controller", vec![may("delete get list watch", "batch", "jobs")]),
    ]
}

/// Those who keep the machines and what is between them.
fn nodes_and_networks() -> Vec<(&'static str, Vec<Rule>)> {
    let endpoints = || {
        vec![
            may(READ, "core", "nodes pods services"),
            may("create delete get list patch update watch", "core", "endpoints"),
            may("create", "core", "endpoints/restricted"),
            may("update", "core", "services/finalizers"),
        ]
    };
    let slices = || {
        let mut rules = endpoints();
        rules.push(may("create delete get list patch update watch", "discovery.k8s.io", "endpointslices"));
        rules.push(may("create", "discovery.k8s.io", "endpointslices/restricted"));
        rules
    };
    vec![
        (
            "node-controller",
            vec![
                may("delete get list patch update watch", "core", "nodes"),
                may("patch update", "core", "nodes/status pods/status"),
                may("delete get list watch", "core", "pods"),
                may("create", "core", "pods/eviction"),
                may(READ, "coordination.k8s.io", "leases"),
            ],
        ),
        ("route-controller", vec![may("list watch", "core", "nodes"), may("patch", "core", "nodes/status")]),
        (
            "service-controller",
            vec![
                may("get list watch", "core", "services"),
                may("patch update", "core", "services/finalizers services/status"),
                may("list watch", "core", "nodes"),
            ],
        ),
        ("endpoint-controller", endpoints()),
        ("endpointslice-controller", slices()),
        ("endpointslicemirroring-controller", slices()),
        (
            "pod-garbage-collector",
            vec![
                may("delete list watch", "core", "pods"),
                may("patch update", "core", "pods/status"),
                may("get list", "core", "nodes"),
            ],
        ),
    ]
}

/// Those who keep order among objects.
fn keepers() -> Vec<(&'static str, Vec<Rule>)> {
    vec![
        (
            "generic-garbage-collector",
            vec![
                may("delete get list patch update watch", "*", "*"),
                // Namespaces end here too.
                may("patch update", "core", "namespaces/finalize namespaces/status"),
            ],
        ),
        (
            "namespace-controller",
            vec![
                may("delete get list watch", "core", "namespaces"),
                may("patch update", "core", "namespaces/finalize namespaces/status"),
                may("delete deletecollection get list", "*", "*"),
            ],
        ),
        (
            "service-account-controller",
            vec![
                may("create", "core", "serviceaccounts"),
                // It publishes the cluster's CA as well.
                may("create get patch update", "core", "configmaps"),
            ],
        ),
        ("root-ca-cert-publisher", vec![may("create update", "core", "configmaps")]),
        (
            "persistent-volume-binder",
            vec![
                may("create delete get list patch update watch", "core", "persistentvolumes"),
                may("patch update", "core", "persistentvolumeclaims/status persistentvolumes/status"),
                // It makes the claims that live as long as their pod, too.
                may("create get list patch update watch", "core", "persistentvolumeclaims"),
                may("create delete get list patch watch", "core", "pods"),
                may(READ, "core", "nodes"),
                may(READ, "storage.k8s.io", "storageclasses"),
            ],
        ),
        ("pv-protection-controller", vec![may("get list patch update watch", "core", "persistentvolumes")]),
        (
            "pvc-protection-controller",
            vec![
                may("get list patch update watch", "core", "persistentvolumeclaims"),
                may(READ, "core", "pods"),
            ],
        ),
        (
            "resourcequota-controller",
            vec![may("list watch", "*", "*"), may("patch update", "core", "resourcequotas/status")],
        ),
        (
            "clusterrole-aggregation-controller",
            vec![may("escalate get list patch update watch", crate::authorization::GROUP, "clusterroles")],
        ),
        (
            "certificate-controller",
            vec![
                may("delete get list watch", "certificates.k8s.io", "certificatesigningrequests"),
                may(
                    "update",
                    "certificates.k8s.io",
                    "certificatesigningrequests/approval certificatesigningrequests/status",
                ),
                may("approve sign", "certificates.k8s.io", "signers"),
                may("create", "authorization.k8s.io", "subjectaccessreviews"),
            ],
        ),
        (
            "crd-controller",
            vec![
                may("get list patch update watch", "apiextensions.k8s.io", "customresourcedefinitions"),
                may("patch update", "apiextensions.k8s.io", "customresourcedefinitions/status"),
                may("delete deletecollection get list", "*", "*"),
            ],
        ),
    ]
}
