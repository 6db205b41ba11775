//! An RTSP camera for tests and benchmarks: a clip in a loop or a live pattern, over RTSP or RTSPS, with
//! Basic or Digest, that can be told to misbehave. Started by `tests/support` and `tests/web`; also handy
//! by hand: `cargo run --example rtsp_camera -- --port 8554 --file clip.mp4`.
//!
//! Prints `listening PORT` once connections are accepted. Then it reads orders from standard input, one a
//! line, and answers each with `ok ORDER` or `error …`:
//! `freeze` (stay connected, send no pictures), `thaw`, `password NEW`, `refuse` (close the door and all
//! connections), `accept`, `quit`. It ends when standard input ends, so it never outlives its test.

mod clip;
mod pattern;

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer_rtsp_server as rtsp;
use rtsp::gio;
use rtsp::prelude::*;

/// The role that every token of this camera carries.
const ROLE: &str = "viewer";

#[derive(Parser, Debug)]
#[command(about = "An RTSP camera for tests")]
struct Args {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    #[arg(long, default_value = "/cam")]
    mount: String,
    /// An MP4 played over and over in real time, its video passed through as it is.
    #[arg(long, conflicts_with = "test_pattern")]
    file: Option<PathBuf>,
    /// A live pattern, WIDTHxHEIGHT@FPS.
    #[arg(long, default_value = "640x360@25")]
    test_pattern: pattern::Shape,
    #[arg(long, value_enum, default_value_t = Codec::H264)]
    codec: Codec,
    /// The pattern's encoder uses B-frames.
    #[arg(long)]
    bframes: bool,
    /// Seconds between the pattern's keyframes.
    #[arg(long, default_value_t = 1.0)]
    gop: f64,
    /// A tone beside the picture, or instead of it.
    #[arg(long, value_enum, default_value_t = Audio::None)]
    audio: Audio,
    /// Draw the wall clock into each picture of the pattern, to be read back by a program.
    #[arg(long)]
    clock_bars: bool,
    /// Give every picture the same RTP timestamp, as some printers do.
    #[arg(long)]
    frozen_timestamps: bool,
    #[arg(long, value_enum, default_value_t = Auth::None)]
    auth: Auth,
    #[arg(long, default_value = "user")]
    user: String,
    #[arg(long, default_value = "password")]
    password: String,
    /// Serve rtsps:// with this certificate and key: CERT.pem,KEY.pem.
    #[arg(long, value_parser = certificate_and_key)]
    tls: Option<(PathBuf, PathBuf)>,
}

