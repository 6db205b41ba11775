//! What the kernel's files say, read from their text. Pure; `None` where the text is not as expected.

use super::{Memory, Swap, Throttling};

/// CPU time since boot, in ticks, all cores together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    pub busy: u64,
    pub total: u64,
}

/// `/proc/stat` (proc_stat(5)).
pub fn ticks(stat: &str) -> Option<Ticks> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // user nice system idle iowait irq softirq steal; guest time is in user already.
    let fields: Vec<u64> = line.split_whitespace().take(8).map(|field| field.parse().unwrap_or(0)).collect();
    let total: u64 = fields.iter().sum();
    let idle = fields.get(3)? + fields.get(4).unwrap_or(&0);
    Some(Ticks { busy: total - idle, total })
}

/// How many `cpuN` lines there are.
pub fn cores(stat: &str) -> Option<usize> {
    let is_core = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    Some(stat.lines().filter(is_core).count()).filter(|count| *count > 0)
}

/// How busy the time between two readings was, 0 to 100.
pub fn usage(before: Ticks, after: Ticks) -> Option<f64> {
    let total = after.total.checked_sub(before.total).filter(|total| *total > 0)?;
    // Idle time may be counted down by a little (proc_stat(5)).
    let busy = after.busy.saturating_sub(before.busy);
    Some(percent(busy, total))
}

/// `/proc/loadavg`: over 1, 5 and 15 minutes.
pub fn load(loadavg: &str) -> Option<[f64; 3]> {
    let mut fields = loadavg.split_whitespace().map(|field| field.parse::<f64>().ok());
    Some([fields.next()??, fields.next()??, fields.next()??])
}

/// `/proc/uptime`: seconds since boot.
pub fn uptime(uptime: &str) -> Option<f64> {
    uptime.split_whitespace().next()?.parse().ok()
}

/// `/proc/meminfo`, whose `kB` are 1024 bytes.
pub fn memory(meminfo: &str) -> Option<Memory> {
    let total = kib(meminfo, "MemTotal:")?;
    let available = kib(meminfo, "MemAvailable:")?.min(total);
    let used = total - available;
    let swap = kib(meminfo, "SwapTotal:").filter(|total| *total > 0).map(|total| {
        let free = kib(meminfo, "SwapFree:").unwrap_or(0).min(total);
        Swap { total_bytes: total, used_bytes: total - free, used_percent: percent(total - free, total) }
    });
    Some(Memory {
        total_bytes: total,
        used_bytes: used,
        available_bytes: available,
        used_percent: percent(used, total),
        swap,
    })
}

/// A line of `/proc/meminfo` or `/proc/self/status`, in bytes.
pub fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// `Threads:` of `/proc/self/status`.
pub fn threads(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
}

/// `/proc/net/dev`: bytes received and sent by all interfaces but loopback.
pub fn traffic(dev: &str) -> Option<(u64, u64)> {
    let mut sums = None;
    for line in dev.lines() {
        let Some((name, figures)) = line.split_once(':') else { continue };
        let figures: Vec<&str> = figures.split_whitespace().collect();
        let (Some(received), Some(sent)) = (figures.first(), figures.get(8)) else { continue };
        let (Ok(received), Ok(sent)) = (received.parse::<u64>(), sent.parse::<u64>()) else { continue };
        let (all_received, all_sent) = sums.unwrap_or((0, 0));
        if name.trim() == "lo" {
            sums = Some((all_received, all_sent));
        } else {
            sums = Some((all_received + received, all_sent + sent));
        }
    }
    sums
}

/// The processor's temperature of all thermal zones, each with its type and millidegrees Celsius.
pub fn temperature(zones: &[(String, String)]) -> Option<f64> {
    // In this order: what names the processor, then what is near it.
    const NAMES: [&str; 6] = ["cpu", "x86_pkg", "k10temp", "coretemp", "soc", "acpitz"];
    let degrees = |text: &str| {
        let degrees = text.trim().parse::<f64>().ok()? / 1000.0;
        // A sensor that is switched off gives nonsense.
        (-50.0..=200.0).contains(&degrees).then_some((degrees * 10.0).round() / 10.0)
    };
    let of = |name: &str| {
        let zones = zones.iter().filter(|(kind, _)| kind.to_ascii_lowercase().contains(name));
        zones.filter_map(|(_, text)| degrees(text)).reduce(f64::max)
    };
    NAMES.into_iter().find_map(of)
}

