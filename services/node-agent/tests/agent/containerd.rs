//! The agent on a real containerd, told what to do over a real bus.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::control::{Control, condition};
use crate::support::machine::IMAGE;
use crate::support::scene::{NODE, Scene, forever, shell};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_runs_and_leaves_nothing_behind() {
    let Some(mut scene) = Scene::set().await else { return };
    let control = scene.control.clone();
    control
        .until("the node is ready", 20, |control| {
            condition(&control.node()["status"], "Ready")["status"] == "True"
        })
        .await;
    let node = control.node();
    assert!(
        node["status"]["nodeInfo"]["containerRuntimeVersion"]
            .as_str()
            .unwrap()
            .starts_with("containerd://1.")
    );
    assert_eq!(node["status"]["addresses"][0], json!({"type": "InternalIP", "address": "192.0.2.1"}));
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], NODE);
    assert_eq!(control.next_heartbeat().await.node, NODE);

    let mut events = scene.machine.client().subscribe().await.unwrap();
    let mut times = Vec::new();
    for number in 0..5 {
        let name = format!("timed-{number}");
        let began = Instant::now();
        control.run(&name, forever(), json!({})).await;
        control.until_running(&name).await;
        times.push(began.elapsed());
    }
    times.sort();
    println!("wanted to Running and Ready: {times:?}");
    let told = tokio::time::timeout(Duration::from_secs(5), events.next()).await;
    assert!(matches!(told, Ok(Ok(()))), "containerd tells of what happens by itself: {told:?}");
    assert!(times[2] < Duration::from_secs(1), "median {:?}", times[2]);

    let status = control.status("timed-0");
    let main = control.main("timed-0");
    let uid = control.uid("timed-0");
    assert!(status["podIP"].as_str().unwrap().starts_with("10."), "{status}");
    assert_eq!(status["hostIP"], "192.0.2.1");
    assert_eq!(status["qosClass"], "BestEffort");
    assert!(main["containerID"].as_str().unwrap().starts_with("containerd://"));
    assert_eq!(
        (&main["ready"], &main["started"], &main["restartCount"]),
        (&json!(true), &json!(true), &json!(0))
    );
    for type_ in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
        assert_eq!(condition(&status, type_)["status"], "True", "{type_}");
    }
    assert_eq!(control.reasons("timed-0"), ["Pulled", "Created", "Started"]);
    assert!(scene.pod_folder(&uid).exists());

    let before = control.reports();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(control.reports(), before, "nothing changes and nothing is reported");

    for number in 0..5 {
        control.delete(&format!("timed-{number}"), 5).await;
    }
    control
        .until("the pods are gone", 30, |control| {
            (0..5).all(|n| control.pod(&format!("timed-{n}")).is_null())
        })
        .await;
    assert!(control.reasons("timed-0").contains(&"Killing".to_owned()));
    assert!(!scene.pod_folder(&uid).exists());
    let client = scene.machine.client();
    assert!(client.list_sandboxes(Default::default()).await.unwrap().is_empty());
    assert!(client.list_containers(Default::default()).await.unwrap().is_empty());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_see_their_environment_and_volumes() {
    let Some(mut scene) = Scene::set().await else { return };
    let control = scene.control.clone();
    let config = |value: &str| json!({"metadata": {"name": "config"}, "data": {"color": value}});
    control.put("configmaps", "config", config("red")).await;
    control
        .put("secrets", "keys", json!({"metadata": {"name": "keys"}, "data": {"token": "czNjcmV0"}}))
        .await;
    let mut container = shell(
        "echo env $COLOR $TOKEN $NAME $ARG; cat /keys/token; echo; hostname; \
         echo account $(cat /account/namespace) $(cat /account/token); \
         touch /memory/x /scratch/y && echo part > /part/file && ls /scratch/sub; \
         grep -c web-host /etc/hosts; echo bye > /dev/termination-log; \
         while :; do echo now $(cat /config/color); /bin/busybox sleep 0.2; done"
            .replace("cat ", "/bin/busybox cat ")
            .replace("hostname;", "/bin/busybox hostname;")
            .replace("touch ", "/bin/busybox touch ")
            .replace("ls ", "/bin/busybox ls ")
            .replace("grep ", "/bin/busybox grep ")
            .as_str(),
    );
    container["env"] = json!([
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "color"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "ARG", "value": "$(NAME)!"},
    ]);
    container["volumeMounts"] = json!([
        {"name": "config", "mountPath": "/config"},
        {"name": "keys", "mountPath": "/keys"},
        {"name": "memory", "mountPath": "/memory"},
        {"name": "scratch", "mountPath": "/scratch"},
        {"name": "scratch", "mountPath": "/part", "subPath": "sub"},
        {"name": "account", "mountPath": "/account"},
    ]);
    let spec = json!({
        "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["web-host"]}],
        "terminationGracePeriodSeconds": 1,
        "volumes": [
            {"name": "config", "configMap": {"name": "config"}},
            {"name": "keys", "secret": {"secretName": "keys"}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "account", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token", "audience": "me", "expirationSeconds": 3600}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]}},
        ],
    });
    control.run("web", container, spec).await;
    control.until_running("web").await;
    for line in [
        "env red s3cret web web!",
        "F s3cret",
        "F web",
        "F account default token-of-web-for-me",
        "F file",
        "F 1",
        "now red",
    ] {
        scene.until_log("web", line).await;
    }
    control.put("configmaps", "config", config("blue")).await;
    scene.until_log("web", "now blue").await;
    let uid = control.uid("web");
    control.delete("web", 1).await;
    control.until("the pod is gone", 30, |control| control.pod("web").is_null()).await;
    assert!(!scene.pod_folder(&uid).exists(), "nothing is left mounted");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_told_and_tried_again() {
    let Some(mut scene) = Scene::set().await else { return };
    let control = scene.control.clone();
    let waits = |name: &'static str, reason: &'static str| {
        move |control: &Control| control.main(name)["state"]["waiting"]["reason"] == reason
    };

    control.run("crash", shell("echo last words > /dev/termination-log; exit 3"), json!({})).await;
    let mut no_image = forever();
    no_image["image"] = json!("127.0.0.1:1/none:1");
    control.run("absent", no_image, json!({})).await;
    let mut bad_image = forever();
    bad_image["image"] = json!("NOT A NAME");
    control.run("invalid", bad_image, json!({})).await;
    let mut config = forever();
    config["envFrom"] = json!([{"configMapRef": {"name": "later"}}]);
    control.run("unset", config, json!({})).await;
    let volumes = json!({"volumes": [{"name": "v", "secret": {"secretName": "later"}}]});
    control.run("unmounted", forever(), volumes).await;
    control.run("nothing", json!({"command": ["/no/such/program"]}), json!({})).await;
    control.run("done", shell("exit 0"), json!({"restartPolicy": "Never"})).await;
    control.run("failed", shell("exit 4"), json!({"restartPolicy": "Never"})).await;

    control.until("a pull fails", 20, waits("absent", "ErrImagePull")).await;
    control.until("the pull waits", 20, waits("absent", "ImagePullBackOff")).await;
    control.until("a name is none", 20, waits("invalid", "InvalidImageName")).await;
    control.until("a reference is missing", 20, waits("unset", "CreateContainerConfigError")).await;
    assert_eq!(control.main("unset")["state"]["waiting"]["message"], "configmap \"later\" not found");
    control
        .until("a volume is missing", 20, |control| {
            control.reasons("unmounted").contains(&"FailedMount".to_owned())
        })
        .await;
    control.until("the program is missing", 20, waits("nothing", "RunContainerError")).await;
    control.until("a crash is waited for", 30, waits("crash", "CrashLoopBackOff")).await;
    let crash = control.main("crash");
    assert_eq!(crash["lastState"]["terminated"]["exitCode"], 3, "{crash}");
    assert_eq!(crash["lastState"]["terminated"]["reason"], "Error");
    assert_eq!(crash["lastState"]["terminated"]["message"], "last words\n");
    assert_eq!(crash["restartCount"], 1, "the first restart is at once");
    assert!(control.reasons("crash").contains(&"BackOff".to_owned()));
    control.until("a pod succeeds", 20, |control| control.status("done")["phase"] == "Succeeded").await;
    assert_eq!(control.main("done")["state"]["terminated"]["reason"], "Completed");
    assert_eq!(condition(&control.status("done"), "Ready")["reason"], "PodCompleted");
    control.until("a pod fails", 20, |control| control.status("failed")["phase"] == "Failed").await;
    assert_eq!(control.main("failed")["state"]["terminated"]["exitCode"], 4);

    control.put("configmaps", "later", json!({"metadata": {"name": "later"}, "data": {"a": "1"}})).await;
    control.put("secrets", "later", json!({"metadata": {"name": "later"}, "data": {"a": "MQ=="}})).await;
    control.until_running("unset").await;
    control.until_running("unmounted").await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_outlive_the_agent_and_containerd() {
    let Some(mut scene) = Scene::set().await else { return };
    let control = scene.control.clone();
    control.run("stays", forever(), json!({})).await;
    control.run("orphan", forever(), json!({"terminationGracePeriodSeconds": 1})).await;
    control.until_running("stays").await;
    control.until_running("orphan").await;
    let id = control.main("stays")["containerID"].clone();

    scene.stop_agent().await;
    control.remove("orphan").await;
    scene.start_agent().await;
    let client = scene.machine.client();
    let left = || async { client.list_sandboxes(Default::default()).await.unwrap().len() };
    let deadline = Instant::now() + Duration::from_secs(30);
    while left().await != 1 {
        assert!(Instant::now() < deadline, "the orphan is ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(control.main("stays")["containerID"], id);
    assert_eq!(control.main("stays")["restartCount"], 0);

    scene.machine.kill();
    control
        .until("the node is not ready", 20, |control| {
            let ready = condition(&control.node()["status"], "Ready");
            ready["status"] == "False"
                && ready["message"].as_str().unwrap().starts_with("container runtime is down")
        })
        .await;
    assert_eq!(control.status("stays")["phase"], "Running");
    scene.machine.launch().await;
    control
        .until("the node is ready again", 20, |control| {
            condition(&control.node()["status"], "Ready")["status"] == "True"
        })
        .await;
    control.run("after", forever(), json!({})).await;
    control.until_running("after").await;
    assert_eq!(control.main("stays")["containerID"], id);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_containers_come_first_and_probes_decide_on_ready() {
    let Some(mut scene) = Scene::set().await else { return };
    let control = scene.control.clone();
    let mut container = shell("/bin/busybox cat /shared/made; while :; do /bin/busybox sleep 0.1; done");
    container["volumeMounts"] = json!([{"name": "shared", "mountPath": "/shared"}]);
    container["readinessProbe"] =
        json!({"exec": {"command": ["/bin/busybox", "test", "-e", "/shared/ready"]}, "periodSeconds": 1});
    container["livenessProbe"] = json!({"exec": {"command": ["/bin/busybox", "test", "!", "-e", "/shared/dead"]}, "periodSeconds": 1, "failureThreshold": 1});
    let init = json!({
        "name": "first", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/busybox", "sh", "-c", "echo by-init > /shared/made"],
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
    });
    let sidecar = json!({
        "name": "beside", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "restartPolicy": "Always",
        "command": ["/bin/busybox", "sleep", "100000"],
    });
    let spec = json!({
        "initContainers": [init, sidecar], "terminationGracePeriodSeconds": 1,
        "volumes": [{"name": "shared", "emptyDir": {}}],
    });
    control.run("probed", container, spec).await;
    control.until("it runs", 20, |control| control.status("probed")["phase"] == "Running").await;
    scene.until_log("probed", "by-init").await;
    let status = control.status("probed");
    assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(status["initContainerStatuses"][1]["started"], true);
    assert_eq!(condition(&status, "Initialized")["status"], "True");
    assert_eq!(condition(&status, "Ready")["status"], "False");
    assert_eq!(condition(&status, "Ready")["message"], "containers with unready status: [main]");

    let uid = control.uid("probed");
    let shared = scene.pod_folder(&uid).join("volumes/kubernetes.io~empty-dir/shared");
    std::fs::write(shared.join("ready"), "").unwrap();
    control.until_running("probed").await;
    std::fs::write(shared.join("dead"), "").unwrap();
    control.until("it is restarted", 30, |control| control.main("probed")["restartCount"] == 1).await;
    assert!(control.reasons("probed").contains(&"Unhealthy".to_owned()));
    std::fs::remove_file(shared.join("dead")).unwrap();
    control.until_running("probed").await;
    control.delete("probed", 1).await;
    control.until("the pod is gone", 30, |control| control.pod("probed").is_null()).await;
    scene.end().await;
}
