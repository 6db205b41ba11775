//! Two simulated printers beside the demo's camera, where there is a broker for them.
//!
//! They run in a thread of their own with the runtime that they need, from before the service starts until
//! after it has ended, and are in the demo's database before the service reads it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::cli::simulate::models;
use crate::cli::simulate::printer::Settings;
use crate::cli::simulate::simulator::{Plan, Simulator};
use crate::config::model::Config;
use crate::storage::{Database, KeptCode, KeptPrinter};

/// So much faster than time: a print takes minutes.
const SPEED: f64 = 20.0;

/// Simulated printers that run until this goes.
#[derive(Debug)]
pub struct DemoPrinters {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl DemoPrinters {
    /// Starts them and keeps them as the printers of the service whose directory is `state`.
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
        runtime.block_on(enter(state, &list))?;
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

/// The demo has no key file, so that codes are kept as they are.
async fn enter(state: &Path, list: &[Settings]) -> anyhow::Result<()> {
    let database = Database::open(state).await?;
    for printer in list {
        let kept = KeptPrinter {
            name: format!("Simulated {}", printer.model.name),
            host: printer.address.to_string(),
            serial: printer.serial.clone(),
            code: KeptCode::Plain(printer.access_code.clone()),
            rtsp_url: None,
            pin: None,
        };
        database.add_printer(&kept).await?;
    }
    database.close().await;
    Ok(())
}
