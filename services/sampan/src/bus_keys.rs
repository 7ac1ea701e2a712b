//! The bus's keys and configuration as files, for a local cluster, compose and a chart alike.
//!
//! ```text
//!  DIR/ authority.json       every key of the bus; nobody needs it but this program
//!       nats.conf            nats-server's configuration: public keys and signed statements
//!       apiserver.creds      credentials of the API servers
//!       service.creds        of scheduler, controllers and name servers
//!       node-signer.json     with which API servers sign the credentials of nodes
//!       server.crt, .key     the server's certificate, where it speaks TLS
//!       token                a bootstrap token, where one was asked for
//! ```
//! What is there stays as it is, so that another start changes nothing; [`rotate`] makes a role's keys anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use apiserver::http::ca::{Ca, Purpose};
use apiserver::http::private_file::{self, PRIVATE, PUBLIC};
use bus::join::Token;
use bus::security::{Authority, Credentials, Listen, Role, Server, Signer, Tls};

/// The folder, with the keys in it.
pub struct BusKeys {
    folder: PathBuf,
    authority: Authority,
}

/// How `sampan bus config` is called.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArguments {
    /// Folder of the keys, the credentials and nats.conf
    #[arg(long, env = "SAMPAN_BUS_DIR", default_value = "/var/lib/sampan/bus", value_name = "DIR")]
    dir: PathBuf,
    /// A file with a secret of 32 characters or more, out of which all keys are made: the same in every place that is
    /// told the same secret. Without it they are made at random, and kept in the folder alone
    #[arg(long, env = "SAMPAN_BUS_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Where nats-server listens
    #[arg(long, default_value = "0.0.0.0:4222", value_name = "HOST:PORT", value_parser = listen)]
    listen: Listen,
    /// Where nats-server keeps its data
    #[arg(long, default_value = "/var/lib/sampan/nats", value_name = "DIR")]
    store: PathBuf,
    /// nats-server's own name; different for each server of a group
    #[arg(long, default_value = "sampan", value_name = "NAME")]
    server_name: String,
    /// Where nats-server tells of itself over plain HTTP, as 0.0.0.0:8222
    #[arg(long, value_name = "HOST:PORT")]
    monitor: Option<String>,
    /// A host name or address under which the bus is reached: with it every connection speaks TLS
    #[arg(long = "tls-san", value_name = "NAME", value_delimiter = ',', num_args = 1)]
    tls_sans: Vec<String>,
    /// Folder of the CA that signs the bus's certificate, made if need be; API servers may share theirs
    #[arg(long, default_value = "/var/lib/sampan/apiserver", value_name = "DIR")]
    ca_dir: PathBuf,
    /// Also make a bootstrap token, for API servers (--bootstrap-token-file) and `sampan join --token-file`
    #[arg(long)]
    token: bool,
    /// Print the configuration instead of writing nats.conf
    #[arg(long)]
    print: bool,
}

/// Makes what is missing, and writes or prints the configuration.
pub fn config(arguments: ConfigArguments) -> Result<()> {
    if let Some(file) = &arguments.secret_file {
        BusKeys::derive(&arguments.dir, file)?;
    }
    let keys = BusKeys::prepare(&arguments.dir)?;
    let tls = match arguments.tls_sans.as_slice() {
        [] => None,
        names => Some(keys.certificate(&arguments.ca_dir, names)?),
    };
    if arguments.token {
        keys.token()?;
    }
    let server = Server {
        name: arguments.server_name,
        listen: arguments.listen,
        store: arguments.store,
        tls,
        monitor: arguments.monitor,
    };
    if arguments.print {
        print!("{}", keys.server_config(&server));
        return Ok(());
    }
    let path = keys.write_server_config(&server)?;
    println!("{}", path.display());
    Ok(())
}

/// How `sampan bus rotate` is called.
#[derive(Clone, Debug, clap::Args)]
pub struct RotateArguments {
    /// Folder of the keys
    #[arg(long, env = "SAMPAN_BUS_DIR", default_value = "/var/lib/sampan/bus", value_name = "DIR")]
    dir: PathBuf,
    /// Whose credentials end: apiserver, service or node; several separated by commas
    #[arg(long, required = true, value_delimiter = ',', value_parser = role, value_name = "ROLE")]
    role: Vec<Role>,
}

