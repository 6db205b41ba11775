//! All printers of one simulator, and what they share: the folder of their files, the key of their
//! certificates, the pictures of their cameras.
//!
//! Used by `fanlight simulate printer` and by `fanlight demo`. It has to be shut down inside the runtime that
//! it was started in; dropped, it still leaves no process and no file behind.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use tokio::sync::watch;

use super::camera::PATH;
use super::models::{self, Model};
use super::orders;
use super::printer::{Common, Printer, RTSPS, Settings};
use super::{broker, certificate};
use crate::capture::{self, Capture, Means};
use crate::config::model::{self, Config, Idle, Resolution, Source};
use crate::pipelines::Library;
use crate::supervision::{Timing, Vitals};

/// Where RTSPS goes when the machines' own port is not for everybody.
const RTSPS_ELSEWHERE: u16 = 3322;
/// Where the JPEGs of A1 and P1 are.
const JPEG: u16 = 6000;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Taken in turn.
    pub models: Vec<&'static Model>,
    pub count: usize,
    /// Of the first printer; the others are numbered.
    pub serial: Option<String>,
    pub access_code: String,
    /// Of the first printer; each other one has the next address.
    pub bind: IpAddr,
    pub mqtt_port: u16,
    pub camera_port: Option<u16>,
    pub speed: f64,
    pub endless: bool,
    /// What the cameras show; `None` is the test picture.
    pub media: Option<PathBuf>,
}

#[derive(Debug)]
pub struct Simulator {
    printers: Vec<Printer>,
    pictures: Capture,
    _folder: Folder,
    _cameras: watch::Sender<Arc<[Capture]>>,
}

impl Simulator {
    /// Starts all printers; returns once each can be reached. GStreamer has to be there.
    pub async fn start(plan: &Plan) -> anyhow::Result<Self> {
        let mosquitto = broker::find()?;
        let settings = settings(plan)?;
        let key = tokio::task::spawn_blocking(certificate::key).await??;
        let folder = Folder::new()?;
        let config = Config::default();
        let means = Means {
            library: Arc::new(Library::load(&config.pipelines.directory)?),
            timing: Timing::from(&config.supervision),
            vitals: Vitals::new(config.supervision.frozen_limit),
            graphs: None,
            linger: capture::LINGER,
        };
        let pictures = Capture::start(shown(plan.media.clone()), &means);
        let cameras = watch::Sender::new(Arc::from([pictures.clone()]));
        let common = Common { mosquitto, key, pictures: cameras.subscribe() };
        let mut printers = Vec::new();
        for (number, settings) in settings.into_iter().enumerate() {
            let own = folder.0.join(number.to_string());
            std::fs::create_dir(&own)?;
            let serial = settings.serial.clone();
            let printer = Printer::start(settings, common.clone(), &own).await;
            printers.push(printer.with_context(|| format!("the printer {serial} does not start"))?);
        }
        Ok(Self { printers, pictures, _folder: folder, _cameras: cameras })
    }

    pub fn printers(&self) -> impl Iterator<Item = &Settings> {
        self.printers.iter().map(|printer| &printer.settings)
    }

    /// Obeys a line of [`orders`].
    pub async fn order(&self, line: &str) -> Result<(), String> {
        let (whom, order) = orders::parse(line)?;
        let mut obeying: Vec<_> = self.printers.iter().collect();
        if let Some(serial) = whom {
            obeying.retain(|printer| printer.settings.serial == serial);
        }
        if obeying.is_empty() {
            return Err("there is no printer of that serial number".to_owned());
        }
        for printer in obeying {
            printer.order(order.clone()).await?;
        }
        Ok(())
    }

    pub async fn shutdown(self) {
        futures_util::future::join_all(self.printers.into_iter().map(Printer::shutdown)).await;
        self.pictures.shutdown().await;
    }
}