fn certificate_and_key(text: &str) -> Result<(PathBuf, PathBuf), String> {
    let (cert, key) = text.split_once(',').ok_or("write CERT.pem,KEY.pem")?;
    Ok((cert.into(), key.into()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Codec {
    H264,
    H265,
    Mjpeg,
}

impl Codec {
    fn payloader(self) -> &'static str {
        match self {
            Codec::H264 => "h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1",
            Codec::H265 => "h265parse ! rtph265pay name=pay0 pt=96 config-interval=-1",
            Codec::Mjpeg => "rtpjpegpay name=pay0 pt=26",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Audio {
    None,
    Beside,
    Only,
}

impl Audio {
    /// G.711, the sound of most cameras, as the media's stream of this number.
    fn stream(number: u32) -> String {
        format!(
            "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay{number} pt=8"
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Auth {
    None,
    Basic,
    Digest,
}

/// What the orders change and the streaming threads read.
#[derive(Debug, Default)]
struct Control {
    frozen: AtomicBool,
    /// Rises whenever somebody needs a keyframe now: a new viewer, a thaw.
    fresh_start: AtomicU64,
    payloader: Mutex<glib::WeakRef<gst::Element>>,
}

impl Control {
    fn start_afresh(&self) {
        self.fresh_start.fetch_add(1, Ordering::SeqCst);
        let payloader = self.payloader.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(pad) = payloader.and_then(|payloader| payloader.static_pad("sink")) {
            // Upstream from the payloader, where an encoder hears it.
            pad.push_event(gstreamer_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
        }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    gst::init()?;
    let control = Arc::new(Control::default());
    let camera = Camera::new(&args, &control)?;
    println!("listening {}", camera.open()?);

    let main_loop = glib::MainLoop::new(None, false);
    let (orders, inbox) = std::sync::mpsc::channel::<String>();
    let waker = main_loop.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if orders.send(line).is_err() {
                break;
            }
            glib::MainContext::default().wakeup();
        }
        waker.quit();
    });
    glib::timeout_add_local(std::time::Duration::from_millis(10), {
        let main_loop = main_loop.clone();
        move || {
            while let Ok(order) = inbox.try_recv() {
                if order == "quit" {
                    main_loop.quit();
                    return glib::ControlFlow::Break;
                }
                match camera.obey(&order, &control) {
                    Ok(()) => println!("ok {order}"),
                    Err(error) => println!("error {order}: {error:#}"),
                }
                let _ = std::io::stdout().flush();
            }
            glib::ControlFlow::Continue
        }
    });
    main_loop.run();
    // Medias and their threads die with the process; waiting for each would only slow the tests.
    std::process::exit(0)
}

struct Camera {
    server: rtsp::RTSPServer,
    auth: Option<rtsp::RTSPAuth>,
    kind: Auth,
    user: String,
    password: Mutex<String>,
    door: Mutex<Option<glib::SourceId>>,
}

impl Camera {
    fn new(args: &Args, control: &Arc<Control>) -> Result<Self> {
        let factory = factory(args, control)?;
        let server = rtsp::RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service(&args.port.to_string());
        let mounts = server.mount_points().context("a server without mount points")?;
        mounts.add_factory(&args.mount, factory);

        let auth = (args.auth != Auth::None || args.tls.is_some()).then(rtsp::RTSPAuth::new);
        if let (Some(auth), Some((cert, key))) = (&auth, &args.tls) {
            let certificate = gio::TlsCertificate::from_files(cert, key)
                .with_context(|| format!("certificate {} and key {}", cert.display(), key.display()))?;
            auth.set_tls_certificate(Some(&certificate));
        }
        server.set_auth(auth.as_ref());

        let control = Arc::clone(control);
        server.connect_client_connected(move |_, client| {
            let control = Arc::clone(&control);
            client.connect_play_request(move |_, _| control.start_afresh());
        });
        let camera = Self {
            server,
            auth,
            kind: args.auth,
            user: args.user.clone(),
            password: Mutex::new(args.password.clone()),
            door: Mutex::new(None),
        };
        camera.let_in(&args.password);
        Ok(camera)
    }

    /// Starts to accept connections and returns the port.
    fn open(&self) -> Result<i32> {
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        if door.is_none() {
            *door = Some(self.server.attach(None).context("the port is taken")?);
        }
        Ok(self.server.bound_port())
    }

    /// Stops to accept connections and cuts the ones there are. The port stays ours for `accept`.
    fn close(&self) {
        // The port may have been 0: the next `open` has to take the same one.
        self.server.set_service(&self.server.bound_port().to_string());
        if let Some(door) = self.door.lock().unwrap_or_else(PoisonError::into_inner).take() {
            door.remove();
        }
        self.server.client_filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
    }

    fn let_in(&self, password: &str) {
        let Some(auth) = &self.auth else { return };
        let mut token =
            rtsp::RTSPToken::builder().field(&**rtsp::RTSP_TOKEN_MEDIA_FACTORY_ROLE, ROLE).build();
        match self.kind {
            Auth::None => auth.set_default_token(Some(&mut token)),
            Auth::Basic => {
                auth.set_supported_methods(rtsp::gst_rtsp::RTSPAuthMethod::Basic);
                auth.add_basic(&rtsp::RTSPAuth::make_basic(&self.user, password), &token);
            }
            Auth::Digest => {
                auth.set_supported_methods(rtsp::gst_rtsp::RTSPAuthMethod::Digest);
                auth.add_digest(&self.user, password, &token);
            }
        }
    }

    fn obey(&self, order: &str, control: &Control) -> Result<()> {
        match order.split_once(' ').unwrap_or((order, "")) {
            ("freeze", _) => control.frozen.store(true, Ordering::SeqCst),
            ("thaw", _) => {
                control.frozen.store(false, Ordering::SeqCst);
                control.start_afresh();
            }
            ("refuse", _) => self.close(),
            ("accept", _) => {
                self.open()?;
            }
            ("password", new) if !new.is_empty() => {
                let auth = self.auth.as_ref().context("there is no password to change")?;
                let mut password = self.password.lock().unwrap_or_else(PoisonError::into_inner);
                auth.remove_basic(&rtsp::RTSPAuth::make_basic(&self.user, &password));
                auth.remove_digest(&self.user);
                self.let_in(new);
                *password = new.to_owned();
            }
            _ => bail!("freeze, thaw, password NEW, refuse, accept or quit"),
        }
        Ok(())
    }
}

/// One media, shared by all viewers.
fn factory(args: &Args, control: &Arc<Control>) -> Result<rtsp::RTSPMediaFactory> {
    let factory = rtsp::RTSPMediaFactory::new();
    factory.set_shared(true);
    factory.set_latency(0);
    let mut role = gst::Structure::new_empty(ROLE);
    role.set(&**rtsp::RTSP_PERM_MEDIA_FACTORY_ACCESS, true);
    role.set(&**rtsp::RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, true);
    factory.add_role_from_structure(&role);

    let clip = args.file.as_deref().map(|path| clip::Clip::load(path, args.codec)).transpose()?.map(Arc::new);
    let source = match &clip {
        Some(clip) => clip.source(),
        None => pattern::source(args),
    };
    let video = format!("{source} ! {}", args.codec.payloader());
    factory.set_launch(&match args.audio {
        Audio::None => format!("( {video} )"),
        Audio::Beside => format!("( {video} {} )", Audio::stream(1)),
        Audio::Only => format!("( {} )", Audio::stream(0)),
    });

    let (control, bars, frozen) = (Arc::clone(control), args.clock_bars, args.frozen_timestamps);
    factory.connect_media_configure(move |_, media| {
        let element = media.element();
        let Some(bin) = element.downcast_ref::<gst::Bin>() else { return };
        if let Some(payloader) = bin.by_name("pay0") {
            control.payloader.lock().unwrap_or_else(PoisonError::into_inner).set(Some(&payloader));
            pattern::gate(&payloader, &control);
            if frozen {
                pattern::freeze_timestamps(&payloader);
            }
        }
        if let Some(clip) = &clip {
            clip.feed(bin, &control);
        } else if bars {
            pattern::draw_clock(bin);
        }
    });
    Ok(factory)
}
