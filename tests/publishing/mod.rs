//! A camera and its published outputs in this process, for tests that look at them from inside.

// Every test file compiles its own copy and uses a part of it.
#![allow(dead_code)]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use fanlight::cameras::Cameras;
use fanlight::capture::Means;
use fanlight::config::model::{
    Camera, Config, LiveKit, Publish, PublishLiveKit, PublishRtmp, PublishWhip, Resolution, Source, Target,
};
use fanlight::config::{Difference, Secret};
use fanlight::pipelines::Library;
use fanlight::publish::{self, Publishers, status::OutputStatus};
use fanlight::supervision::{Timing, Vitals};

use crate::support::livekit::{KEY, SECRET};
use crate::support::wait_for;

/// A camera, its outputs, and the runtime that drives both on a thread of its own.
pub struct Studio {
    pub runtime: tokio::runtime::Runtime,
    pub config: Config,
    pub cameras: Cameras,
    pub publishers: Publishers,
    pub means: Means,
    pub vitals: Vitals,
}

pub fn camera() -> Camera {
    let mut camera = Camera::new("porch", Source::Test {});
    camera.resolution = Resolution { width: 320, height: 240 };
    camera.fps = 25;
    camera
}

/// Patience that suits a test.
pub fn timing() -> Timing {
    Timing { backoff_max: Duration::from_secs(4), refused_retry: Duration::from_secs(5), ..Timing::default() }
}

/// One camera, these outputs, and the key of the LiveKit server at this address.
pub fn config(publish: Vec<Publish>, livekit: &str) -> Config {
    let livekit = LiveKit {
        url: Some(livekit.to_owned()),
        api_key: Some(KEY.to_owned()),
        api_secret: Some(Secret::new(SECRET)),
        ..LiveKit::default()
    };
    Config { cameras: vec![camera()], livekit, publish, ..Config::default() }
}

/// Signs any claims with the server's key (RFC 7515, HS256).
pub fn sign(claims: &livekit_api::access_token::Claims) -> String {
    let encode = |bytes: &[u8]| {
        let plain = gstreamer::glib::base64_encode(bytes);
        plain.trim_end_matches('=').replace('+', "-").replace('/', "_")
    };
    let claims = serde_json::to_vec(claims).unwrap();
    let signed = format!("{}.{}", encode(br#"{"typ":"JWT","alg":"HS256"}"#), encode(&claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = ring::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", encode(tag.as_ref()))
}

impl Studio {
    pub fn open(publish: Vec<Publish>, livekit: &str) -> Self {
        Self::with(config(publish, livekit), timing())
    }

    pub fn with(config: Config, timing: Timing) -> Self {
        let _ =
            tracing_subscriber::fmt().with_env_filter("info,fanlight=debug").with_test_writer().try_init();
        gstreamer::init().unwrap();
        publish::init().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_keep_alive(Duration::from_millis(200))
            .enable_all()
            .build()
            .unwrap();
        let vitals = Vitals::new(0);
        let means = Means {
            library: Arc::new(Library::embedded()),
            timing,
            vitals: vitals.clone(),
            graphs: None,
            linger: Duration::from_secs(1),
        };
        let entered = runtime.enter();
        let cameras = Cameras::start(&config.cameras, &means);
        let publishers = Publishers::start(&config, cameras.watch(), &means);
        drop(entered);
        Self { runtime, config, cameras, publishers, means, vitals }
    }

    pub fn statuses(&self) -> Vec<OutputStatus> {
        self.publishers.statuses()
    }

    #[track_caller]
    pub fn status(&self, id: &str) -> OutputStatus {
        self.statuses().into_iter().find(|output| output.id == id).expect("an output of this id")
    }

    #[track_caller]
    pub fn wait(
        &self,
        id: &str,
        what: &str,
        within: Duration,
        mut is: impl FnMut(&OutputStatus) -> bool,
    ) -> OutputStatus {
        let began = std::time::Instant::now();
        loop {
            let status = self.status(id);
            if is(&status) {
                return status;
            }
            assert!(began.elapsed() < within, "{id} {what}: not within {within:?}: {status:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn encoders(&self) -> Vec<String> {
        let camera = self.cameras.first().unwrap();
        camera.elements().into_iter().filter(|name| name.ends_with("enc")).collect()
    }

    /// What the service does when its configuration has changed.
    pub fn reload(&mut self, config: Config) {
        let difference = Difference::between(&self.config, &config);
        self.runtime.block_on(async {
            self.cameras.apply(&difference, &config, &self.means).await;
            self.publishers.apply(&config, &self.means).await;
        });
        self.config = config;
    }

    pub fn close(self) {
        self.runtime.block_on(async {
            self.publishers.shutdown().await;
            self.cameras.shutdown().await;
        });
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

pub fn livekit(id: &str, url: &str, room: &str, identity: &str) -> Publish {
    let target = PublishLiveKit {
        url: Some(url.to_owned()),
        api_key: None,
        api_secret: None,
        api_secret_file: None,
        token_file: None,
        room: room.to_owned(),
        identity: Some(identity.to_owned()),
        name: None,
        stun_server: None,
    };
    Publish { id: id.to_owned(), camera: None, target: Target::Livekit(target) }
}

pub fn whip(id: &str, room: &str, identity: &str) -> Publish {
    let target = PublishWhip {
        url: None,
        token: None,
        token_file: None,
        room: Some(room.to_owned()),
        identity: Some(identity.to_owned()),
        name: None,
        stun_server: None,
    };
    Publish { id: id.to_owned(), camera: None, target: Target::Whip(target) }
}

pub fn rtmp(id: &str, url: &str, key: &str) -> Publish {
    let target = PublishRtmp {
        url: url.to_owned(),
        stream_key: Some(Secret::new(key)),
        stream_key_file: None,
        room: None,
        identity: None,
    };
    Publish { id: id.to_owned(), camera: None, target: Target::Rtmp(target) }
}

/// Threads of this process.
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Resident memory in bytes (proc_pid_status(5)).
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

pub fn until(what: &str, within: Duration, mut is: impl FnMut() -> bool) {
    wait_for(what, within, || is().then_some(()));
}

/// What this process has used of the processor (proc_pid_stat(5), fields 14 and 15, in hundredths).
pub fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
