//! What the machine is and has.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;

/// A machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Number of cpus.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of memory that are free or can be freed.
    pub memory_available: u64,
    /// Bytes of the disk that pods write to.
    pub disk: u64,
    /// Bytes of it that are free.
    pub disk_available: u64,
    /// Process ids that there can be.
    pub pids: u64,
    /// Process ids in use.
    pub pids_used: u64,
    /// `6.1.0-18-amd64`
    pub kernel: String,
    /// `Debian GNU/Linux 12 (bookworm)`
    pub os_image: String,
    /// `amd64`
    pub architecture: String,
    /// Of the installation.
    pub machine_id: String,
    /// Of the hardware.
    pub system_uuid: String,
    /// Of this start of the machine.
    pub boot_id: String,
}

/// Looks. `disk` is a path on the disk that pods write to.
pub fn gather(disk: &Path) -> Facts {
    let memory = read("/proc/meminfo");
    let (size, available) = disk_space(disk);
    Facts {
        cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        memory: meminfo(&memory, "MemTotal"),
        memory_available: meminfo(&memory, "MemAvailable"),
        disk: size,
        disk_available: available,
        pids: number("/proc/sys/kernel/pid_max").min(number("/proc/sys/kernel/threads-max")),
        pids_used: tasks(&read("/proc/loadavg")),
        kernel: read("/proc/sys/kernel/osrelease"),
        os_image: os_image(&read("/etc/os-release")),
        architecture: match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
        .to_owned(),
        machine_id: read("/etc/machine-id"),
        system_uuid: read("/sys/class/dmi/id/product_uuid"),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
    }
}

/// The address from which this machine reaches others; loopback when it reaches none.
pub fn address() -> IpAddr {
    // A connected datagram socket sends nothing: the kernel only chooses the way. The address is one of those set
    // aside for documentation.
    let chosen = UdpSocket::bind(("0.0.0.0", 0)).and_then(|socket| {
        socket.connect(("192.0.2.1", 9))?;
        Ok(socket.local_addr()?.ip())
    });
    chosen.ok().or_else(first_interface).unwrap_or(IpAddr::from([127, 0, 0, 1]))
}

fn first_interface() -> Option<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    let addresses = interfaces.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    addresses.map(IpAddr::from).find(|address| !address.is_loopback())
}

/// The machine's name.
pub fn hostname() -> String {
    let name = nix::unistd::gethostname().map(|name| name.to_string_lossy().to_lowercase());
    name.unwrap_or_else(|_| "localhost".to_owned())
}

fn read(path: &str) -> String {
    // A machine that lacks one of these still runs pods.
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn number(path: &str) -> u64 {
    read(path).parse().unwrap_or(u64::MAX)
}

fn meminfo(text: &str, field: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// `0.1 0.2 0.3 2/345 6789`: the second number of the fourth word.
fn tasks(loadavg: &str) -> u64 {
    let word = loadavg.split_whitespace().nth(3).and_then(|word| word.split('/').nth(1));
    word.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn os_image(text: &str) -> String {
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').to_owned()
}

fn disk_space(path: &Path) -> (u64, u64) {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match nix::sys::statvfs::statvfs(existing) {
        Ok(found) => {
            (found.blocks() * found.fragment_size(), found.blocks_available() * found.fragment_size())
        }
        Err(_) => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(meminfo("MemTotal:  16 kB\nMemAvailable: 8 kB\n", "MemAvailable"), 8192);
        assert_eq!(tasks("0.00 0.01 0.05 1/234 5678"), 234);
        assert_eq!(os_image("NAME=x\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
    }

    #[test]
    fn this_machine_has_something() {
        let facts = gather(Path::new("/not/there/yet"));
        assert!(facts.cpus > 0 && facts.memory > 0 && facts.disk > 0 && facts.pids > 0, "{facts:?}");
    }
}