/// What each printer of the plan is.
fn settings(plan: &Plan) -> anyhow::Result<Vec<Settings>> {
    ensure!(!plan.models.is_empty(), "there is no model to simulate");
    if plan.count > 1 && plan.bind.is_unspecified() {
        bail!("several printers need an address each, counted from --bind; {} is all of them", plan.bind);
    }
    (0..plan.count)
        .map(|number| {
            let model = plan.models[number % plan.models.len()];
            let address = nth_address(plan.bind, number)?;
            let camera_port = match (plan.camera_port, model.camera) {
                (Some(port), _) => port,
                (None, models::Camera::Jpeg) => JPEG,
                (None, models::Camera::Rtsps) => rtsps_port(address),
            };
            let serial = match (&plan.serial, number) {
                (Some(serial), 0) => serial.clone(),
                _ => model.serial(number + 1),
            };
            Ok(Settings {
                model,
                serial,
                access_code: plan.access_code.clone(),
                address,
                mqtt_port: plan.mqtt_port,
                camera_port,
                speed: plan.speed,
                endless: plan.endless,
            })
        })
        .collect()
}

/// The address so many after the first: Linux has all of 127.0.0.0/8 for itself.
fn nth_address(first: IpAddr, number: usize) -> anyhow::Result<IpAddr> {
    if number == 0 {
        return Ok(first);
    }
    let IpAddr::V4(v4) = first else { bail!("several printers need IPv4 addresses; {first} is none") };
    let nth = u32::try_from(number).ok().and_then(|number| v4.to_bits().checked_add(number));
    nth.map(|bits| Ipv4Addr::from_bits(bits).into()).context("there are not so many addresses")
}

/// The machines' own port where that may be had, else one for everybody.
fn rtsps_port(address: IpAddr) -> u16 {
    match TcpListener::bind((address, RTSPS)) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => RTSPS_ELSEWHERE,
        _ => RTSPS,
    }
}

/// The one camera behind all.
fn shown(media: Option<PathBuf>) -> model::Camera {
    let source = media.map_or(Source::Test {}, |path| Source::File(model::File { path }));
    let mut camera = model::Camera::new(PATH, source);
    camera.name = Some("Simulated printer".into());
    camera.resolution = Resolution { width: 1280, height: 720 };
    camera.fps = 15;
    camera.idle = Idle::Close;
    camera.jpeg.quality = 80;
    camera.h264.gop_seconds = 1.0;
    camera
}

/// For files of the printers, the owner's alone; removed when dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("fanlight-printers-{}", std::process::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(count: usize, bind: [u8; 4]) -> Plan {
        Plan {
            models: vec![models::find("X1C").unwrap(), models::find("A1").unwrap()],
            count,
            serial: Some("00M00B123456789".into()),
            access_code: "12345678".into(),
            bind: bind.into(),
            mqtt_port: 8883,
            camera_port: None,
            speed: 1.0,
            endless: true,
            media: None,
        }
    }

    #[test]
    fn several_printers_have_an_address_a_serial_and_a_model_each() {
        let all = settings(&plan(3, [127, 0, 9, 254])).unwrap();
        let told: Vec<_> =
            all.iter().map(|one| (one.model.name, one.serial.as_str(), one.address.to_string())).collect();
        assert_eq!(
            told,
            [
                ("X1C", "00M00B123456789", "127.0.9.254".to_owned()),
                ("A1", "03900A000000002", "127.0.9.255".to_owned()),
                ("X1C", "00M00A000000003", "127.0.10.0".to_owned()),
            ]
        );
        assert_eq!(all[1].camera_port, 6000);
    }

    #[test]
    fn several_printers_cannot_share_all_addresses() {
        assert!(settings(&plan(1, [0, 0, 0, 0])).is_ok());
        let refused = settings(&plan(2, [0, 0, 0, 0])).unwrap_err().to_string();
        assert!(refused.contains("--bind"), "{refused}");
    }
}
