//! Devices as udev tells of them, and libcamera's cameras beside them: the real [`Devices`].
//!
//! A thread of its own waits for events; nothing is polled. udev tells when a device is ready to be used, the
//! kernel, which is quicker, when it is gone. libcamera is asked on a second thread. Both end when the [`Udev`]
//! is dropped. What can go wrong: no udev on this machine (containers), which is said once; then devices are not
//! discovered.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::mpsc;
use udev::{Device as UdevDevice, Enumerator, Event, EventType, MonitorBuilder, MonitorSocket};

use super::discovery::Devices;
use super::identity::{Device, LIBCAMERA, Opens};
use super::roster::{Change, Node};
use crate::capture::{device, discover};

const SUBSYSTEM: &str = "video4linux";
/// There while udev runs.
const CONTROL: &str = "/run/udev/control";
/// How long libcamera's first answer is waited for before V4L2 devices are told of, where it may have one.
const LIBCAMERA_PATIENCE: Duration = Duration::from_secs(3);
/// More news than this wait for nobody.
const WAITING: usize = 256;
/// Drivers whose nodes give what a sensor gives, raw; libcamera makes pictures of it. And those that only
/// convert pictures.
const NOT_CAMERAS: &[&str] = &[
    "unicam",
    "bcm2835-isp",
    "bcm2835-codec",
    "bcm2835-unicam",
    "rp1-cfe",
    "pispbe",
    "rpi-hevc-dec",
    "rpivid",
    "ipu3-cio2",
    "ipu3-imgu",
    "intel-ipu6",
    "rkisp1",
    "sun6i-csi",
    "imx7-csi",
    "qcom-camss",
];

/// News from udev. Dropping it ends the thread behind it.
#[derive(Debug)]
pub struct Udev {
    news: mpsc::Receiver<Change>,
    _end: PipeWriter,
}

impl Devices for Udev {
    fn next(&mut self) -> BoxFuture<'_, Option<Change>> {
        Box::pin(self.news.recv())
    }
}

impl Udev {
    /// Begins to listen.
    ///
    /// # Errors
    /// In words: no udev here, or no thread to be had.
    pub fn open() -> Result<Self, String> {
        if !Path::new(CONTROL).exists() {
            return Err(format!(
                "udev is not running here ({CONTROL} is missing), so cameras that are plugged in are not found by \
                 themselves; write them down as [[camera]], or in a container share /run/udev and the host's network"
            ));
        }
        let (tell, news) = mpsc::channel(WAITING);
        let (ended, end) = io::pipe().map_err(|error| format!("udev cannot be listened to: {error}"))?;
        std::thread::Builder::new()
            .name("udev".into())
            .spawn(move || {
                if let Err(error) = listen(&tell, &ended) {
                    tracing::error!("udev: {error}; cameras that are plugged in from now on are not noticed");
                }
            })
            .map_err(|error| format!("udev cannot be listened to: {error}"))?;
        Ok(Self { news, _end: end })
    }
}

/// The receiver is gone: there is nobody to tell.
struct Over;

fn listen(tell: &mpsc::Sender<Change>, ended: &PipeReader) -> io::Result<()> {
    // Before the enumeration: what comes in between is told twice rather than never.
    let ready = MonitorBuilder::new()?.match_subsystem(SUBSYSTEM)?.listen()?;
    let gone = MonitorBuilder::new_kernel()?.match_subsystem(SUBSYSTEM)?.listen()?;
    let (look, looks) = sync_channel(1);
    let (looked, first_look) = sync_channel(1);
    let sensors = Sensors { tell: tell.clone(), looks, looked, names: Vec::new() };
    std::thread::Builder::new().name("libcamera".into()).spawn(move || sensors.run())?;
    let teller = Teller { tell, look };
    teller.sensors();
    if discover::may_have_sensors() {
        // A sensor of the machine's own goes before what is plugged in, for `auto`.
        let _ = first_look.recv_timeout(LIBCAMERA_PATIENCE);
    }
    if teller.enumerate()?.is_err() {
        return Ok(());
    }
    loop {
        let (udev_fd, kernel_fd) = (borrowed(&ready), borrowed(&gone));
        let mut fds = [
            PollFd::new(&udev_fd, PollFlags::IN),
            PollFd::new(&kernel_fd, PollFlags::IN),
            PollFd::new(ended, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if !fds[2].revents().is_empty() {
            return Ok(());
        }
        let kernel: Vec<Event> = gone.iter().collect();
        let mut removed = kernel.iter().filter(|event| event.event_type() == EventType::Remove);
        let mut told = removed.try_for_each(|event| teller.went(event));
        for event in ready.iter() {
            told = told.and(match event.event_type() {
                EventType::Remove => teller.went(&event),
                _ => teller.came(&event),
            });
        }
        if told.is_err() {
            return Ok(());
        }
    }
}

fn borrowed(socket: &MonitorSocket) -> BorrowedFd<'_> {
    socket.as_fd()
}

struct Teller<'t> {
    tell: &'t mpsc::Sender<Change>,
    /// Asks libcamera again.
    look: SyncSender<()>,
}

