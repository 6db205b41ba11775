//! What a reload has to do: the old and the new configuration compared. Pure.
//!
//! Only what changed restarts: a camera that stays equal keeps its capture and its viewers. What the
//! process reads once at its start (address, port, form of the log) cannot change while it runs.

use super::model::{Camera, Config, Discovery, LiveKit, Printers, Publish, Rpc, RtspServer, Target, Webrtc};

/// Published outputs by id, in the order of the new file (`removed`: of the old one).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    /// Other settings, another server or key in `[livekit]` that it goes by, or a camera that starts
    /// anew: stop and start anew.
    pub changed: Vec<String>,
    pub unchanged: Vec<String>,
}

/// The way from one configuration to another. Cameras are named by id, in the order of the new file
/// (`removed`: of the old one).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    /// Same id, other settings: stop and start anew. All kept cameras, when `pipelines.directory`
    /// changed, because their fragments may be others.
    pub changed: Vec<String>,
    pub unchanged: Vec<String>,
    /// The kept cameras stand in another order; the first one is what paths without an id mean.
    pub reordered: bool,
    /// The published outputs.
    pub publish: Changes,
    /// Keys that take effect only when the process starts anew.
    pub needs_process_restart: Vec<&'static str>,
    /// Sections or keys outside of the cameras that take effect at once.
    pub live: Vec<&'static str>,
}

impl Difference {
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut difference = Self::default();
        let fragments_changed = old.pipelines != new.pipelines;
        for camera in &new.cameras {
            let list = match find(old, &camera.id) {
                None => &mut difference.added,
                Some(before) if same_capture(before, camera) && !fragments_changed => {
                    &mut difference.unchanged
                }
                Some(_) => &mut difference.changed,
            };
            list.push(camera.id.clone());
        }
        let gone = old.cameras.iter().filter(|camera| find(new, &camera.id).is_none());
        difference.removed = gone.map(|camera| camera.id.clone()).collect();
        let kept_before = old.cameras.iter().filter(|camera| find(new, &camera.id).is_some());
        let kept_after = new.cameras.iter().filter(|camera| find(old, &camera.id).is_some());
        difference.reordered = !kept_before.map(|camera| &camera.id).eq(kept_after.map(|camera| &camera.id));

