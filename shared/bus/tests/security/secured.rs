//! The bus over TLS, with credentials from a file.

use std::path::Path;
use std::time::Duration;

use bus::security::{Role, authorization, ca_hash};
use bus::{Bus, Config, Identity, Trust};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use testkit::NatsServer;

use crate::client::Scene;

struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Ca {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).expect("a certificate").pem();
        Ca { issuer: Issuer::from_ca_cert_pem(&pem, key).expect("a CA"), pem }
    }

    /// Configuration of a server at 127.0.0.1 that shows the CA in its chain.
    fn serve(&self, folder: &Path) -> String {
        let key = KeyPair::generate().expect("a key");
        let names = vec!["127.0.0.1".to_owned()];
        let parameters = CertificateParams::new(names).expect("names");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let tls = bus::security::Tls {
            certificate: write("server.pem", certificate + &self.pem),
            key: write("server.key", key.serialize_pem()),
        };
        tls.block()
    }
}

#[tokio::test]
async fn only_the_ca_that_was_meant_vouches_for_the_bus() {
    let (scene, ca, folder) = (Scene::start(), Ca::new(), tempfile::tempdir().expect("a folder"));
    let config = ca.serve(folder.path()) + &authorization(&scene.authority);
    let server = NatsServer::start_with(&config).expect("a nats-server");
    let url = server.url().replace("nats://", "tls://");
    let trusting = |trust| Config { identity: Identity::Joining, trust, ..Config::new(&url, "test") };
    let hash = ca_hash(&ca.pem).expect("a certificate");
    let other = ca_hash(&Ca::new().pem).expect("a certificate");
    assert!(Bus::connect_now(&trusting(Trust::Hash(hash))).await.is_ok());
    let refused = Bus::connect_now(&trusting(Trust::Hash(other))).await.expect_err("another CA");
    assert!(refused.to_string().contains("certificate"), "{refused}");
    let refused = Bus::connect_now(&trusting(Trust::Machine)).await.expect_err("a CA that nobody knows");
    assert!(refused.to_string().contains("certificate"), "{refused}");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &ca.pem).expect("a file");
    assert!(Bus::connect_now(&trusting(Trust::File(file))).await.is_ok());
}

#[tokio::test]
async fn credentials_are_read_again_for_each_connection() {
    let mut scene = Scene::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("node.creds");
    let config =
        Config { identity: Identity::File(file.clone()), ..Config::new(&scene.server.url(), "test") };
    let refused = Bus::connect(&config).await.expect_err("no file");
    assert!(refused.to_string().contains("node.creds"), "{refused}");

    std::fs::write(&file, scene.credentials(Role::Node, "a").to_text()).expect("a file");
    let node = Bus::connect_now(&config).await.expect("a bus");
    let api = file.with_extension("api");
    std::fs::write(&api, scene.credentials(Role::ApiServer, "apiserver").to_text()).expect("a file");
    let api = Config { identity: Identity::File(api), ..config.clone() };
    let api = Bus::connect_now(&api).await.expect("a bus");

    std::fs::write(&file, scene.credentials(Role::Node, "b").to_text()).expect("a file");
    let mut beats = api.subscribe("hb.*").await.expect("sent");
    scene.server.restart().expect("a nats-server");
    let heard = async {
        loop {
            // What is sent while the connection is away, or as the node that it was, is not heard.
            let _ = node.publish("hb.b", &1_u8).await;
            tokio::select! {
                beat = beats.next() => return beat.expect("a beat").subject().to_owned(),
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
    };
    let heard = tokio::time::timeout(Duration::from_secs(20), heard).await.expect("a beat in time");
    assert_eq!(heard, "hb.b");
}