impl Teller<'_> {
    fn enumerate(&self) -> io::Result<Result<(), Over>> {
        let mut enumerator = Enumerator::new()?;
        enumerator.match_subsystem(SUBSYSTEM)?;
        let mut devices: Vec<UdevDevice> = enumerator.scan_devices()?.collect();
        // By port, so that twins get their ids in the same order on every machine.
        devices.sort_by_key(|device| (property(device, "ID_PATH"), device.devnode().map(Path::to_owned)));
        Ok(devices.iter().try_for_each(|device| self.node(device)))
    }

    fn came(&self, event: &Event) -> Result<(), Over> {
        if event.event_type() == EventType::Add && !is_on_usb(&event.device()) {
            self.sensors();
        }
        self.node(&event.device())
    }

    fn went(&self, event: &Event) -> Result<(), Over> {
        match event.devnode() {
            Some(node) => self.say(Change::Went(node.display().to_string())),
            None => Ok(()),
        }
    }

    fn node(&self, device: &UdevDevice) -> Result<(), Over> {
        match node(device) {
            Some(node) => self.say(Change::Came(Box::new(node))),
            None => Ok(()),
        }
    }

    /// Has libcamera asked again, when it is done with what it does now.
    fn sensors(&self) {
        // One that is waiting already will see everything.
        let _ = self.look.try_send(());
    }

    fn say(&self, change: Change) -> Result<(), Over> {
        self.tell.blocking_send(change).map_err(|_| Over)
    }
}

/// libcamera has no events, takes its time and has sensors that nobody plugs in: it is asked at the start and
/// when a driver brings nodes, on a thread of its own.
struct Sensors {
    tell: mpsc::Sender<Change>,
    looks: Receiver<()>,
    looked: SyncSender<()>,
    /// As libcamera gave them last.
    names: Vec<String>,
}

impl Sensors {
    /// Runs until nobody asks any more.
    fn run(mut self) {
        while self.looks.recv().is_ok() {
            let names = discover::libcamera_names().into_iter().filter(|name| !is_usb(name));
            let names: Vec<String> = names.collect();
            let gone = self.names.iter().filter(|name| !names.contains(name));
            let gone = gone.map(|name| Change::Went(name.clone()));
            let new = names.iter().filter(|name| !self.names.contains(name));
            let new = new.map(|name| Change::Came(Box::new(sensor(name))));
            let told = gone.chain(new).try_for_each(|change| self.tell.blocking_send(change));
            if told.is_err() {
                return;
            }
            self.names = names;
            // Only the first one is waited for.
            let _ = self.looked.try_send(());
        }
    }
}

fn is_on_usb(device: &UdevDevice) -> bool {
    matches!(device.parent_with_subsystem_devtype("usb", "usb_device"), Ok(Some(_)))
}

/// libcamera lists USB cameras too, by a name that ends with their model. They are V4L2's here.
fn is_usb(name: &str) -> bool {
    let model = name.rsplit('-').next().unwrap_or_default();
    let hex = |part: &str| part.len() == 4 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    model.split_once(':').is_some_and(|(vendor, product)| hex(vendor) && hex(product))
}

/// A camera of libcamera's. Its name is its place on the board, down to the sensor's address.
fn sensor(name: &str) -> Node {
    let sensor = name.rsplit('/').next().and_then(|last| last.split('@').next()).unwrap_or(name);
    let device = Device {
        opens: Opens::Libcamera(name.to_owned()),
        name: sensor.to_owned(),
        model: LIBCAMERA.to_owned(),
        serial: None,
        port: name.to_owned(),
        links: Vec::new(),
    };
    Node { key: name.to_owned(), group: name.to_owned(), index: 0, gives_pictures: true, device }
}