        let Config {
            server,
            log,
            access,
            rpc,
            health,
            pipelines,
            supervision,
            mjpeg,
            hls,
            webrtc,
            rtsp,
            livekit,
            discovery,
            external,
            storage,
            record,
            printers,
            stepper,
            management,
            publish: _,
            cameras: _,
        } = new;
        let before = &old.webrtc;
        let rtsp_before = &old.rtsp;
        difference.needs_process_restart = named(&[
            (server.bind != old.server.bind, "server.bind"),
            (server.port != old.server.port, "server.port"),
            (log.format != old.log.format, "log.format"),
            (rpc.bind != old.rpc.bind, "rpc.bind"),
            (rpc.port != old.rpc.port, "rpc.port"),
            (webrtc.bind != before.bind, "webrtc.bind"),
            (webrtc.port != before.port, "webrtc.port"),
            (webrtc.tcp != before.tcp, "webrtc.tcp"),
            (discovery.enabled != old.discovery.enabled, "discovery.enabled"),
            (external.allow_networks != old.external.allow_networks, "external.allow_networks"),
            (storage.directory != old.storage.directory, "storage.directory"),
            (storage.database != old.storage.database, "storage.database"),
            (printers.key_file != old.printers.key_file, "printers.key_file"),
            (printers.mqtt_port != old.printers.mqtt_port, "printers.mqtt_port"),
            (printers.allow_networks != old.printers.allow_networks, "printers.allow_networks"),
            (*stepper != old.stepper, "stepper"),
            (*management != old.management, "management"),
            (rtsp.enabled != rtsp_before.enabled, "rtsp.enabled"),
            (rtsp.bind != rtsp_before.bind, "rtsp.bind"),
            (rtsp.port != rtsp_before.port, "rtsp.port"),
            (rtsp.tls_port != rtsp_before.tls_port, "rtsp.tls_port"),
            (rtsp.certificate != rtsp_before.certificate, "rtsp.certificate"),
            (rtsp.key != rtsp_before.key, "rtsp.key"),
        ]);
        difference.live = named(&[
            (server.cors_origins != old.server.cors_origins, "server.cors_origins"),
            (server.hosts != old.server.hosts, "server.hosts"),
            (log.level != old.log.level, "log.level"),
            (*access != old.access, "access"),
            (Rpc { bind: old.rpc.bind, port: old.rpc.port, ..rpc.clone() } != old.rpc, "rpc"),
            (*health != old.health, "health"),
            (*pipelines != old.pipelines, "pipelines"),
            (*supervision != old.supervision, "supervision"),
            (*mjpeg != old.mjpeg, "mjpeg"),
            (*hls != old.hls, "hls"),
            (
                Webrtc { bind: before.bind, port: before.port, tcp: before.tcp, ..webrtc.clone() } != *before,
                "webrtc",
            ),
            (limits(rtsp) != limits(rtsp_before), "rtsp"),
            (*livekit != old.livekit, "livekit"),
            (Discovery { enabled: old.discovery.enabled, ..discovery.clone() } != old.discovery, "discovery"),
            (external.max_streams != old.external.max_streams, "external.max_streams"),
            (*record != old.record, "record"),
            (at_once(printers) != at_once(&old.printers), "printers"),
            (recorded_otherwise(old, new), "camera.record"),
        ]);
        difference.publish = difference.outputs(old, new);
        difference
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let publish = Changes { unchanged: self.publish.unchanged.clone(), ..Changes::default() };
        *self == Self { unchanged: self.unchanged.clone(), publish, ..Self::default() }
    }

    fn outputs(&self, old: &Config, new: &Config) -> Changes {
        let mut changes = Changes::default();
        for output in &new.publish {
            let before = old.publish.iter().find(|before| before.id == output.id);
            let list = match before {
                None => &mut changes.added,
                Some(before) if self.goes_on(old, before, new, output) => &mut changes.unchanged,
                Some(_) => &mut changes.changed,
            };
            list.push(output.id.clone());
        }
        let gone = |before: &&Publish| !new.publish.iter().any(|output| output.id == before.id);
        changes.removed = old.publish.iter().filter(gone).map(|output| output.id.clone()).collect();
        changes
    }

    /// Whether an output need not notice: it, what it takes from `[livekit]`, and its camera.
    fn goes_on(&self, old: &Config, before: &Publish, new: &Config, output: &Publish) -> bool {
        let camera =
            |config: &Config, output| config.published_camera(output).map(|camera| camera.id.clone());
        let (was, is) = (camera(old, before), camera(new, output));
        before == output
            && was == is
            && is.is_none_or(|id| self.unchanged.contains(&id))
            && taken(&old.livekit, before) == taken(&new.livekit, output)
    }
}

/// The defaults that an output takes: server, key and secret.
fn taken<'l>(livekit: &'l LiveKit, output: &Publish) -> [Option<&'l str>; 3] {
    let (own_url, own_key) = match &output.target {
        Target::Livekit(to) => (to.url.is_some(), to.api_key.is_some() || to.token_file.is_some()),
        Target::Whip(to) => (to.url.is_some(), to.room.is_none()),
        Target::Rtmp(_) | Target::Mediamtx(_) => (true, true),
    };
    let url = livekit.url.as_deref().filter(|_| !own_url);
    let key = livekit.api_key.as_deref().filter(|_| !own_key);
    let secret = livekit.api_secret.as_ref().map(super::Secret::expose).filter(|_| !own_key);
    [url, key, secret]
}

