//! TLS as the API server speaks it: our certificate, and client certificates of our CA where a client has one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::ca::{self, Pair};

/// HTTP/2 first: clients multiplex their watches over one connection.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Under which names the server is reached: inside the cluster, on this machine, and where it was told.
pub fn server_names(bind: SocketAddr, service_ip: Ipv4Addr, extra: &[String]) -> Vec<String> {
    let fixed = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ];
    let mut names: Vec<String> = fixed.into_iter().map(str::to_owned).collect();
    names.extend([IpAddr::from(Ipv4Addr::LOCALHOST).to_string(), service_ip.to_string()]);
    if !bind.ip().is_unspecified() {
        names.push(bind.ip().to_string());
    }
    names.extend(extra.iter().filter(|name| !name.is_empty()).cloned());
    names.sort();
    names.dedup();
    names
}

/// The server's side of every handshake. A client without a certificate is let in, and is nobody.
pub fn server_config(ca: &str, server: &Pair) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca::der(ca).context("the CA's certificate is no PEM")?).context("the CA's certificate")?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .context("no client can be verified against the CA")?;
    let certificate = ca::der(&server.certificate).context("the server's certificate is no PEM")?;
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).context("the server's key is no PEM")?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("the TLS versions")?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], key)
        .context("the server's certificate and key do not fit")?;
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_names_every_way_to_reach_the_server() {
        let names = server_names(
            "192.0.2.7:6443".parse().unwrap(),
            Ipv4Addr::new(10, 96, 0, 1),
            &["api.example.com".to_owned(), "localhost".to_owned()],
        );
        for name in
            ["kubernetes.default.svc", "localhost", "127.0.0.1", "10.96.0.1", "192.0.2.7", "api.example.com"]
        {
            assert_eq!(names.iter().filter(|one| *one == name).count(), 1, "{name}");
        }
        let everywhere = server_names("0.0.0.0:6443".parse().unwrap(), Ipv4Addr::new(10, 96, 0, 1), &[]);
        assert!(!everywhere.contains(&"0.0.0.0".to_owned()));
    }
}
