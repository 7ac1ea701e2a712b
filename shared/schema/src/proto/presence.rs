//! Which zero values in a protobuf body say something.
//!
//! Go writes every field that is no pointer, zero or not, so a client that sets nothing still sends `tty: false`.
//! Upstream drops it when it writes JSON; a pointer to a zero value stays. The numbers on the wire do not say
//! which a field is, so this does: by the API's conventions a zero is a value of its own exactly where it differs
//! from absence. Numbers and truth values stay unless they are listed here (one too many does no harm), empty
//! texts go unless they are listed.

use serde_json::Value;

use crate::Schemas;
use crate::types::Struct;

/// Off is the same as not given.
const PLAIN_BOOLS: [&str; 25] = [
    "authenticated",
    "chapAuthDiscovery",
    "chapAuthSession",
    "clusterScope",
    "denied",
    "deprecated",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "globalDefault",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "insecureSkipTLSVerify",
    "nullable",
    "paused",
    "publishNotReadyAddresses",
    "readOnly",
    "sslEnabled",
    "stdin",
    "stdinOnce",
    "tty",
    "uniqueItems",
    "unschedulable",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
];

/// Zero is the same as not given: to be filled in, or a count that has not begun.
const PLAIN_NUMBERS: [&str; 31] = [
    "active",
    "availableReplicas",
    "code",
    "currentReplicas",
    "deprecatedCount",
    "failed",
    "failureThreshold",
    "fullyLabeledReplicas",
    "generation",
    "handSize",
    "healthCheckNodePort",
    "hostPort",
    "initialDelaySeconds",
    "matchingPrecedence",
    "minReadySeconds",
    "nodePort",
    "number",
    "numberAvailable",
    "numberUnavailable",
    "observedGeneration",
    "periodSeconds",
    "queueLengthLimit",
    "queues",
    "readyReplicas",
    "retryAfterSeconds",
    "signal",
    "sizeBytes",
    "succeeded",
    "successThreshold",
    "unavailableReplicas",
    "updatedReplicas",
];

/// Zero is the same as not given in this type only.
const PLAIN_NUMBERS_OF: [(&str, &str); 1] = [("io.k8s.api.core.v1.Probe", "timeoutSeconds")];

/// The empty text is not the same as none: "no class at all", "held by nobody".
const TELLING_TEXTS: [(&str, &str); 5] = [
    ("io.k8s.api.core.v1.PersistentVolumeClaimSpec", "storageClassName"),
    ("io.k8s.api.core.v1.PersistentVolumeClaimSpec", "volumeAttributesClassName"),
    ("io.k8s.api.coordination.v1.LeaseSpec", "holderIdentity"),
    ("io.k8s.api.core.v1.PodDNSConfigOption", "value"),
    ("io.k8s.api.discovery.v1.EndpointPort", "name"),
];

/// Whether an optional field with this value is as good as absent.
pub(super) fn says_nothing(schemas: &Schemas, of: Struct, field: &str, value: &Value) -> bool {
    let here = |list: &[(&str, &str)]| list.contains(&(schemas.names.get(of.name), field));
    match value {
        Value::Bool(false) => PLAIN_BOOLS.contains(&field),
        Value::Number(number) if number.as_i64() == Some(0) => {
            PLAIN_NUMBERS.contains(&field) || here(&PLAIN_NUMBERS_OF)
        }
        Value::String(text) if text.is_empty() => !here(&TELLING_TEXTS),
        _ => false,
    }
}