/// Whether a camera's pictures are the same; when it is recorded is no matter of its capture.
fn same_capture(before: &Camera, camera: &Camera) -> bool {
    *before == Camera { record: before.record, schedule: before.schedule.clone(), ..camera.clone() }
}

fn recorded_otherwise(old: &Config, new: &Config) -> bool {
    let other = |camera: &Camera| {
        let before = find(old, &camera.id);
        before.is_some_and(|before| (before.record, &before.schedule) != (camera.record, &camera.schedule))
    };
    new.cameras.iter().any(other)
}

fn find<'c>(config: &'c Config, id: &str) -> Option<&'c Camera> {
    config.cameras.iter().find(|camera| camera.id == id)
}

fn named(changes: &[(bool, &'static str)]) -> Vec<&'static str> {
    changes.iter().filter(|(changed, _)| *changed).map(|(_, name)| *name).collect()
}

/// What of `[printers]` can change while it runs.
fn at_once(printers: &Printers) -> Printers {
    let Printers { key_file, mqtt_port, allow_networks, .. } = Printers::default();
    Printers { key_file, mqtt_port, allow_networks, ..printers.clone() }
}

/// What of `[rtsp]` can change while it runs.
fn limits(rtsp: &RtspServer) -> (usize, f64) {
    (rtsp.max_readers, rtsp.session_timeout_seconds)
}

#[cfg(test)]
mod tests {
    use super::super::Secret;
    use super::super::model::{Http, HttpMode, LogFormat, PublishLiveKit, PublishRtmp, Resolution, Source};
    use super::*;

    fn config(ids: &[&str]) -> Config {
        let cameras = ids.iter().map(|id| Camera::new(*id, Source::Test {})).collect();
        Config { cameras, ..Config::default() }
    }

    fn strings(ids: &[&str]) -> Vec<String> {
        ids.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_same_configuration_twice_is_nothing_to_do() {
        let difference = Difference::between(&config(&["a", "b"]), &config(&["a", "b"]));
        assert!(difference.is_empty());
        assert_eq!(difference.unchanged, ["a", "b"]);
    }

    #[test]
    fn adding_a_camera_leaves_the_others_alone() {
        // old, new, added, removed, unchanged, reordered
        type Ids = &'static [&'static str];
        let table: &[(Ids, Ids, Ids, Ids, Ids, bool)] = &[
            (&["a"], &["a", "b"], &["b"], &[], &["a"], false),
            (&["a"], &["b", "a"], &["b"], &[], &["a"], false),
            (&["a", "b"], &["b"], &[], &["a"], &["b"], false),
            (&["a", "b"], &["b", "a"], &[], &[], &["b", "a"], true),
            (&["a"], &["b"], &["b"], &["a"], &[], false),
            (&[], &["a"], &["a"], &[], &[], false),
        ];
        for (old, new, added, removed, unchanged, reordered) in table {
            let difference = Difference::between(&config(old), &config(new));
            let expected = Difference {
                added: strings(added),
                removed: strings(removed),
                unchanged: strings(unchanged),
                reordered: *reordered,
                ..Difference::default()
            };
            assert_eq!(difference, expected, "{old:?} to {new:?}");
            assert!(!difference.is_empty());
        }
    }

    #[test]
    fn a_camera_with_any_other_setting_restarts_and_no_other_does() {
        let changes: &[fn(&mut Camera)] = &[
            |camera| camera.name = Some("Porch".into()),
            |camera| camera.source = Source::Auto {},
            |camera| camera.resolution = Resolution { width: 1280, height: 720 },
            |camera| camera.fps = 10,
            |camera| camera.jpeg.quality = 80,
            |camera| camera.h264.gop_seconds = 1.0,
            |camera| camera.outputs.hls = false,
        ];
        for change in changes {
            let old = config(&["a", "b"]);
            let mut new = old.clone();
            change(&mut new.cameras[1]);
            let difference = Difference::between(&old, &new);
            assert_eq!((difference.changed, difference.unchanged), (strings(&["b"]), strings(&["a"])));
        }
    }

    #[test]
    fn another_password_is_a_change() {
        let camera = |password: &str| {
            let http = Http {
                url: "http://cam/".into(),
                mode: HttpMode::Mjpeg,
                username: Some("u".into()),
                password: Some(Secret::new(password)),
                password_file: Some("/run/secrets/cam".into()),
            };
            Config { cameras: vec![Camera::new("a", Source::Http(http))], ..Config::default() }
        };
        let difference = Difference::between(&camera("old"), &camera("new"));
        assert_eq!(difference.changed, ["a"]);
    }

    #[test]
    fn other_fragments_restart_every_kept_camera() {
        let old = config(&["a", "b"]);
        let mut new = config(&["a", "b", "c"]);
        new.pipelines.directory = "/srv/pipelines".into();
        let difference = Difference::between(&old, &new);
        assert_eq!((difference.changed, difference.added), (strings(&["a", "b"]), strings(&["c"])));
        assert_eq!(difference.live, ["pipelines"]);
    }

    #[test]
    fn only_the_outputs_that_a_change_reaches_start_anew() {
        let output = |id: &str, camera: Option<&str>, target: Target| Publish {
            id: id.into(),
            camera: camera.map(Into::into),
            target,
        };
        let livekit = |url: Option<&str>| {
            Target::Livekit(PublishLiveKit {
                url: url.map(Into::into),
                api_key: url.map(|_| "own".into()),
                api_secret: url.map(|_| Secret::new("own")),
                api_secret_file: None,
                token_file: None,
                room: "r".into(),
                identity: None,
                name: None,
                stun_server: None,
            })
        };
        let rtmp = || {
            Target::Rtmp(PublishRtmp {
                url: "rtmp://h/app".into(),
                stream_key: Some(Secret::new("k")),
                stream_key_file: None,
                room: None,
                identity: None,
            })
        };
        let mut old = config(&["a", "b"]);
        old.publish = vec![
            output("default", None, livekit(None)),
            output("own", Some("b"), livekit(Some("ws://own"))),
            output("rtmp", Some("b"), rtmp()),
        ];
        type Row = (fn(&mut Config), Ids, Ids, Ids);
        type Ids = &'static [&'static str];
        // change, added, removed, changed
        let table: &[Row] = &[
            (|_| {}, &[], &[], &[]),
            (|c| c.livekit.url = Some("ws://new".into()), &[], &[], &["default"]),
            (|c| c.livekit.api_secret = Some(Secret::new("new")), &[], &[], &["default"]),
            (|c| c.livekit.rooms = vec!["x".into()], &[], &[], &[]),
            (|c| c.cameras.reverse(), &[], &[], &["default"]),
            (|c| c.cameras[1].fps = 7, &[], &[], &["own", "rtmp"]),
            (|c| c.publish[2].camera = None, &[], &[], &["rtmp"]),
            (|c| drop(c.publish.remove(0)), &[], &["default"], &[]),
            (|c| c.publish[0].id = "other".into(), &["other"], &["default"], &[]),
        ];
        for (index, (change, added, removed, changed)) in table.iter().enumerate() {
            let mut new = old.clone();
            change(&mut new);
            let difference = Difference::between(&old, &new);
            let publish = &difference.publish;
            assert_eq!(publish.added, *added, "row {index}");
            assert_eq!(publish.removed, *removed, "row {index}");
            assert_eq!(publish.changed, *changed, "row {index}");
            assert_eq!(
                publish.unchanged.len(),
                new.publish.len() - added.len() - changed.len(),
                "row {index}"
            );
            assert_eq!(difference.is_empty(), index == 0, "row {index}");
        }
    }

    #[test]
    fn each_section_is_either_live_or_for_the_next_start() {
        // change, needs a process restart, live
        type Row = (fn(&mut Config), &'static [&'static str], &'static [&'static str]);
        let table: &[Row] = &[
            (|c| c.server.bind = [0, 0, 0, 0].into(), &["server.bind"], &[]),
            (|c| c.server.port = 1, &["server.port"], &[]),
            (|c| c.server.cors_origins = vec![], &[], &["server.cors_origins"]),
            (|c| c.log.format = LogFormat::Json, &["log.format"], &[]),
            (|c| c.log.level = "debug".into(), &[], &["log.level"]),
            (|c| c.health.max_frame_age_seconds = 5.0, &[], &["health"]),
            (|c| c.supervision.frozen_limit = 9, &[], &["supervision"]),
            (|c| c.mjpeg.max_streams = 9, &[], &["mjpeg"]),
            (|c| c.hls.segments = 9, &[], &["hls"]),
            (|c| c.webrtc.bind = Some([0, 0, 0, 0].into()), &["webrtc.bind"], &[]),
            (|c| c.webrtc.port = 1, &["webrtc.port"], &[]),
            (|c| c.webrtc.tcp = true, &["webrtc.tcp"], &[]),
            (|c| c.webrtc.max_viewers = 9, &[], &["webrtc"]),
            (|c| c.rtsp.enabled = false, &["rtsp.enabled"], &[]),
            (|c| c.rtsp.bind = Some([0, 0, 0, 0].into()), &["rtsp.bind"], &[]),
            (|c| c.rtsp.port = 1, &["rtsp.port"], &[]),
            (|c| c.rtsp.tls_port = Some(1), &["rtsp.tls_port"], &[]),
            (|c| c.rtsp.certificate = Some("x".into()), &["rtsp.certificate"], &[]),
            (|c| c.rtsp.key = Some("x".into()), &["rtsp.key"], &[]),
            (|c| c.rtsp.max_readers = 9, &[], &["rtsp"]),
            (|c| c.rtsp.session_timeout_seconds = 9.0, &[], &["rtsp"]),
            (|c| c.livekit.rooms = vec!["r".into()], &[], &["livekit"]),
            (|c| c.storage.database = Some("x".into()), &["storage.database"], &[]),
            (|c| c.printers.key_file = Some("x".into()), &["printers.key_file"], &[]),
            (|c| c.printers.mqtt_port = 1, &["printers.mqtt_port"], &[]),
            (|c| c.printers.search = false, &[], &["printers"]),
            (|c| c.printers.expose_access_code = true, &[], &["printers"]),
            (|c| c.printers.allow_networks = vec!["::1".parse().unwrap()], &["printers.allow_networks"], &[]),
            (|c| c.printers.jpeg_port = 1, &[], &["printers"]),
            (|c| c.printers.rtsp_url = Some("x".into()), &[], &["printers"]),
            (|c| c.printers.record = true, &[], &["printers"]),
            (|c| c.printers.timelapse_seconds = 1.0, &[], &["printers"]),
            (|c| c.printers.timelapse_fps = 1, &[], &["printers"]),
            (|c| c.printers.snapshot_at_end = true, &[], &["printers"]),
            (|c| c.printers.snapshot_on_error = true, &[], &["printers"]),
            (|c| c.discovery.enabled = false, &["discovery.enabled"], &[]),
            (|c| c.stepper.invert = true, &["stepper"], &[]),
            (|c| c.management.enabled = true, &["management"], &[]),
            (|c| c.discovery.deny = vec!["x".into()], &[], &["discovery"]),
        ];
        for (change, restart, live) in table {
            let old = config(&["a"]);
            let mut new = old.clone();
            change(&mut new);
            let difference = Difference::between(&old, &new);
            assert_eq!(difference.needs_process_restart, *restart);
            assert_eq!(difference.live, *live);
            assert_eq!(difference.unchanged, ["a"]);
        }
    }
}
