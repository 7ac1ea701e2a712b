//! One more process of a service beside the one that the local cluster runs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A replica; it is killed when this is dropped.
pub struct Replica {
    unit: String,
    child: Child,
    admin: SocketAddr,
}

/// An answer of an admin address is a page or two.
const ADMIN_PATIENCE: Duration = Duration::from_secs(5);

// === impl Replica ===

impl Replica {
    /// Starts what process `pid` runs once more, with its environment and another admin address.
    pub(crate) fn of(unit: &str, pid: i32) -> Result<Replica> {
        let mut arguments = words(pid, "cmdline")?;
        let environment = words(pid, "environ")?;
        let admin = SocketAddr::from(([127, 0, 0, 1], crate::free_port()?));
        *admin_of(&mut arguments)? = admin.to_string();
        ensure!(!arguments.is_empty(), "{unit} has no command line");
        let child = Command::new(&arguments[0])
            .args(&arguments[1..])
            .env_clear()
            .envs(environment.iter().filter_map(|pair| pair.split_once('=')))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start another {unit}"))?;
        Ok(Replica { unit: unit.to_owned(), child, admin })
    }

    /// The unit that it is another one of.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Whether it says that it is ready.
    pub fn is_ready(&self) -> bool {
        get(self.admin, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Whether it says that it leads.
    pub fn leads(&self) -> bool {
        leads(self.admin).unwrap_or(false)
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("cannot kill it")?;
        self.child.wait().context("it does not end").map(drop)
    }

    /// Asks it to end.
    pub fn terminate(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("a process id")?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).context("cannot ask it to end")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether process `pid` of a local cluster says that it leads.
pub(crate) fn process_leads(pid: i32) -> Result<bool> {
    let admin = admin_of(&mut words(pid, "cmdline")?)?.parse().context("an admin address")?;
    leads(admin)
}

fn leads(admin: SocketAddr) -> Result<bool> {
    let answer = get(admin, "/metrics")?;
    Ok(answer.lines().any(|line| line.starts_with("leader_election_master_status{") && line.ends_with(" 1")))
}

fn admin_of(arguments: &mut [String]) -> Result<&mut String> {
    let at = arguments.iter().position(|word| word == "--admin-addr").context("it has no admin address")?;
    arguments.get_mut(at + 1).context("an admin address has a value")
}

fn words(pid: i32, file: &str) -> Result<Vec<String>> {
    let path = format!("/proc/{pid}/{file}");
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    Ok(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ADMIN_PATIENCE)?;
    stream.set_read_timeout(Some(ADMIN_PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
