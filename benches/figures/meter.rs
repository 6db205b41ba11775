//! CPU time and memory of a server's process tree, from /proc.

use std::time::{Duration, Instant};

/// Of `utime` and `stime` in /proc/PID/stat: USER_HZ, 100 on every architecture of Linux that matters here.
const TICKS_PER_SECOND: f64 = 100.0;

/// The share of one core that `pid` and its descendants use during `time`, in percent.
#[track_caller]
pub fn cpu_percent(pid: u32, time: Duration) -> f64 {
    cpu_percent_of(&[pid], time)[0]
}

/// The same for several trees over the same time.
#[track_caller]
pub fn cpu_percent_of(pids: &[u32], time: Duration) -> Vec<f64> {
    let began = Instant::now();
    let before: Vec<u64> = pids.iter().map(|&pid| ticks(pid)).collect();
    std::thread::sleep(time);
    let after: Vec<u64> = pids.iter().map(|&pid| ticks(pid)).collect();
    let seconds = began.elapsed().as_secs_f64();
    before.iter().zip(after).map(|(b, a)| (a - b) as f64 / TICKS_PER_SECOND / seconds * 100.0).collect()
}

/// Resident memory of the process tree in kB.
pub fn resident_kb(pid: u32) -> u64 {
    tree(pid).into_iter().map(|pid| status_kb(pid, "VmRSS:")).sum()
}

fn status_kb(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[track_caller]
fn ticks(pid: u32) -> u64 {
    let all = tree(pid);
    assert!(!all.is_empty(), "process {pid} is gone");
    all.iter().filter_map(|&pid| stat(pid)).map(|stat| stat.ticks).sum()
}

/// `pid` and its descendants that live now.
fn tree(pid: u32) -> Vec<u32> {
    let all: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut found: Vec<u32> = all.iter().map(|&(of, _)| of).filter(|&of| of == pid).collect();
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|&&(_, of)| of == parent).map(|&(child, _)| child));
        next += 1;
    }
    found
}

struct Stat {
    parent: u32,
    ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, blanks included: fields are counted from behind it.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    // proc(5): state is field 3, ppid 4, utime 14, stime 15.
    Some(Stat { parent: u32::try_from(number(1)?).ok()?, ticks: number(11)? + number(12)? })
}
