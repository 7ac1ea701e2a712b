//! The cluster's own certificate authority, and what it signs.
//!
//! ```text
//!  data folder:  ca.key ──signs──> ca.crt               made once, kept for ever
//!                   └──── signs ─> apiserver.crt, .key  made anew near its end, or when its names change
//!                   └──── signs ─> the administrator's certificate, which lives in the kubeconfig alone
//! ```
//! Several API servers may share a folder: whoever holds `lock` makes what is missing, the others find it.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::private_file::{self, PRIVATE, PUBLIC};

const DAY: Duration = Duration::from_secs(86_400);
/// Longer than a cluster lives: replacing a CA means replacing what every client trusts.
const CA_LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);
/// As long as upstream's own tools give their leaf certificates.
const LEAF_LIFE: Duration = Duration::from_secs(365 * 86_400);
/// Signed anew at a start this long before its end: servers are restarted more often than once a quarter.
pub const RENEW_BEFORE: Duration = Duration::from_secs(90 * 86_400);
/// Certificates are valid from a little before now, for clients whose clocks are behind.
const CLOCK_SKEW: Duration = Duration::from_secs(3_600);

/// Why there is no usable CA or certificate.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file of the data folder cannot be used.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The CA's certificate is there and its key is not: nothing can be signed.
    #[error(
        "{0} is missing, and {1} without it can sign nothing: restore it, or remove both to start a new CA"
    )]
    KeyMissing(PathBuf, PathBuf),
    /// A file is not what it should be.
    #[error("{0} is not a certificate or key")]
    Malformed(PathBuf),
    /// Signing failed.
    #[error("cannot sign a certificate")]
    Sign(#[from] rcgen::Error),
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// The CA, ready to sign.
pub struct Ca {
    /// Its certificate as PEM.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A server under these DNS names and addresses.
    Server(Vec<String>),
    /// A client that is this user, in this group.
    Client {
        /// Common name.
        user: String,
        /// Organisation. The library that writes certificates knows only one.
        group: String,
    },
}

// === impl Ca ===

impl Ca {
    /// The CA of a data folder and the server's certificate for `names`, both made if need be.
    pub fn prepare(folder: &Path, names: &[String], now: SystemTime) -> Result<(Ca, Pair), CaError> {
        let _lock = lock(folder)?;
        let ca = Ca::open(folder, now)?;
        let server = ca.server(folder, names, now)?;
        Ok((ca, server))
    }

    /// The CA of a data folder alone, made if need be: for another server that its word is to count for.
    pub fn shared(folder: &Path, now: SystemTime) -> Result<Ca, CaError> {
        let _lock = lock(folder)?;
        Ca::open(folder, now)
    }

    /// The CA of a data folder that has one already.
    pub fn existing(folder: &Path) -> Result<Ca, CaError> {
        let path = folder.join("ca.crt");
        std::fs::metadata(&path).map_err(at(&path))?;
        Ca::open(folder, UNIX_EPOCH)
    }

    fn open(folder: &Path, now: SystemTime) -> Result<Ca, CaError> {
        let (certificate_path, key_path) = (folder.join("ca.crt"), folder.join("ca.key"));
        let certificate = private_file::read(&certificate_path).map_err(at(&certificate_path))?;
        let key = private_file::read(&key_path).map_err(at(&key_path))?;
        let (certificate, key) = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let key = KeyPair::from_pem(&key).map_err(|_| CaError::Malformed(key_path))?;
                (certificate, key)
            }
            (Some(_), None) => return Err(CaError::KeyMissing(key_path, certificate_path)),
            // A key alone is the rest of a start that ended early: nobody has seen a certificate of it.
            (None, _) => {
                let (certificate, key) = new_ca(now)?;
                let key_pem = key.serialize_pem();
                private_file::write(&key_path, key_pem.as_bytes(), PRIVATE).map_err(at(&key_path))?;
                private_file::write(&certificate_path, certificate.as_bytes(), PUBLIC)
                    .map_err(at(&certificate_path))?;
                (certificate, key)
            }
        };
        let issuer = Issuer::from_ca_cert_pem(&certificate, key)
            .map_err(|_| CaError::Malformed(folder.join("ca.crt")))?;
        Ok(Ca { certificate, issuer })
    }

    fn server(&self, folder: &Path, names: &[String], now: SystemTime) -> Result<Pair, CaError> {
        let (certificate_path, key_path) = (folder.join("apiserver.crt"), folder.join("apiserver.key"));
        let kept = self.kept(&certificate_path, &key_path, names, now)?;
        if let Some(pair) = kept {
            return Ok(pair);
        }
        let pair = self.issue(&Purpose::Server(names.to_vec()), now)?;
        private_file::write(&key_path, pair.key.as_bytes(), PRIVATE).map_err(at(&key_path))?;
        private_file::write(&certificate_path, pair.certificate.as_bytes(), PUBLIC)
            .map_err(at(&certificate_path))?;
        Ok(pair)
    }

    /// The certificate of a server in these files, if it is good for a while yet and names exactly `names`.
    pub fn kept(
        &self,
        certificate: &Path,
        key: &Path,
        names: &[String],
        now: SystemTime,
    ) -> Result<Option<Pair>, CaError> {
        let found = private_file::read(certificate).map_err(at(certificate))?;
        let Some((certificate, key)) = found.zip(private_file::read(key).map_err(at(key))?) else {
            return Ok(None);
        };
        let pair = Pair { certificate, key };
        Ok((self.vouches_for(&pair, now) && covers(&pair.certificate, names)).then_some(pair))
    }

    /// Signs a new certificate with a new key.
    pub fn issue(&self, purpose: &Purpose, now: SystemTime) -> Result<Pair, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut parameters = match purpose {
            Purpose::Server(names) => {
                let mut parameters = CertificateParams::new(names.clone())?;
                parameters.distinguished_name = rcgen::DistinguishedName::new();
                parameters.distinguished_name.push(DnType::CommonName, "kube-apiserver");
                parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                parameters
            }
            Purpose::Client { user, group } => {
                let mut parameters = CertificateParams::default();
                parameters.distinguished_name = rcgen::DistinguishedName::new();
                parameters.distinguished_name.push(DnType::OrganizationName, group.as_str());
                parameters.distinguished_name.push(DnType::CommonName, user.as_str());
                parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                parameters
            }
        };
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        parameters.is_ca = IsCa::ExplicitNoCa;
        set_life(&mut parameters, now, LEAF_LIFE);
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// Whether this CA signed the certificate, the key is the certificate's, and its end is not near.
    pub fn vouches_for(&self, pair: &Pair, now: SystemTime) -> bool {
        let (Some(ca), Some(leaf)) = (der(&self.certificate), der(&pair.certificate)) else { return false };
        let (Ok((_, ca)), Ok((_, leaf))) = (X509Certificate::from_der(&ca), X509Certificate::from_der(&leaf))
        else {
            return false;
        };
        let Ok(key) = KeyPair::from_pem(&pair.key) else { return false };
        let end = leaf.validity().not_after.timestamp();
        let signed = leaf.verify_signature(Some(ca.public_key())).is_ok();
        let same_key = leaf.public_key().subject_public_key.data.as_ref() == key.public_key_raw();
        signed && same_key && end > seconds(now + RENEW_BEFORE)
    }
}

