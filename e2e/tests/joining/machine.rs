//! The second machine.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};
use e2e::{Cluster, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The first machine's address on the link, and the second's: set aside for documentation.
pub const FIRST: &str = "198.51.100.1";
const SECOND: &str = "198.51.100.2";
const NAMESPACE: &str = "sampan-e2e-second";
const DEVICE: &str = "sampan-e2e";
/// The second machine as a node.
pub const NODE: &str = "second";

/// The link between the two; it goes with this.
pub struct Link;

/// The node, while it runs.
static RUNNING: Mutex<Option<Child>> = Mutex::new(None);

// === impl Link ===

impl Link {
    pub fn new() -> Result<Link> {
        drop(Link);
        let link = Link;
        ip(&format!("netns add {NAMESPACE}"))?;
        ip(&format!("link add {DEVICE} type veth peer name eth0 netns {NAMESPACE}"))?;
        ip(&format!("addr add {FIRST}/24 dev {DEVICE}"))?;
        ip(&format!("link set {DEVICE} up"))?;
        ip(&format!("-n {NAMESPACE} addr add {SECOND}/24 dev eth0"))?;
        ip(&format!("-n {NAMESPACE} link set eth0 up"))?;
        ip(&format!("-n {NAMESPACE} link set lo up"))?;
        ip(&format!("-n {NAMESPACE} route add default via {FIRST}"))?;
        Ok(link)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Err(error) = stop() {
            eprintln!("the second machine does not end: {error:#}");
        }
        // What a run before this one has left, or nothing.
        let _ = ip(&format!("netns delete {NAMESPACE}"));
        let _ = ip(&format!("link delete {DEVICE}"));
        let _ = std::fs::remove_dir_all(format!("/run/sampan/{NODE}"));
    }
}

fn ip(line: &str) -> Result<()> {
    let output = Command::new("ip").args(line.split_whitespace()).output().context("cannot run ip")?;
    ensure!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// `sampan` on the second machine. Only the network is another: both see the same files.
fn on_second(cluster: &Cluster, words: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{NAMESPACE}")).arg("--").arg(cluster.sampan()).args(words);
    command.env("SAMPAN_NODE_IMAGES", e2e::images()).stdin(Stdio::null());
    command
}

/// Where the second machine keeps what it has.
pub fn home(cluster: &Cluster) -> PathBuf {
    cluster.folder().join(NODE)
}

/// Starts the node, by a command as `sampan token create --print-join-command` prints it or by a shorter one.
pub fn start(cluster: &Cluster, line: &str) -> Result<()> {
    let mut words: Vec<&str> = line.split_whitespace().skip_while(|word| *word == "sampan").collect();
    let home = home(cluster);
    let home = home.to_str().context("a path that is text")?;
    words.extend(["--node-name", NODE, "--data-dir", home]);
    let log = std::fs::File::create(cluster.folder().join("second.log"))?;
    let mut command = on_second(cluster, &words);
    let child = command.stdout(log.try_clone()?).stderr(log).spawn().context("cannot start the node")?;
    *RUNNING.lock().expect("nobody panics with it") = Some(child);
    Ok(())
}

/// Waits until the node is Ready.
pub fn ready(cluster: &Cluster) -> Result<()> {
    eventually("the second machine is Ready", || {
        if let Some(child) = RUNNING.lock().expect("nobody panics with it").as_mut()
            && let Some(ended) = child.try_wait()?
        {
            bail!("it ended with {ended}: {}", std::fs::read_to_string(cluster.folder().join("second.log"))?);
        }
        let nodes = cluster.kubectl().ok("get nodes --no-headers")?;
        Ok(nodes.lines().any(|line| line.starts_with(NODE) && line.contains(" Ready ")).then_some(()))
    })
}

/// Ends the node as an administrator would.
pub fn stop() -> Result<()> {
    let Some(mut child) = RUNNING.lock().expect("nobody panics with it").take() else { return Ok(()) };
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
    child.wait().context("it cannot be waited for")?;
    Ok(())
}

/// Ends the node for good. The volumes of its pods stay mounted otherwise, for when it comes back.
pub fn leave(cluster: &Cluster) -> Result<()> {
    stop()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    let home = home(cluster);
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| std::path::Path::new(point).starts_with(&home)) {
        nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH)
            .with_context(|| format!("{point} stays"))?;
    }
    Ok(())
}

/// Another attempt to join, from the second machine, that must fail: its exit code and the one line that it says.
pub fn refused(cluster: &Cluster, line: &str, name: &str) -> Result<(i32, String)> {
    let mut words: Vec<&str> = line.split_whitespace().skip_while(|word| *word == "sampan").collect();
    let home = cluster.folder().join("third");
    let home = home.to_str().context("a path that is text")?.to_owned();
    words.extend(["--node-name", name, "--data-dir", &home, "--timeout", "2"]);
    let Output { status, stderr, .. } = on_second(cluster, &words).env("SAMPAN_LOG", "off").output()?;
    let said = String::from_utf8_lossy(&stderr).trim().to_owned();
    ensure!(!status.success(), "it joined: {said}");
    ensure!(said.lines().count() == 1, "more than one line:\n{said}");
    ensure!(!std::path::Path::new(&home).join("bus.creds").exists(), "credentials are there");
    Ok((status.code().unwrap_or(-1), said))
}

/// The mode of a file of the second machine.
pub fn mode(cluster: &Cluster, file: &str) -> Result<u32> {
    Ok(std::fs::metadata(home(cluster).join(file))?.permissions().mode() & 0o777)
}

/// `sampan token` with the administrator's kubeconfig.
pub fn token(cluster: &Cluster, line: &str) -> Result<String> {
    let kubeconfig = cluster.kubeconfig();
    let mut words = vec!["token"];
    words.extend(line.split_whitespace());
    words.extend(["--kubeconfig", kubeconfig.to_str().context("a path that is text")?]);
    Ok(cluster.sampan_with(&words)?.trim().to_owned())
}
