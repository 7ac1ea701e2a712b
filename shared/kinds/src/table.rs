//! The table of kinds: every row, found by resource or by kind.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::Kind;

/// Rows in the order in which discovery lists them.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Arc<Kind>>,
    by_resource: HashMap<String, usize>,
    by_kind: HashMap<String, usize>,
    /// Rows of custom kinds by the collection that their objects are kept in.
    custom: HashMap<String, Arc<Kind>>,
}

impl Table {
    /// Every built-in kind.
    pub fn builtin() -> Table {
        let mut table = Table::default();
        for kind in crate::builtin_rows() {
            table.insert(kind);
        }
        table
    }

    /// Adds a row, or replaces the one with the same group, version and resource.
    pub fn insert(&mut self, kind: Kind) {
        self.insert_shared(Arc::new(kind));
    }

    /// As [`Table::insert`], for a row that others hold too.
    pub fn insert_shared(&mut self, kind: Arc<Kind>) {
        let resource = index_key(&kind.group, &kind.version, &kind.plural);
        let by_kind = index_key(&kind.group, &kind.version, &kind.kind);
        let at = *self.by_resource.entry(resource).or_insert(self.rows.len());
        if at < self.rows.len() {
            self.rows[at] = kind;
        } else {
            self.rows.push(kind);
        }
        self.by_kind.insert(by_kind, at);
    }

    /// Makes `kind` the row by which the objects of a custom collection are handled when nobody asks for a version.
    pub fn insert_stored(&mut self, kind: Arc<Kind>) {
        if let Some((group, resource)) = kind.storage_key() {
            self.custom.insert(format!("{group}/{resource}/"), kind);
        }
    }

    /// The row by which the objects of a custom collection (as [`model::Key::collection`] has it) are handled when
    /// nobody asks for a version; none for built-in kinds.
    pub fn stored(&self, collection: &str) -> Option<&Arc<Kind>> {
        self.custom.get(collection)
    }

    /// The row of a resource, as `("apps", "v1", "deployments")`.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        self.by_resource.get(&index_key(group, version, plural)).map(|at| Arc::clone(&self.rows[*at]))
    }

    /// The row of a kind, as `("apps", "v1", "Deployment")`.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Kind>> {
        self.by_kind.get(&index_key(group, version, kind)).map(|at| Arc::clone(&self.rows[*at]))
    }

    /// Every row; those of a group version follow each other.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.rows.iter()
    }

    /// The group versions in the order of their first row, the core group first.
    pub fn group_versions(&self) -> Vec<(&str, &str)> {
        let mut seen = HashSet::new();
        let each = self.rows.iter().map(|kind| (kind.group.as_ref(), kind.version.as_ref()));
        each.filter(|one| seen.insert(*one)).collect()
    }
}

