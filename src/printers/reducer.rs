//! A printer's link as a pure state machine: what happened goes in with the time, what is to be done comes
//! out, and between them is what is known of the printer. No clock, no network; driven by
//! [`super::session`].
//!
//! The rules:
//! - On connecting it is asked who it is, and for everything, the latter no more often than its model
//!   stands, whichever link asked last. What was known before stays, marked as old.
//! - Statuses are merged; answers to commands never are. A command is done when an answer with its name and
//!   number says so.
//! - After [`Patience::silence`] without a status it is asked to go on, and [`Patience::last_word`] later it
//!   is given up.

use std::time::{Duration, SystemTime};

use super::command::{self, Command, CommandError, MEND};
use super::merge::{Overgrown, Tree};
use super::models::Model;
use super::reading;
use super::report::{self, Report};
use super::state::PrinterState;

/// Commands that await their answers at a time.
const PENDING: usize = 8;

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For reaching the printer, TLS and MQTT's greeting, together.
    pub connect: Duration,
    /// A connection that has nothing else to send says this often that it is there.
    pub keep_alive: Duration,
    /// And the printer confirms it within this.
    pub pong: Duration,
    /// The first word after connecting.
    pub first_word: Duration,
    /// Without a status for this long, what is known is old, and the printer is asked to go on.
    pub silence: Duration,
    /// If it says nothing to that either, the connection is given up.
    pub last_word: Duration,
    /// For the answer to a command.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(8),
            keep_alive: Duration::from_secs(15),
            pong: Duration::from_secs(10),
            first_word: Duration::from_secs(10),
            silence: Duration::from_secs(60),
            last_word: Duration::from_secs(15),
            answer: Duration::from_secs(5),
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The printer lets us in and its reports are subscribed to. Requests are numbered from `first` on: others
    /// ask the same printer, and its answers go to everybody.
    Connected { first: u32 },
    /// The connection is no more, and why, in words.
    Disconnected(String),
    /// A message came.
    Message(&'a [u8]),
    /// Somebody wants something done; `ticket` is of the caller's choosing.
    Command { command: Command, ticket: u64 },
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send this.
    Publish(String),
    /// A command has come to its end.
    Answer { ticket: u64, result: Result<(), CommandError> },
    /// The printer said something of use.
    Heard,
    /// End the connection, for this reason.
    GiveUp(String),
}

/// When something happened: since any fixed origin, and by the clock on the wall.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Duration,
    pub wall: SystemTime,
}

#[derive(Clone, Debug)]
struct Pending {
    ticket: u64,
    command: Command,
    sequence: String,
    until: Duration,
}

/// One printer's link.
#[derive(Clone, Debug)]
pub struct Reducer {
    patience: Patience,
    tree: Tree,
    state: PrinterState,
    sequence: u64,
    pending: Vec<Pending>,
    /// Since when it has been silent, while connected.
    silent_since: Duration,
    /// It has said something since it was connected.
    spoke: bool,
    /// It was asked to go on.
    prodded: bool,
    last_pushall: Option<Duration>,
    /// Everything has to be asked for as soon as that may be.
    wants_all: bool,
    /// A guest of the printer's asks for everything only where that may be done at any time.
    guest: bool,
}

impl Reducer {
    pub fn new(serial: &str, patience: Patience) -> Self {
        let model = Model::from_serial(serial);
        Self {
            patience,
            tree: Tree::default(),
            state: PrinterState { model, stale: true, ..PrinterState::default() },
            sequence: 0,
            pending: Vec::new(),
            silent_since: Duration::ZERO,
            spoke: false,
            prodded: false,
            last_pushall: None,
            wants_all: false,
            guest: false,
        }
    }

    /// The same for another link of this machine: all that is known of it, and when it was asked for everything.
    pub fn resumed(self, patience: Patience) -> Self {
        let state = PrinterState { connected: false, stale: true, trouble: None, ..self.state };
        Self { patience, state, pending: Vec::new(), ..self }
    }

