//! exec and attach: a command's standard streams, between the bus and the runtime's streaming server.

use bus::stream::{Chunk, Event, Kind, Reader, Stdio, Stream, Writer};
use bytes::Bytes;
use model::Status;
use serde_json::Value;
use spdy::{Connection, Headers, Receiver, Sender};
use tokio::sync::mpsc;

use super::{last_word, refused, upgrade};
use crate::pods::{ContainerRef, Pods};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const RESIZE: u8 = 4;

/// The result is a `Status` in this version.
const PROTOCOL: &str = "v4.channel.k8s.io";
/// A `Status` is far smaller.
const RESULT_MAX: usize = 64 * 1024;

/// A command whose streams the runtime has opened.
pub(super) struct Command {
    /// Held, because dropping it ends the streams.
    _connection: Connection,
    error: spdy::Stream,
    stdin: Option<spdy::Stream>,
    stdout: Option<spdy::Stream>,
    stderr: Option<spdy::Stream>,
    resize: Option<spdy::Stream>,
}

/// Starts a command in a container, or joins the container's own.
pub(super) async fn start(
    runtime: &cri::Client,
    pods: &Pods,
    uid: &str,
    kind: Kind,
) -> Result<Command, Status> {
    let (url, stdio) = match kind {
        Kind::Exec { container, command, stdio } => {
            let id = running(pods, uid, &container)?.id;
            let request = cri::v1::ExecRequest {
                container_id: id,
                cmd: command,
                tty: stdio.tty,
                stdin: stdio.stdin,
                stdout: stdio.stdout,
                stderr: stdio.stderr,
            };
            (runtime.exec(request).await.map_err(refused)?, stdio)
        }
        Kind::Attach { container, stdio } => {
            let instance = running(pods, uid, &container)?;
            // Whether there is a terminal is the container's to say.
            let stdio = Stdio { tty: instance.tty, stderr: stdio.stderr && !instance.tty, ..stdio };
            let request = cri::v1::AttachRequest {
                container_id: instance.id,
                stdin: stdio.stdin,
                tty: stdio.tty,
                stdout: stdio.stdout,
                stderr: stdio.stderr,
            };
            (runtime.attach(request).await.map_err(refused)?, stdio)
        }
        Kind::Logs { .. } | Kind::PortForward { .. } => {
            return Err(Status::internal("no command is asked for"));
        }
    };
    let connection = upgrade::connect(&url, &[PROTOCOL]).await.map_err(Status::internal)?;
    Command::open(connection, stdio).await.map_err(Status::internal)
}

fn running(pods: &Pods, uid: &str, container: &str) -> Result<ContainerRef, Status> {
    match pods.container(uid, container, false) {
        Ok(instance) if instance.running => Ok(instance),
        _ => Err(Status::internal(format!(
            "unable to upgrade connection: container not found ({container:?})"
        ))),
    }
}

// === impl Command ===

impl Command {
    /// Opens the streams in the order in which the runtime's own clients do.
    async fn open(connection: Connection, stdio: Stdio) -> Result<Command, spdy::Error> {
        let open = async |wanted: bool, name: &str| match wanted {
            true => connection.open(Headers::new().with("streamType", name)).await.map(Some),
            false => Ok(None),
        };
        let error = connection.open(Headers::new().with("streamType", "error")).await?;
        let stdin = open(stdio.stdin, "stdin").await?;
        let stdout = open(stdio.stdout, "stdout").await?;
        let stderr = open(stdio.stderr, "stderr").await?;
        let resize = open(stdio.tty, "resize").await?;
        Ok(Command { error, stdin, stdout, stderr, resize, _connection: connection })
    }

    /// Carries the streams until the command has ended or the client is gone; then the runtime ends them.
    pub(super) async fn carry(self, stream: Stream) {
        let (writer, reader) = stream.split();
        let Command { error, stdin, stdout, stderr, resize, _connection } = self;
        let output = async {
            // Everything that the command wrote is sent before its result.
            tokio::join!(
                forward(stdout, STDOUT, &writer),
                forward(stderr, STDERR, &writer),
                result(error.receiver)
            )
            .2
        };
        let status = tokio::select! {
            status = output => status,
            () = input(reader, stdin, resize) => return,
        };
        // The client may have left in this moment.
        let _ = writer.close(status).await;
    }
}

