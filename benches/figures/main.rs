//! The figures of docs/performance.md, measured against the release binary: `cargo bench --bench figures`,
//! or a part of it, `cargo bench --bench figures -- cpu_hls`. Parts: `cpu_hls`, `mjpeg_fanout`, `idle`,
//! `recovery`, `whep`, `rtsp`, `rpc`, `printers`. With `GO2RTC=/path/to/go2rtc`, or go2rtc on the PATH, `mjpeg_fanout` and `rtsp` measure it
//! as well, and `whep` go2rtc and MediaMTX (`MEDIAMTX=/path/to/mediamtx`).
//!
//! Each part sets the service beside a peer in the same run, in alternating order, and counts CPU time
//! of the server's process tree only: ratios carry over to other machines, figures do not. A target that
//! is missed is printed as missed; the exit code tells only whether everything could be measured.

// A measurement that cannot go on says why and ends.
#![allow(clippy::expect_used, clippy::unwrap_used)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod bare;
mod cpu_hls;
mod fanout;
mod idle;
mod load;
mod meter;
mod parts;
mod peers;
mod printers;
mod recovery;
mod rpc;
mod rtsp;
mod rtsp_load;
mod source;
mod verdict;
mod whep;

use std::process::ExitCode;

use verdict::Verdicts;

type Part = (&'static str, fn(&mut Verdicts));

const PARTS: [Part; 8] = [
    ("cpu_hls", cpu_hls::run),
    ("mjpeg_fanout", fanout::run),
    ("idle", idle::run),
    ("recovery", recovery::run),
    ("whep", whep::run),
    ("rtsp", rtsp::run),
    ("rpc", rpc::run),
    ("printers", printers::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [first, port] = arguments.as_slice()
        && first == bare::FLAG
    {
        bare::main(port.parse().expect("a port"));
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = arguments.iter().find(|name| PARTS.iter().all(|(part, _)| part != name)) {
        eprintln!(
            "there is no part {unknown:?}; there are cpu_hls, mjpeg_fanout, idle, recovery, whep, rtsp, rpc, \
             printers"
        );
        return ExitCode::FAILURE;
    }
    let mut verdicts = Verdicts::default();
    for (name, run) in PARTS {
        if arguments.is_empty() || arguments.iter().any(|argument| argument == name) {
            println!("\n{name}");
            run(&mut verdicts);
        }
    }
    verdicts.print();
    ExitCode::SUCCESS
}
