//! Labels and annotations by which sandboxes and containers are known again after a restart of the agent.
//! The names are those that tools on Kubernetes nodes look for.

/// Label: the pod's name.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// Label: the pod's namespace.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Label: the pod's uid.
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// Label: the container's name in the pod's spec.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Annotation: tells whether the container's spec has changed since.
pub const HASH: &str = "io.kubernetes.container.hash";
/// Annotation: how many instances there were before this one.
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
/// Annotation: where the container writes its last words.
pub const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
/// Annotation: whether its log may stand in for them.
pub const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
/// Annotation: seconds that the pod has to end in, for when its spec is no longer known.
pub const GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