/// Makes new keys for roles, and the credentials that go with them.
pub fn rotate(arguments: &RotateArguments) -> Result<()> {
    let mut keys = BusKeys::prepare(&arguments.dir)?;
    for role in &arguments.role {
        keys.authority.replace_key(*role, now());
        let file = if *role == Role::Node { keys.node_signer() } else { keys.credentials(*role) };
        remove(&file)?;
    }
    write(&arguments.dir.join("authority.json"), &keys.authority.to_text(), PRIVATE)?;
    BusKeys::prepare(&arguments.dir)?;
    println!("New keys are made. They count once nats.conf is written anew and nats-server has read it.");
    Ok(())
}

fn role(text: &str) -> Result<Role, String> {
    let role = Role::from_name(text).filter(|role| *role != Role::Joining);
    role.ok_or_else(|| "it is apiserver, service or node".to_owned())
}

fn listen(text: &str) -> Result<Listen, String> {
    let (host, port) = text.rsplit_once(':').ok_or("an address is written host:port")?;
    let port = port.parse().map_err(|error| format!("port {port}: {error}"))?;
    Ok(Listen { host: host.to_owned(), port })
}

// === impl BusKeys ===

impl BusKeys {
    /// Makes what is missing in `folder`.
    pub fn prepare(folder: &Path) -> Result<BusKeys> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join("authority.json");
        let authority = match read(&path)? {
            Some(text) => Authority::from_text(&text).with_context(|| path.display().to_string())?,
            None => {
                let authority = Authority::new(now());
                write(&path, &authority.to_text(), PRIVATE)?;
                authority
            }
        };
        let keys = BusKeys { folder: folder.to_owned(), authority };
        for role in [Role::ApiServer, Role::Service] {
            let path = keys.credentials(role);
            if read(&path)?.is_none() {
                let made = keys.authority.signer(role).issue(role.as_str(), now(), None);
                write(&path, &made.to_text(), PRIVATE)?;
            }
        }
        if read(&keys.node_signer())?.is_none() {
            write(&keys.node_signer(), &keys.signer().to_text(), PRIVATE)?;
        }
        Ok(keys)
    }

    /// Makes the keys out of the secret in a file, unless there are some.
    fn derive(folder: &Path, secret: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join("authority.json");
        if read(&path)?.is_none() {
            let text = fs::read_to_string(secret);
            let text = text.with_context(|| format!("cannot read {}", secret.display()))?;
            let authority = Authority::from_secret(&text).with_context(|| secret.display().to_string())?;
            write(&path, &authority.to_text(), PRIVATE)?;
        }
        Ok(())
    }

    /// The credentials of everybody of a role.
    pub fn credentials(&self, role: Role) -> PathBuf {
        self.folder.join(format!("{role}.creds"))
    }

    /// The key with which API servers sign the credentials of nodes.
    pub fn node_signer(&self) -> PathBuf {
        self.folder.join("node-signer.json")
    }

    /// Sees to it that a node has credentials of its own in `file`, good for as long as those that it joins with.
    pub fn issue_node(&self, node: &str, file: &Path) -> Result<()> {
        let name = bus::subject::escape(node);
        let is_good = |credentials: &Credentials| {
            let half = now() + bus::join::LIFE_SECONDS / 2;
            credentials.name() == name && credentials.expires().is_some_and(|expires| expires > half)
        };
        let present = read(file)?.and_then(|text| Credentials::from_text(&text).ok());
        if present.is_some_and(|present| is_good(&present) && self.has_signed(&present)) {
            return Ok(());
        }
        let expires = Some(now() + bus::join::LIFE_SECONDS);
        write(file, &self.signer().issue(&name, now(), expires).to_text(), PRIVATE)
    }

    /// The server's certificate, signed by the CA in `ca_folder`, with the CA's own behind it.
    pub fn certificate(&self, ca_folder: &Path, names: &[String]) -> Result<Tls> {
        let tls = Tls { certificate: self.folder.join("server.crt"), key: self.folder.join("server.key") };
        let at = SystemTime::now();
        let ca = Ca::shared(ca_folder, at)?;
        if ca.kept(&tls.certificate, &tls.key, names, at)?.is_some() {
            return Ok(tls);
        }
        let pair = ca.issue(&Purpose::Server(names.to_vec()), at)?;
        write(&tls.key, &pair.key, PRIVATE)?;
        // The CA's own behind it, for machines that know only the CA's hash.
        write(&tls.certificate, &format!("{}{}", pair.certificate, ca.certificate), PUBLIC)?;
        Ok(tls)
    }

    /// A token that anybody who reads it may join with.
    pub fn token(&self) -> Result<PathBuf> {
        let path = self.folder.join("token");
        if read(&path)?.is_none() {
            write(&path, &format!("{}\n", Token::new(&mut rand::rng())), PRIVATE)?;
        }
        Ok(path)
    }

    /// nats-server's configuration.
    pub fn server_config(&self, server: &Server) -> String {
        format!(
            "# Written by sampan; changes are lost at the next start.\n{}",
            server.config(&self.authority)
        )
    }

    /// The same as a file.
    pub fn write_server_config(&self, server: &Server) -> Result<PathBuf> {
        let path = self.folder.join("nats.conf");
        write(&path, &self.server_config(server), PUBLIC)?;
        Ok(path)
    }

    fn signer(&self) -> Signer {
        self.authority.signer(Role::Node)
    }

    fn has_signed(&self, credentials: &Credentials) -> bool {
        self.signer().has_signed(credentials.statement())
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    private_file::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    private_file::write(path, text.as_bytes(), mode)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn another_start_finds_what_the_first_made_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = BusKeys::prepare(folder.path()).unwrap();
        let service = text(&first.credentials(Role::Service));
        let node = folder.path().join("node.creds");
        first.issue_node("a.example", &node).unwrap();
        let issued = text(&node);
        assert_eq!(Credentials::from_text(&issued).unwrap().name(), "a%2eexample");
        let again = BusKeys::prepare(folder.path()).unwrap();
        again.issue_node("a.example", &node).unwrap();
        assert_eq!((text(&again.credentials(Role::Service)), text(&node)), (service, issued.clone()));
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        }
        // Of another node, or of keys that are no longer those of the bus.
        again.issue_node("b", &node).unwrap();
        assert_eq!(Credentials::from_text(&text(&node)).unwrap().name(), "b");
        let of_b = text(&node);
        fs::remove_file(folder.path().join("authority.json")).unwrap();
        BusKeys::prepare(folder.path()).unwrap().issue_node("b", &node).unwrap();
        assert_ne!(text(&node), of_b);
    }

    #[test]
    fn new_keys_of_nodes_leave_the_services_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = BusKeys::prepare(folder.path()).unwrap();
        let service = text(&first.credentials(Role::Service));
        let node = folder.path().join("node.creds");
        first.issue_node("a", &node).unwrap();
        let issued = text(&node);
        rotate(&RotateArguments { dir: folder.path().to_owned(), role: vec![Role::Node] }).unwrap();
        let again = BusKeys::prepare(folder.path()).unwrap();
        again.issue_node("a", &node).unwrap();
        assert_eq!(text(&again.credentials(Role::Service)), service);
        assert_ne!(text(&node), issued, "the old ones were good for nothing");
        let signer = Signer::from_text(&text(&again.node_signer())).unwrap();
        assert!(signer.has_signed(Credentials::from_text(&text(&node)).unwrap().statement()));
    }

    #[test]
    fn the_servers_certificate_comes_with_its_ca_and_is_kept() {
        let (folder, ca) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keys = BusKeys::prepare(folder.path()).unwrap();
        let tls = keys.certificate(ca.path(), &["127.0.0.1".to_owned()]).unwrap();
        let first = text(&tls.certificate);
        assert!(first.ends_with(&text(&ca.path().join("ca.crt"))) && first.matches("BEGIN").count() == 2);
        keys.certificate(ca.path(), &["127.0.0.1".to_owned()]).unwrap();
        assert_eq!(text(&tls.certificate), first);
        keys.certificate(ca.path(), &["192.0.2.1".to_owned()]).unwrap();
        assert_ne!(text(&tls.certificate), first);
    }

    #[test]
    fn where_it_listens_is_a_host_and_a_port() {
        let read = listen("0.0.0.0:4222").unwrap();
        assert_eq!((read.host.as_str(), read.port), ("0.0.0.0", 4222));
        assert!(listen("4222").is_err() && listen("a:b").is_err());
    }
}
