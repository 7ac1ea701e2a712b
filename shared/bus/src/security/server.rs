//! PURE: the text of nats-server's configuration, the same for a local cluster, compose and a chart.

use std::path::PathBuf;

use super::Authority;

/// How a nats-server is to run.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub listen: Listen,
    /// Where its data lie.
    pub store: PathBuf,
    /// Every connection speaks TLS, and none does without.
    pub tls: Option<Tls>,
    /// Where it tells of itself over plain HTTP, as `0.0.0.0:8222`.
    pub monitor: Option<String>,
}

/// An address and a port.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// The files of its certificate.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate with the CA's behind it, so that a machine that joins sees the CA that it was told of.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
}

// === impl Server ===

impl Server {
    /// The whole configuration file.
    ///
    /// `sync_interval: always`: one server alone acknowledges a write after it is on the disk.
    /// `max_payload`: the API takes objects of 3 MB, and a transaction with one travels alone.
    pub fn config(&self, authority: &Authority) -> String {
        let Server { name, listen: Listen { host, port }, store, .. } = self;
        let monitor = self.monitor.as_ref().map(|address| format!("http: \"{address}\"\n"));
        let tls = self.tls.as_ref().map(Tls::block);
        format!(
            "server_name: \"{name}\"\nlisten: \"{host}:{port}\"\n{}max_payload: 8MB\nmax_pending: 64MB\n\
             jetstream {{\n  store_dir: {store:?}\n  sync_interval: always\n}}\n{}{}",
            monitor.unwrap_or_default(),
            tls.unwrap_or_default(),
            authorization(authority),
        )
    }
}

/// The part that says who may do what: public keys and signed statements, nothing secret.
pub fn authorization(authority: &Authority) -> String {
    let statements = authority.statements();
    let accounts: Vec<String> =
        statements.accounts.iter().map(|(key, statement)| format!("  {key}: \"{statement}\"\n")).collect();
    format!(
        "# Credentials are signed statements: see the operator's guide.\noperator: \"{}\"\nsystem_account: {}\n\
         resolver: MEMORY\nresolver_preload {{\n{}}}\n# Whoever comes without credentials may ask to join, and nothing else.\n\
         default_sentinel: \"{}\"\n",
        statements.operator,
        statements.system_account,
        accounts.concat(),
        statements.joining,
    )
}

// === impl Tls ===

impl Tls {
    /// The part of the configuration that makes every connection speak TLS.
    pub fn block(&self) -> String {
        let Tls { certificate, key } = self;
        format!("tls {{\n  cert_file: {certificate:?}\n  key_file: {key:?}\n  timeout: 5\n}}\n")
    }
}
