//! What the published outputs say together: one state and one sentence, as `/camera/status` and the
//! publisher's health file have them. Pure.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::lifecycle::{Snapshot, State};

/// One published output now.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Published {
    pub id: String,
    /// The camera that is published.
    pub camera: String,
    /// `livekit`, `whip` or `rtmp`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(flatten)]
    pub lifecycle: Snapshot,
}

/// Where the published outputs are asked how they are; it answers at once.
#[derive(Clone)]
pub struct PublishedNow(Arc<dyn Fn() -> Vec<Published> + Send + Sync>);

impl PublishedNow {
    pub fn new(ask: impl Fn() -> Vec<Published> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    pub fn ask(&self) -> Vec<Published> {
        (self.0)()
    }
}

/// Nothing is published.
impl Default for PublishedNow {
    fn default() -> Self {
        Self::new(Vec::new)
    }
}

impl fmt::Debug for PublishedNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublishedNow").field(&self.ask()).finish()
    }
}

/// What pushes pictures to servers elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Publisher {
    /// `missing`: nothing is published; `live`: all outputs are; `degraded`: some are; else the state of
    /// the output that needs looking at most: `refused`, `backing_off`, `stalled`, `starting`, `stopping`
    /// or `idle`.
    pub state: &'static str,
    /// For people.
    pub message: String,
    pub outputs: Vec<Published>,
}

impl Publisher {
    /// Of these outputs together.
    pub fn of(outputs: Vec<Published>) -> Self {
        let live = outputs.iter().filter(|output| output.lifecycle.state == State::Live).count();
        let worst = outputs
            .iter()
            .filter(|output| output.lifecycle.state != State::Live)
            .max_by_key(|output| urgency(output.lifecycle.state));
        let (state, message) = match worst {
            None if outputs.is_empty() => ("missing", "nothing is published anywhere".to_owned()),
            None if live == 1 => ("live", "the output is live".to_owned()),
            None => ("live", format!("all {live} outputs are live")),
            Some(worst) => {
                let state = name(worst.lifecycle.state);
                let error = worst.lifecycle.last_error.as_deref();
                let error = error.map(|error| format!(": {error}")).unwrap_or_default();
                let words = format!("output {} is {}{error}", worst.id, state.replace('_', " "));
                match live {
                    0 => (state, words),
                    live => ("degraded", format!("{live} of {} outputs are live; {words}", outputs.len())),
                }
            }
        };
        Self { state, message, outputs }
    }
}

/// How much a state wants looking at.
fn urgency(state: State) -> u8 {
    match state {
        State::Live => 0,
        State::Idle => 1,
        State::Stopping => 2,
        State::Starting => 3,
        State::Stalled => 4,
        State::BackingOff => 5,
        State::Refused => 6,
    }
}

fn name(state: State) -> &'static str {
    match state {
        State::Live => "live",
        State::Idle => "idle",
        State::Stopping => "stopping",
        State::Starting => "starting",
        State::Stalled => "stalled",
        State::BackingOff => "backing_off",
        State::Refused => "refused",
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn output(id: &str, state: State, error: Option<&str>) -> Published {
        let lifecycle = Snapshot {
            state,
            since: UNIX_EPOCH,
            attempts: 1,
            restarts: 0,
            last_error: error.map(str::to_owned),
            next_try: None,
            frozen: 0,
        };
        Published { id: id.into(), camera: "porch".into(), kind: "whip", lifecycle }
    }

    #[test]
    fn the_publisher_is_as_well_as_its_worst_output_and_degraded_when_only_some_work() {
        let live = || output("a", State::Live, Some("an old one"));
        let table = [
            (vec![], "missing", "nothing is published anywhere"),
            (vec![live()], "live", "the output is live"),
            (vec![live(), output("b", State::Live, None)], "live", "all 2 outputs are live"),
            (
                vec![output("b", State::Starting, None), output("c", State::Refused, Some("wrong key"))],
                "refused",
                "output c is refused: wrong key",
            ),
            (vec![output("b", State::BackingOff, None)], "backing_off", "output b is backing off"),
            (
                vec![live(), output("b", State::BackingOff, Some("nobody there"))],
                "degraded",
                "1 of 2 outputs are live; output b is backing off: nobody there",
            ),
        ];
        for (outputs, state, message) in table {
            let count = outputs.len();
            let publisher = Publisher::of(outputs);
            assert_eq!((publisher.state, publisher.message.as_str()), (state, message));
            assert_eq!(publisher.outputs.len(), count);
        }
        assert_eq!(PublishedNow::default().ask(), []);
    }

    #[test]
    fn the_names_of_states_are_those_of_the_api() {
        for state in [
            State::Idle,
            State::Starting,
            State::Live,
            State::Stalled,
            State::BackingOff,
            State::Refused,
            State::Stopping,
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), name(state));
        }
    }
}
