//! What a request asks for, from its query. No IO.

use bus::stream::{Kind, LogOptions, Stdio};
use jiff::Timestamp;
use model::{FieldError, Status};

use super::pod::Pod;
use crate::http::query::Query;

/// Ports of one port-forward over channels: two channels each, numbered in a byte.
const PORTS_MAX: usize = 127;

/// `PodExecOptions`
pub(super) fn exec(query: &Query, pod: &Pod) -> Result<(Kind, Stdio), Status> {
    let container = pod.container(query.first("container").unwrap_or(""))?;
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(Status::bad_request("you must specify at least one command for the container"));
    }
    let stdio = stdio(query)?;
    Ok((Kind::Exec { container, command, stdio }, stdio))
}

/// `PodAttachOptions`
pub(super) fn attach(query: &Query, pod: &Pod) -> Result<(Kind, Stdio), Status> {
    let container = pod.container(query.first("container").unwrap_or(""))?;
    let stdio = stdio(query)?;
    Ok((Kind::Attach { container, stdio }, stdio))
}

fn stdio(query: &Query) -> Result<Stdio, Status> {
    let flag = |name| query.flag(name).unwrap_or(false);
    let tty = flag("tty");
    // A terminal has one output.
    let stdio = Stdio { stdin: flag("stdin"), stdout: flag("stdout"), stderr: flag("stderr") && !tty, tty };
    if !(stdio.stdin || stdio.stdout || stdio.stderr) {
        return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    Ok(stdio)
}

/// The `ports` of a port-forward, each given once.
pub(super) fn ports(query: &Query) -> Result<Vec<u16>, Status> {
    let mut ports = Vec::new();
    // The API calls it `ports`; the streaming servers of runtimes, and clients made for them, `port`.
    for text in query.all("ports").chain(query.all("port")).flat_map(|list| list.split(',')) {
        match text.trim().parse() {
            Ok(port) if port > 0 => ports.push(port),
            _ => return Err(Status::bad_request(format!("invalid port {text:?}"))),
        }
    }
    if ports.is_empty() {
        return Err(Status::bad_request("query parameter \"ports\" is required"));
    }
    if ports.len() > PORTS_MAX {
        return Err(Status::bad_request(format!("at most {PORTS_MAX} ports can be forwarded at a time")));
    }
    Ok(ports)
}

/// `PodLogOptions`
pub(super) fn logs(query: &Query, pod: &Pod) -> Result<Kind, Status> {
    let container = pod.container(query.first("container").unwrap_or(""))?;
    let flag = |name| query.flag(name).unwrap_or(false);
    let mut wrong = Vec::new();
    let mut number = |name: &str, least: i64| -> Result<Option<i64>, Status> {
        let value = query.number(name)?;
        if let Some(value) = value.filter(|value| *value < least) {
            let rule = match least {
                0 => "must be greater than or equal to 0",
                _ => "must be greater than 0",
            };
            wrong.push(FieldError::invalid(name, value, rule));
        }
        Ok(value)
    };
    let tail_lines = number("tailLines", 0)?;
    let limit_bytes = number("limitBytes", 1)?;
    let since_seconds = number("sinceSeconds", 1)?;
    let since_time = query.first("sinceTime").filter(|text| !text.is_empty());
    if let Some(time) = since_time.filter(|time| time.parse::<Timestamp>().is_err()) {
        return Err(Status::bad_request(format!("sinceTime: {time:?} is no RFC 3339 time")));
    }
    if since_time.is_some() && since_seconds.is_some() {
        let rule = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        wrong.push(FieldError::forbidden("sinceTime", rule));
    }
    if !wrong.is_empty() {
        return Err(Status::invalid("", "PodLogOptions", &pod.metadata.name, &wrong));
    }
    let positive = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    let options = LogOptions {
        follow: flag("follow"),
        previous: flag("previous"),
        tail_lines: positive(tail_lines),
        since_seconds,
        since_time: since_time.map(str::to_owned),
        timestamps: flag("timestamps"),
        limit_bytes: positive(limit_bytes),
    };
    Ok(Kind::Logs { container, options })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        let json = br#"{"metadata":{"name":"web"},"spec":{"containers":[{"name":"app"}]}}"#;
        Pod::parse(json).unwrap()
    }

    fn query(text: &str) -> Query {
        Query::parse(Some(text))
    }

    #[test]
    fn a_command_is_its_words_in_order() {
        let (kind, stdio) =
            exec(&query("command=sh&command=-c&command=echo+a%20b&stdin=1&stdout=true&stderr=true"), &pod())
                .unwrap();
        let Kind::Exec { container, command, .. } = kind else { panic!("{kind:?}") };
        assert_eq!((container.as_str(), command), ("app", vec!["sh".into(), "-c".into(), "echo a b".into()]));
        assert!(stdio.stdin && stdio.stdout && stdio.stderr && !stdio.tty);
    }

    #[test]
    fn a_terminal_has_no_separate_standard_error() {
        let (_, stdio) = exec(&query("command=sh&stdout=1&stderr=1&tty=1"), &pod()).unwrap();
        assert!(stdio.stdout && !stdio.stderr && stdio.tty);
    }

    #[test]
    fn a_command_without_streams_or_words_is_refused() {
        assert_eq!(exec(&query("command=sh"), &pod()).unwrap_err().code(), 400);
        assert_eq!(exec(&query("stdout=1"), &pod()).unwrap_err().code(), 400);
        assert_eq!(attach(&query(""), &pod()).unwrap_err().code(), 400);
    }

    #[test]
    fn ports_are_named_once_or_many_times() {
        assert_eq!(ports(&query("ports=80,443&ports=22")).unwrap(), [80, 443, 22]);
        for wrong in ["", "ports=", "ports=0", "ports=70000", "ports=http"] {
            assert_eq!(ports(&query(wrong)).unwrap_err().code(), 400, "{wrong}");
        }
    }

    #[test]
    fn log_options_are_checked_as_upstream_checks_them() {
        let Kind::Logs { options, .. } = logs(
            &query("follow=true&tailLines=5&limitBytes=10&sinceSeconds=3&timestamps=1&previous=false"),
            &pod(),
        )
        .unwrap() else {
            panic!("not logs")
        };
        assert_eq!(
            (options.tail_lines, options.limit_bytes, options.since_seconds),
            (Some(5), Some(10), Some(3))
        );
        assert!(options.follow && options.timestamps && !options.previous);

        let message = |text: &str| logs(&query(text), &pod()).unwrap_err();
        assert_eq!(
            message("tailLines=-1").message,
            "PodLogOptions \"web\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0"
        );
        assert_eq!(message("limitBytes=0").code(), 422);
        assert_eq!(message("sinceSeconds=0").code(), 422);
        assert_eq!(message("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z").code(), 422);
        assert_eq!(message("sinceTime=yesterday").code(), 400);
        assert_eq!(message("tailLines=many").code(), 400);
    }
}
