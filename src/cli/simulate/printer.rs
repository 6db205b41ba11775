//! One simulated printer with its network: broker, connection, camera, and the task that moves them all.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use openssl::pkey::{PKey, Private};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;

use super::broker::{self, Broker};
use super::camera::{Camera, PATH, Pictures};
use super::certificate::{self, Files};
use super::link::Link;
use super::machine::Machine;
use super::models::{self, Model};
use super::orders::{CameraIs, Order};

/// How often it tells what changed.
const TELLS: Duration = Duration::from_secs(1);
/// The port that the models' RTSPS cameras have, which is not said in their URL.
pub const RTSPS: u16 = 322;
/// A host that no reader gets anywhere with: the host in the URL that a machine tells can be wrong.
const WRONG_HOST: &str = "192.0.2.1";
/// How long its own connection may take to be there.
const CONNECTS: Duration = Duration::from_secs(5);

/// What a printer is.
#[derive(Clone, Debug)]
pub struct Settings {
    pub model: &'static Model,
    pub serial: String,
    pub access_code: String,
    pub address: IpAddr,
    pub mqtt_port: u16,
    pub camera_port: u16,
    /// Simulated seconds in a real one.
    pub speed: f64,
    /// Whether it prints by itself.
    pub endless: bool,
}

impl Settings {
    pub fn camera(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.camera_port)
    }

    /// The camera's address for people.
    pub fn camera_url(&self) -> String {
        match self.model.camera {
            models::Camera::Rtsps => format!("rtsps://{}/{PATH}", self.camera()),
            models::Camera::Jpeg => format!("JPEG on {}", self.camera()),
        }
    }
}

/// What all printers are made with.
#[derive(Clone, Debug)]
pub struct Common {
    pub mosquitto: PathBuf,
    pub key: PKey<Private>,
    pub pictures: Pictures,
}

type Answer = oneshot::Sender<Result<(), String>>;

/// The handle of a printer that runs.
#[derive(Debug)]
pub struct Printer {
    pub settings: Settings,
    orders: mpsc::Sender<(Order, Answer)>,
    task: AbortOnDropHandle<()>,
}

impl Printer {
    /// Starts it, its files in `folder`; returns once it can be reached.
    pub async fn start(settings: Settings, common: Common, folder: &Path) -> anyhow::Result<Self> {
        let files = certificate::write(folder, &settings.serial, &common.key)?;
        let password = format!("{:032x}", rand::random::<u128>());
        let (link, requests) = Link::start(folder, &settings.serial, &password);
        let mut body = Body {
            machine: Machine::new(settings.model, settings.serial.clone(), settings.endless),
            settings: settings.clone(),
            common,
            folder: folder.to_owned(),
            files,
            password,
            broker: None,
            link,
            camera: Camera::Closed,
            camera_is: CameraIs::Serving,
            liveview: true,
            off_until: None,
            began: Instant::now(),
        };
        body.power(true).await?;
        let (orders, given) = mpsc::channel(8);
        let task = AbortOnDropHandle::new(tokio::spawn(body.live(requests, given)));
        Ok(Self { settings, orders, task })
    }

    /// Gives an order and waits until it is obeyed.
    pub async fn order(&self, order: Order) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let gone = |_| "the printer has ended".to_owned();
        self.orders.send((order, answer)).await.map_err(|_| gone(()))?;
        answered.await.map_err(|_| gone(()))?
    }

    /// Ends it and everything that it began.
    pub async fn shutdown(self) {
        let Self { orders, task, .. } = self;
        // The task ends when nobody gives orders any more.
        drop(orders);
        let _ = task.await;
    }
}

#[derive(Debug)]
struct Body {
    settings: Settings,
    common: Common,
    folder: PathBuf,
    files: Files,
    /// Of its own connection.
    password: String,
    machine: Machine,
    broker: Option<Broker>,
    link: Link,
    camera: Camera,
    camera_is: CameraIs,
    liveview: bool,
    /// While it reboots.
    off_until: Option<Instant>,
    began: Instant,
}

