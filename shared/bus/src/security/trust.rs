//! Whether the server is the one that was meant, when all that is known of it is a hash.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::Unreadable;

const KIND: &str = "sha256:";

/// The hash of a CA's public key, as `kubeadm` writes it; `None` for a text that is no certificate.
pub fn ca_hash(pem: &str) -> Option<String> {
    hash(&CertificateDer::from_pem_slice(pem.as_bytes()).ok()?)
}

/// Makes sure that the TLS library knows which of the implementations in this program is meant.
pub(crate) fn install_provider() {
    // It fails only if there is one already, which is as good.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// Believes a server whose chain holds the CA with this hash, and ends there.
pub(crate) fn pinned(hash: &str) -> Result<ClientConfig, Unreadable> {
    let digits = hash.strip_prefix(KIND).unwrap_or_default();
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Unreadable::new("the CA's hash", "it is written sha256:<64 hex digits>"));
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Pinned { hash: hash.to_lowercase(), provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Unreadable::new("TLS", error))?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

fn hash(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let digest = Sha256::digest(certificate.public_key().raw);
    Some(digest.iter().fold(KIND.to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

#[derive(Debug)]
struct Pinned {
    hash: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    /// The CA stands in the chain that the server sends. Found by its hash, it is believed as if it had been given.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_meant = |one: &&CertificateDer<'_>| hash(one).as_ref() == Some(&self.hash);
        let Some(ca) = intermediates.iter().find(is_meant) else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider)).build();
        let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_written_in_full() {
        for wrong in ["", "sha256:", "sha256:12", "md5:0123", &format!("sha256:{}", "g".repeat(64))] {
            assert!(pinned(wrong).is_err(), "{wrong}");
        }
        assert!(pinned(&format!("sha256:{}", "0a".repeat(32))).is_ok());
        assert_eq!(ca_hash("no certificate"), None);
    }
}
