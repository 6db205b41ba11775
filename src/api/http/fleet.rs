//! `/api/nodes…` and `/api/management/overview`: the fleet that is looked after from here. Errors are those of the
//! contract: one schema, with the node's id in it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use warp::Reply as _;
use warp::http::{HeaderValue, Method, StatusCode, header};

use super::answer::{self, Fault, Response};
use super::routes::Params;
use super::{AppState, Request, body};
use crate::fleet::probe::Status;
use crate::fleet::{Fleet, FleetError};
use crate::telemetry;

/// All nodes, without their tokens.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeList {
    #[schema(value_type = Vec<Object>)]
    nodes: Vec<Value>,
}

/// How a node is, with its age.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeView {
    #[serde(flatten)]
    #[schema(value_type = Status, inline)]
    status: Arc<Status>,
    /// How old this is: a status is asked for anew when it is older than `management.probe_seconds`.
    age_seconds: f64,
}

impl NodeView {
    fn of(status: Arc<Status>) -> Self {
        let age = SystemTime::now().duration_since(status.checked_at).unwrap_or_default();
        Self { status, age_seconds: age.as_secs_f64() }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct OverviewSummary {
    total_nodes: usize,
    unavailable_nodes: usize,
    stream_available_nodes: usize,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct OverviewNode {
    #[serde(flatten)]
    view: NodeView,
    name: String,
    base_url: String,
    #[schema(value_type = Object)]
    labels: Map<String, Value>,
    last_seen: String,
    capabilities: Vec<String>,
}

/// All nodes and how they are.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    summary: OverviewSummary,
    nodes: Vec<OverviewNode>,
    #[serde(serialize_with = "telemetry::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    timestamp: SystemTime,
}

pub async fn nodes(state: &AppState, params: Params<'_>, request: &Request<'_>) -> Result<Response, Fault> {
    let fleet = fleet(state)?;
    let id = params.id.unwrap_or_default();
    let failed = |error: FleetError| fault(params.id, &error);
    let sent = || body::json::<Map<String, Value>>(&request.body).map_err(|fault| fault.node(params.id));
    match (request.method, params.id) {
        (&Method::POST, _) => {
            let node = fleet.create(&sent()?).await.map_err(failed)?;
            tracing::info!(node = node.id, "registered over HTTP");
            let mut response = answer::json(StatusCode::CREATED, &node.shown());
            if let Ok(location) = HeaderValue::from_str(&format!("/api/nodes/{}", node.id)) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            Ok(response)
        }
        (&Method::PUT, _) => {
            let node = fleet.update(id, &sent()?).await.map_err(failed)?;
            tracing::info!(node = node.id, "changed over HTTP");
            Ok(answer::json(StatusCode::OK, &node.shown()))
        }
        (&Method::DELETE, _) => {
            fleet.delete(id).await.map_err(failed)?;
            tracing::info!(node = id, "deleted over HTTP");
            Ok(answer::empty(StatusCode::NO_CONTENT))
        }
        (_, Some(id)) => Ok(answer::json(StatusCode::OK, &fleet.node(id).await.map_err(failed)?.shown())),
        (_, None) => {
            let nodes =
                fleet.nodes().await.map_err(failed)?.iter().map(crate::fleet::node::Node::shown).collect();
            Ok(answer::json(StatusCode::OK, &NodeList { nodes }))
        }
    }
}

pub async fn status(state: &AppState, params: Params<'_>) -> Result<Response, Fault> {
    let status = fleet(state)?.status(params.id.unwrap_or_default()).await;
    let status = status.map_err(|error| fault(params.id, &error))?;
    let code = match status.error.as_ref().map(|error| error.code) {
        Some("NODE_UNREACHABLE") => StatusCode::SERVICE_UNAVAILABLE,
        Some("NODE_UNAUTHORIZED") => StatusCode::UNAUTHORIZED,
        _ => return Ok(answer::json(StatusCode::OK, &NodeView::of(status))),
    };
    let error = status.error.clone();
    let details = serde_json::to_value(NodeView::of(status)).unwrap_or_default();
    let (name, message) =
        error.map_or(("NODE_UNREACHABLE", String::new()), |error| (error.code, error.message));
    Err(Fault::new(code, name, message, details).node(params.id))
}

pub async fn overview(state: &AppState) -> Result<Response, Fault> {
    let all = fleet(state)?.overview().await.map_err(|error| fault(None, &error))?;
    let count = |wanted: fn(&Status) -> bool| all.iter().filter(|(_, status)| wanted(status)).count();
    let summary = OverviewSummary {
        total_nodes: all.len(),
        unavailable_nodes: count(|status| !status.reached()),
        stream_available_nodes: count(|status| status.stream_available),
    };
    let view = |(node, status): (crate::fleet::node::Node, Arc<Status>)| OverviewNode {
        view: NodeView::of(status),
        name: node.name,
        base_url: node.base_url,
        labels: node.labels,
        last_seen: node.last_seen,
        capabilities: node.capabilities,
    };
    let nodes = all.into_iter().map(view).collect();
    Ok(answer::json(StatusCode::OK, &Overview { summary, nodes, timestamp: SystemTime::now() }))
}

/// Passes an action on and the answer back, as they are.
pub async fn act(state: &AppState, params: Params<'_>, request: &Request<'_>) -> Result<Response, Fault> {
    let (id, action) = (params.id.unwrap_or_default(), params.action.unwrap_or_default());
    if request.body.len() > crate::fleet::LARGEST_BODY {
        let message = format!("what goes with an action is at most {} bytes", crate::fleet::LARGEST_BODY);
        let fault = Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "VALIDATION_ERROR", message, json!({}));
        return Err(fault.node(params.id));
    }
    body::json::<Map<String, Value>>(&request.body).map_err(|fault| fault.node(params.id))?;
    let within =
        Duration::try_from_secs_f64(state.config().management.action_timeout_seconds).unwrap_or_default();
    let answered = fleet(state)?.act(id, action, request.body.clone(), within).await;
    let answer = answered.map_err(|error| fault(params.id, &error))?;
    tracing::info!(node = id, action, status = answer.status, "passed on");
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = warp::reply::with_status(answer.body.to_vec(), status).into_response();
    let kind = answer.content_type.unwrap_or(HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

fn fleet(state: &AppState) -> Result<&Fleet, Fault> {
    state.fleet.as_ref().ok_or_else(|| {
        let message = "this service looks after no other machines; start it with APP_MODE=management";
        Fault::new(StatusCode::NOT_FOUND, "MANAGEMENT_OFF", message, json!({}))
    })
}

fn fault(id: Option<&str>, error: &FleetError) -> Fault {
    let mut details = json!({});
    let (status, code) = match error {
        FleetError::NotFound(_) => (StatusCode::NOT_FOUND, "NODE_NOT_FOUND"),
        FleetError::Invalid(wrong) => {
            details = json!({ "fields": wrong });
            (StatusCode::BAD_REQUEST, "VALIDATION_ERROR")
        }
        FleetError::Full => (StatusCode::BAD_REQUEST, "VALIDATION_ERROR"),
        FleetError::NotAllowed { .. } => (StatusCode::FORBIDDEN, "ACTION_NOT_ALLOWED"),
        FleetError::Unsupported { .. } => (StatusCode::NOT_IMPLEMENTED, "TRANSPORT_UNSUPPORTED"),
        FleetError::Unreachable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "NODE_UNREACHABLE"),
        FleetError::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "NODE_UNAUTHORIZED"),
        FleetError::Registry(_) => (StatusCode::SERVICE_UNAVAILABLE, "REGISTRY_UNAVAILABLE"),
    };
    Fault::new(status, code, error.to_string(), details).node(id)
}
