//! A child process that ends with its guard, whose output is kept line by line.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::wait_for;

/// Lines kept of each process; more would only slow the tests down.
const LINES: usize = 20_000;

#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    ended: bool,
}

impl Process {
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} did not start: {error} ({command:?})"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let readers = vec![keep(stdout, &lines), keep(stderr, &lines)];
        Self { name: name.to_owned(), child, lines, readers, ended: false }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it printed so far, both outputs.
    pub fn output(&self) -> String {
        self.lines.lock().expect("lines").join("\n")
    }

    /// Waits for a line for which `pick` has an answer, among the lines after the first `from`.
    #[track_caller]
    pub fn wait_line<T>(
        &self,
        what: &str,
        from: usize,
        within: Duration,
        pick: impl Fn(&str) -> Option<T>,
    ) -> T {
        wait_for(&format!("{}: {what}", self.name), within, || {
            self.lines.lock().expect("lines").iter().skip(from).find_map(|line| pick(line))
        })
    }

    /// The number of lines so far, for [`Process::wait_line`].
    pub fn line_count(&self) -> usize {
        self.lines.lock().expect("lines").len()
    }

    pub fn write_line(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is open");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).expect("the process reads its input");
    }

    pub fn signal(&self, signal: Signal) {
        assert!(!self.ended, "{} has ended", self.name);
        let pid = Pid::from_raw(self.child.id() as i32).expect("a pid");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("signal to {}: {error}", self.name));
    }

    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.ended = true;
            for reader in self.readers.drain(..) {
                let _ = reader.join();
            }
        }
    }

    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("a child of ours");
        self.ended |= status.is_some();
        status
    }

    /// Waits for its end. Its output is complete afterwards.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let status = wait_for(&what, within, || self.try_wait());
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let lines = self.lines.lock().map(|lines| lines.clone()).unwrap_or_default();
            eprintln!("--- last lines of {}:", self.name);
            for line in lines.iter().skip(lines.len().saturating_sub(60)) {
                eprintln!("    {line}");
            }
        }
    }
}

fn keep(output: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut lines = lines.lock().expect("lines");
            // Past the limit it is still read, or the process would block on a full pipe.
            if lines.len() < LINES {
                lines.push(line);
            }
        }
    })
}