fn index_key(group: &str, version: &str, name: &str) -> String {
    format!("{group}/{version}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Storage, Verb};
    use model::Class;

    #[test]
    fn every_kind_that_clients_touch_is_there() {
        let table = Table::builtin();
        let resources: Vec<String> =
            table.iter().map(|kind| format!("{}/{}", kind.api_version(), kind.plural)).collect();
        let wanted = [
            "v1/bindings",
            "v1/configmaps",
            "v1/endpoints",
            "v1/events",
            "v1/limitranges",
            "v1/namespaces",
            "v1/nodes",
            "v1/persistentvolumeclaims",
            "v1/persistentvolumes",
            "v1/pods",
            "v1/podtemplates",
            "v1/replicationcontrollers",
            "v1/resourcequotas",
            "v1/secrets",
            "v1/serviceaccounts",
            "v1/services",
            "apps/v1/controllerrevisions",
            "apps/v1/daemonsets",
            "apps/v1/deployments",
            "apps/v1/replicasets",
            "apps/v1/statefulsets",
            "events.k8s.io/v1/events",
            "authentication.k8s.io/v1/selfsubjectreviews",
            "authentication.k8s.io/v1/tokenreviews",
            "authorization.k8s.io/v1/localsubjectaccessreviews",
            "authorization.k8s.io/v1/selfsubjectaccessreviews",
            "authorization.k8s.io/v1/selfsubjectrulesreviews",
            "authorization.k8s.io/v1/subjectaccessreviews",
            "autoscaling/v2/horizontalpodautoscalers",
            "autoscaling/v1/horizontalpodautoscalers",
            "batch/v1/cronjobs",
            "batch/v1/jobs",
            "networking.k8s.io/v1/ingressclasses",
            "networking.k8s.io/v1/ingresses",
            "networking.k8s.io/v1/networkpolicies",
            "policy/v1/poddisruptionbudgets",
            "rbac.authorization.k8s.io/v1/clusterrolebindings",
            "rbac.authorization.k8s.io/v1/clusterroles",
            "rbac.authorization.k8s.io/v1/rolebindings",
            "rbac.authorization.k8s.io/v1/roles",
            "storage.k8s.io/v1/csidrivers",
            "storage.k8s.io/v1/csinodes",
            "storage.k8s.io/v1/csistoragecapacities",
            "storage.k8s.io/v1/storageclasses",
            "storage.k8s.io/v1/volumeattachments",
            "scheduling.k8s.io/v1/priorityclasses",
            "coordination.k8s.io/v1/leases",
            "discovery.k8s.io/v1/endpointslices",
            "apiextensions.k8s.io/v1/customresourcedefinitions",
        ];
        assert_eq!(resources, wanted);
    }

    #[test]
    fn rows_agree_with_themselves() {
        let table = Table::builtin();
        for kind in table.iter() {
            let name = kind.qualified_plural();
            assert_eq!(kind.columns.iter().filter(|column| column.format == "name").count(), 1, "{name}");
            if let Storage::Collection { group, resource } = &kind.storage {
                assert_eq!(Class::of(group, resource), kind.class, "{name}: the class of its keys");
                assert!(
                    table.iter().any(|row| row.group == *group && row.plural == *resource),
                    "{name}: a stored form"
                );
                assert!(kind.verbs.contains(Verb::Watch), "{name}");
            }
            let mut parts: Vec<&str> = kind.subresources.iter().map(|part| part.name.as_ref()).collect();
            parts.sort_unstable();
            parts.dedup();
            assert_eq!(parts.len(), kind.subresources.len(), "{name}: subresources");
            for part in kind.subresources.iter().filter(|part| part.kind == kind.kind && part.name != "log") {
                assert_eq!(part.update.is_some(), part.name != "status", "{name}/{}", part.name);
            }
        }
    }

    #[test]
    fn short_names_mean_one_kind_of_a_group() {
        let table = Table::builtin();
        let find = |short: &str| {
            let rows = table.iter().filter(|kind| kind.short_names.iter().any(|one| one == short));
            rows.map(|kind| kind.kind.to_string()).collect::<Vec<_>>()
        };
        let cases = [
            ("po", "Pod"),
            ("svc", "Service"),
            ("deploy", "Deployment"),
            ("rs", "ReplicaSet"),
            ("sts", "StatefulSet"),
            ("ds", "DaemonSet"),
            ("cm", "ConfigMap"),
            ("ns", "Namespace"),
            ("no", "Node"),
            ("ep", "Endpoints"),
            ("pv", "PersistentVolume"),
            ("pvc", "PersistentVolumeClaim"),
            ("rc", "ReplicationController"),
            ("sa", "ServiceAccount"),
            ("quota", "ResourceQuota"),
            ("limits", "LimitRange"),
            ("cj", "CronJob"),
            ("ing", "Ingress"),
            ("netpol", "NetworkPolicy"),
            ("pdb", "PodDisruptionBudget"),
            ("sc", "StorageClass"),
            ("pc", "PriorityClass"),
        ];
        for (short, kind) in cases {
            assert_eq!(find(short), [kind], "{short}");
        }
        assert_eq!(find("ev"), ["Event", "Event"]);
        assert_eq!(find("hpa"), ["HorizontalPodAutoscaler", "HorizontalPodAutoscaler"]);
        let all: Vec<&str> = table
            .iter()
            .filter(|kind| kind.categories.iter().any(|one| one == "all"))
            .map(|kind| kind.plural.as_ref())
            .collect();
        assert_eq!(
            all,
            [
                "pods",
                "replicationcontrollers",
                "services",
                "daemonsets",
                "deployments",
                "replicasets",
                "statefulsets",
                "horizontalpodautoscalers",
                "horizontalpodautoscalers",
                "cronjobs",
                "jobs"
            ]
        );
    }
}
