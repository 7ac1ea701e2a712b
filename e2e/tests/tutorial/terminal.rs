//! A person at a terminal: waits for what is printed, and types.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use e2e::{Kubectl, PATIENCE};

/// A command of kubectl with a terminal of its own.
pub struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    printed: Receiver<Vec<u8>>,
    /// Printed and not yet waited for.
    screen: String,
}

// === impl Terminal ===

impl Terminal {
    /// Starts the command; `script` makes the terminal.
    pub fn open(kubectl: &Kubectl, command: &str) -> Result<Self> {
        let whole = kubectl.command(command);
        let words = std::iter::once(whole.get_program()).chain(whole.get_args());
        let line: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        let mut script = Command::new("script");
        // A terminal without a size makes programs ask for it, and nobody here would answer.
        script.args(["-qec", &format!("stty rows 24 cols 80; exec {}", line.join(" ")), "/dev/null"]);
        script.envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child =
            script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot run script")?;
        let keyboard = child.stdin.take().context("stdin is piped")?;
        let mut output = child.stdout.take().context("stdout is piped")?;
        let (sender, printed) = channel();
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut some) {
                if sender.send(some[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Terminal { child, keyboard, printed, screen: String::new() })
    }

    /// Waits until `text` is printed.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(place) = self.screen.find(text) {
                self.screen.drain(..place + text.len());
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.printed.recv_timeout(left) {
                Ok(more) => self.screen.push_str(&String::from_utf8_lossy(&more)),
                Err(error) => bail!("no {text:?} ({error}): {}", self.screen),
            }
        }
    }

    /// Types a line, and the key that ends it.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        self.keyboard.write_all(format!("{line}\r").as_bytes()).context("cannot type")?;
        self.keyboard.flush().context("cannot type")
    }

    /// Waits for the command's own end, which must be a good one.
    pub fn close(mut self) -> Result<()> {
        let status = self.child.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
