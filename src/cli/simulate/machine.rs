//! One simulated printer, without its network: heats, prints, rests, and begins again.
//!
//! Pure: the time is passed in, in whole simulated seconds, so that it does the same however it is cut into
//! steps. [`requests`](super::requests) is what it makes of commands, [`report`](super::report) what it tells.

use serde_json::Value;

use super::models::{Chamber, Model};
use super::report;

/// How long a finished or failed print lies on the plate before the next one begins, in simulated seconds.
const REST: u64 = 900;
/// How long the printer is idle before its first print.
const WARM_UP: u64 = 120;
/// The room that it stands in.
const ROOM: f64 = 24.0;
/// A print that was stopped by a person.
pub const CANCELLED: u32 = 0x0300_400C;
/// How fast each speed level prints, in percent, from silent to ludicrous.
pub const SPEEDS: [u32; 4] = [50, 100, 124, 166];
/// What is printed, over and over: name, minutes at standard speed, layers, nozzle and bed.
const JOBS: [(&str, u32, u32, f64, f64); 3] = [
    ("Fan bracket", 96, 180, 220.0, 55.0),
    ("Cable chain x12", 154, 96, 240.0, 80.0),
    ("Lantern", 61, 410, 215.0, 60.0),
];

/// What `gcode_state` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Idle,
    Prepare,
    Running,
    Paused,
    Finish,
    Failed,
}

impl Phase {
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Idle => "IDLE",
            Phase::Prepare => "PREPARE",
            Phase::Running => "RUNNING",
            Phase::Paused => "PAUSE",
            Phase::Finish => "FINISH",
            Phase::Failed => "FAILED",
        }
    }
}

/// Something that is heated and cools by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heat {
    pub now: f64,
    pub target: f64,
    /// How many seconds it takes to go most of the way.
    inertia: f64,
}

impl Heat {
    const fn cold(inertia: f64) -> Self {
        Self { now: ROOM, target: 0.0, inertia }
    }

    fn second(&mut self) {
        self.towards(if self.target > 0.0 { self.target } else { ROOM });
    }

    fn towards(&mut self, goal: f64) {
        self.now += (goal - self.now) / self.inertia;
    }

    fn ready(self) -> bool {
        (self.now - self.target).abs() < 2.0
    }
}

/// The print that lies on the plate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Job {
    pub number: usize,
    pub name: &'static str,
    pub seconds: f64,
    pub layers: u32,
    /// Seconds of work that are done, at standard speed.
    pub done: f64,
    nozzle: f64,
    bed: f64,
}

impl Job {
    fn new(number: usize) -> Self {
        let (name, minutes, layers, nozzle, bed) = JOBS[number % JOBS.len()];
        Self { number, name, seconds: f64::from(minutes) * 60.0, layers, done: 0.0, nozzle, bed }
    }

    /// From 0 to 1.
    pub fn progress(&self) -> f64 {
        (self.done / self.seconds).clamp(0.0, 1.0)
    }
}

/// How it treats those who talk to it: what tests set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manners {
    /// Tells and answers nothing.
    pub silent: bool,
    /// Does what it is told without a word.
    pub no_acks: bool,
    /// Developer Mode is off: commands are dropped.
    pub verifies: Option<Verifies>,
    /// Reports have fields of wrong types.
    pub wrong: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verifies {
    /// Without a word.
    Silently,
    /// With the reason.
    Aloud,
}

#[derive(Debug)]
pub struct Machine {
    pub model: &'static Model,
    pub serial: String,
    pub phase: Phase,
    pub job: Option<Job>,
    pub nozzles: Vec<Heat>,
    pub bed: Heat,
    pub chamber: f64,
    /// As many as the model has, each with its node.
    pub lights: Vec<(&'static str, bool)>,
    /// 1 to 4.
    pub speed: u8,
    pub print_error: u32,
    pub hms: Vec<(u32, u32)>,
    /// What `ipcam.rtsp_url` says, where there is one.
    pub rtsp_url: Option<String>,
    pub manners: Manners,
    /// Whether it begins the next print by itself.
    endless: bool,
    /// The simulated second that it is, and that in which the phase began.
    now: u64,
    since: u64,
    /// Numbers of what it says by itself.
    sequence: u64,
    /// The full report as it was last told, for the next delta.
    told: Value,
    deltas: u64,
}

impl Machine {
    pub fn new(model: &'static Model, serial: String, endless: bool) -> Self {
        let mut machine = Self {
            model,
            serial,
            phase: Phase::Idle,
            job: None,
            nozzles: vec![Heat::cold(25.0); model.nozzles],
            bed: Heat::cold(60.0),
            chamber: ROOM,
            lights: model.lights.iter().map(|node| (*node, true)).collect(),
            speed: 2,
            print_error: 0,
            hms: Vec::new(),
            rtsp_url: None,
            manners: Manners::default(),
            endless,
            now: 0,
            since: 0,
            sequence: 2000,
            told: Value::Null,
            deltas: 0,
        };
        machine.told = report::full(&machine);
        machine
    }

