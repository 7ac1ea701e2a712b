//! Tokens from a file: `token,user,uid,"group,group"`, a line each, read once at start.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::AUTHENTICATED;
use crate::verbs::Identity;

/// Whoever shows one of these is who the file says.
#[derive(Debug, Default)]
pub struct FixedTokens {
    /// By the token's hash: how long a look-up takes tells nothing of the tokens that there are.
    by_hash: HashMap<[u8; 32], Identity>,
}

// === impl FixedTokens ===

impl FixedTokens {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<FixedTokens> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        FixedTokens::parse(&text).with_context(|| format!("cannot use {}", path.display()))
    }

    fn parse(text: &str) -> Result<FixedTokens> {
        let mut tokens = FixedTokens::default();
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let fields = fields(line);
            let [token, user, uid, groups @ ..] = fields.as_slice() else {
                bail!("line {number} has less than the three columns token, user and uid");
            };
            if token.is_empty() || user.is_empty() {
                bail!("line {number} has no token or no user");
            }
            let named = groups.first().into_iter().flat_map(|groups| groups.split(','));
            let mut groups: Vec<String> =
                named.map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned).collect();
            groups.push(AUTHENTICATED.to_owned());
            let identity = Identity { user: user.clone(), uid: uid.clone(), groups, ..Identity::default() };
            if tokens.by_hash.insert(hash(token), identity).is_some() {
                bail!("line {number} has a token that was there before");
            }
        }
        Ok(tokens)
    }

    /// Who shows that token.
    pub fn find(&self, token: &str) -> Option<&Identity> {
        if self.by_hash.is_empty() { None } else { self.by_hash.get(&hash(token)) }
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The fields of a line; one in quotation marks may hold commas.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    fields.into_iter().map(|field| field.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_token_a_user_a_uid_and_perhaps_groups() {
        let text = "# ours\nsecret, jane, 7, \"dev,ops\"\n\nother,joe,8\n";
        let tokens = FixedTokens::parse(text).unwrap();
        let jane = tokens.find("secret").unwrap();
        assert_eq!((jane.user.as_str(), jane.uid.as_str()), ("jane", "7"));
        assert_eq!(jane.groups, ["dev", "ops", AUTHENTICATED]);
        assert_eq!(tokens.find("other").unwrap().groups, [AUTHENTICATED]);
        assert!(tokens.find("third").is_none() && FixedTokens::default().find("").is_none());
    }

    #[test]
    fn a_line_that_cannot_be_meant_is_named() {
        for (text, why) in [
            ("a,b", "line 1 has less than the three columns token, user and uid"),
            ("a,b,c\na,d,e", "line 2 has a token that was there before"),
            (",b,c", "line 1 has no token or no user"),
        ] {
            assert_eq!(FixedTokens::parse(text).unwrap_err().to_string(), why);
        }
    }
}