/// From a stream of the command to a channel of the client.
async fn forward(stream: Option<spdy::Stream>, channel: u8, writer: &Writer) {
    let Some(mut stream) = stream else { return };
    // A stream that breaks off takes the others with it, and the result says so.
    while let Ok(Some(bytes)) = stream.receiver.next().await {
        if writer.send(channel, bytes).await.is_err() {
            return;
        }
    }
    // The client may have left.
    let _ = writer.eof(channel).await;
}

/// How the command ended, in the runtime's words. The runtime resets its streams when it is through with them, so any
/// end will do as long as the result is whole.
async fn result(mut error: Receiver) -> Bytes {
    let mut text = Vec::new();
    let end = loop {
        match error.next().await {
            Ok(Some(bytes)) if text.len() + bytes.len() <= RESULT_MAX => text.extend_from_slice(&bytes),
            Ok(Some(_)) => break "its result is too large".to_owned(),
            Ok(None) => break "it gave no result".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    if let Ok(status) = serde_json::from_slice(&text) {
        return in_short(status).to_string().into();
    }
    last_word(&Status::internal(format!("the runtime ended the streams: {end}")))
}

/// The same result for every runtime: each words an exit code in its own way, some with the whole command in it.
fn in_short(mut status: Value) -> Value {
    let code = status["details"]["causes"].as_array().and_then(|causes| {
        let cause = causes.iter().find(|cause| cause["reason"] == "ExitCode")?;
        cause["message"].as_str().map(str::to_owned)
    });
    if let Some(code) = code.filter(|_| status["reason"] == "NonZeroExitCode") {
        status["message"] = format!("command terminated with exit code {code}").into();
    }
    status
}

/// From the client to the command, until the client has gone. Resizing does not wait for input that waits.
async fn input(mut reader: Reader, stdin: Option<spdy::Stream>, resize: Option<spdy::Stream>) {
    // Bounded by the credit of the channel, which chunks hold until they are written.
    let (to_stdin, stdin_queue) = mpsc::unbounded_channel();
    let (to_resize, resize_queue) = mpsc::unbounded_channel();
    let (mut to_stdin, mut to_resize) = (Some(to_stdin), Some(to_resize));
    let distribute = async {
        loop {
            let (queue, chunk) = match reader.recv().await {
                Ok(Event::Data(STDIN, chunk)) => (&mut to_stdin, Some(chunk)),
                Ok(Event::Data(RESIZE, chunk)) => (&mut to_resize, Some(chunk)),
                Ok(Event::Eof(STDIN)) => (&mut to_stdin, None),
                Ok(Event::Eof(RESIZE)) => (&mut to_resize, None),
                Ok(Event::Data(..) | Event::Eof(_)) => continue,
                Ok(Event::Close(_)) | Err(_) => return,
            };
            match chunk {
                // The command may take no more.
                Some(chunk) => drop(queue.as_ref().map(|queue| queue.send(chunk))),
                None => *queue = None,
            }
        }
    };
    // The other halves are held: dropping them would say that we want no more.
    let (mut stdin, mut resize) = (stdin, resize);
    let write = async {
        tokio::join!(
            write_to(stdin.as_mut().map(|stream| &mut stream.sender), stdin_queue),
            write_to(resize.as_mut().map(|stream| &mut stream.sender), resize_queue)
        );
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = distribute => {}
        () = write => {}
    }
}

async fn write_to(sender: Option<&mut Sender>, mut queue: mpsc::UnboundedReceiver<Chunk>) {
    let Some(sender) = sender else { return };
    while let Some(chunk) = queue.recv().await {
        if sender.send(Bytes::clone(&chunk)).await.is_err() {
            // The command has closed its input; how it ended is told elsewhere.
            return;
        }
    }
    // Says that input has ended.
    let _ = sender.finish();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_exit_code_is_worded_alike_for_every_runtime() {
        let status = |message: &str| {
            json!({
                "metadata": {}, "status": "Failure", "message": message, "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
            })
        };
        let long = "command terminated with non-zero exit code: error executing command [sh], exit code 3";
        assert_eq!(in_short(status(long)), status("command terminated with exit code 3"));
    }

    #[test]
    fn every_other_result_stays_as_it_is() {
        let cases = [
            json!({"metadata": {}, "status": "Success"}),
            json!({"status": "Failure", "message": "no such file or directory", "reason": "InternalError"}),
            json!("text"),
        ];
        for status in cases {
            assert_eq!(in_short(status.clone()), status);
        }
    }
}
