//! A client that notes what the server forbids it.

use async_nats::{ConnectOptions, Event, ServerError};
use bus::security::{Authority, Credentials, Role, authorization};
use testkit::NatsServer;
use tokio::sync::mpsc;

/// A server with its keys.
pub struct Scene {
    pub server: NatsServer,
    pub authority: Authority,
}

pub struct Client {
    pub nats: async_nats::Client,
    forbidden: mpsc::UnboundedReceiver<String>,
    /// A subject where it may ask and nobody answers.
    asks: String,
}

impl Scene {
    pub fn start() -> Scene {
        let authority = Authority::new(0);
        let server = NatsServer::start_with(&authorization(&authority)).expect("a nats-server");
        Scene { server, authority }
    }

    pub fn credentials(&self, role: Role, name: &str) -> Credentials {
        self.authority.signer(role).issue(name, 0, None)
    }

    pub async fn connect(&self, role: Role, name: &str) -> Client {
        let credentials = self.credentials(role, name);
        let options = ConnectOptions::with_credentials(&credentials.to_text()).expect("credentials");
        let options = options.custom_inbox_prefix(credentials.inbox());
        let asks = match role {
            Role::ApiServer | Role::Service => "ext.nobody".to_owned(),
            Role::Node => format!("credential.{name}"),
            Role::Joining => "join.nobody".to_owned(),
        };
        Client { asks, ..self.connect_with(options).await.expect("a connection") }
    }

    pub async fn connect_with(&self, options: ConnectOptions) -> Result<Client, async_nats::ConnectError> {
        let (note, forbidden) = mpsc::unbounded_channel();
        let options = options.event_callback(move |event| {
            let note = note.clone();
            async move {
                if let Event::ServerError(ServerError::Other(why)) = event {
                    let _ = note.send(why.to_lowercase());
                }
            }
        });
        let asks = "join.nobody".to_owned();
        Ok(Client { nats: options.connect(self.server.url()).await?, forbidden, asks })
    }
}

impl Client {
    /// Whether the server lets it publish there.
    pub async fn may_publish(&mut self, subject: &str) -> bool {
        self.nats.publish(subject.to_owned(), "x".into()).await.expect("it is sent");
        self.is_allowed("publish", subject).await
    }

    /// Whether the server lets it subscribe there.
    pub async fn may_subscribe(&mut self, subject: &str) -> bool {
        let subscription = self.nats.subscribe(subject.to_owned()).await.expect("it is sent");
        let allowed = self.is_allowed("subscription", subject).await;
        drop(subscription);
        allowed
    }

    /// The server judges in order: once it has answered a request, everything before it was judged.
    async fn is_allowed(&mut self, what: &str, subject: &str) -> bool {
        // Nobody listens there, or the role may not ask there: in either case there is an answer soon.
        let ask = self.nats.request(self.asks.clone(), "x".into());
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), ask).await;
        let wanted = format!("permissions violation for {what} to \"{}\"", subject.to_lowercase());
        let patience = std::time::Duration::from_millis(100);
        while let Ok(Some(why)) = tokio::time::timeout(patience, self.forbidden.recv()).await {
            if why.contains(&wanted) {
                return false;
            }
        }
        true
    }
}
