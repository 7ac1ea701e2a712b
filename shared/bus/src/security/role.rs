//! The roles, and what each may do. Everything that is not listed is refused by the server.

use serde::{Deserialize, Serialize};

/// Who a client is to the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Writes the log and answers everybody.
    ApiServer,
    /// Scheduler, controllers, name servers: read the log, write by command.
    Service,
    /// An agent: the subjects of its own node.
    Node,
    /// A machine that has nothing but a token yet: may ask to become a node.
    Joining,
}

/// Subjects that a role may use. `{{name()}}` stands for the name in the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// May be published to.
    pub publish: &'static [&'static str],
    /// May be subscribed to.
    pub subscribe: &'static [&'static str],
    /// Whoever gets a request may answer it once, where the asker said.
    pub answers: bool,
}

// === impl Role ===

impl Role {
    /// Every role.
    pub const ALL: [Role; 4] = [Role::ApiServer, Role::Service, Role::Node, Role::Joining];

    /// As it is written in subjects, files and credentials.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::ApiServer => "apiserver",
            Role::Service => "service",
            Role::Node => "node",
            Role::Joining => "joining",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// What answers to a client's requests begin with. Each role has a part of its own, in which each name has one,
    /// so that nobody hears what is answered to another.
    pub fn inbox(self, name: &str) -> String {
        format!("_INBOX.{}.{name}", self.as_str())
    }

    /// What it may do: the one place that says so.
    pub fn permissions(self) -> Permissions {
        match self {
            Role::ApiServer => Permissions { publish: &[">"], subscribe: &[">"], answers: false },
            Role::Service => Permissions {
                publish: &[
                    "cmd.>",
                    "dns.>",
                    "lead.>",
                    "sched.>",
                    "ext.>",
                    // What reading the log takes. Everything else of the API, above all whatever changes a stream,
                    // is for API servers.
                    "$JS.API.INFO",
                    "$JS.API.STREAM.INFO.*",
                    "$JS.API.STREAM.MSG.GET.*",
                    "$JS.API.CONSUMER.CREATE.>",
                    "$JS.API.CONSUMER.INFO.>",
                    "$JS.API.CONSUMER.LIST.*",
                    "$JS.API.CONSUMER.DELETE.>",
                    "$JS.FC.>",
                ],
                subscribe: &["_INBOX.service.{{name()}}.>", "hb.*", "dns.>", "lead.>", "sched.>", "ext.>"],
                answers: true,
            },
            Role::Node => Permissions {
                publish: &[
                    "attach.{{name()}}",
                    "report.{{name()}}",
                    "token.{{name()}}",
                    "credential.{{name()}}",
                    "hb.{{name()}}",
                    "stream.{{name()}}.>",
                ],
                subscribe: &["_INBOX.node.{{name()}}.>", "node.{{name()}}.>", crate::subject::BEGAN],
                answers: true,
            },
            Role::Joining => Permissions {
                publish: &["join.*"],
                // Whoever joins shares the name: what is answered is of use only to the key that was sent along.
                subscribe: &["_INBOX.joining.{{name()}}.>"],
                answers: false,
            },
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject;

    /// Whether one of the subjects, with the name put in, covers `wanted`.
    fn covers(subjects: &[&str], name: &str, wanted: &str) -> bool {
        subjects.iter().any(|allowed| {
            let allowed = allowed.replace("{{name()}}", name);
            let mut tokens = wanted.split('.');
            for part in allowed.split('.') {
                match (part, tokens.next()) {
                    (">", Some(_)) => return true,
                    ("*", Some(_)) => {}
                    (part, Some(token)) if part == token => {}
                    _ => return false,
                }
            }
            tokens.next().is_none()
        })
    }

    #[test]
    fn a_node_has_its_own_subjects_and_no_others() {
        let Permissions { publish, subscribe, .. } = Role::Node.permissions();
        let name = subject::escape("a.example");
        for own in [
            subject::attach("a.example"),
            subject::report("a.example"),
            subject::token("a.example"),
            subject::credential("a.example"),
            subject::heartbeat("a.example"),
            subject::stream_from_node("a.example", "1"),
        ] {
            assert!(covers(publish, &name, &own), "{own}");
            assert!(!covers(publish, "b", &own), "{own} by another");
        }
        for own in [subject::want("a.example"), subject::open("a.example"), Role::Node.inbox(&name) + ".x"] {
            assert!(covers(subscribe, &name, &own), "{own}");
            assert!(!covers(subscribe, "b", &own), "{own} by another");
        }
        assert!(covers(subscribe, "b", subject::BEGAN));
        for foreign in
            ["state.pods", "$JS.API.CONSUMER.CREATE.STATE.x", "cmd.write", "join.b", "_INBOX.node.c.x"]
        {
            assert!(!covers(publish, "b", foreign), "{foreign}");
            assert!(!covers(subscribe, "b", foreign), "{foreign}");
        }
    }

    #[test]
    fn a_node_that_is_called_all_tells_nobody_what_is_wanted_of_it() {
        let Permissions { subscribe, .. } = Role::Node.permissions();
        assert!(covers(subscribe, "all", &subject::want("all")));
        assert!(!covers(subscribe, "b", &subject::want("all")));
    }

    #[test]
    fn services_read_the_log_and_write_it_by_command_only() {
        let Permissions { publish, subscribe, .. } = Role::Service.permissions();
        for may in [subject::WRITE, "$JS.API.CONSUMER.CREATE.STATE.reader-1", "$JS.FC.STATE.reader-1.x"] {
            assert!(covers(publish, "service", may), "{may}");
        }
        for may_not in [
            "state.pods",
            "events.x",
            "checkpoint.x",
            "$JS.API.STREAM.PURGE.STATE",
            "report.n",
            "node.n.want",
        ] {
            assert!(!covers(publish, "service", may_not), "{may_not}");
        }
        for may_not in ["_INBOX.node.n.x", "_INBOX.apiserver.apiserver.x", "token.n", "join.n", "cmd.write"] {
            assert!(!covers(subscribe, "service", may_not), "{may_not}");
        }
    }
}
