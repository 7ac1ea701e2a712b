//! A containerd of the test's own, with its data in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cri::archive::{ImageSpec, single_file_layer, write_docker_archive};
use tempfile::TempDir;

/// The image of the tests' containers: a static busybox at /bin/busybox.
pub const IMAGE: &str = "sampan.local/busybox:1";
const PAUSE: &str = "sampan.local/test-pause:1";
const BUSYBOX: &str = "/bin/busybox";
const CNI: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// Ends, with all its pods, when dropped.
pub struct Machine {
    folder: TempDir,
    child: Option<Child>,
}

// === impl Machine ===

impl Machine {
    /// Starts one, or says on standard error why this machine cannot: then the test has nothing to show here.
    pub async fn start() -> Option<Machine> {
        if let Some(why) = missing() {
            eprintln!("SKIPPED: this test runs a real containerd and {why}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut machine = Machine { folder, child: None };
        machine.configure();
        machine.launch().await;
        machine.load(PAUSE, &["/bin/busybox", "sleep", "1000000"]).await;
        machine.load(IMAGE, &[]).await;
        Some(machine)
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("containerd.sock")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    pub fn client(&self) -> cri::Client {
        cri::Client::new(&self.socket())
    }

    /// Ends containerd as a crash would; its containers run on.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub async fn launch(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("containerd.log"))
            .unwrap();
        let child = Command::new("containerd")
            .arg("--config")
            .arg(self.folder.path().join("config.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let client = self.client();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while client.status().await.is_err() {
            assert!(tokio::time::Instant::now() < deadline, "containerd does not answer: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("containerd.log")).unwrap_or_default()
    }

    async fn load(&self, name: &str, entrypoint: &[&str]) {
        let image = ImageSpec {
            names: vec![name.to_owned()],
            entrypoint: entrypoint.iter().map(|word| (*word).to_owned()).collect(),
            layer: single_file_layer("bin/busybox", 0o755, &std::fs::read(BUSYBOX).unwrap()),
            ..Default::default()
        };
        let archive = self.folder.path().join("image.tar");
        write_docker_archive(&mut std::fs::File::create(&archive).unwrap(), &image).unwrap();
        cri::images::import(&self.socket(), &archive).await.unwrap();
    }

    fn configure(&self) {
        let home = self.folder.path().display();
        let cni = CNI.iter().find(|folder| Path::new(folder).is_dir()).unwrap();
        let subnet = format!("10.{}.{}.0/24", 100 + std::process::id() % 100, rand::random_range(0..=255));
        let config = format!(
            r#"version = 2
root = "{home}/root"
state = "{home}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "{home}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{home}/cni"
"#
        );
        let network = serde_json::json!({
            "cniVersion": "0.4.0", "name": "test",
            "plugins": [{
                "type": "ptp",
                "ipam": {
                    "type": "host-local", "dataDir": format!("{home}/addresses"),
                    "ranges": [[{"subnet": subnet}]], "routes": [{"dst": "0.0.0.0/0"}],
                },
            }],
        });
        std::fs::create_dir_all(self.folder.path().join("cni")).unwrap();
        std::fs::write(self.folder.path().join("config.toml"), config).unwrap();
        std::fs::write(self.folder.path().join("cni/10-test.conflist"), network.to_string()).unwrap();
    }

    /// Ends every pod, so that no shim and no mount outlives the test.
    async fn clear(&mut self) {
        let client = self.client();
        for sandbox in client.list_sandboxes(Default::default()).await.unwrap_or_default() {
            let _ = client.stop_sandbox(&sandbox.id).await;
            let _ = client.remove_sandbox(&sandbox.id).await;
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.child.is_some() {
            // Drop cannot wait by itself.
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(self.clear());
                });
            });
        }
        self.kill();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let mut points: Vec<&str> =
            points.filter(|point| Path::new(point).starts_with(self.folder.path())).collect();
        points.sort_by_key(|point| std::cmp::Reverse(point.len()));
        for point in points {
            let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

fn missing() -> Option<&'static str> {
    let on_path = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    };
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root");
    }
    if !on_path("containerd") || !on_path("runc") || !on_path("ctr") {
        return Some("containerd or runc is not installed");
    }
    if !CNI.iter().any(|folder| Path::new(folder).join("ptp").is_file()) {
        return Some("the CNI plugins are not installed");
    }
    (!Path::new(BUSYBOX).is_file()).then_some("busybox is not installed")
}
