//! Two simulated printers beside the demo's camera, where there is a broker for them.
//!
//! They run in a thread of their own with the runtime that they need, from before the service starts until
//! after it has ended, and are entered in the demo's registry as anybody's printers are.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cli::simulate::models;
use crate::cli::simulate::printer::Settings;
use crate::cli::simulate::simulator::{Plan, Simulator};
use crate::config::model::Config;
use crate::printers::{Means, Printers};
use crate::storage::Database;

/// So much faster than time: a print takes minutes.
const SPEED: f64 = 20.0;

/// Simulated printers that run until this goes.
#[derive(Debug)]
pub struct DemoPrinters {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl DemoPrinters {
    /// Starts them and enters them in the registry in `state`, the service's directory.
    pub fn start(config: &Config, state: &Path) -> anyhow::Result<Self> {
        gstreamer::init().context("GStreamer does not start")?;
        let plan = plan(config.printers.mqtt_port)?;
        let (stop, (tell, told)) = (CancellationToken::new(), mpsc::sync_channel(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let until = stop.clone();
        let thread = std::thread::Builder::new().name("printers".to_owned());
        let thread = thread.spawn(move || {
            runtime.block_on(async {
                let started = Simulator::start(&plan).await;
                let list = started.as_ref().map(|it| it.printers().cloned().collect::<Vec<_>>());
                let list = list.map_err(|error| format!("{error:#}"));
                // The other end waits for it.
                let _ = tell.send(list);
                if let Ok(simulator) = started {
                    until.cancelled().await;
                    simulator.shutdown().await;
                }
            });
        })?;
        let running = Self { stop, thread: Some(thread) };
        let list = told.recv()?.map_err(anyhow::Error::msg)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(enter(config, state, &list))?;
        Ok(running)
    }
}

impl Drop for DemoPrinters {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn plan(mqtt_port: u16) -> anyhow::Result<Plan> {
    let models = ["X1C", "A1"].map(models::find);
    let models = models.into_iter().collect::<Result<Vec<_>, _>>().map_err(anyhow::Error::msg)?;
    // Addresses that another demo, or a broker on this machine, hardly has.
    let own = std::process::id() & 0x7fff;
    let bind = Ipv4Addr::from_bits(0x7f50_0002 | own << 2);
    Ok(Plan {
        count: models.len(),
        models,
        serial: None,
        access_code: "12345678".into(),
        bind: IpAddr::V4(bind),
        mqtt_port,
        camera_port: None,
        speed: SPEED,
        endless: true,
        media: None,
    })
}

async fn enter(config: &Config, state: &Path, list: &[Settings]) -> anyhow::Result<()> {
    let database = Database::open(state).await?;
    let config = watch::Sender::new(Arc::new(config.clone()));
    let registry = Printers::open(Ok(database.clone()), Means::bare(config.subscribe())).await;
    for printer in list {
        let body = json!({
            "name": format!("Simulated {}", printer.model.name), "host": printer.address,
            "serial": printer.serial, "accessCode": printer.access_code
        });
        let body: Map<String, Value> = body.as_object().cloned().unwrap_or_default();
        registry.create(body).await?;
    }
    registry.shutdown().await;
    database.close().await;
    Ok(())
}