impl Body {
    async fn live(
        mut self,
        mut requests: mpsc::Receiver<Bytes>,
        mut orders: mpsc::Receiver<(Order, Answer)>,
    ) {
        let mut tick = tokio::time::interval(TELLS);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let off_until = self.off_until;
            let back = async {
                match off_until {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(request) = requests.recv() => {
                    self.catch_up();
                    for answer in self.machine.hear(&request) {
                        self.link.publish(&answer);
                    }
                    // What it did shows at once.
                    self.tell();
                }
                _ = tick.tick() => {
                    self.catch_up();
                    self.tell();
                }
                () = back => {
                    self.off_until = None;
                    if let Err(error) = self.power(true).await {
                        eprintln!("{} does not come back: {error:#}", self.settings.serial);
                    }
                }
                order = orders.recv() => match order {
                    Some((order, answer)) => {
                        self.catch_up();
                        let done = self.obey(order).await.map_err(|error| format!("{error:#}"));
                        self.tell();
                        // Who gave it may not care.
                        let _ = answer.send(done);
                    }
                    None => break,
                },
            }
        }
        let _ = self.power(false).await;
    }

    fn catch_up(&mut self) {
        self.machine.advance((self.began.elapsed().as_secs_f64() * self.settings.speed) as u64);
    }

    fn tell(&mut self) {
        // While nobody can hear it, what changed is kept for later.
        if self.link.connected()
            && let Some(delta) = self.machine.delta()
        {
            self.link.publish(&delta);
        }
    }

    async fn obey(&mut self, order: Order) -> anyhow::Result<()> {
        match order {
            Order::Machine(act) => act.on(&mut self.machine),
            Order::Broker(on) => self.broker(on).await?,
            Order::Camera(is) => {
                self.camera_is = is;
                self.camera().await?;
            }
            Order::Liveview(on) => {
                self.liveview = on;
                self.camera().await?;
            }
            Order::Certificate => {
                self.files = certificate::write(&self.folder, &self.settings.serial, &self.common.key)?;
                self.power(false).await?;
                self.power(true).await?;
            }
            Order::Code(code) => {
                self.settings.access_code = code;
                self.power(false).await?;
                self.power(true).await?;
            }
            Order::Reboot(time) => {
                self.power(false).await?;
                self.off_until = Some(Instant::now() + time);
            }
        }
        Ok(())
    }

    /// Everything of its network, on or off.
    async fn power(&mut self, on: bool) -> anyhow::Result<()> {
        if on {
            self.camera().await?;
        } else {
            self.camera.close().await;
        }
        self.broker(on).await
    }

    async fn broker(&mut self, on: bool) -> anyhow::Result<()> {
        match (on, self.broker.take()) {
            (true, Some(broker)) => self.broker = Some(broker),
            (true, None) => {
                let settings = broker::Settings {
                    program: self.common.mosquitto.clone(),
                    address: SocketAddr::new(self.settings.address, self.settings.mqtt_port),
                    serial: self.settings.serial.clone(),
                    access_code: self.settings.access_code.clone(),
                    machine_password: self.password.clone(),
                    files: self.files.clone(),
                };
                self.broker = Some(Broker::start(&self.folder, &settings).await?);
                let until = Instant::now() + CONNECTS;
                while !self.link.connected() && Instant::now() < until {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                anyhow::ensure!(self.link.connected(), "the printer does not reach its own broker");
            }
            (false, Some(broker)) => {
                drop(broker);
                while self.link.connected() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            (false, None) => {}
        }
        Ok(())
    }

    /// Brings the camera to how it is to be, and what is told of it with it.
    async fn camera(&mut self) -> anyhow::Result<()> {
        self.camera.close().await;
        let Settings { model, access_code, .. } = &self.settings;
        let liveview = self.liveview || model.camera == models::Camera::Jpeg;
        self.machine.rtsp_url = match model.camera {
            models::Camera::Jpeg => None,
            models::Camera::Rtsps if !liveview => Some("disable".to_owned()),
            models::Camera::Rtsps => Some(told_url(&self.settings)),
        };
        let is = if liveview { self.camera_is } else { CameraIs::Closed };
        let (address, pictures) = (self.settings.camera(), &self.common.pictures);
        self.camera = Camera::open(is, model.camera, address, access_code, &self.files, pictures).await?;
        Ok(())
    }
}

/// The URL as the machine tells it.
fn told_url(settings: &Settings) -> String {
    let mut address = settings.camera();
    if settings.model.wrong_host
        && let Ok(wrong) = WRONG_HOST.parse()
    {
        address.set_ip(wrong);
    }
    let place = if address.port() == RTSPS { address.ip().to_string() } else { address.to_string() };
    format!("rtsps://{place}/{PATH}")
}
