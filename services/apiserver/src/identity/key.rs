//! The key that signs tokens: made once, shared by the API servers of a data folder.

use std::fs::File;
use std::path::Path;

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
            return KeyPair::from_pem(&pem)
                .ok()
                .filter(|key| key.is_compatible(&PKCS_ECDSA_P256_SHA256))
                .map(SigningKey)
                .ok_or(CaError::Malformed(path));
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
        std::fs::write(folder.path().join("sa.key"), "rubbish").unwrap();
        assert!(matches!(SigningKey::prepare(folder.path()), Err(CaError::Malformed(_))));
    }
}
