//! What three probes say of a node: [`judge`] is pure, [`probe`] asks. The three go side by side, each with its own
//! limit, so that one that hangs delays nothing but itself.

use std::time::{Duration, SystemTime};

use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::client::{Answer, AskError, Client, Question};
use super::node::{Node, Transport};
use crate::telemetry;

/// A probe's answer is no larger than this.
const LARGEST: usize = 256 << 10;
/// Kept of a payload that is no JSON.
const LONGEST_TEXT: usize = 200;

/// What a node was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NodeState)]
pub enum State {
    /// It answers and is ready.
    Ok,
    /// It answers, and has no fresh pictures.
    NotReady,
    /// It does not answer.
    Unavailable,
    /// It does not take our token.
    Unauthorized,
    /// Nodes by this transport are not asked.
    Unsupported,
}

/// One probe.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = NodeProbe)]
pub struct Probe {
    pub status_code: Option<u16>,
    #[schema(value_type = Object)]
    pub payload: Value,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Why a node is not as it should be, in the words of the contract.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = NodeError)]
pub struct NodeError {
    pub code: &'static str,
    pub message: String,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = NodeStatus)]
pub struct Status {
    pub node_id: String,
    pub status: State,
    pub ready: bool,
    pub stream_available: bool,
    /// Why it is not ready, as it says itself.
    pub reason: Option<String>,
    pub fps: Option<f64>,
    /// Of its first camera's newest picture, in seconds.
    pub last_frame_age_seconds: Option<f64>,
    pub probes: Option<Probes>,
    pub error: Option<NodeError>,
    #[serde(serialize_with = "telemetry::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub checked_at: SystemTime,
    /// How long the slowest probe took, in milliseconds.
    pub took_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = NodeProbes)]
pub struct Probes {
    pub health: Probe,
    pub ready: Probe,
    pub metrics: Probe,
}

impl Status {
    /// Whether it answered.
    pub fn reached(&self) -> bool {
        matches!(self.status, State::Ok | State::NotReady)
    }
}

/// Asks a node how it is.
pub async fn probe(client: &Client, node: &Node, within: Duration) -> Status {
    let began = tokio::time::Instant::now();
    if node.transport != Transport::Http {
        return unsupported(node);
    }
    let ask = async |path: &str| {
        let question =
            Question { method: Method::GET, path, body: None, headers: &[], within, largest: LARGEST };
        client.ask(node, &question).await
    };
    let (health, ready, metrics) = tokio::join!(ask("/health"), ask("/ready"), ask("/metrics"));
    let mut status = judge(node, [health, ready, metrics], SystemTime::now());
    status.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    status
}

fn unsupported(node: &Node) -> Status {
    let message = format!(
        "node {:?} has the transport docker, which is not supported; run Fanlight in the container and make it http",
        node.id
    );
    blank(
        node,
        State::Unsupported,
        Some(NodeError { code: "TRANSPORT_UNSUPPORTED", message }),
        SystemTime::now(),
    )
}

fn blank(node: &Node, status: State, error: Option<NodeError>, now: SystemTime) -> Status {
    Status {
        node_id: node.id.clone(),
        status,
        ready: false,
        stream_available: false,
        reason: None,
        fps: None,
        last_frame_age_seconds: None,
        probes: None,
        error,
        checked_at: now,
        took_ms: 0,
    }
}

