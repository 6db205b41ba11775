//! The connection test: a printer is tried step by step before it is added, and the first step that fails says
//! what to do. Nothing is kept of it.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::Means;
use super::link::{self, Link, LinkSettings};
use super::mqtt;
use super::pictures;
use super::printer::Printer;
use super::reducer::Patience;
use super::state::PrinterState;
use super::worker::link_settings;
use crate::supervision::Timing;
use crate::tls::Fingerprint;

/// Reaching it and logging in, together.
const CONNECTED_WITHIN: Duration = Duration::from_secs(8);
/// The first report after that.
const REPORT_WITHIN: Duration = Duration::from_secs(8);
const NOT_TRIED: &str = "not tried";

/// What is tried, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The address, by TCP.
    Reach,
    /// The encrypted connection, and whether the certificate is the one that is trusted.
    Tls,
    /// The access code.
    Code,
    /// Reports: they come when the serial number is the printer's.
    Mqtt,
    /// Pictures.
    Camera,
}

/// How one step went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PrinterTestStep)]
pub struct Step {
    pub name: What,
    /// Null: it was not tried, because one before it failed or there is nothing to try.
    pub ok: Option<bool>,
    /// What was found, and what to do.
    pub message: String,
}

/// Tries a printer.
pub async fn run(printer: &Printer, means: &Means) -> Vec<Step> {
    let config = Arc::clone(&means.config.borrow());
    let settings = link_settings(printer, &config);
    let patience = Patience { connect: CONNECTED_WITHIN, ..Patience::default() };
    let reached = link::test(&settings, patience).await;
    match reached {
        Err((step, why)) => failed(step, why),
        Ok(certificate) => {
            let link = Link::visit(
                &format!("{} in a test", printer.name),
                LinkSettings { pin: certificate, ..settings },
                patience,
                &Timing::from(&config.supervision),
                &means.vitals,
            );
            let heard = first_report(&link).await;
            link.shutdown().await;
            let mut steps = connected(certificate, heard.as_deref());
            steps.push(camera(printer, heard.as_deref(), certificate, means).await);
            steps
        }
    }
}

/// The state after the first report, or after it has said who it is; `None` when it says nothing.
async fn first_report(link: &Link) -> Option<Arc<PrinterState>> {
    // Machines that are not to be asked for everything may have nothing else to report.
    let told = |state: &PrinterState| {
        let all = state.model.pushall_at_any_time();
        state.last_update.is_some() || (!all && state.details.firmware.is_some())
    };
    let mut states = link.watch();
    let heard = timeout(REPORT_WITHIN, states.wait_for(|state| told(state))).await;
    heard.ok().and_then(Result::ok).map(|state| Arc::clone(&state))
}

/// Whether the camera gives pictures: looked at for real, as nothing else tells.
async fn camera(
    printer: &Printer,
    heard: Option<&PrinterState>,
    certificate: Option<Fingerprint>,
    means: &Means,
) -> Step {
    let step = |ok, message| Step { name: What::Camera, ok, message };
    let Some(state) = heard else { return step(None, NOT_TRIED.into()) };
    let config = Arc::clone(&means.config.borrow());
    let id = format!("test-of-{}", printer.id);
    match super::camera::decide(id, printer, state, certificate, &config.printers) {
        Err(why) => step(Some(false), why),
        Ok(camera) => {
            match pictures::look(super::reach::confine(camera, printer.rtsp_url.as_deref(), &config), means)
                .await
            {
                Ok(what) => step(Some(true), format!("it gives pictures: {what}")),
                Err(why) => step(Some(false), why),
            }
        }
    }
}

/// What went well before the step that failed, and what was not tried after it.
fn failed(at: mqtt::Step, why: String) -> Vec<Step> {
    let steps = [
        (mqtt::Step::Reach, What::Reach, "the address answers"),
        (mqtt::Step::Tls, What::Tls, "it speaks TLS"),
        (mqtt::Step::Code, What::Code, "the access code is right"),
        (mqtt::Step::Mqtt, What::Mqtt, ""),
    ];
    let place = steps.iter().position(|(step, ..)| *step == at).unwrap_or_default();
    let step = |(number, (_, name, well)): (usize, (mqtt::Step, What, &str))| match number.cmp(&place) {
        Ordering::Less => Step { name, ok: Some(true), message: well.into() },
        Ordering::Equal => Step { name, ok: Some(false), message: why.clone() },
        Ordering::Greater => Step { name, ok: None, message: NOT_TRIED.into() },
    };
    let camera = Step { name: What::Camera, ok: None, message: NOT_TRIED.into() };
    steps.into_iter().enumerate().map(step).chain([camera]).collect()
}

fn connected(certificate: Option<Fingerprint>, heard: Option<&PrinterState>) -> Vec<Step> {
    let well = |name, message: String| Step { name, ok: Some(true), message };
    let certificate = certificate.map_or_else(String::new, |shown| format!(": its certificate is {shown}"));
    let reports = match heard {
        Some(state) => well(What::Mqtt, format!("it reports; model {}", state.model)),
        None => Step {
            name: What::Mqtt,
            ok: Some(false),
            message: format!(
                "no report came within {} s: compare the serial number with the one on the printer's screen",
                REPORT_WITHIN.as_secs()
            ),
        },
    };
    vec![
        well(What::Reach, "the address answers".into()),
        well(What::Tls, format!("it speaks TLS{certificate}")),
        well(What::Code, "the access code is right".into()),
        reports,
    ]
}
