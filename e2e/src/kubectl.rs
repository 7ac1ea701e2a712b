//! The real kubectl.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// kubectl with the cluster's kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: OsString,
    kubeconfig: PathBuf,
    home: PathBuf,
}

/// What a command printed and how it ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The exit code, -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// A kubectl that goes on, as `get -w` and `logs -f`.
pub struct Following {
    child: Child,
    lines: Receiver<String>,
}

// === impl Kubectl ===

impl Kubectl {
    /// `SAMPAN_KUBECTL`, else the kubectl on PATH; its caches lie under `home`.
    pub fn new(kubeconfig: &Path, home: &Path) -> Self {
        Kubectl {
            program: std::env::var_os("SAMPAN_KUBECTL").unwrap_or_else(|| "kubectl".into()),
            kubeconfig: kubeconfig.to_owned(),
            home: home.to_owned(),
        }
    }

    /// A command with its arguments separated by blanks.
    pub fn command(&self, line: &str) -> Command {
        self.with(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// A command with its arguments one by one.
    pub fn with(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command line and returns what happened.
    pub fn run(&self, line: &str) -> Result<Ran> {
        ran(&mut self.command(line))
    }

    /// Runs a command line that must succeed; returns its output.
    pub fn ok(&self, line: &str) -> Result<String> {
        self.run(line)?.ok(line)
    }

    /// Runs arguments that must succeed; returns the output.
    pub fn ok_with(&self, arguments: &[&str]) -> Result<String> {
        ran(&mut self.with(arguments))?.ok(&arguments.join(" "))
    }

    /// Runs a command line that must fail; returns what it printed to standard error.
    pub fn refused(&self, line: &str) -> Result<String> {
        let ran = self.run(line)?;
        ensure!(ran.code != 0, "kubectl {line} succeeded: {}", ran.out);
        Ok(ran.err)
    }

    /// Runs a command line that must succeed, with `input` on its standard input.
    pub fn ok_fed(&self, line: &str, input: &str) -> Result<String> {
        self.fed(line, input)?.ok(line)
    }

    /// Runs a command line with `input` on its standard input.
    pub fn fed(&self, line: &str, input: &str) -> Result<Ran> {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run kubectl")?;
        child.stdin.take().context("stdin is piped")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        Ok(Ran::from(output))
    }

    /// The object that a `get` prints as JSON.
    pub fn json(&self, line: &str) -> Result<Value> {
        let text = self.ok(&format!("{line} -o json"))?;
        serde_json::from_str(&text).with_context(|| format!("kubectl {line} printed no JSON"))
    }

    /// The value that a jsonpath prints.
    pub fn path(&self, line: &str, path: &str) -> Result<String> {
        let mut arguments: Vec<&str> = line.split_whitespace().collect();
        let output = format!("-o=jsonpath={path}");
        arguments.push(&output);
        self.ok_with(&arguments)
    }

    /// Starts a command line that goes on.
    pub fn follow(&self, line: &str) -> Result<Following> {
        follow(self.command(line))
    }
}

/// Starts a command that goes on.
pub fn follow(mut command: Command) -> Result<Following> {
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().context("cannot run kubectl")?;
    let output = BufReader::new(child.stdout.take().context("stdout is piped")?);
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(Following { child, lines })
}

fn ran(command: &mut Command) -> Result<Ran> {
    let output = command.output().context("cannot run kubectl: run `make setup`")?;
    Ok(Ran::from(output))
}

// === impl Ran ===

impl From<std::process::Output> for Ran {
    fn from(output: std::process::Output) -> Self {
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    fn ok(self, line: &str) -> Result<String> {
        if self.code != 0 {
            bail!("kubectl {line}: exit {}: {}{}", self.code, self.out.trim(), self.err.trim());
        }
        Ok(self.out)
    }
}

// === impl Following ===

impl Following {
    /// The next line that `wanted` takes.
    pub fn line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + crate::PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left.max(Duration::from_millis(1))) {
                Ok(line) if wanted(&line) => return Ok(line),
                Ok(line) => seen.push(line),
                Err(error) => bail!("{what}: {error}; it printed:\n{}", seen.join("\n")),
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
