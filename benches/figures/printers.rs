//! What printers cost that nobody watches: CPU and memory of the service with fifty simulated ones of all kinds,
//! over what it takes without any. The simulator is another process.

use std::time::Duration;

use serde_json::Value;

use crate::meter;
use crate::support::printer::Printers;
use crate::support::service::STARTS;
use crate::support::{Fanlight, request, wait_until};
use crate::verdict::Verdicts;

const PRINTERS: usize = 50;
const SETTLE: Duration = Duration::from_secs(10);
const MEASURE: Duration = Duration::from_secs(30);
const CONNECTED: Duration = Duration::from_secs(120);

pub fn run(verdicts: &mut Verdicts) {
    let Some(printers) = Printers::start("printers", "X1C,P1S,A1,P2S,H2D", PRINTERS, &[]) else { return };
    let service = Fanlight::start(
        "[[camera]]\nid = \"cam\"\nsource = { type = \"test\" }\nidle = \"close\"\n[discovery]\nenabled = false\n",
    );
    wait_until("it rests", STARTS, || service.state("cam") == "idle");
    std::thread::sleep(SETTLE);
    let pid = service.process().pid();
    let megabytes = || meter::resident_kb(pid) as f64 / 1024.0;
    let (cpu_without, memory_without) = (meter::cpu_percent(pid, MEASURE), megabytes());
    for printer in printers.all() {
        let body = serde_json::to_vec(&printer.registration()).expect("JSON");
        let added = request(service.port(), "POST", "/api/printers", &[], &body).expect("an answer");
        assert_eq!(added.status, 201, "{}", added.text());
    }
    wait_until("all of them report", CONNECTED, || {
        let list = service.get("/api/printers?full=1").json();
        let reports =
            |printer: &Value| printer["status"]["connected"] == true && printer["status"]["percent"].is_u64();
        list.as_array().is_some_and(|list| list.iter().filter(|printer| reports(printer)).count() == PRINTERS)
    });
    std::thread::sleep(SETTLE);
    let (cpu, memory) = (meter::cpu_percent(pid, MEASURE), megabytes());
    let each = |with: f64, without: f64| (with - without) / PRINTERS as f64;
    println!(
        "  without: {cpu_without:.2} %, {memory_without:.1} MB; with {PRINTERS} printers: {cpu:.2} %, {memory:.1} MB"
    );
    verdicts.at_most("printers, CPU of each that nobody watches", each(cpu, cpu_without), 0.3, "%");
    verdicts.at_most("printers, memory of each", each(memory, memory_without), 2.0, "MB");
}
