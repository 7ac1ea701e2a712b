//! The node's credentials on a bus that knows roles.

use std::os::unix::fs::PermissionsExt;

use bus::join::{LIFE_SECONDS, Renew, Renewed};
use bus::security::{Authority, Credentials, Role, authorization};
use bus::{Bus, Config, Identity, subject};
use jiff::Timestamp;
use node_agent::node::credentials::renew;
use testkit::NatsServer;

#[tokio::test]
async fn credentials_are_renewed_when_a_third_of_their_life_is_over_and_not_before() {
    let authority = Authority::new(0);
    let nats = NatsServer::start_with(&authorization(&authority)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let connect = async |file: &std::path::Path, credentials: &Credentials| {
        std::fs::write(file, credentials.to_text()).unwrap();
        let config = Config { identity: Identity::File(file.to_owned()), ..Config::new(&nats.url(), "test") };
        Bus::connect_now(&config).await.unwrap()
    };
    let api =
        connect(&folder.path().join("api"), &authority.signer(Role::ApiServer).issue("apiserver", 0, None))
            .await;
    let mut asked = api.serve(subject::CREDENTIAL_ALL, subject::API_SERVERS).await.unwrap();
    api.flush().await.unwrap();
    let nodes = authority.signer(Role::Node);
    let signs = nodes.clone();
    tokio::spawn(async move {
        while let Some(request) = asked.next().await {
            let Renew { public_key } = request.decode().unwrap();
            let name = subject::escape(&subject::node_of(request.subject()));
            let later = Timestamp::now().as_second() + LIFE_SECONDS;
            let answer: Renewed = Ok(signs.statement(&name, &public_key, 0, Some(later)));
            request.answer(&answer).await;
        }
    });

    let now = Timestamp::now().as_second();
    let file = folder.path().join("node");
    let fresh = nodes.issue("a%2eb", now, Some(now + LIFE_SECONDS));
    let node = connect(&file, &fresh).await;
    assert_eq!(renew(&node, "a.b", &file).await, Ok(false));

    let older = nodes.issue("a%2eb", now, Some(now + LIFE_SECONDS / 2));
    let node = connect(&file, &older).await;
    assert_eq!(renew(&node, "a.b", &file).await, Ok(true));
    let newer = Credentials::from_text(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert!(newer.expires() > older.expires() && newer.public_key() == older.public_key());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    connect(&folder.path().join("again"), &newer).await;
    assert!(renew(&node, "another", &file).await.is_ok_and(|done| !done), "nothing is due");
}