/// A Raspberry Pi's `get_throttled`: hexadecimal, bits 0 to 3 for now, 16 to 19 for ever since boot
/// (Raspberry Pi documentation, vcgencmd get_throttled).
pub fn throttling(text: &str) -> Option<Throttling> {
    const WORDS: [&str; 4] = ["under-voltage", "frequency capped", "throttled", "soft temperature limit"];
    let text = text.trim();
    let bits = u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()?;
    let words = |shift: u32| {
        let set = WORDS.iter().enumerate().filter(|(bit, _)| bits >> (shift + *bit as u32) & 1 == 1);
        set.map(|(_, word)| *word).collect()
    };
    Some(Throttling { bits: format!("{bits:#x}"), now: words(0), since_boot: words(16) })
}

/// `/proc/device-tree/model`, which ends with a zero.
pub fn model(text: &str) -> Option<String> {
    let model = text.trim_matches(['\0', '\n', ' ']);
    (!model.is_empty()).then(|| model.to_owned())
}

/// With one decimal.
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 1000.0).round() / 10.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &str = "cpu  1000 50 300 8000 200 10 40 0 0 0\ncpu0 500 25 150 4000 100 5 20 0 0 0\n\
                        cpu1 500 25 150 4000 100 5 20 0 0 0\nintr 12345 0\nctxt 99\n";
    const MEMINFO: &str = "MemTotal:        3884120 kB\nMemFree:          240000 kB\nMemAvailable:    2913090 kB\n\
                           Buffers:           50000 kB\nSwapTotal:        102396 kB\nSwapFree:          51198 kB\n";
    const DEV: &str = "Inter-|   Receive                |  Transmit\n\
                       \x20face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs\n\
                       \x20   lo: 9999 10 0 0 0 0 0 0 9999 10 0 0 0 0 0 0\n\
                       \x20 eth0:1000 5 0 0 0 0 0 0 2000 7 0 0 0 0 0 0\n\
                       wlan0: 30 1 0 0 0 0 0 0 40 1 0 0 0 0 0 0\n";

    #[test]
    fn the_kernels_files_are_understood() {
        let ticks = ticks(STAT).unwrap();
        assert_eq!(ticks, Ticks { busy: 1400, total: 9600 });
        assert_eq!(cores(STAT), Some(2));
        assert_eq!(usage(ticks, Ticks { busy: 1450, total: 9800 }), Some(25.0));
        assert_eq!(usage(ticks, ticks), None);
        assert_eq!(load("0.52 0.58 0.59 1/500 12345\n"), Some([0.52, 0.58, 0.59]));
        assert_eq!(uptime("350735.47 234388.90\n"), Some(350_735.47));
        let memory = memory(MEMINFO).unwrap();
        assert_eq!((memory.total_bytes, memory.used_bytes), (3_884_120 * 1024, 971_030 * 1024));
        assert_eq!((memory.used_percent, memory.swap.unwrap().used_percent), (25.0, 50.0));
        assert_eq!(traffic(DEV), Some((1030, 2040)));
        let status = "Name:\tfanlight\nVmRSS:\t   20480 kB\nThreads:\t7\n";
        assert_eq!((kib(status, "VmRSS:"), threads(status)), (Some(20 << 20), Some(7)));
        assert_eq!(
            model("Raspberry Pi 4 Model B Rev 1.4\0").as_deref(),
            Some("Raspberry Pi 4 Model B Rev 1.4")
        );
        assert_eq!(model("\0"), None);
    }

    #[test]
    fn the_processors_temperature_is_chosen_among_all_zones() {
        let zones = |list: &[(&str, &str)]| {
            temperature(&list.iter().map(|(kind, text)| ((*kind).into(), (*text).into())).collect::<Vec<_>>())
        };
        assert_eq!(zones(&[("cpu-thermal", "46642\n")]), Some(46.6));
        assert_eq!(zones(&[("acpitz", "27800"), ("x86_pkg_temp", "51000")]), Some(51.0));
        assert_eq!(zones(&[("cpu0-thermal", "40000"), ("cpu1-thermal", "45000")]), Some(45.0));
        assert_eq!(zones(&[("iwlwifi_1", "60000")]), None);
        assert_eq!(zones(&[("cpu-thermal", "-274000")]), None);
        assert_eq!(zones(&[]), None);
    }

    #[test]
    fn throttling_is_told_in_words() {
        let told = throttling("50005\n").unwrap();
        assert_eq!(told.now, ["under-voltage", "throttled"]);
        assert_eq!(told.since_boot, ["under-voltage", "throttled"]);
        assert_eq!(told.bits, "0x50005");
        let fine = throttling("0x0").unwrap();
        assert!(fine.now.is_empty() && fine.since_boot.is_empty());
        assert_eq!(throttling("error"), None);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parsers(text in "(cpu |MemTotal:|MemAvailable:)?[ -~\n]{0,80}") {
            let _ = (ticks(&text), cores(&text), load(&text), uptime(&text), memory(&text), traffic(&text));
            let _ = (threads(&text), throttling(&text), model(&text), temperature(&[("cpu".into(), text.clone())]));
        }
    }
}
