//! Who a container runs as and what it may do.

use cri::v1::{
    Capability, Int64Value, LinuxContainerSecurityContext, LinuxSandboxSecurityContext, NamespaceMode,
    NamespaceOption, SeLinuxOption, SecurityProfile, security_profile::ProfileType,
};
use k8s_openapi::api::core::v1::{
    Container, Pod, PodSecurityContext, SELinuxOptions, SeccompProfile, SecurityContext,
};

use super::env::ConfigError;
use super::{host_network, of};

/// The user that an image names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageUser {
    /// As a number.
    pub uid: Option<i64>,
    /// As a name, empty if none.
    pub name: String,
}

/// Parts of /proc and /sys that show or change the whole machine and so are hidden from containers.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
/// Those that may be read.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The sandbox's namespaces and the pod's own settings.
pub fn sandbox(pod: &Pod) -> LinuxSandboxSecurityContext {
    let nothing = PodSecurityContext::default();
    let context = of(pod).security_context.as_ref().unwrap_or(&nothing);
    LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        selinux_options: context.se_linux_options.as_ref().map(selinux),
        run_as_user: context.run_as_user.map(number),
        run_as_group: context.run_as_user.and(context.run_as_group).map(number),
        readonly_rootfs: false,
        supplemental_groups: groups(context),
        privileged: super::all_containers(pod).any(privileged),
        seccomp: Some(seccomp(context.seccomp_profile.as_ref())),
    }
}

/// The container's settings, which win over the pod's.
pub fn container(
    pod: &Pod,
    container: &Container,
    image: &ImageUser,
) -> Result<LinuxContainerSecurityContext, ConfigError> {
    let (no_pod, no_own) = (PodSecurityContext::default(), SecurityContext::default());
    let shared = of(pod).security_context.as_ref().unwrap_or(&no_pod);
    let own = container.security_context.as_ref().unwrap_or(&no_own);
    let user = own.run_as_user.or(shared.run_as_user);
    let group = own.run_as_group.or(shared.run_as_group);
    if own.run_as_non_root.or(shared.run_as_non_root) == Some(true) {
        refuse_root(user, image)?;
    }
    let profile = own.app_armor_profile.as_ref().or(shared.app_armor_profile.as_ref());
    if profile.is_some_and(|profile| profile.type_ == "Localhost") {
        return Err(ConfigError("this node loads no AppArmor profiles".to_owned()));
    }
    let privileged = privileged(container);
    let hide = |paths: &[&str]| match privileged || own.proc_mount.as_deref() == Some("Unmasked") {
        true => Vec::new(),
        false => paths.iter().map(|path| (*path).to_owned()).collect(),
    };
    let capabilities = own.capabilities.clone().unwrap_or_default();
    Ok(LinuxContainerSecurityContext {
        capabilities: Some(Capability {
            add_capabilities: capabilities.add.unwrap_or_default(),
            drop_capabilities: capabilities.drop.unwrap_or_default(),
        }),
        privileged,
        namespace_options: Some(namespaces(pod)),
        selinux_options: own.se_linux_options.as_ref().or(shared.se_linux_options.as_ref()).map(selinux),
        // The runtime refuses a group without a user, so the image's own user is named.
        run_as_user: user.or(group.and(image.uid)).map(number),
        run_as_username: match (user, group) {
            (None, Some(_)) if image.uid.is_none() => image.name.clone(),
            _ => String::new(),
        },
        run_as_group: group.map(number),
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        supplemental_groups: groups(shared),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: hide(&MASKED),
        readonly_paths: hide(&READ_ONLY),
        seccomp: Some(match privileged {
            true => seccomp(None),
            false => seccomp(own.seccomp_profile.as_ref().or(shared.seccomp_profile.as_ref())),
        }),
    })
}

/// Which namespaces the pod has to itself.
pub fn namespaces(pod: &Pod) -> NamespaceOption {
    let spec = of(pod);
    let network = if host_network(pod) { NamespaceMode::Node } else { NamespaceMode::Pod };
    let ipc = if spec.host_ipc == Some(true) { NamespaceMode::Node } else { NamespaceMode::Pod };
    let pid = match (spec.host_pid, spec.share_process_namespace) {
        (Some(true), _) => NamespaceMode::Node,
        (_, Some(true)) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    };
    NamespaceOption { network: network.into(), pid: pid.into(), ipc: ipc.into(), target_id: String::new() }
}

