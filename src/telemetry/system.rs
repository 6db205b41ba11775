//! How the machine is: processor, memory, disk, network, and on a Raspberry Pi what its firmware throttles.
//!
//! One task reads the kernel's files every [`EVERY`], on a blocking thread because a disk may hang; who
//! asks gets the newest reading and never waits. What a machine does not tell is null.

mod parse;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use utoipa::ToSchema;

use parse::Ticks;

/// Between readings; rates and usage are over this time.
const EVERY: Duration = Duration::from_secs(5);
/// The second reading comes soon, so that there is a usage.
const SECOND: Duration = Duration::from_secs(1);

/// How the machine is. Sizes are in bytes, shares in percent from 0 to 100.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SystemMetrics {
    /// Of the board, where the device tree tells: `Raspberry Pi 4 Model B Rev 1.4`.
    pub model: Option<String>,
    /// Seconds since the machine started.
    pub uptime_seconds: Option<f64>,
    pub cpu: Cpu,
    pub memory: Option<Memory>,
    pub disk: Option<Disk>,
    pub network: Option<Network>,
    /// Raspberry Pi only.
    pub throttling: Option<Throttling>,
    pub process: Process,
    /// When this was read.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "super::rfc3339")]
    pub timestamp: SystemTime,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Cpu {
    pub cores: Option<usize>,
    /// Of all cores, over the last 5 seconds.
    pub usage_percent: Option<f64>,
    /// Degrees Celsius.
    pub temperature_celsius: Option<f64>,
    /// Processes that run or wait to, on average over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Memory {
    pub total_bytes: u64,
    /// What is not available to new programs.
    pub used_bytes: u64,
    pub available_bytes: u64,
    pub used_percent: f64,
    /// Null where there is no swap.
    pub swap: Option<Swap>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Swap {
    pub total_bytes: u64,
    pub used_bytes: u64,
    pub used_percent: f64,
}

/// The file system that the service keeps its state on.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Disk {
    pub path: String,
    pub total_bytes: u64,
    pub used_bytes: u64,
    /// For users other than root.
    pub available_bytes: u64,
    /// As `df` has it.
    pub used_percent: f64,
}

/// All interfaces but loopback, since boot and over the last 5 seconds.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Network {
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub received_kbps: Option<f64>,
    pub sent_kbps: Option<f64>,
}

/// What a Raspberry Pi's firmware limits: `under-voltage`, `frequency capped`, `throttled`, `soft
/// temperature limit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Throttling {
    /// As `vcgencmd get_throttled` has them.
    pub bits: String,
    /// Now.
    #[schema(value_type = Vec<String>)]
    pub now: Vec<&'static str>,
    /// At any time since boot.
    #[schema(value_type = Vec<String>)]
    pub since_boot: Vec<&'static str>,
}

/// This service's own process.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Process {
    pub memory_bytes: Option<u64>,
    pub threads: Option<u64>,
}

/// The newest reading. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct System(watch::Receiver<Option<Arc<SystemMetrics>>>);

impl System {
    /// Starts to read, for as long as the task is kept. `directory` is where state is kept; it need not
    /// exist yet.
    pub fn watch(directory: PathBuf) -> (Self, AbortOnDropHandle<()>) {
        let (tell, told) = watch::channel(None);
        let task = tokio::spawn(keep(PathBuf::from("/"), directory, tell));
        (Self(told), AbortOnDropHandle::new(task))
    }

    /// Nothing is read: for services without the task.
    pub fn none() -> Self {
        Self(watch::channel(None).1)
    }

    /// None before the first reading.
    pub fn newest(&self) -> Option<Arc<SystemMetrics>> {
        self.0.borrow().clone()
    }
}

/// Where the service keeps its state: `$STATE_DIRECTORY` under systemd, else `/var/lib/fanlight`.
pub fn state_directory(environment: impl Fn(&str) -> Option<String>) -> PathBuf {
    // systemd separates several directories by colons; the first one is meant.
    let directory = environment("STATE_DIRECTORY").and_then(|text| text.split(':').next().map(PathBuf::from));
    directory.filter(|path| path.is_absolute()).unwrap_or_else(|| "/var/lib/fanlight".into())
}