/// What the answers to `/health`, `/ready` and `/metrics` mean.
pub fn judge(node: &Node, answers: [Result<Answer, AskError>; 3], now: SystemTime) -> Status {
    let [health, ready, metrics] = answers.map(|answer| match answer {
        Ok(answer) => Probe { status_code: Some(answer.status), payload: payload(&answer.body), error: None },
        Err(error) => Probe { status_code: None, payload: Value::Null, error: Some(error.to_string()) },
    });
    let refused =
        [&health, &ready, &metrics].into_iter().any(|probe| matches!(probe.status_code, Some(401 | 403)));
    let alive = health.status_code == Some(200);
    let is_ready = alive && ready.status_code == Some(200);
    let (status, error) = if refused {
        let message = format!("node {:?} does not take the token; give it another (auth)", node.id);
        (State::Unauthorized, Some(NodeError { code: "NODE_UNAUTHORIZED", message }))
    } else if !alive {
        let why = match (&health.error, health.status_code) {
            (Some(words), _) => words.clone(),
            (None, code) => format!("/health answers {}", code.unwrap_or_default()),
        };
        let message = format!("node {:?} at {}: {why}", node.id, node.base_url);
        (State::Unavailable, Some(NodeError { code: "NODE_UNREACHABLE", message }))
    } else {
        (if is_ready { State::Ok } else { State::NotReady }, None)
    };
    let number = |payload: &Value, key: &str| payload.get(key).and_then(Value::as_f64);
    let text = |payload: &Value, key: &str| payload.get(key).and_then(Value::as_str).map(short);
    Status {
        ready: is_ready && !refused,
        stream_available: is_ready && !refused,
        reason: text(&ready.payload, "reason"),
        fps: number(&metrics.payload, "current_fps"),
        last_frame_age_seconds: number(&metrics.payload, "last_frame_age_seconds"),
        probes: Some(Probes { health, ready, metrics }),
        ..blank(node, status, error, now)
    }
}

fn payload(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| json!(short(&String::from_utf8_lossy(body))))
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        let node = json!({
            "id": "n", "name": "n", "base_url": "http://192.168.1.9", "auth": { "type": "none" },
            "labels": {}, "last_seen": "2026-01-18T20:15:00Z", "capabilities": [], "transport": "http",
        });
        Node::new(node.as_object().unwrap()).unwrap()
    }

    fn answer(status: u16, body: &Value) -> Result<Answer, AskError> {
        Ok(Answer { status, content_type: None, body: body.to_string().into() })
    }

    #[test]
    fn what_the_probes_say_is_one_word_for_people() {
        let none = || Err(AskError::TooLong(Duration::from_secs(3)));
        let healthy = || answer(200, &json!({ "status": "healthy" }));
        let metrics = || answer(200, &json!({ "current_fps": 24.5, "last_frame_age_seconds": 0.1 }));
        let stale = || answer(503, &json!({ "status": "not_ready", "reason": "stale" }));
        let table = [
            ([healthy(), answer(200, &json!({})), metrics()], State::Ok, true, None),
            ([healthy(), stale(), metrics()], State::NotReady, false, None),
            ([healthy(), none(), none()], State::NotReady, false, None),
            ([none(), none(), none()], State::Unavailable, false, Some("NODE_UNREACHABLE")),
            (
                [answer(500, &json!({})), answer(200, &json!({})), metrics()],
                State::Unavailable,
                false,
                Some("NODE_UNREACHABLE"),
            ),
            (
                [healthy(), answer(200, &json!({})), answer(401, &json!({}))],
                State::Unauthorized,
                false,
                Some("NODE_UNAUTHORIZED"),
            ),
            (
                [answer(403, &json!({})), none(), none()],
                State::Unauthorized,
                false,
                Some("NODE_UNAUTHORIZED"),
            ),
        ];
        for (answers, state, ready, code) in table {
            let status = judge(&node(), answers.clone(), SystemTime::UNIX_EPOCH);
            assert_eq!(
                (status.status, status.ready, status.stream_available),
                (state, ready, ready),
                "{answers:?}"
            );
            assert_eq!(status.error.map(|error| error.code), code, "{answers:?}");
        }
        let status = judge(&node(), [healthy(), stale(), metrics()], SystemTime::UNIX_EPOCH);
        assert_eq!((status.reason.as_deref(), status.fps), (Some("stale"), Some(24.5)));
        assert_eq!(payload(b"<html>"), json!("<html>"));
    }
}
