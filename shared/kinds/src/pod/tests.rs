use serde_json::{Value, json};

use super::*;
use crate::testing::{defaulted, headings, object, row, said};

fn web(change: Value) -> Object {
    let mut spec = json!({"containers": [{"name": "a", "image": "i"}]});
    for (name, value) in change.as_object().expect("fields") {
        spec[name] = value.clone();
    }
    object(defaulted(&kind(), json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec})))
}

fn container(change: Value) -> Value {
    let mut container = json!({"name": "a", "image": "i"});
    for (name, value) in change.as_object().expect("fields") {
        container[name] = value.clone();
    }
    json!({"containers": [container]})
}

#[test]
fn a_bare_pod_has_every_default() {
    assert_eq!(
        web(json!({})).get("spec"),
        Some(&json!({
            "containers": [{
                "name": "a", "image": "i", "imagePullPolicy": "Always", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"
            }],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {},
            "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler", "enableServiceLinks": true
        }))
    );
}

#[test]
fn a_full_container_has_every_default() {
    let pod = web(json!({
        "hostNetwork": true, "serviceAccount": "sa",
        "containers": [{
            "name": "a", "image": "i:1", "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "0.5", "memory": "1Gi"}, "requests": {"memory": "512Mi"}},
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}],
            "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 0}
        }],
        "volumes": [{"name": "e"}, {"name": "s", "secret": {"secretName": "s"}}, {"name": "h", "hostPath": {"path": "/"}},
            {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}},
                {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}}]
    }));
    let at = |path: &str| pod.clone().into_value().pointer(path).cloned().unwrap_or_else(|| panic!("{path}"));
    let first = "/spec/containers/0";
    assert_eq!(at("/spec/serviceAccountName"), "sa");
    assert_eq!(at(&format!("{first}/imagePullPolicy")), "IfNotPresent");
    assert_eq!(
        at(&format!("{first}/ports/0")),
        json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"})
    );
    assert_eq!(
        at(&format!("{first}/resources")),
        json!({"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "512Mi"}})
    );
    assert_eq!(at(&format!("{first}/env/0/valueFrom/fieldRef/apiVersion")), "v1");
    assert_eq!(at(&format!("{first}/env/1/valueFrom/resourceFieldRef/divisor")), "0");
    assert_eq!(
        at(&format!("{first}/livenessProbe")),
        json!({"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
            "successThreshold": 1, "failureThreshold": 3})
    );
    assert_eq!(
        at("/spec/volumes"),
        json!([
            {"name": "e", "emptyDir": {}},
            {"name": "s", "secret": {"secretName": "s", "defaultMode": 420}},
            {"name": "h", "hostPath": {"path": "/", "type": ""}},
            {"name": "p", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}},
                {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}
            ]}}
        ])
    );
    assert_eq!(said(validate(&pod)), "");
}

#[test]
fn the_tag_decides_when_to_pull() {
    let cases = [
        ("redis", "Always"),
        ("redis:latest", "Always"),
        ("redis:7", "IfNotPresent"),
        ("host:5000/redis", "Always"),
        ("host:5000/redis:7", "IfNotPresent"),
        ("redis@sha256:abc", "IfNotPresent"),
        ("redis:7@sha256:abc", "IfNotPresent"),
        ("", "IfNotPresent"),
    ];
    for (image, policy) in cases {
        assert_eq!(defaults::pull_policy(image), policy, "{image}");
    }
}

