//! Streams from the bus into real containers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bus::stream::{Event, Kind, LogOptions, Open, Stdio, Stream};
use bytes::Bytes;
use model::Status;
use serde_json::{Value, json};
use tokio::time::timeout;

use bus::Bus;

use crate::support::control::Control;
use crate::support::scene::{NODE, Scene, shell};

/// Long enough for a busy machine; a test that is right never waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
const ALL: Stdio = Stdio { stdin: true, stdout: true, stderr: true, tty: false };

/// An API server's side.
struct Client {
    bus: Bus,
    control: Control,
}

/// Everything that came, by channel, and the last word.
#[derive(Debug, Default)]
struct Heard {
    channels: BTreeMap<u8, Vec<u8>>,
    last: Value,
}

impl Client {
    async fn connect(scene: &Scene) -> Client {
        let config = bus::Config::new(&scene.nats.url(), "apiserver");
        let bus = Bus::connect(&config).await.unwrap();
        // Connecting goes on in the background.
        bus.client().flush().await.unwrap();
        Client { bus, control: scene.control.clone() }
    }

    async fn open(&self, pod: &str, kind: Kind) -> Result<Stream, Status> {
        let open = Open {
            id: format!("{:016x}", rand::random::<u64>()),
            namespace: "default".to_owned(),
            pod: pod.to_owned(),
            uid: self.control.pod(pod)["metadata"]["uid"].as_str().unwrap().to_owned(),
            kind,
        };
        bus::stream::open(&self.bus, NODE, open).await
    }

    async fn exec(&self, pod: &str, script: &str, stdio: Stdio) -> Result<Stream, Status> {
        let command = ["/bin/busybox", "sh", "-c", script].map(str::to_owned).to_vec();
        self.open(pod, Kind::Exec { container: "main".to_owned(), command, stdio }).await
    }

    async fn logs(&self, pod: &str, options: LogOptions) -> String {
        let stream = self.open(pod, Kind::Logs { container: "main".to_owned(), options }).await.unwrap();
        hear(stream).await.text(1)
    }
}

impl Heard {
    fn text(&self, channel: u8) -> String {
        String::from_utf8_lossy(self.channels.get(&channel).map_or(&[], Vec::as_slice)).into_owned()
    }
}

/// Listens to the end.
async fn hear(mut stream: Stream) -> Heard {
    let mut heard = Heard::default();
    loop {
        match timeout(PATIENCE, stream.recv()).await.expect("an event in time").unwrap() {
            Event::Data(channel, chunk) => {
                heard.channels.entry(channel).or_default().extend_from_slice(&chunk)
            }
            Event::Eof(_) => {}
            Event::Close(status) => {
                heard.last = serde_json::from_slice(&status).unwrap_or_default();
                return heard;
            }
        }
    }
}

async fn send(stream: &Stream, channel: u8, text: &str) {
    stream.send(channel, Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_reach_into_containers() {
    let Some(mut scene) = Scene::set().await else { return };
    let client = Client::connect(&scene).await;
    let serve = |text: &str, port: u16| {
        format!(
            "/bin/busybox mkdir /www; echo {text} > /www/index.html; echo listening; \
             /bin/busybox httpd -p 127.0.0.1:{port} -h /www; \
             while read -r line; do echo \"heard $line\"; done; exec /bin/busybox sleep 100000"
        )
    };
    let mut talks = shell(&serve("from-the-pod", 8080));
    talks["stdin"] = json!(true);
    scene.control.run("talks", talks, json!({"terminationGracePeriodSeconds": 1})).await;
    let counts = shell("for n in 1 2 3 4 5; do echo line $n; /bin/busybox sleep 0.3; done");
    scene.control.run("counts", counts, json!({"restartPolicy": "Never"})).await;
    let host_port = testkit::free_port().unwrap();
    let on_host = json!({"hostNetwork": true, "terminationGracePeriodSeconds": 1});
    scene.control.run("host", shell(&serve("from-the-host", host_port)), on_host).await;
    scene.control.until_running("talks").await;
    scene.until_log("talks", "listening").await;

    commands_have_streams_and_an_exit_code(&client).await;
    a_terminal_has_a_size(&client).await;
    what_cannot_run_is_said_to_be_so(&client).await;
    much_output_arrives_whole(&client).await;
    logs_are_followed_to_the_end(&client).await;
    ports_are_forwarded(&client, host_port).await;
    a_container_is_joined(&client).await;
    scene.end().await;
}

async fn commands_have_streams_and_an_exit_code(client: &Client) {
    let script = "echo out; echo err >&2; /bin/busybox cat; exit 3";
    let stream = client.exec("talks", script, ALL).await.unwrap();
    send(&stream, 0, "from the client").await;
    stream.eof(0).await.unwrap();
    let heard = hear(stream).await;
    assert_eq!(heard.text(1), "out\nfrom the client");
    assert_eq!(heard.text(2), "err\n");
    assert_eq!(
        heard.last,
        json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": "command terminated with exit code 3",
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
        })
    );
    let output = Stdio { stdout: true, ..Stdio::default() };
    let heard = hear(client.exec("talks", "exit 0", output).await.unwrap()).await;
    assert_eq!(heard.last["status"], "Success");
}