async fn keep(root: PathBuf, directory: PathBuf, tell: watch::Sender<Option<Arc<SystemMetrics>>>) {
    let mut last = None;
    let mut pause = SECOND;
    loop {
        let (root, directory, before) = (root.clone(), directory.clone(), last.take());
        let read = tokio::task::spawn_blocking(move || {
            let counts = Counts::read(&root);
            (read(&root, &directory, before, counts), counts)
        });
        match read.await {
            Ok((metrics, counts)) => {
                last = Some(counts);
                tell.send_replace(Some(Arc::new(metrics)));
            }
            Err(error) => tracing::warn!("the system's figures could not be read: {error}"),
        }
        tokio::time::sleep(pause).await;
        pause = EVERY;
    }
}

/// What only its growth tells.
#[derive(Clone, Copy, Debug)]
struct Counts {
    at: Instant,
    ticks: Option<Ticks>,
    traffic: Option<(u64, u64)>,
}

impl Counts {
    fn read(root: &Path) -> Self {
        Self {
            at: Instant::now(),
            ticks: text(root, "proc/stat").and_then(|text| parse::ticks(&text)),
            traffic: text(root, "proc/net/dev").and_then(|text| parse::traffic(&text)),
        }
    }
}

/// One reading, against the counts of the one before.
fn read(root: &Path, directory: &Path, before: Option<Counts>, now: Counts) -> SystemMetrics {
    let of = |path: &str| text(root, path);
    let status = of("proc/self/status");
    let elapsed = before.map(|before| (now.at - before.at).as_secs_f64()).filter(|seconds| *seconds > 0.0);
    // Counters begin anew when an interface goes and comes.
    let rate = |now: u64, before: Option<u64>| {
        let bytes = now.checked_sub(before?)?;
        Some((bytes as f64 * 8.0 / 1000.0 / elapsed? * 10.0).round() / 10.0)
    };
    let before_traffic = before.and_then(|before| before.traffic);
    SystemMetrics {
        model: of("proc/device-tree/model").and_then(|text| parse::model(&text)),
        uptime_seconds: of("proc/uptime").and_then(|text| parse::uptime(&text)),
        cpu: Cpu {
            cores: of("proc/stat").and_then(|text| parse::cores(&text)),
            usage_percent: before
                .and_then(|before| before.ticks)
                .zip(now.ticks)
                .and_then(|(before, now)| parse::usage(before, now)),
            temperature_celsius: parse::temperature(&zones(root)),
            load: of("proc/loadavg").and_then(|text| parse::load(&text)),
        },
        memory: of("proc/meminfo").and_then(|text| parse::memory(&text)),
        disk: disk(directory),
        network: now.traffic.map(|(received, sent)| Network {
            received_bytes: received,
            sent_bytes: sent,
            received_kbps: rate(received, before_traffic.map(|traffic| traffic.0)),
            sent_kbps: rate(sent, before_traffic.map(|traffic| traffic.1)),
        }),
        throttling: of("sys/devices/platform/soc/soc:firmware/get_throttled")
            .and_then(|text| parse::throttling(&text)),
        process: Process {
            memory_bytes: status.as_deref().and_then(|status| parse::kib(status, "VmRSS:")),
            threads: status.as_deref().and_then(parse::threads),
        },
        timestamp: SystemTime::now(),
    }
}

fn text(root: &Path, path: &str) -> Option<String> {
    fs::read_to_string(root.join(path)).ok()
}

/// Type and reading of every thermal zone.
fn zones(root: &Path) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(root.join("sys/class/thermal")) else { return Vec::new() };
    let zone = |path: PathBuf| {
        let kind = fs::read_to_string(path.join("type")).ok()?;
        Some((kind, fs::read_to_string(path.join("temp")).ok()?))
    };
    entries.filter_map(|entry| zone(entry.ok()?.path())).collect()
}