    /// Makes it one that only looks in: where everything may not be asked for often, the printer's own link is
    /// left to do it.
    pub fn make_guest(&mut self) {
        self.guest = true;
    }

    pub fn state(&self) -> &PrinterState {
        &self.state
    }

    /// When a [`Event::Tick`] is due at the latest.
    pub fn next_deadline(&self) -> Option<Duration> {
        if !self.state.connected {
            return None;
        }
        let patience = &self.patience;
        let silence = match (self.spoke, self.prodded) {
            (false, _) => patience.first_word,
            (true, false) => patience.silence,
            (true, true) => patience.silence + patience.last_word,
        };
        let pushall = self.wants_all.then(|| self.pushall_from());
        let answers = self.pending.iter().map(|pending| pending.until);
        answers.chain(pushall).chain([self.silent_since + silence]).min()
    }

    /// Takes in what happened and says what to do, in order.
    pub fn handle(&mut self, at: Moment, event: Event<'_>) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Connected { first } => self.connected(at, first, &mut out),
            Event::Disconnected(words) => self.disconnected(words, &mut out),
            Event::Message(bytes) => self.message(at, bytes, &mut out),
            Event::Command { command, ticket } => self.command(at, command, ticket, &mut out),
            Event::Tick => {}
        }
        if self.state.connected {
            self.due(at, &mut out);
        }
        out
    }

    fn connected(&mut self, at: Moment, first: u32, out: &mut Vec<Action>) {
        self.state.connected = true;
        self.state.trouble = None;
        self.sequence = u64::from(first);
        self.silent_since = at.now;
        self.spoke = false;
        self.prodded = false;
        self.wants_all = !self.guest || self.state.model.pushall_at_any_time();
        self.ask("info", "get_version", out);
    }

    fn disconnected(&mut self, words: String, out: &mut Vec<Action>) {
        for pending in self.pending.drain(..) {
            let result = Err(CommandError::NotConnected(format!(
                "the connection broke before the printer answered: {words}"
            )));
            out.push(Action::Answer { ticket: pending.ticket, result });
        }
        self.state.connected = false;
        self.state.stale = true;
        self.state.trouble = Some(words);
    }

    fn message(&mut self, at: Moment, bytes: &[u8], out: &mut Vec<Action>) {
        let reports = match report::parse(bytes) {
            Ok(reports) => reports,
            Err(error) => {
                tracing::debug!("a printer sent what is no report: {error}");
                return;
            }
        };
        for report in reports {
            match report {
                Report::Status { full, fields } => self.status(at, full, fields, out),
                Report::Version { modules } => self.version(&modules, out),
                Report::Answer { space, command, sequence, result, reason } => {
                    let ours = self.pending.iter().position(|pending| {
                        pending.command.wire_name() == (space, command.as_str())
                            && pending.sequence == sequence
                    });
                    let Some(index) = ours else { continue };
                    let ticket = self.pending.remove(index).ticket;
                    out.push(Action::Answer { ticket, result: verdict(&result, reason) });
                }
            }
        }
    }

    fn status(
        &mut self,
        at: Moment,
        full: bool,
        fields: serde_json::Map<String, serde_json::Value>,
        out: &mut Vec<Action>,
    ) {
        if let Err(Overgrown) = self.tree.merge(full, fields) {
            tracing::warn!("a printer's report has grown beyond all bounds and is asked for anew");
            self.wants_all = true;
        }
        reading::read(&self.tree, &mut self.state);
        self.state.last_update = Some(at.wall);
        self.state.stale = !self.state.connected;
        self.silent_since = at.now;
        self.spoke = true;
        self.prodded = false;
        out.push(Action::Heard);
    }

    fn version(&mut self, modules: &[serde_json::Value], out: &mut Vec<Action>) {
        let of = |module: &serde_json::Value, key| {
            module.get(key).and_then(serde_json::Value::as_str).map(str::to_owned)
        };
        let main = modules.iter().find(|module| of(module, "name").as_deref() == Some("ota"));
        if let Some(version) = main.and_then(|module| of(module, "sw_ver")) {
            self.state.details.firmware = Some(version);
        }
        match Model::from_modules(modules) {
            Model::Unknown => {}
            model => self.state.model = model,
        }
        reading::read(&self.tree, &mut self.state);
        self.spoke = true;
        out.push(Action::Heard);
    }

    fn command(&mut self, at: Moment, command: Command, ticket: u64, out: &mut Vec<Action>) {
        let fit = match &self.state {
            state if !state.connected => Err(CommandError::NotConnected(not_connected(state))),
            _ if self.pending.len() >= PENDING => {
                Err(CommandError::NotNow(format!("{PENDING} commands already await the printer's answer")))
            }
            state => command.judge(state),
        };
        if let Err(error) = fit {
            out.push(Action::Answer { ticket, result: Err(error) });
            return;
        }
        let sequence = self.next_sequence();
        out.push(Action::Publish(command.payload(sequence, &self.state)));
        let until = at.now + self.patience.answer;
        self.pending.push(Pending { ticket, command, sequence: sequence.to_string(), until });
    }

    /// Does what is due by time.
    fn due(&mut self, at: Moment, out: &mut Vec<Action>) {
        let seconds = self.patience.answer.as_secs_f64();
        let locked = command::locked(&self.state);
        self.pending.retain(|pending| {
            let over = at.now >= pending.until;
            if over {
                let name = pending.command.name();
                let result = Err(match locked {
                    true => CommandError::Unauthorized(MEND.into()),
                    false => CommandError::Timeout(format!(
                        "the printer has not answered {name} within {seconds} s; it may still do it: look at \
                         its state. Printers that never answer have Authorization Control on: Developer Mode \
                         is switched on at their screen"
                    )),
                });
                out.push(Action::Answer { ticket: pending.ticket, result });
            }
            !over
        });
        if self.wants_all && at.now >= self.pushall_from() {
            self.wants_all = false;
            self.last_pushall = Some(at.now);
            self.ask("pushing", "pushall", out);
        }
        let patience = self.patience;
        let silent = at.now.saturating_sub(self.silent_since);
        if !self.spoke && silent >= patience.first_word {
            out.push(Action::GiveUp(format!(
                "it lets us in and says nothing for {} s: is the serial number its own?",
                silent.as_secs()
            )));
        } else if silent >= patience.silence + patience.last_word {
            let silent = silent.as_secs();
            out.push(Action::GiveUp(format!("no report for {silent} s, not even when asked for one")));
        } else if silent >= patience.silence && !self.prodded {
            self.prodded = true;
            self.state.stale = true;
            self.ask("pushing", "start", out);
        }
    }

    fn pushall_from(&self) -> Duration {
        self.last_pushall.map_or(Duration::ZERO, |last| last + self.state.model.pushall_every())
    }

    fn ask(&mut self, space: &str, name: &str, out: &mut Vec<Action>) {
        let sequence = self.next_sequence();
        out.push(Action::Publish(command::envelope(space, name, sequence, serde_json::Value::Null)));
    }

    fn next_sequence(&mut self) -> u64 {
        let sequence = self.sequence;
        self.sequence += 1;
        sequence
    }
}

/// Why a command cannot be sent.
pub fn not_connected(state: &PrinterState) -> String {
    match &state.trouble {
        Some(words) => format!("the printer is not connected: {words}"),
        None => "the printer is not connected".into(),
    }
}

fn verdict(result: &str, reason: Option<String>) -> Result<(), CommandError> {
    if result.eq_ignore_ascii_case("success") {
        return Ok(());
    }
    let reason = reason.filter(|reason| !reason.is_empty()).unwrap_or_else(|| result.to_owned());
    Err(match command::unauthorized(&reason) {
        true => CommandError::Unauthorized(MEND.into()),
        false => CommandError::Refused(reason),
    })
}

#[cfg(test)]
#[path = "reducer_tests.rs"]
mod tests;