    /// Lives on until this simulated second.
    pub fn advance(&mut self, second: u64) {
        while self.now < second {
            self.now += 1;
            self.second();
        }
    }

    fn second(&mut self) {
        for nozzle in &mut self.nozzles {
            nozzle.second();
        }
        self.bed.second();
        let warmed = if self.model.chamber == Chamber::Fake { 0.0 } else { (self.bed.now - ROOM) * 0.35 };
        self.chamber += (ROOM + warmed - self.chamber) / 600.0;
        let (lasted, speed) = (self.now - self.since, self.speed_percent());
        match self.phase {
            Phase::Idle if self.endless && lasted >= WARM_UP => self.start(),
            Phase::Finish | Phase::Failed if self.endless && lasted >= REST => self.start(),
            Phase::Prepare if self.bed.ready() && self.nozzles[0].ready() => self.go(Phase::Running),
            Phase::Running => {
                let Some(job) = &mut self.job else { return };
                job.done += f64::from(speed) / 100.0;
                if job.done >= job.seconds {
                    self.finish();
                }
            }
            _ => {}
        }
    }

    fn go(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = self.now;
    }

    /// Begins the next print.
    pub fn start(&mut self) {
        let job = Job::new(self.job.map_or(0, |job| job.number + 1));
        self.nozzles[0].target = job.nozzle;
        self.bed.target = job.bed;
        self.job = Some(job);
        self.print_error = 0;
        self.hms.clear();
        self.speed = 2;
        self.go(Phase::Prepare);
    }

    pub fn pause(&mut self) {
        if matches!(self.phase, Phase::Running | Phase::Prepare) {
            self.go(Phase::Paused);
        }
    }

    pub fn resume(&mut self) {
        if self.phase == Phase::Paused {
            // It may have to heat first.
            self.go(Phase::Prepare);
        }
    }

    /// A person stops it: to the machine that is a print that failed.
    pub fn stop(&mut self) {
        if matches!(self.phase, Phase::Running | Phase::Prepare | Phase::Paused) {
            self.fail(CANCELLED, None);
        }
    }

    pub fn fail(&mut self, print_error: u32, hms: Option<(u32, u32)>) {
        self.print_error = print_error;
        self.hms.extend(hms);
        self.cool();
        self.go(Phase::Failed);
    }

    /// Is done at once.
    pub fn finish(&mut self) {
        let job = self.job.get_or_insert_with(|| Job::new(0));
        job.done = job.seconds;
        self.cool();
        self.go(Phase::Finish);
    }

    /// The error is looked at and gone.
    pub fn clear_error(&mut self) {
        self.print_error = 0;
        self.hms.clear();
        if self.phase == Phase::Failed {
            self.go(Phase::Idle);
        }
    }

    fn cool(&mut self) {
        self.bed.target = 0.0;
        self.nozzles.iter_mut().for_each(|nozzle| nozzle.target = 0.0);
    }

    pub fn speed_percent(&self) -> u32 {
        SPEEDS[usize::from(self.speed.clamp(1, 4)) - 1]
    }

    /// Minutes until the print is done at its present speed.
    pub fn remaining_minutes(&self) -> u32 {
        let left = match (&self.job, self.phase) {
            (Some(job), Phase::Prepare | Phase::Running | Phase::Paused) => job.seconds - job.done,
            _ => 0.0,
        };
        (left * 100.0 / f64::from(self.speed_percent()) / 60.0).ceil() as u32
    }

    /// The number of the next message that it sends by itself.
    pub fn next_sequence(&mut self) -> String {
        self.sequence += 1;
        self.sequence.to_string()
    }

    /// Everything, as an answer to `pushall`; what follows are changes to it.
    pub fn full(&mut self) -> Value {
        let now = report::full(self);
        self.told = now.clone();
        let sequence = self.next_sequence();
        self.dress(now, 0, &sequence, true)
    }

    /// What changed since it last told something; `None` when nothing did.
    pub fn delta(&mut self) -> Option<Value> {
        if self.manners.silent {
            return None;
        }
        let now = report::full(self);
        let changed = report::difference(&self.told, &now)?;
        self.told = now;
        self.deltas += 1;
        let named = !(self.model.bare_deltas && self.deltas.is_multiple_of(3));
        let sequence = self.next_sequence();
        Some(self.dress(changed, 1, &sequence, named))
    }