/// A video node as udev and sysfs describe it; `None` for what can be no camera.
fn node(device: &UdevDevice) -> Option<Node> {
    let path = device.devnode()?.to_owned();
    // `vbi0`, `v4l-subdev0` and the like are in the same subsystem.
    if !device.sysname().to_string_lossy().starts_with("video") {
        return None;
    }
    let parent = device.parent()?;
    let driver = property(&parent, "DRIVER").unwrap_or_default();
    if NOT_CAMERAS.contains(&driver.as_str()) {
        return None;
    }
    let usb = device.parent_with_subsystem_devtype("usb", "usb_device").ok().flatten();
    let usb = usb.as_ref();
    let key = path.display().to_string();
    // Nodes of one USB interface are one camera; elsewhere each node is its own.
    let group = if usb.is_some() { parent.syspath().display().to_string() } else { key.clone() };
    let index = attribute(device, "index").and_then(|index| index.parse().ok()).filter(|_| usb.is_some());
    let card = attribute(device, "name");
    let named = usb.and_then(|usb| attribute(usb, "product")).or_else(|| card.clone());
    let model =
        usb.and_then(|usb| Some(format!("{}:{}", attribute(usb, "idVendor")?, attribute(usb, "idProduct")?)));
    let place =
        property(device, "ID_PATH").unwrap_or_else(|| parent.sysname().to_string_lossy().into_owned());
    // Cards with several inputs share the path: the driver's name for the node tells them apart.
    let port = match (usb, &card) {
        (None, Some(card)) => format!("{place}/{card}"),
        _ => place,
    };
    Some(Node {
        gives_pictures: gives_pictures(device, &path),
        device: Device {
            name: named.unwrap_or_else(|| "Camera".to_owned()),
            model: model.or(card).unwrap_or(driver),
            serial: usb.and_then(|usb| attribute(usb, "serial")),
            port,
            links: links(device),
            opens: Opens::V4l2(path),
        },
        index: index.unwrap_or(0),
        group,
        key,
    })
}

/// udev has asked the device; where it has not, that is done here.
fn gives_pictures(udev: &UdevDevice, path: &Path) -> bool {
    match property(udev, "ID_V4L_CAPABILITIES") {
        Some(capabilities) => capabilities.contains(":capture:"),
        None => device::describe(path).is_ok_and(|description| description.captures),
    }
}

fn links(device: &UdevDevice) -> Vec<PathBuf> {
    property(device, "DEVLINKS").unwrap_or_default().split_whitespace().map(PathBuf::from).collect()
}

fn property(device: &UdevDevice, name: &str) -> Option<String> {
    let value = device.property_value(name)?.to_string_lossy().into_owned();
    (!value.is_empty()).then_some(value)
}

fn attribute(device: &UdevDevice, name: &str) -> Option<String> {
    let value = device.attribute_value(name)?.to_string_lossy().trim().to_owned();
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_that_libcamera_only_passes_on_are_left_to_v4l2() {
        for (name, usb) in [
            ("/base/soc/i2c0mux/i2c@1/imx708@1a", false),
            ("/base/axi/pcie@1000120000/rp1/i2c@88000/imx219@10", false),
            ("\\_SB_.PC00.XHCI.RHUB.HS07-7:1.0-04f2:b6d9", true),
            ("camera-1", false),
        ] {
            assert_eq!(is_usb(name), usb, "{name}");
        }
        assert_eq!(sensor("/base/soc/i2c0mux/i2c@1/imx708@1a").device.name, "imx708");
    }

    /// libcamera may still be looking.
    const DEADLINE: Duration = Duration::from_secs(30);

    #[test]
    fn a_machine_without_udev_says_so_and_its_thread_ends_with_it_elsewhere() {
        match Udev::open() {
            Ok(Udev { mut news, _end: end }) => {
                drop(end);
                // Its threads hold the other ends of this: the last one to end closes it.
                let ends = async { while news.recv().await.is_some() {} };
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let ended = runtime.block_on(async { tokio::time::timeout(DEADLINE, ends).await });
                assert!(ended.is_ok(), "its threads still run");
            }
            Err(words) => {
                assert!(words.contains("/run/udev/control") && words.contains("[[camera]]"), "{words}")
            }
        }
    }
}