#[test]
fn each_rule_of_a_spec_names_its_field() {
    let cases = [
        (json!({}), ""),
        (json!({"containers": []}), "spec.containers: Required value"),
        (json!({"containers": [{"image": "i"}]}), "spec.containers[0].name: Required value"),
        (json!({"containers": [{"name": "a"}]}), "spec.containers[0].image: Required value"),
        (
            container(json!({"name": "A"})),
            "spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of",
        ),
        (
            json!({"containers": [{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]}),
            "spec.containers[1].name: Duplicate value: \"a\"",
        ),
        (
            json!({"initContainers": [{"name": "a", "image": "i"}]}),
            "spec.initContainers[0].name: Duplicate value: \"a\"",
        ),
        (
            json!({"initContainers": [{"name": "b", "image": "i", "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}]}),
            "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
        (
            container(json!({"image": " i"})),
            "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace",
        ),
        (
            container(json!({"imagePullPolicy": "Sometimes"})),
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \
             \"IfNotPresent\", \"Never\"",
        ),
        (
            json!({"restartPolicy": "Maybe"}),
            "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ),
        (
            json!({"dnsPolicy": "None"}),
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (json!({"nodeSelector": {"a": "-"}}), "spec.nodeSelector: Invalid value: \"-\": a valid label must"),
        (json!({"hostname": "a.b"}), "spec.hostname: Invalid value: \"a.b\": must not contain dots"),
        (
            json!({"activeDeadlineSeconds": 0}),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            json!({"securityContext": {"runAsUser": -1}}),
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            json!({"tolerations": [{"operator": "Equal"}]}),
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty",
        ),
        (
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}}),
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: \
             must have at least one node selector term",
        ),
        (
            json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}}),
            "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: \
             can not be empty",
        ),
        (
            json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]}),
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        ),
        (
            json!({"shareProcessNamespace": true, "hostPID": true}),
            "spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
        ),
    ];
    for (change, wrong) in cases {
        let found = said(validate(&web(change.clone())));
        assert!(found.starts_with(wrong) && found.is_empty() == wrong.is_empty(), "{change}: {found}");
        assert!(found.lines().count() <= 1, "{change}: {found}");
    }
}

#[test]
fn each_rule_of_a_container_names_its_field() {
    let env = |from: Value| container(json!({"env": [{"name": "A", "valueFrom": from}]}));
    let probe = |probe: Value| container(json!({"livenessProbe": probe}));
    let cases = [
        (container(json!({"ports": [{"containerPort": 80}]})), ""),
        (container(json!({"ports": [{}]})), "ports[0].containerPort: Required value"),
        (
            container(json!({"ports": [{"containerPort": 65536}]})),
            "ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
        ),
        (
            container(json!({"ports": [{"containerPort": 1, "name": "80"}]})),
            "ports[0].name: Invalid value: \"80\": must contain at least one letter (a-z)",
        ),
        (
            container(
                json!({"ports": [{"containerPort": 1, "hostPort": 2}, {"containerPort": 3, "hostPort": 2}]}),
            ),
            "ports[1].hostPort: Duplicate value: \"TCP//2\"",
        ),
        (container(json!({"env": [{"name": "a b"}]})), ""),
        (container(json!({"env": [{}]})), "env[0].name: Required value"),
        (
            container(json!({"env": [{"name": "A=B"}]})),
            "env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable",
        ),
        (
            env(json!({})),
            "env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or",
        ),
        (env(json!({"fieldRef": {"fieldPath": "metadata.labels['app']"}})), ""),
        (
            env(json!({"fieldRef": {"fieldPath": "metadata.labels"}})),
            "env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \"metadata.name\"",
        ),
        (
            env(json!({"fieldRef": {"fieldPath": "spec.x"}})),
            "env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not",
        ),
        (
            env(json!({"configMapKeyRef": {"name": "c"}})),
            "env[0].valueFrom.configMapKeyRef.key: Required value",
        ),
        (
            container(json!({"envFrom": [{}]})),
            "envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
        ),
        (
            container(json!({"volumeMounts": [{"name": "v", "mountPath": "/x"}]})),
            "volumeMounts[0].name: Not found: \"v\"",
        ),
        (
            container(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})),
            "resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (probe(json!({})), "livenessProbe: Required value: must specify a handler type"),
        (
            probe(json!({"exec": {"command": ["x"]}, "successThreshold": 2})),
            "livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            probe(json!({"exec": {}, "tcpSocket": {"port": 1}})),
            "livenessProbe.tcpSocket: Forbidden: may not specify more than 1",
        ),
        (
            probe(json!({"tcpSocket": {"port": 0}})),
            "livenessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and",
        ),
        (
            container(json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}})),
            "securityContext.allowPrivilegeEscalation: Invalid value: false: cannot set `allowPrivilegeEscalation` to false",
        ),
    ];
    for (change, wrong) in cases {
        let found = said(validate(&web(change.clone())));
        let wrong = if wrong.is_empty() { String::new() } else { format!("spec.containers[0].{wrong}") };
        assert!(found.starts_with(&wrong) && found.is_empty() == wrong.is_empty(), "{change}: {found}");
    }
}