fn refuse_root(user: Option<i64>, image: &ImageUser) -> Result<(), ConfigError> {
    let why = match (user, image.uid) {
        (Some(0), _) => "container's runAsUser breaks non-root policy".to_owned(),
        (Some(_), _) => return Ok(()),
        (None, Some(0)) => "container has runAsNonRoot and image will run as root".to_owned(),
        (None, Some(_)) => return Ok(()),
        (None, None) if image.name.is_empty() => {
            "container has runAsNonRoot and image will run as root".to_owned()
        }
        (None, None) => format!(
            "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root",
            image.name
        ),
    };
    Err(ConfigError(why))
}

fn privileged(container: &Container) -> bool {
    container.security_context.as_ref().is_some_and(|context| context.privileged == Some(true))
}

fn groups(context: &PodSecurityContext) -> Vec<i64> {
    let more = context.supplemental_groups.iter().flatten().copied();
    context.fs_group.into_iter().chain(more).collect()
}

fn seccomp(profile: Option<&SeccompProfile>) -> SecurityProfile {
    let (kind, localhost) = match profile {
        Some(profile) if profile.type_ == "RuntimeDefault" => (ProfileType::RuntimeDefault, None),
        Some(profile) if profile.type_ == "Localhost" => {
            (ProfileType::Localhost, profile.localhost_profile.clone())
        }
        _ => (ProfileType::Unconfined, None),
    };
    SecurityProfile { profile_type: kind.into(), localhost_ref: localhost.unwrap_or_default() }
}

fn selinux(options: &SELinuxOptions) -> SeLinuxOption {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    SeLinuxOption {
        user: text(&options.user),
        role: text(&options.role),
        r#type: text(&options.type_),
        level: text(&options.level),
    }
}

fn number(value: i64) -> Int64Value {
    Int64Value { value }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::fixture;
    use super::*;

    fn decided(
        shared: Value,
        own: Value,
        image: ImageUser,
    ) -> Result<LinuxContainerSecurityContext, ConfigError> {
        let pod = fixture::pod(json!({
            "securityContext": shared,
            "containers": [{"name": "main", "image": "app:1", "securityContext": own}],
        }));
        container(&pod, &of(&pod).containers[0], &image)
    }

    #[test]
    fn the_containers_own_settings_win() {
        let shared = json!({"runAsUser": 1000, "fsGroup": 7, "supplementalGroups": [8]});
        let context = decided(shared, json!({"runAsUser": 2000}), ImageUser::default()).unwrap();
        assert_eq!(context.run_as_user, Some(number(2000)));
        assert_eq!(context.supplemental_groups, [7, 8]);
        assert_eq!(context.masked_paths.len(), MASKED.len());
    }

    #[test]
    fn a_privileged_container_sees_everything() {
        let context = decided(json!({}), json!({"privileged": true}), ImageUser::default()).unwrap();
        assert!(context.privileged && context.masked_paths.is_empty() && context.readonly_paths.is_empty());
    }

    #[test]
    fn non_root_is_held_to() {
        let image = |uid, name: &str| ImageUser { uid, name: name.to_owned() };
        let why = |own: Value, image| decided(json!({"runAsNonRoot": true}), own, image).unwrap_err().0;
        assert_eq!(
            why(json!({"runAsUser": 0}), image(None, "")),
            "container's runAsUser breaks non-root policy"
        );
        let root = "container has runAsNonRoot and image will run as root";
        assert_eq!(why(json!({}), image(Some(0), "")), root);
        assert_eq!(why(json!({}), image(None, "")), root);
        assert!(why(json!({}), image(None, "redis")).contains("non-numeric user (redis)"));
        assert!(decided(json!({"runAsNonRoot": true}), json!({"runAsUser": 5}), image(None, "")).is_ok());
    }
}
