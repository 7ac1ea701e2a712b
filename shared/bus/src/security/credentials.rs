//! What a client shows to the bus: a signed statement about it, and the key that the statement is about.

use nkeys::{KeyPair, KeyPairType};

use super::claims::{self, User};
use super::{Role, Unreadable};

/// A client's credentials. As a file they are what NATS calls a `.creds` file, so that its tools read them too.
#[derive(Clone)]
pub struct Credentials {
    statement: String,
    seed: String,
    user: User,
}

const STATEMENT: &str = "NATS USER JWT";
const SEED: &str = "USER NKEY SEED";

// === impl Credentials ===

impl Credentials {
    /// A new key of a user, as seed and public key. The seed never leaves the machine that made it.
    pub fn new_key() -> (String, String) {
        let key = KeyPair::new(KeyPairType::User);
        (key.seed().expect("a new key is whole"), key.public_key())
    }

    /// From a statement and the seed of the key that it is about.
    pub fn new(statement: &str, seed: &str) -> Result<Credentials, Unreadable> {
        KeyPair::from_seed(seed).map_err(|error| Unreadable::new("the key in the credentials", error))?;
        let user = claims::read_user(statement)?;
        Ok(Credentials { statement: statement.to_owned(), seed: seed.to_owned(), user })
    }

    /// From the text of a file.
    pub fn from_text(text: &str) -> Result<Credentials, Unreadable> {
        let block = |name: &str| {
            let mut lines = text.lines().skip_while(|line| !line.contains(name) || !line.contains("BEGIN"));
            let found = lines.nth(1).map(str::trim).filter(|line| !line.is_empty());
            found.ok_or_else(|| Unreadable::new("credentials", format!("there is no {name}")))
        };
        Credentials::new(block(STATEMENT)?, block(SEED)?)
    }

    /// The text of a file, which is for its owner only.
    pub fn to_text(&self) -> String {
        let Credentials { statement, seed, .. } = self;
        format!(
            "-----BEGIN {STATEMENT}-----\n{statement}\n------END {STATEMENT}------\n\n\
             -----BEGIN {SEED}-----\n{seed}\n------END {SEED}------\n"
        )
    }

    /// The signed statement.
    pub fn statement(&self) -> &str {
        &self.statement
    }

    /// The same key with a newer statement about it.
    pub fn renewed(&self, statement: &str) -> Result<Credentials, Unreadable> {
        Credentials::new(statement, &self.seed)
    }

    /// The public half of the key.
    pub fn public_key(&self) -> String {
        self.key().public_key()
    }

    /// Proves that we hold the key.
    pub(crate) fn sign(&self, nonce: &[u8]) -> Vec<u8> {
        self.key().sign(nonce).expect("we hold the whole key")
    }

    /// The name in the statement; of a node, as subjects have it.
    pub fn name(&self) -> &str {
        &self.user.name
    }

    /// The role.
    pub fn role(&self) -> Role {
        self.user.role
    }

    /// Seconds since 1970 from which on they are no longer good.
    pub fn expires(&self) -> Option<i64> {
        self.user.expires
    }

    /// What the subjects of answers to us begin with.
    pub fn inbox(&self) -> String {
        self.user.role.inbox(&self.user.name)
    }

    fn key(&self) -> KeyPair {
        KeyPair::from_seed(&self.seed).expect("it was read when the credentials were")
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}