/// The file system of a directory, or of where it will be.
fn disk(directory: &Path) -> Option<Disk> {
    let existing = directory.ancestors().find(|path| path.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    let unit = if stat.f_frsize > 0 { stat.f_frsize } else { stat.f_bsize };
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    let usable = used + stat.f_bavail;
    (stat.f_blocks > 0).then(|| Disk {
        path: existing.display().to_string(),
        total_bytes: stat.f_blocks * unit,
        used_bytes: used * unit,
        available_bytes: stat.f_bavail * unit,
        used_percent: parse::percent(used, usable),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_raspberry_pi_tells_all_of_it() {
        let root = fake(&[
            ("proc/stat", "cpu  100 0 0 900 0 0 0 0\ncpu0 100 0 0 900\n"),
            ("proc/net/dev", "eth0: 5000 1 0 0 0 0 0 0 9000 1\n"),
            ("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 250 kB\n"),
            ("proc/loadavg", "0.1 0.2 0.3 1/2 3\n"),
            ("proc/uptime", "60.5 1\n"),
            ("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0"),
            ("proc/self/status", "VmRSS: 10 kB\nThreads: 3\n"),
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
            ("sys/class/thermal/thermal_zone0/temp", "46642\n"),
            ("sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n"),
        ]);
        let now = Counts::read(root.path());
        let before = Counts {
            at: now.at - Duration::from_secs(4),
            ticks: Some(Ticks { busy: 50, total: 800 }),
            traffic: Some((4000, 10_000)),
        };
        let metrics = read(root.path(), &root.path().join("not/yet"), Some(before), now);
        assert_eq!(metrics.model.as_deref(), Some("Raspberry Pi 4 Model B Rev 1.4"));
        assert_eq!(metrics.cpu.usage_percent, Some(25.0));
        assert_eq!((metrics.cpu.cores, metrics.cpu.temperature_celsius), (Some(1), Some(46.6)));
        assert_eq!(metrics.memory.unwrap().used_percent, 75.0);
        let network = metrics.network.unwrap();
        assert_eq!(
            (network.received_kbps, network.sent_kbps),
            (Some(2.0), None),
            "a counter that began anew"
        );
        assert_eq!(metrics.throttling.unwrap().since_boot, ["under-voltage", "throttled"]);
        assert_eq!(metrics.process.memory_bytes, Some(10 * 1024));
        let disk = metrics.disk.unwrap();
        assert_eq!(disk.path, root.path().display().to_string(), "the nearest directory that exists");
        assert!(disk.total_bytes >= disk.used_bytes && (0.0..=100.0).contains(&disk.used_percent));
    }

    #[test]
    fn a_machine_that_tells_nothing_gives_nulls() {
        let root = fake(&[]);
        let metrics = read(root.path(), Path::new("/"), None, Counts::read(root.path()));
        let json = serde_json::to_value(&metrics).unwrap();
        for key in ["model", "uptime_seconds", "memory", "network", "throttling"] {
            assert!(json[key].is_null(), "{key}");
        }
        assert!(json["cpu"]["usage_percent"].is_null() && json["process"]["threads"].is_null());
    }

    #[tokio::test]
    async fn the_second_reading_of_this_machine_has_a_usage() {
        let (system, _task) = System::watch("/".into());
        let mut told = system.0.clone();
        let usage = |metrics: &Option<Arc<SystemMetrics>>| {
            metrics.as_ref().is_some_and(|metrics| metrics.cpu.usage_percent.is_some())
        };
        tokio::time::timeout(Duration::from_secs(20), told.wait_for(usage)).await.unwrap().unwrap();
        let metrics = system.newest().unwrap();
        assert!((0.0..=100.0).contains(&metrics.cpu.usage_percent.unwrap()));
        assert!(metrics.memory.is_some() && metrics.disk.is_some() && metrics.process.threads > Some(0));
    }

    #[test]
    fn state_is_where_systemd_says_or_where_it_usually_is() {
        let of = |value: Option<&str>| state_directory(|_| value.map(str::to_owned)).display().to_string();
        assert_eq!(of(Some("/srv/state:/srv/more")), "/srv/state");
        assert_eq!(of(Some("relative")), "/var/lib/fanlight");
        assert_eq!(of(None), "/var/lib/fanlight");
    }
}
