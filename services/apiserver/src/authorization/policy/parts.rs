//! Roles of the cluster's own parts that are no controllers.

use super::{Binding, READ, Role, SYSTEM, may, may_named};
use crate::authorization::rule::Rule;

/// The scheduler, nodes, name service.
pub fn roles() -> Vec<Role> {
    vec![
        Role::new("system:kube-scheduler", scheduler()),
        Role::new("system:volume-scheduler", volume_scheduler()),
        leads("scheduler", "binder"),
        leads("controller-manager", LED),
        Role::new("system:node", node()),
        Role::new(
            "system:node-proxier",
            vec![
                may(READ, "core", "endpoints nodes services"),
                may("create patch update", "core events.k8s.io", "events"),
                may(READ, "discovery.k8s.io", "endpointslices"),
            ],
        ),
        Role::new(
            "system:kube-dns",
            vec![
                may("list watch", "core", "endpoints services"),
                may(READ, "discovery.k8s.io", "endpointslices"),
            ],
        ),
        // It makes its own Service, and leads it to itself.
        Role::new(
            "system:kube-dns",
            vec![
                may("create get patch update", "core", "endpoints services"),
                may("create delete get patch update", "discovery.k8s.io", "endpointslices"),
            ],
        )
        .within(SYSTEM),
        Role::new(TOKEN_CLEANER, vec![may("delete get list watch", "core", "secrets")]).within(SYSTEM),
        Role::new(
            "system:kubelet-api-admin",
            vec![
                may("get list watch", "core", "nodes"),
                may("proxy", "core", "nodes"),
                may("*", "core", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
            ],
        ),
        Role::new(
            "system:persistent-volume-provisioner",
            vec![
                may("create delete get list watch", "core", "persistentvolumes"),
                may("get list update watch", "core", "persistentvolumeclaims"),
                may(READ, "storage.k8s.io", "storageclasses"),
                may("create patch update watch", "core", "events"),
            ],
        ),
    ]
}

/// Nodes have theirs by no binding: an agent speaks over the bus and for its own pods only.
pub fn bindings() -> Vec<Binding> {
    vec![
        Binding::of_user("system:kube-scheduler", "system:kube-scheduler"),
        Binding::of_user("system:volume-scheduler", "system:kube-scheduler"),
        Binding::of_user(&leader_of("scheduler"), "system:kube-scheduler").within(SYSTEM),
        Binding::of_user(&leader_of("controller-manager"), "system:kube-controller-manager").within(SYSTEM),
        Binding::of_user("system:node-proxier", "system:kube-proxy"),
        Binding::of_account("system:kube-dns", "kube-dns"),
        Binding::of_account("system:kube-dns", "kube-dns").within(SYSTEM),
        Binding::of_account(TOKEN_CLEANER, "token-cleaner").within(SYSTEM),
    ]
}

/// Bootstrap tokens are Secrets of one namespace, and it touches no others.
const TOKEN_CLEANER: &str = "system:controller:token-cleaner";

/// What our controllers lead as, all of them under the name of upstream's one process.
const LED: &str = "replica-controller stateful-controller batch-controller cluster-controller";

fn leader_of(part: &str) -> String {
    format!("system::leader-locking-kube-{part}")
}

/// Who may update a role's Lease may take its fence.
fn leads(part: &str, roles: &str) -> Role {
    Role::new(leader_of(part), vec![may_named("get update watch", "coordination.k8s.io", "leases", roles)])
        .within(SYSTEM)
}

fn scheduler() -> Vec<Rule> {
    vec![
        may("create patch update", "core events.k8s.io", "events"),
        may("create", "coordination.k8s.io", "leases"),
        may_named("get update", "coordination.k8s.io", "leases", "kube-scheduler"),
        may(
            READ,
            "core",
            "namespaces nodes persistentvolumeclaims persistentvolumes replicationcontrollers services",
        ),
        may("delete get list watch", "core", "pods"),
        may("create", "core", "bindings pods/binding"),
        may("patch update", "core", "pods/status"),
        may(READ, "apps", "replicasets statefulsets"),
        may(READ, "policy", "poddisruptionbudgets"),
        may(
            READ,
            "storage.k8s.io",
            "csidrivers csinodes csistoragecapacities storageclasses volumeattachments",
        ),
        may("create", "authentication.k8s.io", "tokenreviews"),
        may("create", "authorization.k8s.io", "subjectaccessreviews"),
    ]
}

fn volume_scheduler() -> Vec<Rule> {
    vec![
        may("get list patch update watch", "core", "persistentvolumeclaims persistentvolumes"),
        may(READ, "storage.k8s.io", "storageclasses"),
    ]
}

fn node() -> Vec<Rule> {
    vec![
        may("create", "authentication.k8s.io", "tokenreviews"),
        may("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
        may(READ, "core", "services"),
        may("create get list watch", "core", "nodes"),
        may("patch update", "core", "nodes nodes/status"),
        may("create patch update", "core events.k8s.io", "events"),
        may("create delete get list watch", "core", "pods"),
        may("patch update", "core", "pods/status"),
        may("create", "core", "pods/eviction serviceaccounts/token"),
        may(READ, "core", "configmaps secrets"),
        may("get", "core", "endpoints persistentvolumeclaims persistentvolumes serviceaccounts"),
        may("get patch update", "core", "persistentvolumeclaims/status"),
        may("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
        may("create delete get patch update", "coordination.k8s.io", "leases"),
        may("get", "storage.k8s.io", "volumeattachments"),
        may(READ, "storage.k8s.io", "csidrivers"),
        may("create delete get patch update", "storage.k8s.io", "csinodes"),
        may(READ, "node.k8s.io", "runtimeclasses"),
    ]
}