async fn a_terminal_has_a_size(client: &Client) {
    let terminal = Stdio { stdin: true, stdout: true, stderr: false, tty: true };
    // The size is there once the runtime has read it; until then the command asks again.
    let script = "until [ \"$(/bin/busybox stty size 2>/dev/null)\" = '33 101' ]; do :; done; echo resized";
    let stream = client.exec("talks", script, terminal).await.unwrap();
    send(&stream, 4, r#"{"Width":101,"Height":33}"#).await;
    assert_eq!(hear(stream).await.text(1), "resized\r\n");
}

async fn what_cannot_run_is_said_to_be_so(client: &Client) {
    let command = vec!["/no/such/program".to_owned()];
    let stdio = Stdio { stdout: true, ..Stdio::default() };
    let stream = client
        .open("talks", Kind::Exec { container: "main".to_owned(), command: command.clone(), stdio })
        .await
        .unwrap();
    let heard = hear(stream).await;
    assert_eq!(heard.last["status"], "Failure");
    assert!(heard.last["message"].as_str().unwrap().contains("no such file or directory"), "{heard:?}");
    let other = Kind::Exec { container: "other".to_owned(), command, stdio };
    let refused = client.open("talks", other).await.unwrap_err();
    assert!(refused.message.contains("container not found (\"other\")"), "{refused}");
}

async fn much_output_arrives_whole(client: &Client) {
    let output = Stdio { stdout: true, ..Stdio::default() };
    let script = "/bin/busybox dd if=/dev/zero bs=1M count=20 2>/dev/null";
    let heard = hear(client.exec("talks", script, output).await.unwrap()).await;
    assert_eq!(heard.channels[&1].len(), 20 << 20);
    assert_eq!(heard.last["status"], "Success");
}

async fn logs_are_followed_to_the_end(client: &Client) {
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    client
        .control
        .until("it has begun", 20, |control| !control.main("counts")["containerID"].is_null())
        .await;
    assert_eq!(client.logs("counts", follow).await, "line 1\nline 2\nline 3\nline 4\nline 5\n");
    let tail = LogOptions { tail_lines: Some(2), ..LogOptions::default() };
    assert_eq!(client.logs("counts", tail).await, "line 4\nline 5\n");
    let timestamps = LogOptions { tail_lines: Some(1), timestamps: true, ..LogOptions::default() };
    let line = client.logs("counts", timestamps).await;
    let (time, text) = line.split_once(' ').unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok() && text == "line 5\n", "{line}");
    let previous = LogOptions { previous: true, ..LogOptions::default() };
    let kind = Kind::Logs { container: "main".to_owned(), options: previous };
    let refused = client.open("counts", kind).await.unwrap_err();
    assert_eq!(refused.message, "previous terminated container \"main\" in pod \"counts\" not found");
}

async fn ports_are_forwarded(client: &Client, host_port: u16) {
    for (pod, port, text) in [("talks", 8080, "from-the-pod\n"), ("host", host_port, "from-the-host\n")] {
        client.control.until_running(pod).await;
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match client.open(pod, Kind::PortForward { port }).await {
                Ok(stream) => break stream,
                Err(status) => assert!(Instant::now() < deadline, "{pod} does not listen: {status}"),
            }
        };
        send(&stream, 0, "GET / HTTP/1.0\r\n\r\n").await;
        stream.eof(0).await.unwrap();
        let heard = hear(stream).await;
        assert!(heard.text(1).ends_with(text), "the answer comes after our half was closed: {heard:?}");
    }
    let refused = client.open("talks", Kind::PortForward { port: 81 }).await.unwrap_err();
    assert!(refused.message.ends_with("connection refused"), "{refused}");
}

async fn a_container_is_joined(client: &Client) {
    let stdio = Stdio { stdin: true, stdout: true, ..Stdio::default() };
    let mut stream =
        client.open("talks", Kind::Attach { container: "main".to_owned(), stdio }).await.unwrap();
    send(&stream, 0, "hello\n").await;
    let mut output = String::new();
    while !output.contains("heard hello\n") {
        match timeout(PATIENCE, stream.recv()).await.expect("the container answers").unwrap() {
            Event::Data(1, chunk) => output.push_str(&String::from_utf8_lossy(&chunk)),
            other => panic!("{other:?} after {output:?}"),
        }
    }
}
