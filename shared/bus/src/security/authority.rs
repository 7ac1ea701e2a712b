//! The keys behind everything: made once a cluster, and kept where only its owner reads.

use std::collections::BTreeMap;

use nkeys::{KeyPair, KeyPairType};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::claims::{self, About};
use super::{Credentials, Role, Unreadable};

/// All seeds of a cluster's bus.
#[derive(Clone, Serialize, Deserialize)]
pub struct Authority {
    operator: String,
    account: String,
    system: String,
    roles: BTreeMap<Role, String>,
    /// The public key of nobody: whoever joins shares it, and need not prove it.
    nobody: String,
    /// Seconds since 1970 when it was made: the same statements at each start.
    made: i64,
}

/// What signs users of one role.
#[derive(Clone, Serialize, Deserialize)]
pub struct Signer {
    role: Role,
    account: String,
    seed: String,
}

/// What the server is to know.
pub(super) struct Statements {
    pub operator: String,
    pub system_account: String,
    /// Public key and statement of each.
    pub accounts: Vec<(String, String)>,
    /// The user that a client without credentials is.
    pub joining: String,
}

/// The name of everybody who joins.
const JOINING: &str = "all";
/// Characters of a secret that nobody guesses: with letters and digits at random, 190 bits.
const SECRET_LENGTH: usize = 32;

// === impl Authority ===

impl Authority {
    /// New keys.
    pub fn new(now: i64) -> Authority {
        let seed = |kind| KeyPair::new(kind).seed().expect("a new key is whole");
        Authority {
            operator: seed(KeyPairType::Operator),
            account: seed(KeyPairType::Account),
            system: seed(KeyPairType::Account),
            roles: Role::ALL.into_iter().map(|role| (role, seed(KeyPairType::Account))).collect(),
            nobody: KeyPair::new(KeyPairType::User).public_key(),
            made: now,
        }
    }

    /// The keys that belong to a secret: whoever is told it has the same ones, wherever they are made. For those who can
    /// keep a text for good, and nothing else.
    pub fn from_secret(secret: &str) -> Result<Authority, Unreadable> {
        let secret = secret.trim();
        if secret.len() < SECRET_LENGTH {
            let why = format!("it is shorter than {SECRET_LENGTH} characters");
            return Err(Unreadable::new("the secret of the bus", why));
        }
        let pair = |kind, what: &str| {
            let bytes = Sha256::digest(format!("sampan bus {what} {secret}"));
            KeyPair::new_from_raw(kind, bytes.into()).expect("any 32 bytes are a key")
        };
        let seed = |kind, what: &str| pair(kind, what).seed().expect("a new key is whole");
        let of_role = |role: Role| (role, seed(KeyPairType::Account, &format!("role {role}")));
        Ok(Authority {
            operator: seed(KeyPairType::Operator, "operator"),
            account: seed(KeyPairType::Account, "account"),
            system: seed(KeyPairType::Account, "system"),
            roles: Role::ALL.into_iter().map(of_role).collect(),
            nobody: pair(KeyPairType::User, "nobody").public_key(),
            made: 0,
        })
    }

    /// From the text of its file.
    pub fn from_text(text: &str) -> Result<Authority, Unreadable> {
        let unreadable = |why: &dyn std::fmt::Display| Unreadable::new("the keys of the bus", why);
        let authority: Authority = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
        let mut seeds = vec![&authority.operator, &authority.account, &authority.system];
        for role in Role::ALL {
            let seed = authority.roles.get(&role);
            seeds.push(seed.ok_or_else(|| unreadable(&format!("there is none for the role {role}")))?);
        }
        for seed in seeds {
            KeyPair::from_seed(seed).map_err(|error| unreadable(&error))?;
        }
        Ok(authority)
    }

    /// The text of its file, which is for its owner only.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("keys are plain data")
    }

    /// A new key for a role: what the old one has signed is good for nothing once the server knows of it. The account
    /// stays, and with it everything that the bus holds.
    pub fn replace_key(&mut self, role: Role, now: i64) {
        self.roles.insert(role, KeyPair::new(KeyPairType::Account).seed().expect("a new key is whole"));
        self.made = now;
    }

    /// What signs users of this role.
    pub fn signer(&self, role: Role) -> Signer {
        let seed = self.roles.get(&role).expect("there is a key for each role").clone();
        Signer { role, account: key(&self.account).public_key(), seed }
    }

    pub(super) fn statements(&self) -> Statements {
        let operator = key(&self.operator);
        let (account, system) = (key(&self.account).public_key(), key(&self.system).public_key());
        let about = |subject, name| About { by: &operator, subject, name, now: self.made, expires: None };
        let scopes = Role::ALL.map(|role| (role, key(&self.roles[&role]).public_key()));
        let clients = claims::account(&about(&account, "sampan"), true, &scopes);
        let of_system = claims::account(&about(&system, "system"), false, &[]);
        Statements {
            operator: claims::operator(&about(&operator.public_key(), "sampan"), &system),
            joining: self.signer(Role::Joining).statement(JOINING, &self.nobody, self.made, None),
            accounts: vec![(account, clients), (system.clone(), of_system)],
            system_account: system,
        }
    }
}

