//! `token`: bootstrap tokens, with which machines join.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::join::Token;
use bus::security::ca_hash;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::api::{Api, ApiArguments};

/// What is to be done.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print it
    Create(CreateArguments),
    /// Show the tokens that there are
    List(ListArguments),
    /// Make a token good for nothing
    Delete(DeleteArguments),
}

/// How a token is made.
#[derive(Clone, Debug, clap::Args)]
pub struct CreateArguments {
    #[command(flatten)]
    api: ApiArguments,
    /// This very token, instead of one made at random
    #[arg(value_name = "TOKEN")]
    token: Option<Token>,
    /// How long it is good, as 30m, 24h or 0 for ever
    #[arg(long, default_value = "24h", value_parser = duration, value_name = "DURATION")]
    ttl: SignedDuration,
    /// How many machines may join with it; any number by default
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    uses: Option<u32>,
    /// The one node that may join with it
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// What it is for
    #[arg(long, default_value = "", value_name = "TEXT")]
    description: String,
    /// Print the command that a machine joins with
    #[arg(long)]
    print_join_command: bool,
}

/// Which API.
#[derive(Clone, Debug, clap::Args)]
pub struct ListArguments {
    #[command(flatten)]
    api: ApiArguments,
}

/// Which token.
#[derive(Clone, Debug, clap::Args)]
pub struct DeleteArguments {
    #[command(flatten)]
    api: ApiArguments,
    /// The token, or its part before the dot
    #[arg(value_name = "TOKEN")]
    token: String,
}

const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

/// Does it.
pub async fn run(command: TokenCommand) -> Result<()> {
    match command {
        TokenCommand::Create(arguments) => create(&arguments).await,
        TokenCommand::List(arguments) => list(&arguments).await,
        TokenCommand::Delete(arguments) => delete(&arguments).await,
    }
}

async fn create(arguments: &CreateArguments) -> Result<()> {
    let api = Api::open(&arguments.api)?;
    let token = arguments.token.clone().unwrap_or_else(|| Token::new(&mut rand::rng()));
    // Before the token is made: one that nobody can use would be left behind.
    let command = match arguments.print_join_command {
        true => Some(join_command(&api.get(CLUSTER_INFO).await?, &token)?),
        false => None,
    };
    api.create(SECRETS, &secret(arguments, &token, Timestamp::now())?).await?;
    println!("{}", command.unwrap_or_else(|| token.to_string()));
    Ok(())
}

fn secret(arguments: &CreateArguments, token: &Token, now: Timestamp) -> Result<Value> {
    let mut fields = json!({
        "token-id": token.id(),
        "token-secret": token.secret(),
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
    });
    if !arguments.ttl.is_zero() {
        let end = now.checked_add(arguments.ttl).context("the token would never be over: --ttl 0 says so")?;
        fields["expiration"] = json!(format!("{end:.0}"));
    }
    if !arguments.description.is_empty() {
        fields["description"] = json!(arguments.description);
    }
    if let Some(uses) = arguments.uses {
        fields["uses"] = json!(uses.to_string());
    }
    if let Some(node) = &arguments.node {
        fields["node"] = json!(node);
    }
    let name = format!("bootstrap-token-{}", token.id());
    Ok(
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": TYPE, "stringData": fields}),
    )
}

fn join_command(info: &Value, token: &Token) -> Result<String> {
    let data = &info["data"];
    let Some(url) = data["bus"].as_str() else {
        bail!(
            "machines outside do not reach the bus of this cluster: start it with `sampan up --address`, or tell the \
             API server where they do with --bus-advertise"
        );
    };
    let hash = data["bus-ca"].as_str().and_then(ca_hash).filter(|_| url.starts_with("tls://"));
    let hash = hash.map(|hash| format!(" --ca-cert-hash {hash}")).unwrap_or_default();
    Ok(format!("sampan join {url} --token {token}{hash}"))
}

