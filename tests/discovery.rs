//! Cameras that come and go while the service runs: devices are plugged in and out by a script, everything
//! behind them is real. Pictures of real devices are in tests/vm.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use fanlight::cameras::identity::{Device, Opens};
use fanlight::cameras::pictures::Memory;
use fanlight::cameras::roster::{Change, Node};
use fanlight::cameras::{Cameras, Presence, discovery};
use fanlight::capture::{Capture, LINGER, Means};
use fanlight::config::Difference;
use fanlight::config::model::{Camera, Config, Source, V4l2, V4l2Format};
use fanlight::config::transforms::{Mask, Transforms};
use fanlight::pipelines::Library;
use fanlight::storage::Database;
use fanlight::supervision::{Timing, Vitals};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

const SOON: Duration = Duration::from_secs(10);

fn means() -> Means {
    Means {
        library: Arc::new(Library::embedded()),
        timing: Timing::default(),
        vitals: Vitals::new(100),
        graphs: None,
        linger: LINGER,
    }
}

/// A house with a cable in hand.
struct House {
    cameras: Cameras,
    config: Config,
    cable: mpsc::Sender<Change>,
    _running: AbortOnDropHandle<()>,
    directory: tempfile::TempDir,
}

impl House {
    async fn open(config: Config) -> Self {
        Self::open_in(tempfile::tempdir().unwrap(), config).await
    }

    async fn open_in(directory: tempfile::TempDir, config: Config) -> Self {
        Self::open_expecting(directory, config, &[]).await
    }

    async fn open_expecting(directory: tempfile::TempDir, config: Config, expected: &[&str]) -> Self {
        gstreamer::init().unwrap();
        let database = Database::open(directory.path()).await.unwrap();
        let expected = expected.iter().map(ToString::to_string);
        let cameras = Cameras::open(&config, &means(), Memory::Database(database), true, expected).await;
        let (cable, devices) = mpsc::channel(16);
        let running = AbortOnDropHandle::new(tokio::spawn(discovery::run(cameras.clone(), devices)));
        Self { cameras, config, cable, _running: running, directory }
    }

    async fn plug(&self, number: u32, serial: Option<&str>, port: &str) {
        self.plug_in_group(number, serial, port, port).await;
    }

    async fn plug_in_group(&self, number: u32, serial: Option<&str>, port: &str, group: &str) {
        let path = format!("/dev/video-of-a-test-{number}");
        let device = Device {
            opens: Opens::V4l2(path.clone().into()),
            name: "Acme Cam".into(),
            model: "1234:5678".into(),
            serial: serial.map(Into::into),
            port: port.into(),
            links: vec![format!("/dev/v4l/by-path/{port}").into()],
        };
        let node = Node { key: path.clone(), group: group.into(), index: 0, gives_pictures: true, device };
        self.cable.send(Change::Came(Box::new(node))).await.unwrap();
    }

    async fn unplug(&self, number: u32) {
        self.cable.send(Change::Went(format!("/dev/video-of-a-test-{number}"))).await.unwrap();
    }

    async fn reload(&mut self, config: Config) {
        let difference = Difference::between(&self.config, &config);
        self.cameras.apply(&difference, &config, &means()).await;
        self.config = config;
    }

    /// `porch camera0, acme-cam-… camera1 present /dev/…`, without the digits of ids.
    fn shown(&self) -> String {
        let one = |capture: &Capture| {
            let entry = self.cameras.entry(capture.id()).unwrap();
            let id = if entry.discovered { "acme" } else { capture.id() };
            let presence = match entry.presence {
                Some(Presence::Present) => " present",
                Some(Presence::Away) => " away",
                None => "",
            };
            let device =
                entry.device.map(|device| device.replace("/dev/video-of-a-test-", " v")).unwrap_or_default();
            format!("{id} {}{presence}{device}", entry.alias)
        };
        self.cameras.all().iter().map(one).collect::<Vec<_>>().join(", ")
    }

