//! How a machine becomes a node, and how a node stays one.
//!
//! ```text
//!  machine, with a token                              API server
//!    │ makes a key                                        │
//!    ├─ join.<node>  Ask{token id, key, proof} ──────────>│ knows the token's secret: is the proof made with it?
//!    │<─ Welcome{statement, what a node needs, proof} ────┤ signs that the key is the node's
//!    │ is the answer's proof made with it as well?        │
//!  node                                                   │
//!    ├─ credential.<node>  Renew{key} ───────────────────>│ signs again, as long as there is a Node of that name
//!    │<─ statement ───────────────────────────────────────┤
//! ```
//! The secret itself is never sent, so whoever listens cannot join with it, and whoever answers in the API server's
//! place cannot prove it.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, Mac};
use model::Status;
use rand::Rng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// How long a node's credentials are good, in seconds: 90 days. A node that is away for longer has to join again.
pub const LIFE_SECONDS: i64 = 90 * 86_400;

/// A bootstrap token, `<id>.<secret>`: the id is public, and the secret is for whoever may join.
#[derive(Clone)]
pub struct Token {
    id: String,
    secret: String,
}

/// A text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is written as abcdef.0123456789abcdef: 6 and 16 lower-case letters or digits")]
pub struct NoToken;

/// A machine asks to become the node that the subject names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// Which token it has.
    pub token_id: String,
    /// The public half of the key that it made.
    pub public_key: String,
    /// Made with the token's secret over the node's name and the key.
    #[serde(with = "serde_bytes")]
    pub proof: Vec<u8>,
}

/// It is a node now, or why not.
pub type Answer = Result<Welcome, Status>;

/// What a node needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// What the node shows to the bus from now on, together with its key.
    pub statement: String,
    /// How it and its pods find the rest of the cluster.
    pub cluster: Cluster,
    /// Made with the token's secret over the asker's key and all of the above.
    #[serde(with = "serde_bytes")]
    pub proof: Vec<u8>,
}

/// What is the same for every node of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Certificate of the bus's CA as PEM, empty for a bus without TLS.
    pub ca: String,
    /// Addresses of the name servers.
    pub dns: Vec<String>,
    /// Range of all pods' addresses, empty when nodes are not given ranges.
    pub pods: String,
}

/// A node asks for a newer statement about its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Renew {
    /// The key.
    pub public_key: String,
}

/// The newer statement, or why not.
pub type Renewed = Result<String, Status>;

/// Tells what is proved apart, so that no proof of one thing is one of another.
const ASKED: &[u8] = b"sampan-join-ask-1";
const ANSWERED: &[u8] = b"sampan-join-answer-1";
const COMPARED: &[u8] = b"sampan-join-compare-1";
const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;

// === impl Token ===

impl Token {
    /// A new one.
    pub fn new(random: &mut impl Rng) -> Token {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut text = |length| -> String {
            (0..length).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
        };
        Token { id: text(ID_LENGTH), secret: text(SECRET_LENGTH) }
    }

    /// From its two parts.
    pub fn from_parts(id: &str, secret: &str) -> Result<Token, NoToken> {
        let is_part = |text: &str, length| {
            text.len() == length
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        match is_part(id, ID_LENGTH) && is_part(secret, SECRET_LENGTH) {
            true => Ok(Token { id: id.to_owned(), secret: secret.to_owned() }),
            false => Err(NoToken),
        }
    }

    /// The public part.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The other one.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Whether the secrets are the same, found out in the same time whatever they are.
    pub fn has_secret_of(&self, other: &Token) -> bool {
        let proof = other.over(COMPARED, &[]).finalize().into_bytes();
        self.over(COMPARED, &[]).verify_slice(&proof).is_ok()
    }

    /// A machine's question.
    pub fn ask(&self, node: &str, public_key: &str) -> Ask {
        let proof = self.asked(node, public_key).finalize().into_bytes().to_vec();
        Ask { token_id: self.id.clone(), public_key: public_key.to_owned(), proof }
    }

    /// Whether whoever asks has this token.
    pub fn proves(&self, node: &str, ask: &Ask) -> bool {
        self.asked(node, &ask.public_key).verify_slice(&ask.proof).is_ok()
    }

    /// An API server's answer to whoever asked for this key.
    pub fn welcome(&self, public_key: &str, statement: String, cluster: Cluster) -> Welcome {
        let proof = self.answered(public_key, &statement, &cluster).finalize().into_bytes().to_vec();
        Welcome { statement, cluster, proof }
    }

    /// Whether whoever answers has this token.
    pub fn proves_welcome(&self, public_key: &str, welcome: &Welcome) -> bool {
        let Welcome { statement, cluster, proof } = welcome;
        self.answered(public_key, statement, cluster).verify_slice(proof).is_ok()
    }

    fn asked(&self, node: &str, public_key: &str) -> Hmac<Sha256> {
        self.over(ASKED, &[node.as_bytes(), public_key.as_bytes()])
    }

    fn answered(&self, public_key: &str, statement: &str, cluster: &Cluster) -> Hmac<Sha256> {
        let cluster = crate::codec::encode(cluster);
        self.over(ANSWERED, &[public_key.as_bytes(), statement.as_bytes(), &cluster])
    }

    fn over(&self, what: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(self.secret.as_bytes()).expect("a key may have any length");
        for part in std::iter::once(&what).chain(parts) {
            // With its length, so that the borders between parts cannot be moved.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

impl FromStr for Token {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Token, NoToken> {
        let (id, secret) = text.trim().split_once('.').ok_or(NoToken)?;
        Token::from_parts(id, secret)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.secret)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        "abcdef.0123456789abcdef".parse().unwrap()
    }

    #[test]
    fn a_token_has_one_form() {
        assert_eq!(token().to_string(), "abcdef.0123456789abcdef");
        assert!(!format!("{:?}", token()).contains("0123456789abcdef"));
        for wrong in ["", "abcdef", "abcdef.", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde", "a.b.c"] {
            assert!(wrong.parse::<Token>().is_err(), "{wrong}");
        }
        let made = Token::new(&mut rand::rng());
        let again: Token = made.to_string().parse().unwrap();
        assert!(again.id() == made.id() && again.has_secret_of(&made));
        assert!(!Token::new(&mut rand::rng()).has_secret_of(&made));
    }

    #[test]
    fn a_proof_is_of_one_token_one_node_and_one_key() {
        let ask = token().ask("a", "UKEY");
        assert!(token().proves("a", &ask));
        assert!(!token().proves("b", &ask), "for another node");
        assert!(
            !token().proves("a", &Ask { public_key: "UOTHER".to_owned(), ..ask.clone() }),
            "for another key"
        );
        let guessed = Token::from_parts("abcdef", "0123456789abcdeg").unwrap();
        assert!(!guessed.proves("a", &ask), "of another secret");
        assert!(!token().proves("a", &Ask { proof: Vec::new(), ..ask }), "none");
        assert!(token().has_secret_of(&token()) && !token().has_secret_of(&guessed));
    }

    #[test]
    fn an_answer_of_whoever_does_not_know_the_token_is_seen_as_such() {
        let welcome = token().welcome("UKEY", "statement".to_owned(), Cluster::default());
        assert!(token().proves_welcome("UKEY", &welcome));
        assert!(!token().proves_welcome("UOTHER", &welcome));
        let changed = Cluster { ca: "of somebody else".to_owned(), ..Cluster::default() };
        assert!(!token().proves_welcome("UKEY", &Welcome { cluster: changed, ..welcome.clone() }));
        assert!(!token().proves_welcome("UKEY", &Welcome { statement: "other".to_owned(), ..welcome }));
    }
}