async fn list(arguments: &ListArguments) -> Result<()> {
    let api = Api::open(&arguments.api)?;
    let found = api.get(&format!("{SECRETS}?fieldSelector=type%3D{}", TYPE.replace('/', "%2F"))).await?;
    let secrets = found["items"].as_array().into_iter().flatten();
    println!("{:<8}{:<12}{:<8}{:<16}DESCRIPTION", "TOKEN", "TTL", "USES", "NODE");
    for secret in secrets.filter(|secret| secret["type"] == TYPE) {
        println!("{}", line(secret, Timestamp::now()));
    }
    Ok(())
}

/// The secret part is shown to nobody who did not see it when it was made.
fn line(secret: &Value, now: Timestamp) -> String {
    let field = |name: &str| {
        let text = STANDARD.decode(secret["data"][name].as_str()?).ok()?;
        String::from_utf8(text).ok().filter(|text| !text.is_empty())
    };
    let or = |text: Option<String>, none: &str| text.unwrap_or_else(|| none.to_owned());
    let ttl = match field("expiration").map(|text| text.parse::<Timestamp>()) {
        None => "for ever".to_owned(),
        Some(Ok(end)) if end > now => left(end.duration_since(now)),
        Some(_) => "expired".to_owned(),
    };
    let (id, uses, node) = (or(field("token-id"), "?"), or(field("uses"), "any"), or(field("node"), "any"));
    format!("{id:<8}{ttl:<12}{uses:<8}{node:<16}{}", or(field("description"), "")).trim_end().to_owned()
}

/// The two largest units of it.
fn left(time: SignedDuration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h{minutes}m"),
        (days, hours, ..) => format!("{days}d{hours}h"),
    }
}

async fn delete(arguments: &DeleteArguments) -> Result<()> {
    let id = arguments.token.split('.').next().unwrap_or_default();
    if id.len() != 6 || !id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        bail!("{id:?} is no token's id: 6 lower-case letters or digits");
    }
    let api = Api::open(&arguments.api)?;
    api.delete(&format!("{SECRETS}/bootstrap-token-{id}")).await?;
    println!("The token {id} is deleted.");
    Ok(())
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    if text == "0" {
        return Ok(SignedDuration::ZERO);
    }
    let time: SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    if time.is_negative() {
        return Err("a token that is over before it begins".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_join_command_names_bus_token_and_ca() {
        let token: Token = "abcdef.0123456789abcdef".parse().unwrap();
        let info = |data: Value| json!({ "data": data });
        let plain = join_command(&info(json!({"bus": "nats://nats:4222"})), &token).unwrap();
        assert_eq!(plain, "sampan join nats://nats:4222 --token abcdef.0123456789abcdef");
        let closed = join_command(&info(json!({})), &token).unwrap_err().to_string();
        assert!(closed.contains("--address"), "{closed}");
    }

    #[test]
    fn a_token_is_listed_without_its_secret() {
        let field = |text: &str| json!(STANDARD.encode(text));
        let mut secret = json!({"type": TYPE, "data": {
            "token-id": field("abcdef"), "token-secret": field("0123456789abcdef"),
            "expiration": field("2026-01-01T14:30:00Z"), "uses": field("1"),
        }});
        assert_eq!(line(&secret, noon()), "abcdef  2h30m       1       any");
        secret["data"]["expiration"] = field("2026-01-01T11:00:00Z");
        assert_eq!(line(&secret, noon()), "abcdef  expired     1       any");
    }

    #[test]
    fn times_are_written_as_people_write_them() {
        assert_eq!(duration("0"), Ok(SignedDuration::ZERO));
        assert_eq!(duration("90m").map(left), Ok("1h30m".to_owned()));
        assert_eq!(left(SignedDuration::from_hours(50)), "2d2h");
        assert!(duration("soon").is_err() && duration("-1h").is_err());
    }
}