#[test]
fn each_rule_of_a_volume_names_its_field() {
    let cases = [
        (json!({"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}), ""),
        (json!({"emptyDir": {}}), "name: Required value"),
        (json!({"name": "V"}), "name: Invalid value: \"V\": a lowercase RFC 1123 label"),
        (
            json!({"name": "v", "emptyDir": {}, "nfs": {}}),
            "nfs: Forbidden: may not specify more than 1 volume type",
        ),
        (json!({"name": "v", "hostPath": {}}), "hostPath.path: Required value"),
        (
            json!({"name": "v", "hostPath": {"path": "/a/../b"}}),
            "hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
        ),
        (
            json!({"name": "v", "hostPath": {"path": "/a", "type": "Odd"}}),
            "hostPath.type: Unsupported value: \"Odd\": supported values: \"\", \"BlockDevice\"",
        ),
        (json!({"name": "v", "secret": {}}), "secret.secretName: Required value"),
        (
            json!({"name": "v", "configMap": {"name": "c", "defaultMode": 512}}),
            "configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
        ),
        (
            json!({"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "/p"}]}}),
            "configMap.items[0].path: Invalid value: \"/p\": must be a relative path",
        ),
        (
            json!({"name": "v", "persistentVolumeClaim": {}}),
            "persistentVolumeClaim.claimName: Required value",
        ),
        (
            json!({"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 1}}]}}),
            "projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less",
        ),
    ];
    for (volume, wrong) in cases {
        let found = said(validate(&web(json!({"volumes": [volume]}))));
        let wrong = if wrong.is_empty() { String::new() } else { format!("spec.volumes[0].{wrong}") };
        assert!(found.starts_with(&wrong) && found.is_empty() == wrong.is_empty(), "{volume}: {found}");
    }
    let twice = web(json!({"volumes": [{"name": "v"}, {"name": "v"}]}));
    assert_eq!(said(validate(&twice)), "spec.volumes[1].name: Duplicate value: \"v\"");
}

#[test]
fn little_of_a_pod_can_be_changed() {
    let old = web(json!({"tolerations": [{"key": "a", "operator": "Exists"}]}));
    let with = |path: &[&str], value: Value| {
        let mut new = old.clone();
        new.set(path, value);
        said(update::validate(&new, &old))
    };
    let mut image = old.clone();
    image.0["spec"]["containers"][0]["image"] = "other".into();
    assert_eq!(said(update::validate(&image, &old)), "");
    assert_eq!(with(&["metadata", "labels", "a"], "b".into()), "");
    assert_eq!(with(&["spec", "activeDeadlineSeconds"], 5.into()), "");
    assert_eq!(
        with(
            &["spec", "tolerations"],
            json!([{"key": "b", "operator": "Exists"}, {"key": "a", "operator": "Exists"}])
        ),
        ""
    );
    assert_eq!(
        with(&["spec", "tolerations"], json!([])),
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    );
    assert_eq!(
        with(&["spec", "containers"], json!([])),
        "spec.containers: Forbidden: pod updates may not add or remove containers"
    );
    let moved = with(&["spec", "nodeName"], "n".into());
    assert!(moved.starts_with(
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    ));
    assert!(moved.ends_with("\nspec.nodeName: null -> \"n\""), "{moved}");
}

#[test]
fn a_new_pod_is_pending_and_of_a_class() {
    let mut pod = web(json!({"schedulingGates": [{"name": "x.io/wait"}]}));
    pod.set(&["status"], json!({"phase": "Running", "podIP": "10.0.0.1"}));
    prepare_create(&mut pod);
    assert_eq!(
        pod.get("status"),
        Some(&json!({"phase": "Pending", "qosClass": "BestEffort", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates"
        }]}))
    );
    let placed = web(json!({"schedulingGates": [{"name": "x.io/wait"}], "nodeName": "n",
        "ephemeralContainers": [{"name": "b", "image": "i"}]}));
    assert_eq!(
        said(validate_create(&placed)),
        "spec.ephemeralContainers: Forbidden: cannot be set on create\n\
         spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"
    );
}

#[test]
fn a_status_update_keeps_the_spec_and_agrees_on_addresses() {
    let mut old = web(json!({}));
    prepare_create(&mut old);
    let mut new = old.clone();
    new.set(&["spec", "nodeName"], "stolen");
    new.set(&["metadata", "ownerReferences"], json!([{"uid": "u"}]));
    new.set(&["status"], json!({"phase": "Running", "podIP": "10.0.0.1"}));
    prepare_status(&mut new, &old);
    assert_eq!(new.get("spec"), old.get("spec"));
    assert_eq!(new.at(&["metadata", "ownerReferences"]), None);
    assert_eq!(
        new.get("status"),
        Some(
            &json!({"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "qosClass": "BestEffort"})
        )
    );
    assert_eq!(kind().field(&new, "status.podIP"), Some("10.0.0.1".to_owned()));
    assert_eq!(kind().field(&new, "spec.hostNetwork"), Some("false".to_owned()));
}

#[test]
fn what_has_ended_does_not_run_again() {
    let ended = |exit: i64| json!([{"name": "a", "state": {"terminated": {"exitCode": exit}}}]);
    let judged = |policy: &str, exit: i64| {
        let mut old = web(json!({"restartPolicy": policy}));
        let mut new = old.clone();
        old.set(&["status", "containerStatuses"], ended(exit));
        new.set(&["status", "containerStatuses"], json!([{"name": "a", "state": {"running": {}}}]));
        said(update::validate_status(&new, &old))
    };
    assert_eq!(judged("Always", 0), "");
    assert_eq!(judged("OnFailure", 1), "");
    for (policy, exit) in [("OnFailure", 0), ("Never", 1)] {
        assert_eq!(
            judged(policy, exit),
            "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
        );
    }
}

#[test]
fn subresources_change_only_their_part() {
    let old = web(json!({}));
    let mut new = old.clone();
    new.set(&["spec", "nodeName"], "n");
    new.set(&["spec", "ephemeralContainers"], json!([{"name": "debug", "image": "i"}]));
    (update::EPHEMERAL_CONTAINERS.prepare)(&mut new, &old);
    assert_eq!(new.str_at(&["spec", "nodeName"]), "");
    assert_eq!(crate::cell::count(&new, &["spec", "ephemeralContainers"]), 1);
    assert_eq!(said((update::EPHEMERAL_CONTAINERS.validate)(&new, &old)), "");
    assert_eq!(
        said((update::EPHEMERAL_CONTAINERS.validate)(&old, &new)),
        "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"debug\" may not be removed\n"
    );

    let old = web(container(json!({"resources": {"requests": {"cpu": "1"}}})));
    let mut new = old.clone();
    new.set(&["spec", "nodeName"], "n");
    new.0["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "2".into();
    (update::RESIZE.prepare)(&mut new, &old);
    assert_eq!(new.str_at(&["spec", "nodeName"]), "");
    assert_eq!(requests(&new)["cpu"].milli(), 2000);
    assert_eq!(said((update::RESIZE.validate)(&new, &old)), "");
}

#[test]
fn the_row_is_the_one_that_clients_know() {
    let kind = kind();
    let names: Vec<&str> = kind.subresources.iter().map(|one| one.name.as_ref()).collect();
    assert_eq!(
        names,
        [
            "attach",
            "binding",
            "ephemeralcontainers",
            "eviction",
            "exec",
            "log",
            "portforward",
            "proxy",
            "resize",
            "status"
        ]
    );
    assert_eq!(
        headings(&kind),
        "Name | Ready | Status | Restarts | Age | (IP) | (Node) | (Nominated Node) | (Readiness Gates)"
    );
}

/// The cells READY, STATUS and RESTARTS.
fn shown(spec: Value, status: Value, deleted: bool) -> String {
    let mut pod = object(json!({"metadata": {"name": "p"}, "spec": spec, "status": status}));
    if deleted {
        pod.set(&["metadata", "deletionTimestamp"], "2026-01-02T12:00:00Z");
    }
    let row = row(&kind(), &pod);
    row.split(" | ").skip(1).take(3).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_status_is_the_word_that_kubectl_users_know() {
    let one = || json!({"containers": [{"name": "a"}]});
    let containers = |statuses: Value| json!({"phase": "Running", "containerStatuses": statuses});
    let waiting = |reason: &str| json!([{"name": "a", "state": {"waiting": {"reason": reason}}}]);
    let ended = |ended: Value| json!([{"name": "a", "state": {"terminated": ended}}]);
    let running = json!([{"name": "a", "ready": true, "state": {"running": {}}}]);
    let cases = [
        (json!({"phase": "Pending"}), "0/1 Pending 0"),
        (
            json!({"phase": "Pending", "containerStatuses": waiting("ContainerCreating")}),
            "0/1 ContainerCreating 0",
        ),
        (containers(waiting("CrashLoopBackOff")), "0/1 CrashLoopBackOff 0"),
        (containers(waiting("ErrImagePull")), "0/1 ErrImagePull 0"),
        (containers(waiting("ImagePullBackOff")), "0/1 ImagePullBackOff 0"),
        (containers(running.clone()), "1/1 Running 0"),
        (containers(json!([{"name": "a", "ready": false, "state": {"running": {}}}])), "0/1 Running 0"),
        (containers(ended(json!({"reason": "OOMKilled", "exitCode": 137}))), "0/1 OOMKilled 0"),
        (containers(ended(json!({"reason": "Error", "exitCode": 1}))), "0/1 Error 0"),
        (containers(ended(json!({"exitCode": 3}))), "0/1 ExitCode:3 0"),
        (containers(ended(json!({"signal": 9, "exitCode": 137}))), "0/1 Signal:9 0"),
        (
            json!({"phase": "Succeeded", "containerStatuses": ended(json!({"reason": "Completed", "exitCode": 0}))}),
            "0/1 Completed 0",
        ),
        (json!({"phase": "Failed", "reason": "Evicted"}), "0/1 Evicted 0"),
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
            "0/1 SchedulingGated 0",
        ),
        (
            containers(json!([{"name": "a", "ready": true, "restartCount": 3, "state": {"running": {}},
                "lastState": {"terminated": {"finishedAt": "2026-01-02T11:59:55Z"}}}])),
            "1/1 Running 3 (5s ago)",
        ),
    ];
    for (status, words) in cases {
        assert_eq!(shown(one(), status.clone(), false), words, "{status}");
    }
    assert_eq!(shown(one(), containers(running.clone()), true), "1/1 Terminating 0");
    assert_eq!(shown(one(), json!({"phase": "Succeeded"}), true), "0/1 Succeeded 0");
    assert_eq!(shown(one(), json!({"phase": "Running", "reason": "NodeLost"}), true), "0/1 Unknown 0");
    let two = || json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let half = containers(json!([
        {"name": "a", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}},
        {"name": "b", "ready": true, "state": {"running": {}}}
    ]));
    assert_eq!(shown(two(), half.clone(), false), "1/2 NotReady 0");
    let mut ready = half;
    ready["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    assert_eq!(shown(two(), ready, false), "1/2 Running 0");
}

#[test]
fn init_containers_show_how_far_they_are() {
    let spec = || {
        json!({"containers": [{"name": "a"}], "initContainers": [
            {"name": "x"}, {"name": "side", "restartPolicy": "Always"}, {"name": "y"}
        ]})
    };
    let status = |init: Value| {
        json!({"phase": "Pending", "initContainerStatuses": init,
        "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "PodInitializing"}}}]})
    };
    let done = json!({"name": "x", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
    let side = json!({"name": "side", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}},
        "lastState": {"terminated": {"finishedAt": "2026-01-02T11:59:00Z"}}});
    let cases = [
        (json!([{"name": "x", "state": {"running": {}}}]), "0/2 Init:0/3 0"),
        (json!([{"name": "x", "state": {"waiting": {"reason": "PodInitializing"}}}]), "0/2 Init:0/3 0"),
        (
            json!([{"name": "x", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]),
            "0/2 Init:CrashLoopBackOff 2",
        ),
        (
            json!([{"name": "x", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]),
            "0/2 Init:Error 0",
        ),
        (json!([{"name": "x", "state": {"terminated": {"exitCode": 2}}}]), "0/2 Init:ExitCode:2 0"),
        (json!([done, side, {"name": "y", "state": {"running": {}}}]), "1/2 Init:2/3 1 (60s ago)"),
        (
            json!([done, side, {"name": "y", "state": {"terminated": {"exitCode": 0}}}]),
            "1/2 PodInitializing 1 (60s ago)",
        ),
    ];
    for (init, words) in cases {
        assert_eq!(shown(spec(), status(init.clone()), false), words, "{init}");
    }
}

#[test]
fn wide_output_shows_where_the_pod_is() {
    let pod = object(json!({
        "metadata": {"name": "p", "creationTimestamp": "2026-01-02T10:00:00Z"},
        "spec": {"nodeName": "n", "containers": [{"name": "a"}],
            "readinessGates": [{"conditionType": "x.io/a"}, {"conditionType": "x.io/b"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [{"type": "x.io/a", "status": "True"}]}
    }));
    assert_eq!(row(&kind(), &pod), "p | 0/1 | Running | 0 | 120m | 10.0.0.1 | n | <none> | 1/2");
    let pending = object(json!({"metadata": {"name": "q"}}));
    assert!(row(&kind(), &pending).ends_with("<unknown> | <none> | <none> | <none> | <none>"));
}
