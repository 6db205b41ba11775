//! `fanlight demo`: a test camera in the browser, without a configuration and with nothing left behind; where
//! there is mosquitto, two simulated printers beside it.

mod printers;

use std::net::SocketAddr;

use anyhow::Context;

use crate::config::model::{Camera, Config, Resolution, Source};

use super::{service, simulate};
use printers::DemoPrinters;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Port to listen on; 0 takes one that is free
    #[arg(long, default_value_t = 8080, env = "FANLIGHT_PORT")]
    port: u16,
}

pub fn run(args: &Args) -> anyhow::Result<u8> {
    let mut camera = Camera::new("demo", Source::Test {});
    camera.name = Some("Test picture".into());
    camera.resolution = Resolution { width: 1280, height: 720 };
    camera.fps = 30;
    camera.jpeg.quality = 85;
    let mut config = Config { cameras: vec![camera], ..Config::default() };
    config.server.port = args.port;
    config.log.level = "warn,fanlight=info".into();
    let folder = std::env::temp_dir().join(format!("fanlight-demo-{}", std::process::id()));
    std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    config.health.file = Some(folder.join("health.json"));
    config.storage.directory = Some(folder.join("state"));
    config.printers.search = false;
    // The cameras of this machine are nobody's business in a demo.
    config.discovery.enabled = false;
    let state = folder.join("state");
    let printers = simulate::possible().and_then(|()| DemoPrinters::start(&config, &state));
    if let Err(error) = &printers {
        eprintln!("The demo goes without its two simulated printers: {error:#}");
    }
    let greet = if printers.is_ok() { greet_with_printers } else { greet };
    let ended =
        service::run(service::Start { config, warnings: Vec::new(), reload: None, greet: Some(greet) });
    drop(printers);
    // A demo leaves nothing behind.
    let removed = std::fs::remove_dir_all(&folder);
    let code = ended?;
    removed.with_context(|| format!("cannot remove {}", folder.display()))?;
    Ok(code)
}

fn greet(address: SocketAddr) -> String {
    format!("{}\n  Ctrl-C ends it.\n", addresses(address))
}

fn greet_with_printers(address: SocketAddr) -> String {
    format!(
        "{}\n  And two printers that are none, at  http://{address}/#/printers\n    \
         curl http://{address}/api/printers/1/status      what one is doing\n    \
         fanlight simulate printer --help                 one of your own\n\n  Ctrl-C ends it.\n",
        addresses(address)
    )
}

fn addresses(address: SocketAddr) -> String {
    format!(
        "\n  Fanlight shows a test picture at  http://{address}/\n\n  Try as well:\n    \
         http://{address}/stream.mjpg                     MJPEG, for <img> and printers' pages\n    \
         http://{address}/snapshot.jpg                    one JPEG\n    \
         ffplay http://{address}/hls/demo/stream.m3u8     HLS\n    \
         http://{address}/hls/demo/stream_ll.m3u8         low-latency HLS, for hls.js\n    \
         http://{address}/hls/demo/stream_ll_fmp4.m3u8    the quickest, for hls.js and Safari\n    \
         curl http://{address}/ready                      is it live?\n    \
         curl http://{address}/metrics                    figures\n"
    )
}
