//! `fanlight simulate printer`: Bambu Lab printers without a printer, for tests, for the demo, for trying out.
//!
//! ```text
//! stdin ─► orders ─► printer ─┬─ broker (mosquitto, TLS) ◄─ link ◄─► machine ─ report, requests
//!                             └─ camera (RTSPS by serve::rtsp, or JPEGs on port 6000)
//! ```
//! [`machine`] with its [`requests`] and [`report`] is the printer, pure; the rest is its network.

mod broker;
mod camera;
mod certificate;
mod jpeg;
mod link;
mod machine;
pub mod models;
mod orders;
pub mod printer;
mod report;
mod requests;
pub mod simulator;

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use models::Model;
use simulator::{Plan, Simulator};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Be one or several Bambu Lab printers in LAN mode; needs mosquitto. Orders are read from the
    /// standard input: `fail`, `reboot 5`, `camera off`, … (docs/printers.md)
    Printer(PrinterArgs),
}

#[derive(Debug, clap::Args)]
struct PrinterArgs {
    /// X1C, P1S, A1, P2S or H2D; several with commas are taken in turn
    #[arg(long, value_delimiter = ',', value_parser = models::find, default_value = "X1C")]
    model: Vec<&'static Model>,
    /// How many printers, each on the next address
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=250))]
    count: u16,
    /// Serial number of the first printer [default: one that fits the model]
    #[arg(long, value_parser = serial)]
    serial: Option<String>,
    /// The access code, as on the printer's screen
    #[arg(long, default_value = "12345678", value_parser = access_code)]
    access_code: String,
    /// Address of the first printer
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    #[arg(long, default_value_t = 8883)]
    mqtt_port: u16,
    /// Port of the camera [default: 322 for RTSPS, or 3322 where that is for root only; 6000 for JPEGs]
    #[arg(long)]
    camera_port: Option<u16>,
    /// How many times faster than time prints go
    #[arg(long, default_value_t = 60.0, value_parser = speed)]
    speed: f64,
    /// Print only when told to by the order `start`
    #[arg(long)]
    idle: bool,
    /// What the cameras show, a video file in a loop [default: a test picture with a clock]
    #[arg(long, value_name = "FILE")]
    media: Option<PathBuf>,
}

/// It stands in topics, in the broker's files and in a certificate.
fn serial(text: &str) -> Result<String, String> {
    let fits = (10..=20).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if fits { Ok(text.to_owned()) } else { Err("a serial number is 10 to 20 capitals and digits".into()) }
}

fn access_code(text: &str) -> Result<String, String> {
    let fits = (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits { Ok(text.to_owned()) } else { Err("an access code is 1 to 32 letters and digits".into()) }
}

fn speed(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|speed| (0.1..=3600.0).contains(speed)).ok_or("0.1 to 3600".to_owned())
}

/// Whether printers can be simulated on this machine.
///
/// # Errors
/// With what is missing, and the package that brings it.
pub fn possible() -> anyhow::Result<()> {
    broker::find().map(|_| ())
}

/// Runs until it is told to stop; the exit code of the process.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let What::Printer(args) = &args.what;
    let plan = Plan {
        models: args.model.clone(),
        count: usize::from(args.count),
        serial: args.serial.clone(),
        access_code: args.access_code.clone(),
        bind: args.bind,
        mqtt_port: args.mqtt_port,
        camera_port: args.camera_port,
        speed: args.speed,
        endless: !args.idle,
        media: args.media.clone(),
    };
    gstreamer::init().context("GStreamer does not start")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&plan))
}

/// What comes on the standard input, line by line. The thread that waits there does not keep the process.
fn lines() -> std::io::Result<mpsc::Receiver<String>> {
    let (give, lines) = mpsc::channel(8);
    std::thread::Builder::new().name("orders".to_owned()).spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok).filter(|line| !line.trim().is_empty()) {
            if give.blocking_send(line).is_err() {
                break;
            }
        }
    })?;
    Ok(lines)
}

async fn serve(plan: &Plan) -> anyhow::Result<u8> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let simulator = Simulator::start(plan).await?;
    for printer in simulator.printers() {
        println!(
            "{:<4} {}  serial {}  access code {}  MQTT {}  camera {}",
            printer.model.name,
            printer.address,
            printer.serial,
            printer.access_code,
            printer.mqtt_port,
            printer.camera_url()
        );
    }
    println!("ready");
    let mut lines = lines()?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            // When there are no more, it goes on without.
            Some(line) = lines.recv() => match simulator.order(&line).await {
                Ok(()) => println!("ok {line}"),
                Err(why) => println!("no {line}: {why}"),
            },
        }
    }
    simulator.shutdown().await;
    Ok(0)
}