    fn dress(&self, mut fields: Value, kind: u8, sequence: &str, named: bool) -> Value {
        if self.manners.wrong {
            report::spoil(&mut fields);
        }
        if let Some(fields) = fields.as_object_mut() {
            if named {
                fields.insert("command".into(), "push_status".into());
            }
            fields.insert("msg".into(), kind.into());
            fields.insert("sequence_id".into(), sequence.into());
        }
        serde_json::json!({ "print": fields })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::models::{self, MODELS};
    use super::*;

    fn machine(name: &str) -> Machine {
        let model = models::find(name).unwrap();
        Machine::new(model, model.serial(1), true)
    }

    #[test]
    fn a_print_goes_from_idle_to_finish_and_the_next_one_begins() {
        for model in &MODELS {
            let mut machine = Machine::new(model, model.serial(1), true);
            let mut seen = vec![machine.phase];
            for second in 0..4 * 3600 {
                machine.advance(second);
                if seen.last() != Some(&machine.phase) {
                    seen.push(machine.phase);
                }
            }
            let print = [Phase::Prepare, Phase::Running, Phase::Finish];
            assert_eq!(seen[..5], [&[Phase::Idle], &print[..], &print[..1]].concat(), "{}", model.name);
        }
    }

    #[test]
    fn without_prints_it_stays_idle_until_one_is_started() {
        let model = models::find("A1").unwrap();
        let mut machine = Machine::new(model, model.serial(1), false);
        machine.advance(100_000);
        assert_eq!(machine.phase, Phase::Idle);
        machine.start();
        machine.advance(100_000 + 6 * 3600);
        assert_eq!(machine.phase, Phase::Finish);
    }

    #[test]
    fn temperatures_move_smoothly_and_arrive() {
        let mut machine = machine("X1C");
        let mut before = machine.nozzles[0].now;
        for second in 1..1200 {
            machine.advance(second);
            let now = machine.nozzles[0].now;
            assert!((now - before).abs() < 10.0, "{before} to {now} in a second");
            before = now;
        }
        assert_eq!(machine.phase, Phase::Running);
        assert!((machine.nozzles[0].now - 220.0).abs() < 1.0 && (machine.bed.now - 55.0).abs() < 1.0);
        assert!(machine.chamber > ROOM + 1.0, "the bed warms the chamber: {}", machine.chamber);
    }

    #[test]
    fn pause_holds_a_print_and_resume_goes_on_where_it_was() {
        let mut machine = machine("P1S");
        machine.advance(1500);
        machine.pause();
        let done = machine.job.unwrap().done;
        assert!(done > 0.0);
        machine.advance(5000);
        assert_eq!((machine.phase, machine.job.unwrap().done), (Phase::Paused, done));
        machine.resume();
        machine.advance(5100);
        assert_eq!(machine.phase, Phase::Running);
        assert!(machine.job.unwrap().done > done);
    }

    #[test]
    fn a_stopped_print_has_failed_until_its_error_is_cleared() {
        let mut machine = machine("A1");
        machine.stop();
        assert_eq!(machine.phase, Phase::Idle, "nothing is to be stopped");
        machine.advance(1500);
        machine.stop();
        assert_eq!((machine.phase, machine.print_error), (Phase::Failed, CANCELLED));
        machine.clear_error();
        assert_eq!((machine.phase, machine.print_error), (Phase::Idle, 0));
    }

    #[test]
    fn a_faster_print_is_done_earlier() {
        let mut machine = machine("X1C");
        machine.advance(1500);
        let standard = machine.remaining_minutes();
        machine.speed = 4;
        assert!(
            machine.remaining_minutes() * 3 < standard * 2,
            "{} of {standard}",
            machine.remaining_minutes()
        );
    }

    proptest! {
        #[test]
        fn time_may_be_cut_anywhere(cuts in proptest::collection::vec(1_u64..2000, 1..20)) {
            let (mut whole, mut cut) = (machine("H2D"), machine("H2D"));
            let mut now = 0;
            for step in cuts {
                now += step;
                cut.advance(now);
            }
            whole.advance(now);
            prop_assert_eq!(whole.full(), cut.full());
        }

        #[test]
        fn deltas_after_a_full_report_make_the_next_full_report(
            name in proptest::sample::select(vec!["X1C", "P1S", "A1", "P2S", "H2D"]),
            steps in proptest::collection::vec((1_u64..3000, 0_u8..6), 1..20),
        ) {
            let mut machine = machine(name);
            let mut merged = machine.full()["print"].clone();
            let mut now = 0;
            for (step, what) in steps {
                now += step;
                machine.advance(now);
                match what {
                    0 => machine.pause(),
                    1 => machine.resume(),
                    2 => machine.stop(),
                    3 => machine.fail(0x0300_8002, Some((0x0300_0100, 0x0001_0001))),
                    4 => machine.clear_error(),
                    _ => {}
                }
                if let Some(delta) = machine.delta() {
                    report::merge(&mut merged, &delta["print"]);
                }
            }
            let mut full = machine.full()["print"].clone();
            for value in [&mut merged, &mut full] {
                for key in ["command", "msg", "sequence_id"] {
                    value.as_object_mut().unwrap().remove(key);
                }
            }
            prop_assert_eq!(merged, full);
        }
    }
}