    async fn until(&self, expected: &str) {
        let mut list = self.cameras.watch();
        let wait = async {
            while self.shown() != expected {
                list.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(SOON, wait).await.is_err() {
            panic!("expected {expected:?}, there is {:?}", self.shown());
        }
    }

    async fn end(self) -> tempfile::TempDir {
        self.cameras.shutdown().await;
        self.directory
    }
}

fn porch() -> Config {
    Config { cameras: vec![Camera::new("porch", Source::Test {})], ..Config::default() }
}

#[tokio::test]
async fn a_camera_joins_while_the_service_runs_and_is_the_same_one_when_it_comes_back() {
    let house = House::open(porch()).await;
    house.until("porch camera0").await;
    house.plug(0, Some("A1B2C3D4"), "p1").await;
    house.until("porch camera0, acme camera1 present v0").await;
    let before = house.cameras.all()[1].clone();
    house.unplug(0).await;
    house.until("porch camera0, acme camera1 away").await;
    house.plug(7, Some("A1B2C3D4"), "p2").await;
    house.until("porch camera0, acme camera1 present v7").await;
    let after = house.cameras.named("camera1").unwrap();
    assert!(after.same(&before), "its viewers are those from before");
    house.end().await;
}

#[tokio::test]
async fn twins_without_a_serial_keep_to_their_ports() {
    let house = House::open(porch()).await;
    house.plug(0, None, "p1").await;
    house.plug(1, None, "p2").await;
    house.until("porch camera0, acme camera1 present v0, acme camera2 present v1").await;
    house.unplug(0).await;
    house.unplug(1).await;
    house.until("porch camera0, acme camera1 away, acme camera2 away").await;
    // The other way round: numbers follow the order, cameras do not.
    house.plug(0, None, "p2").await;
    house.plug(1, None, "p1").await;
    house.until("porch camera0, acme camera1 present v1, acme camera2 present v0").await;
    house.end().await;
}

#[tokio::test]
async fn who_is_known_is_away_after_a_restart_and_keeps_the_alias() {
    let house = House::open(porch()).await;
    house.plug(0, None, "p1").await;
    house.plug(1, None, "p2").await;
    house.until("porch camera0, acme camera1 present v0, acme camera2 present v1").await;
    let id = house.cameras.all()[1].id().to_owned();
    let second = house.cameras.all()[2].id().to_owned();
    let directory = house.end().await;
    let house = House::open_in(directory, porch()).await;
    house.until("porch camera0, acme camera1 away, acme camera2 away").await;
    house.plug(4, None, "p2").await;
    house.until("porch camera0, acme camera1 away, acme camera2 present v4").await;
    assert_eq!(house.cameras.named("camera2").unwrap().id(), second);
    assert!(house.cameras.forget(&id).await, "it is away");
    assert!(!house.cameras.forget(&second).await, "it is here");
    house.until("porch camera0, acme camera2 present v4").await;
    house.end().await;
}

#[tokio::test]
async fn what_is_written_down_takes_its_device_and_gives_it_back() {
    let mut house = House::open(porch()).await;
    house.plug(0, Some("A1B2C3D4"), "p1").await;
    house.until("porch camera0, acme camera1 present v0").await;
    let untouched = house.cameras.first().unwrap();
    let mut with = porch();
    let device = "/dev/v4l/by-path/p1".into();
    with.cameras.push(Camera::new("desk", Source::V4l2(V4l2 { device, format: V4l2Format::Auto })));
    house.reload(with).await;
    house.until("porch camera0, desk camera1 present v0").await;
    house.unplug(0).await;
    house.until("porch camera0, desk camera1 away").await;
    house.plug(3, Some("A1B2C3D4"), "p1").await;
    house.until("porch camera0, desk camera1 present v3").await;
    house.reload(porch()).await;
    house.until("porch camera0, acme camera1 present v3").await;
    assert!(house.cameras.first().unwrap().same(&untouched));
    house.end().await;
}

#[tokio::test]
async fn what_is_denied_leaves_and_other_defaults_are_taken_over() {
    let mut house = House::open(porch()).await;
    house.plug(0, Some("A1B2C3D4"), "p1").await;
    house.until("porch camera0, acme camera1 present v0").await;
    let mut other = porch();
    other.discovery.fps = 5;
    house.reload(other).await;
    house.until("porch camera0, acme camera1 present v0").await;
    assert_eq!(house.cameras.named("camera1").unwrap().camera().fps, 5);
    let mut without = porch();
    without.discovery.deny = vec!["acme*".into()];
    house.reload(without).await;
    house.until("porch camera0").await;
    house.end().await;
}

#[tokio::test]
async fn a_service_without_a_configuration_shows_the_first_that_comes_and_the_others_beside_it() {
    let auto = Config { cameras: vec![Camera::new("camera0", Source::Auto {})], ..Config::default() };
    let house = House::open(auto).await;
    house.until("camera0 camera0 away").await;
    house.plug(0, Some("A1B2C3D4"), "p1").await;
    house.until("camera0 camera0 present v0").await;
    house.plug(1, Some("FFEE1122"), "p2").await;
    house.until("camera0 camera0 present v0, acme camera1 present v1").await;
    house.unplug(0).await;
    house.until("camera0 camera0 away, acme camera1 present v1").await;
    // A new one in its place.
    house.plug(2, Some("99887766"), "p1").await;
    house.until("camera0 camera0 present v2, acme camera1 present v1").await;
    house.end().await;
}

#[tokio::test]
async fn what_is_changed_by_api_outlives_a_restart_and_restarts_only_that_camera() {
    let house = House::open(porch()).await;
    house.plug(0, Some("A1B2C3D4"), "p1").await;
    house.until("porch camera0, acme camera1 present v0").await;
    let id = house.cameras.named("camera1").unwrap().id().to_owned();
    let untouched = house.cameras.first().unwrap();
    let change = serde_json::json!({ "name": "Desk", "fps": 7 });
    assert_eq!(house.cameras.change(&id, change.as_object().unwrap()).await, Ok(true));
    assert_eq!(house.cameras.change("porch", change.as_object().unwrap()).await, Ok(false));
    let wrong = serde_json::json!({ "fps": "many" });
    assert!(house.cameras.change(&id, wrong.as_object().unwrap()).await.is_err());
    assert!(house.cameras.first().unwrap().same(&untouched));
    let is_changed = |house: &House| {
        let capture = house.cameras.named("camera1").unwrap();
        (capture.camera().display_name().to_owned(), capture.camera().fps) == ("Desk".to_owned(), 7)
    };
    assert!(is_changed(&house));
    house.until("porch camera0, acme camera1 present v0").await;
    let house = House::open_in(house.end().await, porch()).await;
    house.until("porch camera0, acme camera1 away").await;
    assert!(is_changed(&house));
    house.end().await;
}

#[tokio::test]
async fn a_mask_outlives_whatever_its_camera_begins_anew_for_and_a_restart_until_it_is_reset_or_forgotten() {
    let mask = Mask { name: None, enabled: true, x: 0.0, y: 0.0, width: 0.5, height: 0.5 };
    let masked = Transforms { masks: vec![mask.clone()], ..Transforms::default() };
    let mut house = House::open(porch()).await;
    house.plug(0, Some("A1B2C3D4"), "p1").await;
    house.until("porch camera0, acme camera1 present v0").await;
    let both = |house: &House| ["porch", "camera1"].map(|name| house.cameras.named(name).unwrap());
    for camera in both(&house) {
        let done = house.cameras.transform(camera.id(), Some(masked.clone()), true).await.unwrap();
        assert!(done.kept);
    }
    let is_masked = |before: &Capture, after: &Capture| {
        assert!(!after.same(before), "{} began anew", after.id());
        assert_eq!(after.transforms(), masked, "{}", after.id());
    };
    // By API.
    let [_, before] = both(&house);
    let change = serde_json::json!({ "name": "Desk", "fps": 7 });
    assert_eq!(house.cameras.change(before.id(), change.as_object().unwrap()).await, Ok(true));
    is_masked(&before, &both(&house)[1]);
    // By the file: settings of the camera, defaults of discovery, pipelines.
    let mut other = porch();
    other.cameras[0].fps = 5;
    other.discovery.resolution.width = 320;
    let before = both(&house);
    house.reload(other.clone()).await;
    before.iter().zip(&both(&house)).for_each(|(before, after)| is_masked(before, after));
    let before = both(&house);
    let mut difference = Difference::between(&other, &other);
    difference.live.push("pipelines");
    house.cameras.apply(&difference, &other, &means()).await;
    before.iter().zip(&both(&house)).for_each(|(before, after)| is_masked(before, after));
    // What is written down comes after what was set.
    other.cameras[0].masks = vec![Mask { x: 0.5, ..mask }];
    let before = both(&house);
    house.reload(other.clone()).await;
    is_masked(&before[0], &both(&house)[0]);
    // And over the end of the service.
    house.unplug(0).await;
    house.until("porch camera0, acme camera1 away").await;
    let house = House::open_in(house.end().await, other.clone()).await;
    house.until("porch camera0, acme camera1 away").await;
    let [porch, own] = both(&house);
    assert_eq!((porch.transforms(), own.transforms()), (masked.clone(), masked.clone()));
    house.cameras.transform("porch", None, true).await.unwrap();
    assert_eq!(porch.transforms(), Transforms::of(&other.cameras[0]));
    assert!(house.cameras.forget(own.id()).await);
    let house = House::open_in(house.end().await, other.clone()).await;
    house.plug(0, Some("A1B2C3D4"), "p1").await;
    house.until("porch camera0, acme camera1 present v0").await;
    let [porch, own] = both(&house);
    assert_eq!(porch.transforms(), Transforms::of(&other.cameras[0]));
    assert_eq!(own.transforms(), Transforms::default());
    house.end().await;
}

#[tokio::test]
async fn a_camera_that_is_back_before_its_old_number_is_gone_names_the_new_one() {
    let house = House::open(porch()).await;
    house.plug(0, Some("A1B2C3D4"), "p1").await;
    house.until("porch camera0, acme camera1 present v0").await;
    house.plug_in_group(3, Some("A1B2C3D4"), "p1", "again").await;
    house.unplug(0).await;
    house.until("porch camera0, acme camera1 present v3").await;
    house.unplug(3).await;
    house.until("porch camera0, acme camera1 away").await;
    house.end().await;
}

#[tokio::test]
async fn an_id_that_is_written_down_is_no_second_camera_from_earlier_runs() {
    let house = House::open(porch()).await;
    house.plug(0, Some("A1B2C3D4"), "p1").await;
    house.until("porch camera0, acme camera1 present v0").await;
    let id = house.cameras.named("camera1").unwrap().id().to_owned();
    let directory = house.end().await;
    let config = Config { cameras: vec![Camera::new(&id, Source::Test {})], ..Config::default() };
    let house = House::open_in(directory, config).await;
    let ids: Vec<String> = house.cameras.all().iter().map(|camera| camera.id().to_owned()).collect();
    assert_eq!(ids, std::slice::from_ref(&id));
    assert!(!house.cameras.entry(&id).unwrap().discovered);
    assert!(!house.cameras.forget(&id).await, "it is written down");
    house.end().await;
}

#[tokio::test]
async fn a_device_that_a_reload_gives_to_another_is_given_up_and_the_others_keep_theirs() {
    let auto = |ids: &[&str]| {
        let mut cameras: Vec<_> = ids.iter().map(|id| Camera::new(*id, Source::Auto {})).collect();
        cameras.iter_mut().for_each(|camera| camera.idle = fanlight::config::model::Idle::Open);
        Config { cameras, ..Config::default() }
    };
    let mut house = House::open(auto(&["a", "b"])).await;
    house.plug(5, Some("A1B2C3D4"), "p1").await;
    house.plug(0, Some("FFEE1122"), "p2").await;
    house.until("a camera0 present v5, b camera1 present v0").await;
    // The order of names is another one than theirs.
    house.reload(auto(&["a", "b"])).await;
    house.until("a camera0 present v5, b camera1 present v0").await;
    let camera = house.cameras.named("a").unwrap();
    let says = async |words: &str| {
        let mut changes = camera.changes().unwrap();
        while !camera.status().lifecycle.last_error.unwrap_or_default().contains(words) {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(SOON, says("video-of-a-test-5: there is no such device")).await.unwrap();
    let mut denied = auto(&["a", "b"]);
    denied.discovery.deny = vec!["A1B2C3D4".into()];
    house.reload(denied).await;
    house.until("a camera0 away, b camera1 present v0").await;
    assert!(house.cameras.named("a").unwrap().same(&camera));
    tokio::time::timeout(SOON, says("no camera is plugged in")).await.unwrap();
    house.end().await;
}

#[tokio::test]
async fn a_camera_that_is_away_says_so_and_is_tried_when_it_is_back() {
    let mut config = porch();
    config.discovery.idle = fanlight::config::model::Idle::Open;
    let house = House::open(config).await;
    house.plug(0, Some("A1B2C3D4"), "p1").await;
    house.until("porch camera0, acme camera1 present v0").await;
    let camera = house.cameras.named("camera1").unwrap();
    let error = || camera.status().lifecycle.last_error.unwrap_or_default();
    let says = async |words: &str| {
        let mut changes = camera.changes().unwrap();
        while !error().contains(words) {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(SOON, says("video-of-a-test-0: there is no such device"))
        .await
        .unwrap_or_else(|_| panic!("{}", error()));
    house.unplug(0).await;
    tokio::time::timeout(SOON, says("is not plugged in")).await.unwrap_or_else(|_| panic!("{}", error()));
    house.plug(3, Some("A1B2C3D4"), "p1").await;
    tokio::time::timeout(SOON, says("video-of-a-test-3: there is no such device"))
        .await
        .unwrap_or_else(|_| panic!("{}", error()));
    house.end().await;
}

#[tokio::test]
async fn a_camera_that_another_room_adds_is_like_any_other_until_it_is_removed() {
    let house = House::open(porch()).await;
    house.cameras.add(Camera::new("1", Source::Test {})).await.unwrap();
    house.plug(0, Some("A1B2C3D4"), "p1").await;
    house.until("porch camera0, acme camera2 present v0, 1 camera1").await;
    let before = house.cameras.named("camera1").unwrap();

    house.cameras.add(Camera::new("1", Source::Test {})).await.unwrap();
    assert!(house.cameras.get("1").unwrap().same(&before), "nothing changed, and nobody is disturbed");
    let name = Some("Printer".to_owned());
    house.cameras.add(Camera { name, ..Camera::new("1", Source::Test {}) }).await.unwrap();
    let after = house.cameras.get("1").unwrap();
    assert!(!after.same(&before) && after.camera().display_name() == "Printer");

    // Its alias waits for it while the service is away, and is free when it is gone for good.
    let house = House::open_expecting(house.end().await, porch(), &["1"]).await;
    house.plug(0, Some("A1B2C3D4"), "p1").await;
    house.plug(1, Some("E5F6A7B8"), "p2").await;
    house.until("porch camera0, acme camera2 present v0, acme camera3 present v1").await;
    house.cameras.add(Camera::new("1", Source::Test {})).await.unwrap();
    house.until("porch camera0, acme camera2 present v0, acme camera3 present v1, 1 camera1").await;
    assert!(house.cameras.remove("1").await && !house.cameras.remove("1").await);
    house.plug(2, Some("C9D0E1F2"), "p3").await;
    house
        .until("porch camera0, acme camera1 present v2, acme camera2 present v0, acme camera3 present v1")
        .await;
    house.end().await;
}

#[tokio::test]
async fn what_is_written_down_goes_before_what_is_added() {
    let mut house = House::open(porch()).await;
    let taken = house.cameras.add(Camera::new("porch", Source::Test {})).await.unwrap_err();
    assert!(taken.to_string().contains("\"porch\""), "{taken}");
    house.cameras.add(Camera::new("gate", Source::Test {})).await.unwrap();
    let added = house.cameras.get("gate").unwrap();
    let mut both = porch();
    both.cameras.push(Camera { fps: 5, ..Camera::new("gate", Source::Test {}) });
    house.reload(both).await;
    house.until("porch camera0, gate camera1").await;
    assert_eq!(house.cameras.get("gate").unwrap().camera().fps, 5);
    house.reload(porch()).await;
    house.until("porch camera0, gate camera1").await;
    let again = house.cameras.get("gate").unwrap();
    assert!(again.camera().fps == 0 && !again.same(&added), "it is back when the id is free");
    house.end().await;
}