/// Held by whoever makes what is missing.
fn lock(folder: &Path) -> Result<File, CaError> {
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    let path = folder.join("lock");
    let lock = File::create(&path).map_err(at(&path))?;
    lock.lock().map_err(at(&path))?;
    Ok(lock)
}

fn new_ca(now: SystemTime) -> Result<(String, KeyPair), CaError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "sampan-ca");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    set_life(&mut parameters, now, CA_LIFE);
    let certificate = parameters.self_signed(&key)?;
    Ok((certificate.pem(), key))
}

fn set_life(parameters: &mut CertificateParams, now: SystemTime, life: Duration) {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or(DAY);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    parameters.not_before = epoch + since_epoch.saturating_sub(CLOCK_SKEW);
    parameters.not_after = epoch + (since_epoch + life);
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// Whether a certificate names exactly `names`.
fn covers(certificate: &str, names: &[String]) -> bool {
    let Some(der) = der(certificate) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return false };
    let mut found: Vec<String> = extension.value.general_names.iter().filter_map(name_text).collect();
    let mut wanted = names.to_vec();
    found.sort();
    wanted.sort();
    wanted.dedup();
    found == wanted
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => <[u8; 4]>::try_from(*octets).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => <[u8; 16]>::try_from(*octets).ok().map(|octets| IpAddr::from(octets).to_string()),
        },
        _ => None,
    }
}

/// The first certificate of a PEM text.
pub fn der(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CaError + '_ {
    move |source| CaError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_second_start_finds_what_the_first_made() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let names = names(&["kubernetes", "127.0.0.1", "::1"]);
        let (ca, server) = Ca::prepare(folder.path(), &names, now).unwrap();
        let (again, same) = Ca::prepare(folder.path(), &names, now).unwrap();
        assert_eq!(ca.certificate, again.certificate);
        assert_eq!(server.certificate, same.certificate);
        let mode =
            |file: &str| std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("ca.key"), mode("apiserver.key"), mode("ca.crt")), (0o600, 0o600, 0o644));
    }

    #[test]
    fn the_server_certificate_is_renewed_near_its_end_and_when_its_names_change() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let (ca, first) = Ca::prepare(folder.path(), &names(&["a"]), now).unwrap();
        let (_, renamed) = Ca::prepare(folder.path(), &names(&["a", "b"]), now).unwrap();
        assert_ne!(first.certificate, renamed.certificate);
        let later = now + LEAF_LIFE - RENEW_BEFORE + DAY;
        let (same_ca, renewed) = Ca::prepare(folder.path(), &names(&["a", "b"]), later).unwrap();
        assert_ne!(renamed.certificate, renewed.certificate);
        assert_eq!(ca.certificate, same_ca.certificate);
        assert!(ca.vouches_for(&renewed, later));
    }

    #[test]
    fn a_ca_that_is_there_is_used_and_none_is_made() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Ca::existing(folder.path()).is_err() && !folder.path().join("ca.key").exists());
        let (ca, _) = Ca::prepare(folder.path(), &names(&["a"]), SystemTime::now()).unwrap();
        assert_eq!(Ca::existing(folder.path()).unwrap().certificate, ca.certificate);
    }

    #[test]
    fn another_ca_does_not_vouch() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let now = SystemTime::now();
        let (_, server) = Ca::prepare(one.path(), &names(&["a"]), now).unwrap();
        let (other, _) = Ca::prepare(two.path(), &names(&["a"]), now).unwrap();
        assert!(!other.vouches_for(&server, now));
    }

    #[test]
    fn a_lost_ca_key_is_said_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        Ca::prepare(folder.path(), &names(&["a"]), SystemTime::now()).unwrap();
        std::fs::remove_file(folder.path().join("ca.key")).unwrap();
        let refused = Ca::prepare(folder.path(), &names(&["a"]), SystemTime::now());
        assert!(matches!(refused, Err(CaError::KeyMissing(..))));
        assert!(folder.path().join("ca.crt").exists());
    }

    #[test]
    fn many_servers_on_one_folder_share_one_ca() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let certificates: Vec<String> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        Ca::prepare(folder, &names(&["a"]), SystemTime::now()).unwrap().0.certificate
                    })
                })
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(certificates.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
