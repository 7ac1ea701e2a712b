//! The key that signs tokens: made once, shared by the API servers of a data folder.

use std::fs::File;
use std::path::Path;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};

use crate::http::ca::CaError;
use crate::http::private_file::{self, PRIVATE};

/// A key pair on the curve P-256.
pub struct SigningKey(pub(super) KeyPair);

// === impl SigningKey ===

impl SigningKey {
    /// The key of a data folder, made if need be.
    pub fn prepare(folder: &Path) -> Result<SigningKey, CaError> {
        std::fs::create_dir_all(folder)
            .map_err(|source| CaError::File { path: folder.to_owned(), source })?;
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| CaError::File { path, source }
        };
        let (lock, path) = (folder.join("lock"), folder.join("sa.key"));
        let held = File::create(&lock).map_err(at(&lock))?;
        held.lock().map_err(at(&lock))?;
        if let Some(pem) = private_file::read(&path).map_err(at(&path))? {
            return read(&pem).ok_or(CaError::Malformed(path));
        }
        let key = SigningKey::generate()?;
        private_file::write(&path, key.0.serialize_pem().as_bytes(), PRIVATE).map_err(at(&path))?;
        Ok(key)
    }

    /// A new key that is kept nowhere.
    pub fn generate() -> Result<SigningKey, CaError> {
        Ok(SigningKey(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// The two coordinates of the public key.
    pub(super) fn point(&self) -> (&[u8], &[u8]) {
        // An uncompressed point: one byte that says so, then 32 for each coordinate.
        self.0.der_bytes()[1..].split_at(32)
    }
}

/// A key in either of the forms in which people have it. Whoever signs tokens takes only one of them, PKCS #8.
fn read(pem: &str) -> Option<SigningKey> {
    let given = KeyPair::from_pem(pem).ok()?;
    let pair =
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &given.serialize_der()).ok()?;
    let pkcs8 = pair.to_pkcs8v1().ok()?;
    let key = KeyPair::try_from(pkcs8.as_ref()).ok()?;
    key.is_compatible(&PKCS_ECDSA_P256_SHA256).then_some(SigningKey(key))
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_start_finds_the_key_of_the_first_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = SigningKey::prepare(folder.path()).unwrap();
        let again = SigningKey::prepare(folder.path()).unwrap();
        assert_eq!(first.point(), again.point());
        let mode = std::fs::metadata(folder.path().join("sa.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // As openssl and Helm write it.
        const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----\n\
            MHcCAQEEILZTR4j6RIP+4ZvXUuhnXLYVfkpwiwYHr0D88TeMd/pMoAoGCCqGSM49\n\
            AwEHoUQDQgAE6/47e6oXbaKqsryGyzokCR89i9sN97CluAXo47EjGHRW/4tWm9zL\n\
            C3J+mKQn8ucr2oym0PLMxzz5bDCVBXqj2A==\n-----END EC PRIVATE KEY-----\n";
        std::fs::write(folder.path().join("sa.key"), SEC1).unwrap();
        let given = SigningKey::prepare(folder.path()).unwrap();
        assert_ne!(given.point(), first.point());
        let encoding = jsonwebtoken::EncodingKey::from_ec_der(&given.0.serialize_der());
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        jsonwebtoken::encode(&header, &serde_json::json!({"sub": "a"}), &encoding).unwrap();
        std::fs::write(folder.path().join("sa.key"), "rubbish").unwrap();
        assert!(matches!(SigningKey::prepare(folder.path()), Err(CaError::Malformed(_))));
    }
}
