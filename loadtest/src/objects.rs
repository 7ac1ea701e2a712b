//! Objects to write: pods as a cluster has them, of a given size, a third of it random so that compression has no
//! easier time than in life.

use bytes::Bytes;
use model::Key;
use rand::Rng;

/// Makes objects.
#[derive(Clone)]
pub struct Objects {
    before_name: String,
    after_name: String,
    /// Bytes of random text.
    random: usize,
    tail: String,
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl Objects {
    /// Objects of about `size` bytes; at least what a pod takes.
    pub fn of_size(size: usize) -> Self {
        let before_name = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":""#.to_owned();
        let after_name = concat!(
            r#"","namespace":"default","creationTimestamp":"2025-01-01T00:00:00Z","labels":{"app":"web","#,
            r#""pod-template-hash":"7d9c6b5f4d","tier":"frontend"},"annotations":{"checksum/config":""#
        )
        .to_owned();
        let pod = concat!(
            r#""}},"spec":{"containers":[{"name":"web","image":"registry.example/web:1.2.3","ports":[{"#,
            r#""containerPort":8080,"protocol":"TCP"}],"resources":{"limits":{"cpu":"500m","memory":"256Mi"},"#,
            r#""requests":{"cpu":"100m","memory":"128Mi"}},"terminationMessagePath":"/dev/termination-log"}],"#,
            r#""restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","#,
            r#""serviceAccountName":"default","schedulerName":"default-scheduler"},"status":{"phase":"Running","#,
            r#""conditions":[{"type":"Ready","status":"True"}]},"filler":""#
        );
        let fixed = before_name.len() + after_name.len() + pod.len() + 16;
        let random = (size / 3).max(16);
        let filler = "sampan ".repeat(size / 7 + 1);
        let tail = format!("{pod}{}\"}}", &filler[..size.saturating_sub(fixed + random)]);
        Objects { before_name, after_name, random, tail }
    }

    /// The key of object `n`.
    pub fn key(n: u64) -> Key {
        Key::object("", "pods", "default", &name(n))
    }

    /// Object `n`, different every time.
    pub fn value(&self, n: u64) -> Bytes {
        let name = name(n);
        let parts = [self.before_name.as_str(), &name, &self.after_name, &self.tail];
        let mut out = Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + self.random);
        for part in &parts[..3] {
            out.extend_from_slice(part.as_bytes());
        }
        let mut random = rand::rng();
        let mut left = self.random;
        while left > 0 {
            let bits: u64 = random.random();
            for nibble in (0..left.min(16)).map(|at| bits >> (at * 4) & 15) {
                out.push(HEX[nibble as usize]);
            }
            left = left.saturating_sub(16);
        }
        out.extend_from_slice(self.tail.as_bytes());
        out.into()
    }
}

fn name(n: u64) -> String {
    format!("web-7d9c6b5f4d-{n:07}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_the_size_asked_for_and_is_json() {
        let value = Objects::of_size(1500).value(7);
        assert!((1450..1550).contains(&value.len()), "{}", value.len());
        assert!(serde_json::from_slice::<serde_json::Value>(&value).is_ok());
    }
}
