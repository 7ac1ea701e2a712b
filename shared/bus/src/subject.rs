//! Names of subjects. Node names contain dots, which separate tokens, so they are escaped.

/// The queue group in which API servers share requests.
pub const API_SERVERS: &str = "apiserver";

/// Commands to write: [`crate::command::Batch`].
pub const WRITE: &str = "cmd.write";

/// Questions about who leads: [`crate::leader::Ask`].
pub const LEAD: &str = "cmd.lead";

/// Every replica's sign of life: [`crate::leader::Beat`].
pub const BEAT_ALL: &str = "lead.*";

/// Every agent's attach request.
pub const ATTACH_ALL: &str = "attach.*";

/// Every agent's report.
pub const REPORT_ALL: &str = "report.*";

/// Every agent's request for a token.
pub const TOKEN_ALL: &str = "token.*";

/// Every machine's request to become a node: [`crate::join::Ask`].
pub const JOIN_ALL: &str = "join.*";

/// Every agent's request for newer credentials: [`crate::join::Renew`].
pub const CREDENTIAL_ALL: &str = "credential.*";

/// Every agent's heartbeat.
pub const HEARTBEAT_ALL: &str = "hb.*";

/// Which API server serves which node's session: [`crate::node::Attached`].
pub const ATTACHED_ALL: &str = "attached.*";

/// API servers that begin: [`crate::node::Began`]. Under the subjects that agents may hear.
pub const BEGAN: &str = "node.all.began";

/// Name servers tell each other that they live.
pub const DNS_ALIVE: &str = "dns.alive";

/// A node name as one token: `.` is written `%2e`, `%` as `%25`.
pub fn escape(node: &str) -> String {
    node.replace('%', "%25").replace('.', "%2e")
}

/// The node name in a token.
pub fn unescape(token: &str) -> String {
    token.replace("%2e", ".").replace("%25", "%")
}

/// The node named by the last token of `attach.<node>`, `report.<node>`, `token.<node>`, `hb.<node>` or `attached.<node>`.
pub fn node_of(subject: &str) -> String {
    unescape(subject.rsplit('.').next().unwrap_or(""))
}

/// Where the replicas of a role say that they live.
pub fn beat(role: &str) -> String {
    format!("lead.{}", escape(role))
}

/// Where a replica is asked whether it lives.
pub fn probe(role: &str, replica: &str) -> String {
    format!("lead.{}.{}", escape(role), escape(replica))
}

/// Where a scheduler is proposed nodes for pods, should it be the one that binds: [`crate::proposal::Proposals`].
pub fn propose(replica: &str) -> String {
    format!("sched.propose.{}", escape(replica))
}

/// Where an extender is asked: [`crate::extender::Ask`], and [`crate::extender::Bind`] for the verb that binds.
pub fn extender(name: &str, verb: &str) -> String {
    format!("ext.{}.{}", escape(name), escape(verb))
}

/// Where a node asks for what is wanted of it.
pub fn attach(node: &str) -> String {
    format!("attach.{}", escape(node))
}

/// Where an API server says that it serves a node now.
pub fn attached(node: &str) -> String {
    format!("attached.{}", escape(node))
}

/// Where a node says what became of it.
pub fn report(node: &str) -> String {
    format!("report.{}", escape(node))
}

/// Where a node asks for tokens of its pods.
pub fn token(node: &str) -> String {
    format!("token.{}", escape(node))
}

/// Where a machine asks to become a node.
pub fn join(node: &str) -> String {
    format!("join.{}", escape(node))
}

/// Where a node asks for newer credentials.
pub fn credential(node: &str) -> String {
    format!("credential.{}", escape(node))
}

/// Where a node says that it lives.
pub fn heartbeat(node: &str) -> String {
    format!("hb.{}", escape(node))
}

/// Where a node hears of changes to what is wanted of it.
pub fn want(node: &str) -> String {
    format!("node.{}.want", escape(node))
}

/// Where a node is asked to open a byte stream.
pub fn open(node: &str) -> String {
    format!("node.{}.open", escape(node))
}

/// Frames of a byte stream towards the node.
pub fn stream_to_node(node: &str, id: &str) -> String {
    format!("node.{}.stream.{id}", escape(node))
}

/// Frames of a byte stream from the node.
pub fn stream_from_node(node: &str, id: &str) -> String {
    format!("stream.{}.{id}", escape(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_name_with_dots_is_one_token() {
        let subject = attach("node-1.example%");
        assert_eq!(subject, "attach.node-1%2eexample%25");
        assert_eq!(node_of(&subject), "node-1.example%");
    }
}