// === impl Signer ===

impl Signer {
    /// Credentials with a new key.
    pub fn issue(&self, name: &str, now: i64, expires: Option<i64>) -> Credentials {
        let (seed, public) = Credentials::new_key();
        let statement = self.statement(name, &public, now, expires);
        Credentials::new(&statement, &seed).expect("we have made both")
    }

    /// A statement that the holder of this key is the user of this name.
    pub fn statement(&self, name: &str, public_key: &str, now: i64, expires: Option<i64>) -> String {
        let about = About { by: &key(&self.seed), subject: public_key, name, now, expires };
        claims::user(&about, self.role, &self.account)
    }

    /// From the text of its file.
    pub fn from_text(text: &str) -> Result<Signer, Unreadable> {
        let unreadable = |why: &dyn std::fmt::Display| Unreadable::new("a signing key", why);
        let signer: Signer = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
        KeyPair::from_seed(&signer.seed).map_err(|error| unreadable(&error))?;
        Ok(signer)
    }

    /// The text of its file, which is for its owner only.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("a key is plain data")
    }

    /// Whether a statement is one of ours.
    pub fn has_signed(&self, statement: &str) -> bool {
        claims::is_signed_by(&key(&self.seed), statement)
    }

    /// Whose key it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether a text is the public key of a user.
    pub fn is_user_key(text: &str) -> bool {
        KeyPair::from_public_key(text).is_ok_and(|key| key.key_pair_type() == KeyPairType::User)
    }
}

fn key(seed: &str) -> KeyPair {
    KeyPair::from_seed(seed).expect("it was read when the keys were")
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("role", &self.role).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_credentials_come_back_from_their_files() {
        let authority = Authority::new(7);
        let again = Authority::from_text(&authority.to_text()).unwrap();
        assert_eq!(again.statements().operator, authority.statements().operator, "the same at each start");
        let signer = Signer::from_text(&authority.signer(Role::Node).to_text()).unwrap();
        let made = signer.issue("node-1%2ea", 7, Some(9));
        let read = Credentials::from_text(&made.to_text()).unwrap();
        assert_eq!((read.name(), read.role(), read.expires()), ("node-1%2ea", Role::Node, Some(9)));
        assert_eq!(read.public_key(), made.public_key());
        assert_eq!(read.inbox(), "_INBOX.node.node-1%2ea");
    }

    #[test]
    fn the_same_secret_gives_the_same_keys_and_another_gives_others() {
        let secret = "a".repeat(32);
        let made = |secret: &str| Authority::from_secret(secret).unwrap();
        assert_eq!(made(&secret).to_text(), made(&format!("{secret}\n")).to_text());
        assert_ne!(made(&secret).statements().operator, made(&"b".repeat(32)).statements().operator);
        assert!(Authority::from_text(&made(&secret).to_text()).is_ok());
        let seeds: std::collections::BTreeSet<String> = made(&secret).roles.into_values().collect();
        assert_eq!(seeds.len(), Role::ALL.len(), "each role has a key of its own");
        assert!(Authority::from_secret("short").is_err());
    }

    #[test]
    fn a_new_key_of_a_role_ends_what_the_old_one_has_signed_and_nothing_else() {
        let mut authority = Authority::new(7);
        let (node, service) = (authority.signer(Role::Node), authority.signer(Role::Service));
        let account = authority.statements().accounts[0].0.clone();
        let statement = |signer: &Signer| signer.issue("a", 7, None).statement().to_owned();
        let (of_node, of_service) = (statement(&node), statement(&service));
        authority.replace_key(Role::Node, 8);
        assert!(!authority.signer(Role::Node).has_signed(&of_node));
        assert!(authority.signer(Role::Service).has_signed(&of_service));
        assert_eq!(authority.statements().accounts[0].0, account, "the bus's data stay");
    }

    #[test]
    fn what_is_damaged_is_said() {
        for text in ["", "{}", "-----BEGIN NATS USER JWT-----\nabc\n"] {
            assert!(Authority::from_text(text).is_err());
            assert!(Signer::from_text(text).is_err());
            assert!(Credentials::from_text(text).is_err());
        }
        let made = Authority::new(7).signer(Role::Service).issue("s", 7, None);
        assert!(Credentials::new(made.statement(), "SUAAAA").is_err());
        assert!(Signer::is_user_key(&made.public_key()) && !Signer::is_user_key("UABC"));
    }

    #[test]
    fn nothing_private_is_shown_by_accident() {
        let authority = Authority::new(7);
        let signer = authority.signer(Role::Node);
        let shown = format!("{authority:?} {signer:?} {:?}", signer.issue("n", 7, None));
        assert!(!shown.contains("SA") && !shown.contains("SU") && !shown.contains("SO"), "{shown}");
    }
}
